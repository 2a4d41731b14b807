"""Whether the description of a space in a policy file is what `describe_space` writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.policy_file.payload import BOX, DICT, DISCRETE, MULTI_BINARY, MULTI_DISCRETE, TUPLE
from trpotui.policy_file.values import (
    Fields,
    RefusedError,
    check_fields,
    check_integer,
    malformed,
    shown,
)
from trpotui.rl.observations import MOST_FEATURES, MOST_LEVELS, leaves_of
from trpotui.rl.spaces import describe_space, space_from_description

MAX_RANK = 8
MAX_START = 2**62
FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
BOX_BOUNDS: dict[str, type] = {
    **dict.fromkeys(FLOATS, float),
    **dict.fromkeys(INTEGERS, int),
    "bool": bool,
}
"""The exact type of a Box's bounds by its dtype."""
KINDS: dict[str, Fields] = {
    "Box": BOX,
    "Discrete": DISCRETE,
    "MultiDiscrete": MULTI_DISCRETE,
    "MultiBinary": MULTI_BINARY,
    "Tuple": TUPLE,
    "Dict": DICT,
}


def checked_space(description: dict[str, Any], name: str) -> spaces.Space[Any]:
    """The space that a description stands for, whose own description is the same again.

    Args:
        description: of unknown origin.
        name: of its place in the file.

    Raises:
        RefusedError: it is not exactly as `describe_space` makes it, or is too large.
    """
    _check(description, name, levels=MOST_LEVELS, features=MOST_FEATURES)
    try:
        with np.errstate(all="ignore"):
            space = space_from_description(description)
            again = describe_space(space)
            leaves_of(space)  # keys that are plain texts, and no more parts than there may be
    except (LookupError, ValueError, TypeError, OverflowError, RequestError) as error:
        raise RefusedError(f"is damaged: its {name} describes no space") from error
    if again != description:
        malformed(name, "has a type or bounds that do not fit the rest of it")
    return space


def _check(description: object, name: str, *, levels: int, features: int) -> int:
    """Check a description before anything is built of it.

    Args:
        description: of unknown origin.
        name: of its place in the file.
        levels: of Tuple and Dict that there may be from here on.
        features: that there may be from here on.

    Returns:
        The number of its features.
    """
    if type(description) is not dict:
        malformed(name, f"is of type {type(description).__name__}")
    kind = description.get("type")
    if type(kind) is not str or kind not in KINDS:
        malformed(name, f"is none of {', '.join(KINDS)}")
    fields, count = KINDS[kind], 0
    if kind == "Discrete" and "dtype" in description:
        fields = {**fields, "dtype": (str,)}
    check_fields(description, fields, name)
    if kind in ("Tuple", "Dict"):
        return _check_parts(description["parts"], name, levels=levels, features=features)
    if kind == "Discrete":
        count = description["n"]
        dtype = description.get("dtype", "int64")
        _check_choices([count], [description["start"]], dtype, name, "n")
    else:
        count = _check_shape(description["shape"], f"{name}.shape")
    if kind == "Box":
        _check_bounds(description, name)
    elif kind == "MultiDiscrete":
        counts = description["nvec"]
        _check_choices(counts, description["start"], description["dtype"], name, "nvec")
        count = sum(counts)
    check_integer(count, f"{name}'s number of features", least=1, most=features)
    return count


def _check_parts(parts: Any, name: str, *, levels: int, features: int) -> int:
    if levels == 0:
        malformed(name, f"is nested more than {MOST_LEVELS} deep")
    if not parts:
        malformed(name, "is empty")
    count = 0
    if type(parts) is dict and not all(type(key) is str for key in parts):
        malformed(name, "has a key that is no text")
    for key, part in parts.items() if type(parts) is dict else enumerate(parts):
        place = f"{name}.{shown(key, most=20)}"
        count += _check(part, place, levels=levels - 1, features=features - count)
    return count


def _check_choices(counts: list[Any], starts: list[Any], dtype: str, name: str, key: str) -> None:
    """Numbers of choices, and the numbers of the first ones, that the dtype can hold."""
    if dtype not in INTEGERS:
        malformed(f"{name}.dtype", "is not one that is supported")
    for count in counts:
        check_integer(count, f"{name}.{key}", least=1, most=MOST_FEATURES)
    for start in starts:
        check_integer(start, f"{name}.start", least=-MAX_START, most=MAX_START)


def _check_shape(shape: list[Any], name: str) -> int:
    """The number of elements of an array of this shape, which is bounded."""
    if len(shape) > MAX_RANK:
        malformed(name, f"has more than {MAX_RANK} sides")
    for side in shape:
        check_integer(side, name, least=1, most=MOST_FEATURES)
    size: int = math.prod(shape)
    check_integer(size, f"{name}'s product", least=1, most=MOST_FEATURES)
    return size


def _check_bounds(description: dict[str, Any], name: str) -> None:
    """Bounds of a Box that are exactly of the type that its dtype calls for."""
    dtype = description["dtype"]
    if dtype not in BOX_BOUNDS:
        malformed(f"{name}.dtype", "is not one that is supported")
    for bounds in (description["low"], description["high"]):
        if not all(type(bound) is BOX_BOUNDS[dtype] for bound in bounds):
            malformed(name, f"has a bound that is no {BOX_BOUNDS[dtype].__name__}")
