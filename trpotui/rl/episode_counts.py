"""Returns and lengths of N episodes that go on, and of those that have ended.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


class EpisodeCounts:
    """Counts the episodes of N environments.

    Args:
        n_envs: N.
    """

    def __init__(self, n_envs: int) -> None:
        self._returns = np.zeros(n_envs)
        self._steps = 0
        self._before = np.zeros(n_envs, dtype=np.int64)  # steps that are not of the open episode
        self._finished: tuple[list[float], list[int]] = ([], [])

    def clear(self) -> None:
        """Every environment begins an episode, and nothing has ended."""
        self._returns[:] = 0.0
        self._before[:] = self._steps
        self._finished = ([], [])

    def add(
        self, rewards: NDArray[np.float64], *, ended: Bools | None, valid: Bools | None
    ) -> None:
        """Take a step of all environments into account.

        Args:
            rewards: [N].
            ended: [N]; the episode ended with this step. None where none did.
            valid: [N]; it was a step of an episode at all. None where all were.
        """
        self._returns += rewards
        self._steps += 1
        if valid is not None:
            self._before += ~valid
        if ended is not None:
            (which,) = ended.nonzero()
            self._finished[0].extend(self._returns[which].tolist())
            self._finished[1].extend((self._steps - self._before[which]).tolist())
            self._returns[which] = 0.0
            self._before[which] = self._steps

    def take_finished(self) -> tuple[list[float], list[int]]:
        """Returns and lengths of the episodes that ended since the last call."""
        finished = self._finished
        self._finished = ([], [])
        return finished

    def state(self) -> dict[str, Any]:
        """What is counted of the open episodes."""
        return {"returns": self._returns.copy(), "lengths": self._steps - self._before}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; no episode has ended."""
        self._returns[:] = state["returns"]
        self._before[:] = self._steps - np.asarray(state["lengths"])
        self._finished = ([], [])
