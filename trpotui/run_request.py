"""From what a person asked for to the configuration of a run."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from trpotui.config import (
    BESIDE_CONFIG,
    RunConfig,
    SharedHyperparameters,
    build,
    did_you_mean,
    field_names,
)
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


def command_for(request: RunRequest) -> str:
    """The command that trains what `request` asks for without the app, quoted for a shell.

    Only what changes the configuration is in it: not what the presets or defaults say anyway.

    Raises:
        RequestError: as `make_config`.
    """
    config = make_config(request)
    for name in ("device", "seed", "total_steps", "n_envs", "stop_when_solved", "preset"):
        without: dict[str, Any] = {name: None}
        shorter = dataclasses.replace(request, **without)
        request = shorter if _makes(shorter, config) else request
    for name in request.settings:
        rest = {key: value for key, value in request.settings.items() if key != name}
        shorter = dataclasses.replace(request, settings=rest)
        request = shorter if _makes(shorter, config) else request
    return shlex.join(["trpotui", "train", "--no-ui", *_options(request)])


def _makes(request: RunRequest, config: RunConfig) -> bool:
    try:
        return make_config(request) == config
    except RequestError:  # without its preset, say
        return False


def _options(request: RunRequest) -> Iterator[str]:
    """The options of `trpotui train` that ask for the same."""
    default = RunRequest()
    if request.algorithm != default.algorithm:
        yield from ("--algo", request.algorithm)
    if request.environment_id != default.environment_id:
        yield from ("--env", request.environment_id)
    for name, value in request.environment_kwargs.items():
        yield from ("--env-set", f"{name}={_json_or_text(value)}")
    options = {
        "--preset": request.preset,
        "--device": request.device,
        "--seed": request.seed,
        "--steps": request.total_steps,
        "--n-envs": request.n_envs,
    }
    for option, value in options.items():
        if value is not None:
            yield from (option, str(value))
    if request.stop_when_solved is not None:
        yield f"--{'' if request.stop_when_solved else 'no-'}stop-when-solved"
    for name, setting in request.settings.items():
        yield from ("--set", f"{name}={_setting(setting)}")


def _json_or_text(value: object) -> str:
    """A value as JSON, or as it is where it is text that no one would take for JSON."""
    if isinstance(value, str) and value == value.strip():
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)


def _setting(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def config_from_dict(data: Mapping[str, Any]) -> RunConfig:
    """A configuration that was saved with `dataclasses.asdict`, as the run began.

    What lies beside it, as what was changed while it went on, is left aside.

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
            **{key: value for key, value in data.items() if key not in BESIDE_CONFIG},
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
