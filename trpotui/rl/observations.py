"""What an environment hands out to be observed: its parts, its checks, and rows taken of it.

Legend: N environments, D observation features.

A Dict or Tuple observation is a tree whose leaves are arrays; of any other space it is one array.
What several environments hand out together has the same form, with N first in every leaf. A leaf
is named by its way from the root: `observation.camera.0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.errors import RequestError

Observations: TypeAlias = "NDArray[Any] | tuple[Observations, ...] | dict[str, Observations]"
Path = tuple[str | int, ...]
"""Keys and positions that lead to a leaf from the root."""

SUPPORTED = (
    "observations may be Box, Discrete, MultiDiscrete, MultiBinary, or a Tuple or Dict of these; "
    "actions Discrete, MultiDiscrete, MultiBinary, or Box of floats"
)
LARGEST_SQUARE = float(np.finfo(np.float32).max) ** 2
"""A sum of squares below it is of numbers that float32 can hold, and of none that is not finite."""
MOST_FEATURES = 250_000
"""Features of an observation, and network outputs for an action."""
MOST_LEVELS, MOST_PARTS = 8, 1_000
"""How deep Tuple and Dict may be nested, and how many arrays they may hold in all."""


class UnfitObservationError(Exception):
    """An observation is not of its space.

    Args:
        name: of the leaf.
        what: is the matter with it, as the rest of a sentence.
    """

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} {what}")
        self.name = name
        self.what = what


@dataclass(frozen=True)
class Leaf:
    """A part of an observation that is one array, and its columns among the D features."""

    path: Path
    space: spaces.Space[Any]
    columns: slice

    def of(self, observations: Observations) -> NDArray[Any]:
        """This part of observations [N, ...]."""
        part: Any = observations
        for key in self.path:
            part = part[key]
        return np.asarray(part)


def leaves_of(space: spaces.Space[Any]) -> tuple[Leaf, ...]:
    """The leaves of an observation space, in the order of gymnasium's own flattening.

    Raises:
        RequestError: a part of the space is of another kind, empty, too large or nested too deeply.
    """
    try:
        parts = list(_walk(space, ()))
        ends = list(accumulate(feature_count(part) for _, part in parts))
        _check_size(len(parts), ends[-1])
    except ValueError as refusal:
        raise RequestError(
            f"observation space {one_line(space)} is not supported: {refusal}{SUPPORTED}"
        ) from None
    return tuple(
        Leaf(path, part, slice(end - feature_count(part), end))
        for (path, part), end in zip(parts, ends, strict=True)
    )


def _check_size(parts: int, features: int) -> None:
    if parts > MOST_PARTS:
        raise ValueError(f"it has more than {MOST_PARTS:,} parts; ")
    if features > MOST_FEATURES:
        raise ValueError(f"it has more than {MOST_FEATURES:,} features; ")


def _walk(space: spaces.Space[Any], path: Path) -> Iterator[tuple[Path, spaces.Space[Any]]]:
    name = f"its part {'.'.join(map(str, path))}" if path else "it"
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        if not feature_count(space):
            raise ValueError(f"{name} is {one_line(space)}; " if path else "")
        yield path, space
        return
    if len(path) == MOST_LEVELS:
        raise ValueError(f"it is nested more than {MOST_LEVELS} deep; ")
    if not space.spaces:
        raise ValueError(f"{name} is empty; ")
    for key, part in parts_of(space):
        if isinstance(space, spaces.Dict) and not (isinstance(key, str) and key.isprintable()):
            raise ValueError(f"{name} has the key {key!r}, which is no plain text; ")
        yield from _walk(part, (*path, key))


def parts_of(
    space: spaces.Dict[Any] | spaces.Tuple[Any],
) -> Iterator[tuple[str | int, spaces.Space[Any]]]:
    """Key or position and space of every part of a composite space, in their order."""
    return iter(space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def feature_count(space: spaces.Space[Any]) -> int:
    """Features of a leaf; 0 where it is not supported, or has no elements."""
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum(dtype=np.float64))
    return 0


def one_line(space: spaces.Space[Any]) -> str:
    """A space as text without line breaks, which numpy puts into long arrays."""
    text = " ".join(str(space).split())
    return text if len(text) <= 300 else text[:297] + "..."


# taking parts of what was observed


def mapped(function: Callable[..., NDArray[Any]], *trees: Observations) -> Observations:
    """`function` of the corresponding leaves of observations of one form, in the same form."""
    forms: tuple[Any, ...] = trees
    if isinstance(forms[0], tuple):
        return tuple(mapped(function, *parts) for parts in zip(*forms, strict=True))
    if isinstance(forms[0], dict):
        return {key: mapped(function, *(form[key] for form in forms)) for key in forms[0]}
    return function(*forms)


def take(observations: Observations, indices: Any) -> Observations:
    """The observations of some of N environments; one of them for a single number."""
    return mapped(lambda leaf: leaf[indices], observations)


def batched(observation: Observations) -> Observations:
    """The observation of one environment as a batch of one."""
    return mapped(lambda leaf: np.asarray(leaf)[None], observation)


def chosen(mask: NDArray[np.bool_], first: Observations, second: Observations) -> Observations:
    """Of N environments each, the first observations where the mask [N] says so, or the second."""

    def rows(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
        return np.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return mapped(rows, first, second)


def put(observations: Observations, index: int | slice, observation: Observations) -> None:
    """Overwrite the observation of one of N environments, or of several."""

    def written(rows: NDArray[Any], row: NDArray[Any]) -> NDArray[Any]:
        rows[index] = row
        return rows

    mapped(written, observations, observation)


# checks

LeafCheck = Callable[[spaces.Space[Any], object, str], NDArray[Any]]
"""The array of a leaf that is fit, given its space, what was found and its name."""


def checked(
    space: spaces.Space[Any], observation: object, check: LeafCheck, name: str = "observation"
) -> Observations:
    """An observation, of one environment or of several, in the form of its space.

    Args:
        space: of the observation.
        observation: as an environment hands it out.
        check: of each leaf: `check_row` or `check_rows`.
        name: of the observation.

    Raises:
        UnfitObservationError: its form is another; or from `check`.
    """
    check_form(space, observation, name)
    found: Any = observation
    if isinstance(space, spaces.Dict):
        return {
            key: checked(part, found[key], check, f"{name}.{key}")
            for key, part in space.spaces.items()
        }
    if isinstance(space, spaces.Tuple):
        return tuple(
            checked(part, found[index], check, f"{name}.{index}")
            for index, part in enumerate(space.spaces)
        )
    return check(space, observation, name)


def check_form(space: spaces.Space[Any], observation: object, name: str) -> None:
    """Refuse what has other parts than a composite space.

    Raises:
        UnfitObservationError: it has.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, Mapping) or observation.keys() != space.spaces.keys():
            raise UnfitObservationError(name, f"is no dict of {', '.join(space.spaces)}")
    elif isinstance(space, spaces.Tuple):
        count = len(space.spaces)
        if not isinstance(observation, tuple | list) or len(observation) != count:
            raise UnfitObservationError(name, f"is no tuple of {count}")


