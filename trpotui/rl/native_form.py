"""How a native vector form came to be as it is, since some steps ago.

Legend: T steps, N environments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from trpotui.rl.random_states import RandomStates
from trpotui.rl.replay import FIRST_BYTES, FIRST_STEPS, ActionLog, RebuildError, put_back


@dataclass(frozen=True)
class Anchor:
    """A native vector form as it was at a step."""

    step: int
    """Of the log."""
    numbers: Mapping[str, Any]
    """Its attributes that are numbers, or arrays of them."""
    randomness: Mapping[str, Any]
    """The state of its generators."""
    counts: Mapping[str, Any]
    """What was counted of its episodes by then."""


@dataclass(frozen=True)
class NativePosition:
    """Where a native vector form is."""

    seed: int | Sequence[int]
    """With which it was reset."""
    anchor: Anchor | None
    """None before its first step."""
    actions: NDArray[Any]
    """[T, N, ...] since then."""

    def plain(self) -> dict[str, Any]:
        """The seed, or what `NativeRecord.put_back` takes and the actions to be taken after it."""
        if self.anchor is None:
            return {"seed": self.seed}
        return {
            "numbers": dict(self.anchor.numbers),
            "random": json.dumps(self.anchor.randomness),
            "counts": dict(self.anchor.counts),
            "actions": self.actions.copy(),
        }


class NativeRecord:
    """What a native vector form was like some steps ago, and its actions since then.

    Args:
        environments: the vector form.
        counts: says what was counted of its episodes.
    """

    def __init__(
        self, environments: VectorEnv[Any, Any, Any], counts: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._form = environments.unwrapped
        self._counts = counts
        self._log = ActionLog()
        self._randomness: RandomStates | None = None
        self._seed: int | Sequence[int] = 0
        self._anchor: Anchor | None = None
        self._steps_left = 0  # before it is looked at anew

    def begin(self, seed: int | Sequence[int]) -> None:
        """After a reset: what was before it is no longer needed."""
        self._seed = seed
        self._anchor = None
        self._steps_left = 0

    def step(self, actions: NDArray[Any]) -> None:
        """Before a step: remember its actions [N, ...], and now and then what the form is like."""
        if not self._steps_left:
            self._anchor = self._look()
            self._steps_left = _steps_between_looks(actions)
        self._steps_left -= 1
        self._log.append(actions)

    def position(self) -> NativePosition:
        """Where the form is now."""
        since = self._log.count if self._anchor is None else self._anchor.step
        actions = self._log.since(since)
        assert actions is not None
        return NativePosition(self._seed, self._anchor, actions)

    def put_back(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the form the numbers and generators that it had before the actions.

        Args:
            record: what `NativePosition.plain` returned.

        Returns:
            What was counted of its episodes by then.

        Raises:
            RebuildError: it has other ones.
        """
        attributes: dict[str, Any] = vars(self._form)
        for name, value in record["numbers"].items():
            now = attributes.get(name)
            if isinstance(now, np.generic):  # of which a checkpoint makes an array
                value = np.asarray(value)[()]  # noqa: PLW2901
            if now is not None and not _alike(now, value):
                raise RebuildError(f"its '{name}' is now of another kind")
            attributes[name] = _copied(value)
        randomness = json.loads(record["random"])
        put_back(self._generators(), randomness)
        self._log = ActionLog()
        self._anchor = Anchor(0, record["numbers"], randomness, record["counts"])
        if len(record["actions"]):  # which are about to be taken
            self._steps_left = _steps_between_looks(record["actions"][0])
        return self._anchor.counts

    def _look(self) -> Anchor:
        self._log.needed_from = self._log.count
        numbers = {name: value for name, value in vars(self._form).items() if _is_number(value)}
        return Anchor(
            self._log.count,
            {name: _copied(value) for name, value in numbers.items()},
            self._generators().read(),
            self._counts(),
        )

    def _generators(self) -> RandomStates:
        if self._randomness is None:
            self._randomness = RandomStates(self._form)
        return self._randomness


def _steps_between_looks(actions: NDArray[Any]) -> int:
    """Steps whose actions [N, ...] take little room."""
    return min(FIRST_STEPS, max(FIRST_BYTES // max(actions.nbytes, 1), 1))


def _is_number(value: object) -> bool:
    """Whether a value is a number, or an array of numbers, that any machine can hold."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
    return isinstance(value, bool | int | float)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _alike(now: object, then: object) -> bool:
    """Whether a number of a form can have taken the place of another one."""
    if isinstance(now, np.ndarray) and isinstance(then, np.ndarray):
        return (now.dtype, now.shape) == (then.dtype, then.shape)
    return type(now) is type(then)
