"""Checks of single values from a stranger: exact types, bounded sizes, finite numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray

MAX_DEPTH = 32
MAX_ITEMS = 1_000_000
MAX_TEXT, MAX_CHARACTERS = 10_000, 1_000_000
MAX_INTEGER = 2**63

Fields = Mapping[str, tuple[type, ...]]
"""The keys that a dict must have, no more and no fewer, and the exact types of their values."""


class RefusedError(Exception):
    """Why a file is refused, as the rest of a sentence that begins with the file's name."""


def shown(text: object, *, most: int = 80) -> str:
    """Text of unknown origin as it may be shown: printable, without markup, and not long."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in str(text)[: most + 1])
    harmless = printable.translate(str.maketrans("[]", "()"))
    return harmless if len(harmless) <= most else harmless[: most - 3] + "..."


def foreign(reason: str) -> NoReturn:
    """Refuse a file that no version of this program has written."""
    raise RefusedError(f"is not a policy file: {reason}")


def too_large() -> NoReturn:
    """Refuse a file whose reading would take more memory than any policy needs."""
    raise RefusedError("is not a policy file: it is larger than any policy may be")


def malformed(name: str, what: str) -> NoReturn:
    """Refuse a policy file in which the value called `name` is not as it should be."""
    raise RefusedError(f"is damaged: its {name} {what}")


def check_extent(content: object) -> None:
    """Bound depth, size and texts before anything recurses; a cycle is deeper than any bound."""
    levels: list[Iterator[object]] = [iter([content])]
    items = characters = 0
    while levels:
        for value in levels[-1]:
            items += 1
            if isinstance(value, str):
                characters += len(value)
                _check_text(value)
                if characters > MAX_CHARACTERS:
                    too_large()
            elif isinstance(value, dict | list | tuple):
                levels.append(iter(_parts(value)))
                break
        else:
            levels.pop()
        if len(levels) > MAX_DEPTH:
            foreign("its content is nested too deeply")
        if items > MAX_ITEMS:
            too_large()


def _parts(value: dict[object, object] | list[object] | tuple[object, ...]) -> Iterable[object]:
    return itertools.chain(value.keys(), value.values()) if isinstance(value, dict) else value


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT:
        too_large()
    if not text.replace("\n", " ").replace("\t", " ").isprintable():
        foreign("it holds control characters")


def check_fields(value: dict[str, Any], fields: Fields, name: str) -> dict[str, Any]:
    """The same dict, which has exactly these keys with values of exactly these types."""
    for key in fields:
        if key not in value:
            malformed(name, f"lacks '{key}'")
    for key in value:
        if key not in fields:
            malformed(name, f"has the unknown key '{shown(key)}'")
    for key, types in fields.items():
        # not isinstance: True is no number of steps, and a subclass no tensor
        if type(value[key]) not in types:
            malformed(f"{name}.{key}", f"is of type {type(value[key]).__name__}")
    return value


def check_integer(value: object, name: str, *, least: int, most: int) -> None:
    """`value` is exactly an int between two bounds, which it may reach."""
    if type(value) is not int or not least <= value <= most:
        malformed(name, f"is not a whole number from {least} to {most}")


def check_number(value: float, name: str, *, least: float = -math.inf) -> None:
    """`value` is finite and not below `least`."""
    if not (math.isfinite(value) and value >= least):
        malformed(name, "is not finite" if least == -math.inf else f"is not a number >= {least:g}")


def check_plain(value: object, name: str) -> None:
    """`value`, whose depth is bounded, is what JSON can express, exactly."""
    if type(value) is dict:
        for key, part in value.items():
            if type(key) is not str:
                malformed(name, "has a key that is no text")
            check_plain(part, name)
    elif type(value) is list:
        for part in value:
            check_plain(part, name)
    elif type(value) is float:
        check_number(value, name)
    elif type(value) is int:
        check_integer(value, name, least=-MAX_INTEGER, most=MAX_INTEGER)
    elif value is not None and type(value) not in (bool, str):
        malformed(name, f"holds a {type(value).__name__}, which is no plain value")


def checked_array(
    tensor: object, name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> NDArray[Any]:
    """An array of its own with the values of an ordinary tensor.

    The storage must hold these elements and no others: a tensor of 10^12 elements fits into four
    bytes when its stride is 0.
    """
    if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided:
        malformed(name, "is not an ordinary tensor")
    if tensor.device.type != "cpu" or tensor.requires_grad or tensor.is_neg():
        malformed(name, "is not an ordinary tensor")
    if tensor.dtype is not dtype:
        malformed(name, f"is of type {tensor.dtype} instead of {dtype}")
    if tuple(tensor.shape) != shape:
        malformed(name, f"has the shape {shown(tuple(tensor.shape))} instead of {shape}")
    stored = tensor.untyped_storage().nbytes()
    if not tensor.is_contiguous() or tensor.numel() * tensor.element_size() != stored:
        malformed(name, "does not hold its elements one after the other")
    if not bool(torch.isfinite(tensor).all()):
        malformed(name, "holds a number that is not finite")
    array: NDArray[Any] = tensor.numpy().copy()
    return array
