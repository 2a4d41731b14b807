"""Whether anything has happened in a run that could tell one action from another.

Legend: T steps, N environments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What all episodes so far have in common, until two of them differ.

    While every reward was the same, and every episode that terminated did so after the same number
    of steps, no action has been seen to be better than another: where advantages differ then, it is
    by the errors of the critic. Being truncated is no outcome, for the critic speaks for the rest.
    """

    ages: NDArray[np.int64]
    """Steps [N] of the episodes that go on."""
    reward: float | None = None
    """The one that every step has brought."""
    longest: int = 0
    """Steps that some episode has lasted."""
    length: int | None = None
    """Steps of every episode that terminated."""
    varied: bool = False
    """Two outcomes were different; from then on the rest is not kept up."""

    @classmethod
    def initial(cls, n_envs: int) -> Outcomes:
        """Before anything has happened."""
        return cls(ages=np.zeros(n_envs, dtype=np.int64))

    def merged(
        self, rewards: NDArray[np.float32], *, terminated: Bools, starts: Bools, valid: Bools
    ) -> Outcomes:
        """What is known after one more rollout.

        Args:
            rewards: [T, N], following those seen before, as the environments gave them.
            terminated: [T, N].
            starts: [T, N]; an episode begins at this row.
            valid: [T, N]; rows that count.
        """
        if self.varied or not valid.any():
            return self
        ages, history = self.ages, np.zeros(rewards.shape, dtype=np.int64)
        for t in range(len(rewards)):
            ages = np.where(starts[t], 0, ages) + 1
            history[t] = ages
        seen = rewards[valid]
        reward = float(seen[0]) if self.reward is None else self.reward
        lengths = history[terminated & valid]
        length = int(lengths[0]) if self.length is None and len(lengths) else self.length
        longest = max(self.longest, int(history[valid].max()))
        varied = bool((seen != reward).any())
        if length is not None:
            varied |= bool((lengths != length).any()) or longest > length
        return Outcomes(ages=ages, reward=reward, longest=longest, length=length, varied=varied)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "ages": self.ages.tolist(),
            "reward": self.reward,
            "longest": self.longest,
            "length": self.length,
            "varied": self.varied,
        }

    def restored(self, state: Mapping[str, Any]) -> Outcomes:
        """These outcomes with what `state` returned in their place."""
        ages = np.array(state["ages"], dtype=np.int64)
        return dataclasses.replace(self, **{**state, "ages": ages})
