"""What one step of N environments says, and the forms in which there are N environments.

Legend: N environments, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.rl.observations import Observations

Bools = NDArray[np.bool_]
Start = Mapping[str, Any]
"""How an episode began, as JSON can hold it."""


class Step(NamedTuple):
    """What one step of N environments brought; nobody writes into its arrays."""

    successors: Observations
    """Observations that the actions led to [N, ...]; at the end of an episode the final one."""
    observations: Observations
    """Observations to act on next [N, ...]: the successors, or a new episode's first. The same
    object as `successors` where nothing differs."""
    rewards: NDArray[np.float64]
    terminated: Bools
    """The episode reached a terminal state: the value of the successor is zero."""
    truncated: Bools
    """The episode was cut off and not terminated: the successor keeps its value."""
    valid: Bools
    """False where the environment only reset and ignored the action: no transition happened."""
    starts: Bools
    """The observation to act on next is the first of an episode."""
    ended: Bools
    """The episode ended with this step, whichever way."""


class EnvironmentForm(Protocol):
    """N environments that are stepped together, every datum of theirs checked.

    `reset` and `step` raise UnfitObservationError for what is unfit, and whatever the environments
    raise.
    """

    n_envs: int
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    seeds_each: bool
    """Whether each environment takes a seed of its own."""
    only_resets: Bools
    """[N]; environments that only reset in the next step."""

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes; of one seed, environment n takes the n-th after it."""

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment.

        Where no episode ended, the flags that say so are the one object that `constant` returns.
        """

    def close(self) -> None:
        """Close the environments; called once."""


class SingleForm(EnvironmentForm, Protocol):
    """Environments that run alone, so that the episode of each can begin once more by itself."""

    def remember(self, *, seed_episodes: bool) -> None:
        """From now on know how each episode began; called before the first reset.

        `seed_episodes`: whether every episode is given a seed of its own.
        """

    def starts(self) -> list[Start]:
        """How the open episode of each environment began [N]; empty where it is not remembered."""

    def restart(
        self,
        starts: Sequence[Start],
        actions: Sequence[NDArray[Any]],
        interrupt: Callable[[], None],
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Begin the episodes [N] once more and take their actions [N][T, ...] again.

        Returns:
            Observations [N, ...], and what the rewards of each open episode [N] add up to.

        Raises:
            RebuildError: it cannot be done.
        """


class RaisedElsewhereError(Exception):
    """What an environment raised in another process.

    Args:
        kind: the name of its type.
        text: its message.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class WorkerLostError(Exception):
    """A process that steps environments has died or hangs; the text says which and how."""


@cache
def constant(n_envs: int, value: bool) -> Bools:
    """Flags [N] that are all the same: one object, so that nobody need look into it.

    A form hands it out in a `Step` where nothing ended, and where all rows are valid.
    """
    flags = np.full(n_envs, value)
    flags.flags.writeable = False
    return flags
