"""From what a person asked for to the configuration of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from trpotui.config import RunConfig, SharedHyperparameters, build, did_you_mean, field_names
from trpotui.errors import RequestError
from trpotui.presets import load_preset
from trpotui.rl.algorithms import load_algorithm

NOT_SETTINGS = {
    "algorithm": "--algo",
    "environment_id": "--env",
    "device": "--device",
    "seed": "--seed",
    "preset": "--preset",
    "hyperparameters": "--set",
    "environment_kwargs": "--env-set",
}
"""Fields of a run that have an option of their own and are no `--set` keys."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What was asked for; None leaves the choice to the preset or to the field's default."""

    algorithm: str = "trpo"
    environment_id: str = "CartPole-v1"
    environment_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    device: str | None = None
    seed: int | None = None
    total_steps: int | None = None
    n_envs: int | None = None
    preset: str | None = None
    stop_when_solved: bool | None = None
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Names of hyperparameters, or of fields of the run, to values (text is converted)."""


def make_config(request: RunRequest) -> RunConfig:
    """Preset values, overridden by what was asked for, validated.

    Raises:
        RequestError: an unknown algorithm, preset or setting (with the nearest real name), or a
            value out of range.
    """
    hyperparameter_type = load_algorithm(request.algorithm).hyperparameter_type
    preset, values = load_preset(request.environment_id, request.algorithm, request.preset)
    run_values, hyper_values = _split({**values, **request.settings}, hyperparameter_type, request)
    asked = {
        name: value
        for name in ("device", "seed", "total_steps", "n_envs", "stop_when_solved")
        if (value := getattr(request, name)) is not None
    }
    return build(
        RunConfig,
        {
            **run_values,
            **asked,
            "algorithm": request.algorithm,
            "environment_id": request.environment_id,
            "environment_kwargs": dict(request.environment_kwargs),
            "preset": preset,
            "hyperparameters": build(hyperparameter_type, hyper_values, what="hyperparameter"),
        },
        what="setting",
    )


def config_from_dict(data: Mapping[str, Any]) -> RunConfig:
    """A configuration that was saved with `dataclasses.asdict`.

    Raises:
        RequestError: it is not one, or not of this version's fields.
    """
    hyperparameter_type = load_algorithm(str(data.get("algorithm"))).hyperparameter_type
    hyperparameters = data.get("hyperparameters")
    if not isinstance(hyperparameters, Mapping):
        raise RequestError("the saved configuration has no hyperparameters")
    return build(
        RunConfig,
        {
            **data,
            "hyperparameters": build(
                hyperparameter_type, hyperparameters, what="saved hyperparameter"
            ),
        },
        what="saved setting",
    )


def _split(
    values: Mapping[str, object],
    hyperparameter_type: type[SharedHyperparameters],
    request: RunRequest,
) -> tuple[dict[str, object], dict[str, object]]:
    """Values of the run's own fields, and of its hyperparameters."""
    run_names = [name for name in field_names(RunConfig) if name not in NOT_SETTINGS]
    hyper_names = field_names(hyperparameter_type)
    run_values, hyper_values = {}, {}
    for name, value in values.items():
        if name in hyper_names:
            hyper_values[name] = value
        elif name in run_names:
            run_values[name] = value
        elif name in NOT_SETTINGS:
            raise RequestError(f"{name} is not a hyperparameter: use {NOT_SETTINGS[name]}")
        else:
            raise RequestError(
                f"unknown hyperparameter '{name}' of {request.algorithm}"
                f"{did_you_mean(name, [*hyper_names, *run_names])}"
            )
    return run_values, hyper_values
