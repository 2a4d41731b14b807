"""A person's keys as an environment's actions, so that the problem can be felt and raced.

Keys go by the names that pygame gives them: left, right, up, down, space, 1, a.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.rl.spaces import ActionDecoder
from trpotui.viewing.names import action_names, base_name

SECONDS_TO_FULL = 0.3
"""For which a key is held until a continuous action is at its bound: a tap is a nudge."""

MOST_CHOICES = 9
"""Choices of an environment that is not in the tables: one digit each."""

_CHOICES: dict[str, dict[str, int]] = {
    "CartPole": {"left": 0, "right": 1},
    "MountainCar": {"left": 0, "right": 2},
    "Acrobot": {"left": 0, "right": 2},
    "LunarLander": {"left": 1, "up": 2, "right": 3},
    "FrozenLake": {"left": 0, "down": 1, "right": 2, "up": 3},
    "CliffWalking": {"up": 0, "right": 1, "down": 2, "left": 3},
    "Taxi": {"down": 0, "up": 1, "right": 2, "left": 3, "1": 4, "2": 5},
}
"""Keys of well-known environments, and the actions that they stand for, counted from 0."""

_IDLE = {"MountainCar": 1, "Acrobot": 1, "LunarLander": 0}
"""What is done while no key is held; elsewhere it is the last action once more."""

_TURN_BASED = {"FrozenLake", "CliffWalking", "Taxi", "Blackjack"}
"""They stand still until a key is pressed."""

_AXES = {"LunarLanderContinuous": (("down", "up"), ("left", "right"))}
_DEFAULT_AXES = (("left", "right"), ("down", "up"))
"""Keys for less and for more of each dimension of a continuous action."""


class HandControl:
    """What a person does with the keys, step after step.

    Args:
        environment_id: whose actions are wanted.
        space: of them.
        fps: environment steps per second at the speed of a person, for how fast a held key tells.

    Raises:
        RequestError: the actions are of a kind that keys cannot give.
    """

    def __init__(self, environment_id: str, space: spaces.Space[Any], *, fps: float) -> None:
        self._space = space
        self._name = base_name(environment_id)
        self._held: list[str] = []  # the last one pressed wins
        self._tapped = ""
        self._change = 1 / max(1.0, SECONDS_TO_FULL * fps)
        self._choices: dict[str, int] = {}
        self._axes: tuple[tuple[str, str], ...] = ()
        if isinstance(space, spaces.Discrete) and (
            self._name in _CHOICES or space.n <= MOST_CHOICES
        ):
            digits = {str(index + 1): index for index in range(min(int(space.n), MOST_CHOICES))}
            self._choices = _CHOICES.get(self._name, digits)
        elif isinstance(space, spaces.Box) and int(np.prod(space.shape)) <= len(_DEFAULT_AXES):
            self._decoder = ActionDecoder(space)
            self._axes = _AXES.get(self._name, _DEFAULT_AXES)[: self._decoder.size]
        else:
            raise RequestError(
                f"{environment_id} cannot be played by hand: keys can give one of "
                f"{MOST_CHOICES} choices or two numbers, not {space}"
            )
        self.legend = self._legend(environment_id)
        """The keys and what they do, on one line."""
        self.reset()

    @property
    def is_awaited(self) -> bool:
        """Whether the environment stands still until a key is pressed."""
        return self._name in _TURN_BASED and not self._tapped

    @property
    def is_pressed(self) -> bool:
        """Whether a key was pressed since the last action."""
        return bool(self._tapped)

    def knows(self, key: str) -> bool:
        """Whether a key is one of these."""
        return key in self._choices or any(key in axis for axis in self._axes)

    def press(self, key: str) -> None:
        """A key went down."""
        if self.knows(key):
            self._tapped = key
            if key not in self._held:
                self._held.append(key)

    def release(self, key: str) -> None:
        """A key went up."""
        if key in self._held:
            self._held.remove(key)

    def reset(self) -> None:
        """Another episode begins; keys that are held stay so."""
        self._levels = np.zeros(len(self._axes))
        self._last = _IDLE.get(self._name, 0)
        self._tapped = ""

    def action(self) -> Any:
        """What to do now, as the environment takes it; a tap between two steps counts."""
        tapped, self._tapped = self._tapped, ""
        if self._axes:
            return self._drive(tapped)
        key = tapped or (self._held[-1] if self._held else "")
        if key:
            self._last = self._choices[key]
        elif self._name in _IDLE:
            self._last = _IDLE[self._name]
        return self._last + int(self._space.start)  # type: ignore[attr-defined]

    def _drive(self, tapped: str) -> Any:
        held = {*self._held, tapped}
        for index, (less, more) in enumerate(self._axes):
            towards = (more in held) - (less in held)
            level = self._levels[index]
            if towards * level < 0:  # the other way: through the middle at once
                level = 0.0
            change = min(max(towards - level, -self._change), self._change)
            self._levels[index] = level + change
        return self._decoder.decode(self._levels[None].astype(np.float32))[0]

    def _legend(self, environment_id: str) -> str:
        names = action_names(environment_id, self._space)
        if self._axes:
            pairs = [
                f"{names[index]}: {less} and {more}"
                for index, (less, more) in enumerate(self._axes)
            ]
            return ", ".join([*pairs, "hold for more"])
        return "keys: " + ", ".join(
            key if key == names[index] else f"{key} for {names[index]}"
            for key, index in self._choices.items()
        )
