"""Stepping environments with the current policy, so that a rollout is filled.

Legend: T steps, N environments, D observation features, K distribution parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.environments import BatchedEnvironment, Bools, Step
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.observations import Observations, take
from trpotui.rl.rollout import Float32, Rollout
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder

LONGEST_WAIT = 10_000
"""Steps that a rollout of whole episodes waits for the end of each of them: an episode without one
would otherwise fill the memory."""


class ActingSession(Protocol):
    """The current policy in N environments; it does not change during a rollout."""

    def act(self, inputs: Float32, starts: Bools) -> NDArray[Any]:
        """Raw actions [N, ...] of network inputs [N, D], and one step further in memory.

        `starts` [N]: an episode begins at this row, so what was remembered is dropped.
        """

    def parameters(self, inputs: Float32, starts: Bools) -> Float32:
        """Distribution parameters [N, K] of the next actions, without acting."""


@dataclass(frozen=True)
class Boundary:
    """How a rollout is to begin."""

    rows: NDArray[Any]
    """Encoded observations [N, D]."""
    starts: Bools
    """[N]; an episode begins here."""
    unfinished: bool
    """An episode is open that is not to go on: all begin new ones."""

    def plain(self) -> dict[str, Any]:
        """Its fields by name."""
        return {"rows": self.rows, "starts": self.starts, "unfinished": self.unfinished}


class Collector:
    """Steps environments with the current policy.

    Rollouts of a number of steps cut through episodes, which go on in the next one. Rollouts of
    whole episodes hold the same number of them from every environment; one that is done waits for
    the others, and where one stands in the middle of an episode when all are done, all begin anew.

    Args:
        environments: already reset.
        observations: what `reset` returned.
        rollout: arrays to fill; with `episodes`, they are replaced by longer ones when needed.
        episodes: whole episodes of each environment in a rollout; 0 fills the arrays instead.
        rng: source of the seeds with which environments begin anew.
    """

    def __init__(
        self,
        environments: BatchedEnvironment,
        observations: Observations,
        rollout: Rollout,
        *,
        episodes: int = 0,
        rng: np.random.Generator | None = None,
    ) -> None:
        if episodes and rng is None:
            raise ValueError("rollouts of whole episodes need a source of seeds")
        self._environments = environments
        self._encoder = ObservationEncoder(environments.observation_space)
        self._decoder = ActionDecoder(environments.action_space)
        self._rollout = rollout
        self._episodes = episodes
        self._rng = rng
        self.meet(observations)

    def boundary(self) -> Boundary:
        """How the next rollout begins."""
        rows = self._rows.astype(self._rollout.rows.dtype)  # a copy: they may be the environment's
        return Boundary(rows, self._starts, self._unfinished)

    def meet(self, observations: Observations) -> None:
        """Have the environments' observations [N, ...] be those that are acted on next."""
        self._rows = self._encoder.encode(observations)
        self._starts = np.ones(self._environments.n_envs, dtype=np.bool_)
        self._unfinished = False

    def go_on(self, boundary: Boundary) -> None:
        """Begin the next rollout as it would have begun there."""
        self._rows, self._starts = boundary.rows, boundary.starts
        self._unfinished = boundary.unfinished

    def collect(
        self,
        session: ActingSession,
        moments: ObservationMoments | None,
        *,
        interrupt: Callable[[], None] = lambda: None,
    ) -> Rollout:
        """Fill the rollout with T steps of N environments.

        Args:
            session: draws raw actions.
            moments: normalise the observations; frozen for the whole rollout, so the policy that
                collects is the policy that the update starts from. None leaves them as they are.
            interrupt: called before every step; what it raises abandons the rollout.
        """
        rollout = self._begin(session, moments)
        owed = np.full(self._environments.n_envs, self._episodes)  # whole episodes, by environment
        last = (self._episodes * LONGEST_WAIT or rollout.steps) - 1
        for t in range(last + 1):
            interrupt()
            if t == rollout.steps:
                rollout = self._rollout = rollout.doubled()
            step = self._step(t, session, moments)
            if self._episodes:
                self._count(t, step, owed)
                if not owed.any():
                    last = t
                    break
        if not self._episodes:
            rollout.returns, rollout.lengths = self._environments.take_finished_episodes()
        rollout.cut_off = int((owed > 0).sum())
        self._starts = rollout.starts[last + 1].copy()
        ended = rollout.terminated[last] | rollout.truncated[last]
        self._unfinished = self._episodes > 0 and not (self._starts | ended).all()
        return rollout.first(last + 1)

    def _begin(self, session: ActingSession, moments: ObservationMoments | None) -> Rollout:
        """Row 0, in new episodes if there is one that must not go on."""
        if self._unfinished:
            assert self._rng is not None
            # below 2^31: some environments take no larger seeds
            seeds = self._rng.integers(2**31, size=self._environments.n_envs).tolist()
            self.meet(self._environments.reset(seed=seeds))
        rollout = self._rollout
        rollout.final_positions, rollout.final_inputs = [], []
        rollout.returns, rollout.lengths = [], []
        self._store_rows(0, moments)
        rollout.starts[0] = self._starts
        rollout.first_parameters = session.parameters(rollout.inputs[0], rollout.starts[0])
        return rollout

    def _step(self, t: int, session: ActingSession, moments: ObservationMoments | None) -> Step:
        """Row t of the rollout, and the observations of the next."""
        rollout = self._rollout
        raw = session.act(rollout.inputs[t], rollout.starts[t])
        step = self._environments.step(self._decoder.decode(raw))
        rollout.actions[t] = raw
        rollout.rewards[t] = step.rewards
        rollout.terminated[t] = step.terminated
        rollout.truncated[t] = step.truncated
        rollout.valid[t] = step.valid
        rollout.starts[t + 1] = step.starts
        if step.successors is not step.observations:
            self._store_final(t, step.successors, step.truncated, moments)
        self._rows = self._encoder.encode(step.observations)
        self._store_rows(t + 1, moments)
        return step

    def _count(self, t: int, step: Step, owed: NDArray[np.int64]) -> None:
        """Keep what belongs to the whole episodes that are still owed, and leave out the rest."""
        rollout = self._rollout
        rollout.valid[t] &= owed > 0
        ended = np.flatnonzero(step.ended)
        if len(ended) == 0:
            return
        finished = zip(ended, *self._environments.take_finished_episodes(), strict=True)
        for n, episode_return, length in finished:
            if owed[n] > 0:
                owed[n] -= 1
                rollout.returns.append(episode_return)
                rollout.lengths.append(length)

    def _store_rows(self, t: int, moments: ObservationMoments | None) -> None:
        self._rollout.rows[t] = self._rows
        if moments is not None:
            self._rollout.inputs[t] = moments.normalize(self._rows)

    def _store_final(
        self, t: int, successors: Observations, truncated: Bools, moments: ObservationMoments | None
    ) -> None:
        """Keep the final observations whose value is needed: those of truncated episodes."""
        cut = np.flatnonzero(truncated)
        if len(cut) == 0:
            return
        rows = self._encoder.encode(take(successors, cut))
        inputs = rows if moments is None else moments.normalize(rows)
        inputs = inputs.astype(self._rollout.inputs.dtype, copy=False)
        self._rollout.final_positions.extend((t, int(n)) for n in cut)
        self._rollout.final_inputs.extend(inputs)