def check_rows(space: spaces.Space[Any], rows: object, name: str, *, count: int) -> NDArray[Any]:
    """A leaf [N, *space.shape] that several environments handed out together.

    Raises:
        UnfitObservationError: it is not exactly an array of its space's shape, dtype and numbers.
    """
    if not isinstance(rows, np.ndarray):
        raise UnfitObservationError(name, f"is {type(rows).__name__}, no array")
    shape = space.shape or ()
    if rows.shape[:1] != (count,):
        raise UnfitObservationError(name, f"has shape {rows.shape} for {count} environments")
    if rows.shape[1:] != shape:
        raise UnfitObservationError(name, f"has shape {rows.shape[1:]}, not {shape}")
    if rows.dtype != space.dtype:
        raise UnfitObservationError(name, f"has dtype {rows.dtype}, not {space.dtype}")
    check_numbers(space, rows, name)
    return rows


def check_row(space: spaces.Space[Any], row: object, name: str) -> NDArray[Any]:
    """A leaf [*space.shape] that one environment handed out.

    Raises:
        UnfitObservationError: it is no array of its space's shape and numbers, or of a type that
            gymnasium's vector environments would not take for its space's.
    """
    try:
        array = np.asarray(row)
    except ValueError:
        raise UnfitObservationError(name, "is no array") from None
    shape = space.shape or ()
    if array.shape != shape:
        raise UnfitObservationError(name, f"has shape {array.shape}, not {shape}")
    assert space.dtype is not None
    if not np.can_cast(array.dtype, space.dtype, "same_kind"):
        raise UnfitObservationError(name, f"has dtype {array.dtype}, not {space.dtype}")
    check_numbers(space, array, name)
    return array


def check_numbers(space: spaces.Space[Any], values: NDArray[Any], name: str) -> None:
    """Refuse numbers that are not finite, or no elements of a space of whole numbers.

    A Box's bounds are not looked at: those that environments declare are often not kept.

    Args:
        space: of a leaf.
        values: [*space.shape], or [N, *space.shape].
        name: of the leaf.

    Raises:
        UnfitObservationError: there is such a number.
    """
    if isinstance(space, spaces.Box):
        if not all_finite(values):
            raise UnfitObservationError(name, "is not finite")
        return
    if isinstance(space, spaces.MultiDiscrete):
        first = space.start.astype(np.int64)
        last = first + space.nvec.astype(np.int64) - 1
        outside = (values < first) | (values > last)
        if outside.any():
            at = np.argwhere(outside)[0]
            place = tuple(at[len(at) - first.ndim :].tolist())
            raise UnfitObservationError(
                name, f"is outside {first[place]} to {last[place]} at {list(place)}"
            )
        return
    lowest, highest = 0, 1  # of MultiBinary
    if isinstance(space, spaces.Discrete):
        lowest = int(space.start)
        highest = lowest + int(space.n) - 1
    if values.min() < lowest or values.max() > highest:
        raise UnfitObservationError(name, f"is outside {lowest} to {highest}")


def all_finite(values: NDArray[Any]) -> bool:
    """Whether no value is NaN, infinite, or beyond the float32 in which the program computes."""
    if values.dtype.kind != "f":
        return True
    if float(np.vdot(values, values)) < LARGEST_SQUARE:  # at a third of the cost of looking at each
        return True
    if values.dtype != np.float32:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            values = values.astype(np.float32)
    return bool(np.isfinite(values).all())
