"""Environments that another process can set up as they were.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.native_form import NativePosition, NativeRecord
from trpotui.rl.observations import Observations, UnfitObservationError
from trpotui.rl.open_episodes import SinglePosition, SingleRecord
from trpotui.rl.replay import RebuildError, attempt
from trpotui.rl.steps import RaisedElsewhereError, SingleForm, Step, WorkerLostError


@dataclass(frozen=True)
class EnvironmentPosition:
    """Where environments are in their episodes; what they do next does not change it."""

    record: SinglePosition | NativePosition
    """How they came to be there."""
    counts: Mapping[str, Any]
    """What was counted of the open episodes."""

    def plain(self) -> dict[str, Any]:
        """As `RecordedEnvironment.rebuild` takes it: texts, numbers and arrays.

        Raises:
            RebuildError: it is no longer known how they came to be there.
        """
        return {"record": self.record.plain(), "counts": dict(self.counts)}


class RecordedEnvironment(BatchedEnvironment):
    """A batched environment that remembers how its open episodes came about.

    Args:
        environments: a vector environment, or single ones.
        name: how errors name it.
        seed_episodes: whether every episode is given a seed of its own, where each environment
            takes one.
    """

    def __init__(
        self,
        environments: VectorEnv[Any, Any, Any] | SingleForm,
        *,
        name: str,
        seed_episodes: bool = False,
    ) -> None:
        super().__init__(environments, name=name)
        self._record: SingleRecord | NativeRecord
        if isinstance(environments, VectorEnv):
            self._record = NativeRecord(environments.unwrapped, self.counts)
        else:
            self._record = SingleRecord(environments, self.counts, seed_episodes=seed_episodes)

    @classmethod
    def of(
        cls, environments: BatchedEnvironment, *, seed_episodes: bool = False
    ) -> RecordedEnvironment:
        """The same environments, from now on to be reset and stepped through this object alone."""
        return cls(environments._environments, name=environments.name, seed_episodes=seed_episodes)

    def reset(self, *, seed: int | Sequence[int]) -> Observations:
        """As `BatchedEnvironment.reset`."""
        observations = super().reset(seed=seed)
        if isinstance(self._record, NativeRecord):
            self._record.begin(seed)
        return observations

    def step(self, actions: NDArray[Any]) -> Step:
        """As `BatchedEnvironment.step`."""
        self._record.step(actions)
        return super().step(actions)

    def position(self) -> EnvironmentPosition:
        """Where the environments are now."""
        return EnvironmentPosition(self._record.position(), self.counts())

    def rebuild(self, state: Mapping[str, Any], interrupt: Callable[[], None]) -> Observations:
        """Set the environments, which have been reset, up as they were.

        Args:
            state: what `EnvironmentPosition.plain` returned, in this process or another.
            interrupt: called before every step.

        Returns:
            The observations [N, ...] to act on next.

        Raises:
            RebuildError: it cannot be done, or what came of it is not the same; the environments
                have to be reset then.
        """
        observations = self._replay(state, interrupt)
        counts = self.counts()
        for name, then in state["counts"].items():
            if not np.array_equal(counts[name], then):
                raise RebuildError(f"with the same actions, the {name} of its episodes differ")
        self.set_counts(counts)  # which forgets the episodes that ended on the way
        return observations

    def _replay(self, state: Mapping[str, Any], interrupt: Callable[[], None]) -> Observations:
        record = state["record"]
        if ("starts" in record) != isinstance(self._record, SingleRecord):
            raise RebuildError("its copies are no longer stepped as they were: together, or alone")
        if isinstance(self._record, SingleRecord):
            try:
                found, returns = self._record.rebuild(record, interrupt)
            except (UnfitObservationError, WorkerLostError, RaisedElsewhereError) as error:
                raise RebuildError(str(error)) from error
            self.set_counts({**state["counts"], "returns": returns, "lengths": record["steps"]})
            return found
        if "seed" in record:
            return attempt(partial(self.reset, seed=record["seed"]))
        observations: Observations = ()
        self.set_counts(self._record.put_back(record))
        for actions in record["actions"]:
            interrupt()
            observations = attempt(self.step, actions).observations
        return observations
