"""Hyperparameters by name: tuned ones, and those of experiments that others have published.

A TOML file names its environments and holds a table for each preset and algorithm:

    environments = ["CartPole-v1"]

    [tuned.trpo]
    n_envs = 16
    max_kl = 0.03

An environment may stand in several files, with presets of different names. The keys are those of
`trpotui.config.RunConfig` and of the algorithm's hyperparameters.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from trpotui.config import did_you_mean
from trpotui.errors import RequestError

DEFAULT = "default"
"""The preset without values of its own: every field as its dataclass declares it."""
TUNED = "tuned"
"""What a run gets when none is named, where the environment has one for the algorithm."""


def preset_names(environment_id: str, algorithm: str) -> list[str]:
    """The presets that exist for an environment and algorithm, `default` first."""
    tables = _tables(environment_id)
    return [DEFAULT, *(name for name, table in tables.items() if algorithm in table)]


def load_preset(
    environment_id: str, algorithm: str, name: str | None
) -> tuple[str, Mapping[str, Any]]:
    """A preset's name and its values.

    Args:
        environment_id: what is to be trained on.
        algorithm: name in the registry.
        name: of the preset; None chooses `tuned` where there is one, else `default`.

    Raises:
        RequestError: there is no preset of that name; the sentence lists those there are.
    """
    names = preset_names(environment_id, algorithm)
    if name is None:
        name = TUNED if TUNED in names else DEFAULT
    if name not in names:
        raise RequestError(
            f"unknown preset '{name}' for {algorithm} on {environment_id}"
            f"{did_you_mean(name, names)} (there are: {', '.join(names)})"
        )
    return name, {} if name == DEFAULT else _tables(environment_id)[name][algorithm]


def _tables(environment_id: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The presets of an environment: name to algorithm to values."""
    return {
        name: tables
        for content in _files()
        if environment_id in content["environments"]
        for name, tables in content.items()
        if name != "environments"
    }


@cache
def _files() -> list[dict[str, Any]]:
    """All of them, read once: forms ask anew at every key."""
    return [
        tomllib.loads(entry.read_text(encoding="utf-8"))
        for entry in sorted(resources.files(__name__).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    ]
