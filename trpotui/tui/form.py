"""The fields of the app's forms: what text in them stands for, and what is wrong with it.

Nothing here knows a widget; labels, ranges and help come from the configuration's own fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from trpotui.config import (
    FIXED_WHILE_RUNNING,
    RunConfig,
    SharedHyperparameters,
    describe_range,
    field_names,
)
from trpotui.errors import RequestError
from trpotui.run_request import NOT_SETTINGS

IN_SETUP = (*NOT_SETTINGS, "total_steps", "n_envs")
"""Fields of a run that stand in the setup, or nowhere, and so not among the hyperparameters."""

_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([ ,_'\u2019\u00a0\u202f])\d{3})(?:\1\d{3})*")


def ungrouped(text: str) -> str:
    """`text` without its thousands separators, where it is a number written with them."""
    text = text.strip()
    match = _GROUPED.fullmatch(text)
    return text.replace(match.group(1), "") if match else text


def parse(cls: type[Any], name: str, value: object) -> Any:
    """The value that text in a field stands for.

    Args:
        cls: `RunConfig` or a hyperparameter dataclass, all of whose fields have a default.
        name: of a field of it.
        value: text as it was typed, or a value.

    Raises:
        RequestError: what is wrong, in as few words as fit under a field.
    """
    info: FieldInfo = cls.__pydantic_fields__[name]
    if isinstance(value, str) and info.annotation in (int, float):
        value = ungrouped(value)
    try:
        return getattr(cls(**{name: value}), name)
    except ValidationError as error:
        first = error.errors()[0]
    if first["type"] == "string_pattern_mismatch":
        raise RequestError(f"is not known; {info.description}")
    raise RequestError(first["msg"].removeprefix("Input ").partition(",")[0])


def text_of(value: object) -> str:
    """How a value stands in a field: what `parse` makes the value of again."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def choices(cls: type[Any], name: str) -> tuple[str, ...]:
    """The texts that a field of a few values may have; empty for one of many."""
    annotation = cls.__pydantic_fields__[name].annotation
    if annotation is bool:
        return ("true", "false")
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    return ()


def range_text(cls: type[Any], name: str) -> str:
    """The range of a field, e.g. `> 0, ≤ 10`; empty when it has none or is a choice."""
    return describe_range(cls.__pydantic_fields__[name]).replace("<=", "≤").replace(">=", "≥")


def meaning(cls: type[Any], name: str) -> str:
    """What a field is for."""
    return str(cls.__pydantic_fields__[name].description)


@dataclasses.dataclass(frozen=True)
class Group:
    """Fields that stand together in a form."""

    title: str
    cls: type[Any]
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What a dialog asks for."""

    title: str
    base_name: str
    """What the values that were not changed come from: the name of a preset, or `now`."""
    base: Mapping[str, Any]
    """By name, in the order of the groups."""
    groups: tuple[Group, ...]
    values: Mapping[str, object]
    """Those that differ from the base when the form opens, as text or value."""


def setup_form(config: RunConfig, settings: Mapping[str, object]) -> Form:
    """The hyperparameters of a run that is being set up, and what else a run may be told.

    Args:
        config: the run as its preset has it.
        settings: what is asked for instead.
    """
    rest = tuple(name for name in field_names(RunConfig) if name not in IN_SETUP)
    groups = (*_groups(config, fixed=True), Group("Run", RunConfig, rest))
    return Form(
        title=f"Hyperparameters of {config.algorithm.upper()}",
        base_name=config.preset,
        base=_values(groups, config, {}),
        groups=groups,
        values=settings,
    )


def live_form(config: RunConfig, changed: Mapping[str, Any]) -> Form:
    """What may be changed while a run goes on.

    Args:
        config: the run as it began.
        changed: what was changed since then, with its latest value.
    """
    groups = (Group("Run", RunConfig, ("total_steps",)), *_groups(config, fixed=False))
    return Form(
        title="Change the run that goes on",
        base_name="now",
        base=_values(groups, config, changed),
        groups=groups,
        values={},
    )


def _groups(config: RunConfig, *, fixed: bool) -> tuple[Group, ...]:
    """The algorithm's own fields, those of its critic, and those that all algorithms share."""
    cls = type(config.hyperparameters)
    names = [name for name in field_names(cls) if fixed or name not in FIXED_WHILE_RUNNING]
    shared = field_names(SharedHyperparameters)
    critic = tuple(name for name in names if name in shared and name.startswith("critic"))
    return (
        Group(config.algorithm.upper(), cls, tuple(name for name in names if name not in shared)),
        Group(
            "Rollout, advantages and networks" if fixed else "Advantages",
            cls,
            tuple(name for name in names if name in shared and name not in critic),
        ),
        Group("Critic", cls, critic),
    )


def _values(
    groups: tuple[Group, ...], config: RunConfig, changed: Mapping[str, Any]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for group in groups:
        holder = config if group.cls is RunConfig else config.hyperparameters
        values |= {name: changed.get(name, getattr(holder, name)) for name in group.names}
    return values


def class_of(form: Form, name: str) -> type[Any]:
    """The dataclass that a field of a form belongs to."""
    return next(group.cls for group in form.groups if name in group.names)


def differs(form: Form, name: str, value: object) -> bool:
    """Whether a value, or the text of one, is another than the base's; a wrong one is."""
    try:
        return bool(parse(class_of(form, name), name, value) != form.base[name])
    except RequestError:
        return True
