"""Collecting experience into preallocated arrays.

Legend: T steps, N environments, D observation features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.environments import BatchedEnvironment, Bools
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder

Float32 = NDArray[np.float32]


class ActingPolicy(Protocol):
    """The current policy as the rollout sees it; it does not change during one."""

    def raw_actions(self, inputs: Float32, rng: np.random.Generator | None) -> NDArray[Any]:
        """Raw actions [N] or [N, A] of network inputs [N, D], sampled when `rng` is given."""

    def action_parameters(self, inputs: Float32) -> Float32:
        """Distribution parameters [N, K] of network inputs [N, D]."""


@dataclass
class Rollout:
    """T steps of N environments. The arrays are reused by the next `collect`."""

    rows: Float32
    """Encoded observations [T + 1, N, D], before normalisation; the last are acted on next."""
    inputs: Float32
    """What the networks saw [T + 1, N, D]; the same array as `rows` without normalisation."""
    actions: NDArray[Any]
    """Raw actions [T, N] or [T, N, A]."""
    rewards: Float32
    terminated: Bools
    truncated: Bools
    valid: Bools
    """[T, N]; false on rows that only reset an environment and must not be trained on."""
    final_positions: list[tuple[int, int]] = field(default_factory=list)
    """(t, n) of transitions whose successor is not the observation of row t + 1."""
    final_inputs: list[Float32] = field(default_factory=list)
    """Network inputs [D] of those successors."""
    first_parameters: Float32 | None = None
    """Distribution parameters [N, K] with which the first actions were drawn."""

    @classmethod
    def empty(
        cls, steps: int, n_envs: int, *, size: int, decoder: ActionDecoder, normalized: bool
    ) -> Rollout:
        """Arrays for `steps` steps of `n_envs` environments with `size` features."""
        rows = np.zeros((steps + 1, n_envs, size), dtype=np.float32)
        action_type = np.int64 if decoder.distribution == "categorical" else np.float32
        flags = np.zeros((3, steps, n_envs), dtype=np.bool_)
        return cls(
            rows=rows,
            inputs=rows.copy() if normalized else rows,
            actions=np.zeros((steps, n_envs, *decoder.raw_shape), dtype=action_type),
            rewards=np.zeros((steps, n_envs), dtype=np.float32),
            terminated=flags[0],
            truncated=flags[1],
            valid=flags[2],
        )

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


class Collector:
    """Steps environments with the current policy; episodes go on from one rollout to the next.

    Args:
        environments: already reset.
        observations: what `reset` returned.
        rollout: arrays to fill.
    """

    def __init__(
        self, environments: BatchedEnvironment, observations: NDArray[Any], rollout: Rollout
    ) -> None:
        self._environments = environments
        self._encoder = ObservationEncoder(environments.observation_space)
        self._decoder = ActionDecoder(environments.action_space)
        self._rollout = rollout
        self._rows = self._encoder.encode(observations)

    def collect(
        self,
        policy: ActingPolicy,
        moments: ObservationMoments | None,
        *,
        rng: np.random.Generator,
        interrupt: Callable[[], None] = lambda: None,
    ) -> Rollout:
        """Fill the rollout with T steps of N environments.

        Args:
            policy: draws raw actions.
            moments: normalise the observations; frozen for the whole rollout, so the policy that
                collects is the policy that the update starts from. None leaves them as they are.
            rng: source of the sampled actions.
            interrupt: called before every step; what it raises abandons the rollout.
        """
        rollout = self._rollout
        rollout.final_positions.clear()
        rollout.final_inputs.clear()
        self._store_rows(0, moments)
        rollout.first_parameters = policy.action_parameters(rollout.inputs[0])
        for t in range(len(rollout.actions)):
            interrupt()
            raw = policy.raw_actions(rollout.inputs[t], rng)
            step = self._environments.step(self._decoder.decode(raw))
            rollout.actions[t] = raw
            rollout.rewards[t] = step.rewards
            rollout.terminated[t] = step.terminated
            rollout.truncated[t] = step.truncated
            rollout.valid[t] = step.valid
            if step.successors is not step.observations:
                self._store_final(t, step.successors, step.truncated, moments)
            self._rows = self._encoder.encode(step.observations)
            self._store_rows(t + 1, moments)
        return rollout

    def _store_rows(self, t: int, moments: ObservationMoments | None) -> None:
        self._rollout.rows[t] = self._rows
        if moments is not None:
            self._rollout.inputs[t] = moments.normalize(self._rows)

    def _store_final(
        self,
        t: int,
        successors: NDArray[Any],
        truncated: Bools,
        moments: ObservationMoments | None,
    ) -> None:
        """Keep the final observations whose value is needed: those of truncated episodes."""
        cut = np.flatnonzero(truncated)
        if len(cut) == 0:
            return
        rows = self._encoder.encode(successors[cut])
        inputs = rows if moments is None else moments.normalize(rows)
        self._rollout.final_positions.extend((t, int(n)) for n in cut)
        self._rollout.final_inputs.extend(inputs)
