"""Setting an environment up again as it was, without ever storing an object of it.

An environment that runs alone begins its open episode once more, from the same seed or with its
random generators in the same state, and takes the same actions. A native vector form draws the
episodes of all its copies from one generator, so it is given the numbers and generators that it had
some steps ago, and takes the actions since then. If the environment is deterministic, it is then
where it was; whoever asks for it checks that.

Legend: T steps, N environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.random_states import RandomStates

T = TypeVar("T")

MOST_STEPS = 10_000
"""Steps of an open episode beyond which it is not remembered how it came about."""
MOST_BYTES = 2**26
"""Of the actions that are remembered, of all environments together."""
FIRST_STEPS, FIRST_BYTES = 256, 2**20
"""Actions for which there is room at first: so many steps, or so many bytes if that is less."""


class RebuildError(Exception):
    """An environment cannot be set up as it was; the text is the reason, as a clause."""


class ActionLog:
    """The latest actions of N environments; what `since` returned is not changed by later ones."""

    def __init__(self) -> None:
        self.needed_from = 0
        """The first step whose actions may still be asked for."""
        self._rows: NDArray[Any] = np.zeros((0, 0))
        self._used = self._dropped = 0

    @property
    def count(self) -> int:
        """Steps since the beginning, whether they are still kept or not."""
        return self._dropped + self._used

    def append(self, actions: NDArray[Any]) -> None:
        """Add the actions [N, ...] of one step."""
        if self._used == len(self._rows):
            self._make_room(actions)
        self._rows[self._used] = actions
        self._used += 1

    def since(self, step: int) -> NDArray[Any] | None:
        """Actions [T, N, ...] of the steps from `step` on; None where not all of them are kept."""
        steps = self.count - step
        return self._rows[self._used - steps : self._used] if steps <= self._used else None

    def replace(self, rows: NDArray[Any]) -> None:
        """Have the actions [T, N, ...] of the steps before now, in the place of all others."""
        self._used = len(rows)
        self._dropped = self.needed_from = 0
        self._rows = rows.copy()

    def _make_room(self, actions: NDArray[Any]) -> None:
        """Move what is needed to a new array with as much room again."""
        size = max(actions.nbytes, 1)
        most = max(min(MOST_STEPS, MOST_BYTES // size), 1)
        needed = min(self.count - self.needed_from, self._used, most)
        room = max(needed, min(FIRST_STEPS, FIRST_BYTES // size), 1)
        rows = np.empty((needed + room, *actions.shape), dtype=actions.dtype)
        if needed:
            rows[:needed] = self._rows[self._used - needed : self._used]
        self._dropped += self._used - needed
        self._rows, self._used = rows, needed


def attempt(action: Callable[..., T], *arguments: Any) -> T:
    """What an environment's method returns.

    Raises:
        RebuildError: it raised something, which it did not before.
    """
    try:
        return action(*arguments)
    except Exception as error:
        raise RebuildError(f"it raised {type(error).__name__}: {error}") from error


def put_back(randomness: RandomStates, states: Mapping[str, Any]) -> None:
    """Give generators their states.

    Raises:
        RebuildError: they are not those that the states were read of.
    """
    try:
        randomness.write(states)
    except (LookupError, TypeError, ValueError) as error:
        raise RebuildError("its random generators are other ones than they were") from error
