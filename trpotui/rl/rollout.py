"""The arrays in which experience is collected; they are reused.

Legend: T steps, N environments, D observation features, K distribution parameters.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.environments import Bools
from trpotui.rl.spaces import ActionDecoder

Float32 = NDArray[np.float32]

FIRST_CAPACITY = 256
"""Steps for which a rollout of whole episodes has room before any was seen."""


@dataclass
class Rollout:
    """T steps of N environments. The arrays are reused by the next `collect`."""

    rows: NDArray[Any]
    """Encoded observations [T + 1, N, D], before normalisation, as float32 or images as uint8; the
    last are acted on next."""
    inputs: NDArray[Any]
    """What the networks saw [T + 1, N, D]; the same array as `rows` without normalisation."""
    actions: NDArray[Any]
    """Raw actions [T, N] or [T, N, A]."""
    rewards: Float32
    """[T, N], as the environments gave them."""
    terminated: Bools
    truncated: Bools
    valid: Bools
    """[T, N]; false on rows that must not be trained on: they only reset an environment, or lie
    behind the last whole episode that was asked for."""
    starts: Bools
    """[T + 1, N]; true where an episode begins at that row."""
    final_positions: list[tuple[int, int]] = field(default_factory=list)
    """(t, n) of transitions whose successor is not the observation of row t + 1."""
    final_inputs: list[Float32] = field(default_factory=list)
    """Network inputs [D] of those successors."""
    first_parameters: Float32 | None = None
    """Distribution parameters [N, K] with which the first actions were drawn."""
    returns: list[float] = field(default_factory=list)
    """Undiscounted returns of the episodes that ended, in the order in which they did."""
    lengths: list[int] = field(default_factory=list)
    """Steps of those episodes."""
    cut_off: int = 0
    """Episodes of a rollout of whole ones that were not waited for any longer."""

    @classmethod
    def empty(
        cls,
        steps: int,
        n_envs: int,
        *,
        size: int,
        decoder: ActionDecoder,
        normalized: bool,
        dtype: type[np.float32] | type[np.uint8] = np.float32,
    ) -> Rollout:
        """Arrays for `steps` steps of `n_envs` environments with `size` features of a type."""
        rows: NDArray[Any] = np.zeros((steps + 1, n_envs, size), dtype=dtype)
        flags = np.zeros((3, steps, n_envs), dtype=np.bool_)
        return cls(
            rows=rows,
            inputs=rows.copy() if normalized else rows,
            actions=np.zeros((steps, n_envs, *decoder.raw_shape), dtype=decoder.raw_dtype),
            rewards=np.zeros((steps, n_envs), dtype=np.float32),
            terminated=flags[0],
            truncated=flags[1],
            valid=flags[2],
            starts=np.zeros((steps + 1, n_envs), dtype=np.bool_),
        )

    @property
    def steps(self) -> int:
        """T."""
        return len(self.rewards)

    @property
    def ended(self) -> Bools:
        """[T, N]; where the episode ends, whichever way."""
        return self.terminated | self.truncated

    def next_values(self, values: Float32, final_values: Float32) -> Float32:
        """Values [T, N] of the true successors.

        Args:
            values: of `inputs` [T + 1, N].
            final_values: of `final_inputs`, one each.
        """
        following = values[1:].copy()
        for (t, n), value in zip(self.final_positions, final_values, strict=True):
            following[t, n] = value
        return following

    def first(self, steps: int) -> Rollout:
        """The first steps only; the arrays are views of this rollout's."""
        if steps == self.steps:
            return self
        rows = self.rows[: steps + 1]
        parts: dict[str, Any] = {name: getattr(self, name)[:steps] for name in PER_STEP}
        return dataclasses.replace(
            self,
            rows=rows,
            inputs=rows if self.inputs is self.rows else self.inputs[: steps + 1],
            starts=self.starts[: steps + 1],
            **parts,
        )

    def doubled(self) -> Rollout:
        """The same content, and as much room again behind it."""

        def longer(array: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([array, np.zeros_like(array[: self.steps])])

        rows = longer(self.rows)
        parts: dict[str, Any] = {name: longer(getattr(self, name)) for name in PER_STEP}
        return dataclasses.replace(
            self,
            rows=rows,
            inputs=rows if self.inputs is self.rows else longer(self.inputs),
            starts=longer(self.starts),
            **parts,
        )


PER_STEP = ("actions", "rewards", "terminated", "truncated", "valid")
"""Arrays of a rollout with one entry for each of its T steps."""
