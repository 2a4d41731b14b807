"""The random generators inside an object, and what they are about to draw, as plain data."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import gymnasium
import numpy as np

MOST_PARTS = 1_000
"""Parts of an object that are searched for generators."""
LONGEST = 100
"""Entries of a list or dict beyond which it is taken for data and not searched."""

_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_NOT_SEARCHED = (
    type,
    ModuleType,
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    np.ndarray,
    gymnasium.Space,  # vector environments make generators in them, which nothing is drawn from
)


class RandomStates:
    """The generators of numpy and Python that an object holds, itself or in its parts.

    Where they are is looked for once, and what is there whenever it is asked for: a generator may
    be replaced by another one in its place.

    Args:
        root: the object; nothing of it is called.
    """

    def __init__(self, root: object) -> None:
        self._places = dict(_places(root))

    def read(self) -> dict[str, Any]:
        """The state of every generator by its place, as JSON can hold it."""
        states = {}
        for path, (holder, key) in self._places.items():
            with suppress(LookupError):  # it is gone, like whatever it was for
                if isinstance(holder[key], _GENERATORS):
                    states[path] = _state(holder[key])
        return states

    def write(self, states: Mapping[str, Any]) -> None:
        """Give every generator the state that was read in its place.

        Raises:
            LookupError: there is no generator in one of the places.
            ValueError: the one there is of another kind.
            TypeError: the same.
        """
        for path, state in states.items():
            holder, key = self._places[path]
            _set_state(holder[key], state)


def _places(root: object) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Every generator's path from the root, with what holds it there and under which key."""
    seen = {id(root)}
    waiting: deque[tuple[str, Any]] = deque([("", root)])
    while waiting and len(seen) < MOST_PARTS:
        path, part = waiting.popleft()
        holder = part if isinstance(part, dict | list | tuple) else vars(part)
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in list(items):
            if id(value) in seen:
                continue
            if isinstance(value, _GENERATORS):
                seen.add(id(value))
                yield f"{path}{key}", (holder, key)
            elif _is_searched(value):
                seen.add(id(value))
                waiting.append((f"{path}{key}.", value))


def _is_searched(value: object) -> bool:
    if isinstance(value, dict | list | tuple):
        return len(value) <= LONGEST
    # asked of the type: some objects make up attributes when they are asked for them
    return bool(type(value).__dictoffset__) and not isinstance(value, _NOT_SEARCHED)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return _listed(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return _listed(generator.get_state(legacy=False))
    version, words, gauss = generator.getstate()
    return [version, list(words), gauss]


def _listed(state: Any) -> Any:
    """A bit generator's state with lists in the place of arrays."""
    if isinstance(state, dict):
        return {key: _listed(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        version, words, gauss = state
        generator.setstate((version, tuple(words), gauss))
    else:
        raise TypeError("it is no generator")
