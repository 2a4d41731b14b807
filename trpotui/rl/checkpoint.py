"""Everything needed to go on with a run: its progress, and what has been learned."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import gymnasium
import numpy as np
import torch
from torch import Tensor

import trpotui
from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.rl.policy import Score

FORMAT, VERSION = "trpotui-checkpoint", 2

MAY_CHANGE = (
    "total_steps",
    "total_episodes",
    "stop_when_solved",
    "checkpoint_seconds",
    "checkpoint_updates",
    "env_workers",
    "env_timeout",
)
"""Fields of a run that may be others when it is resumed: they do not change what it does."""
NOT_THE_RUN = ("preset", "device", "torch_threads")
"""Fields that say where the values came from, or where they are computed."""


@dataclass
class Progress:
    """How far a run is. Every field goes into its checkpoints under its own name."""

    update: int = 0
    steps: int = 0
    episodes: int = 0
    seconds: float = 0.0
    """Of training and evaluating; pauses are left out."""
    score: Score | None = None
    """Of the policy as it is now; None until it is evaluated."""
    best: Score | None = None
    solved: bool = False
    """By any evaluation."""
    just_solved: bool = False
    """By the last one."""
    owed_metrics: dict[str, Any] | None = None
    """Of the last update, when its evaluation was interrupted and has to be made again."""
    told_of_cut_off: bool = False
    """Whether it was told that episodes without an end are not waited for."""
    refused_in_a_row: int = 0
    """Updates since the last one that was not refused because a number was not finite."""
    refused: int = 0
    """All such updates."""
    live_edits: list[dict[str, Any]] = field(default_factory=list)
    """What was changed while the run went on: `update` and `values` of each time."""
    discontinuities: list[dict[str, Any]] = field(default_factory=list)
    """Where it was continued, but not as if nothing had happened: `update` and `reason`."""

    def checkpoint(
        self, learner: Mapping[str, Any], config: RunConfig, device: torch.device
    ) -> dict[str, Any]:
        """The state of a checkpoint, as plain data and tensors.

        Args:
            learner: the learner's own state.
            config: of the run.
            device: where the networks learn.
        """
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "config": _as_text(config),
            "computing": computing(device),
            "learner": learner,
            # a copy: what was kept must not follow the run
            **dataclasses.asdict(self),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """How far the run of a checkpoint was.

        Raises:
            RequestError: it is no checkpoint of a run, one of another version, or not complete.
        """
        if state.get("format") != FORMAT or state.get("format_version") != VERSION:
            raise RequestError("the checkpoint is not one that this version of trpotui wrote")
        try:
            values = {one.name: state[one.name] for one in dataclasses.fields(cls)}
            for name in ("score", "best"):
                values[name] = None if values[name] is None else Score(**values[name])
            for name in ("live_edits", "discontinuities"):
                values[name] = list(values[name])
        except (KeyError, TypeError) as error:
            raise RequestError(f"the checkpoint is not complete: {error}") from error
        return cls(**values)


def check_same_run(state: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse a configuration that would make another run of the one in a checkpoint.

    Raises:
        RequestError: it would, by the field that is named; or the checkpoint is not complete.
    """
    try:
        then: dict[str, Any] = json.loads(state["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"the checkpoint is not complete: {error}") from error
    now: dict[str, Any] = json.loads(_as_text(config))
    # a hyperparameter that came later: the run is gone on with as it is by default
    usual = dataclasses.asdict(type(config.hyperparameters)())
    then, now = {**json.loads(json.dumps(usual)), **_flat(then)}, _flat(now)
    for name in [*now, *then]:
        if name in (*MAY_CHANGE, *NOT_THE_RUN) or now.get(name) == then.get(name):
            continue
        raise RequestError(
            f"{name} is {now.get(name)}, but {then.get(name)} where the run is to go on: "
            "that would be another run"
        )


def computing(device: torch.device) -> dict[str, str]:
    """What the last bits of a run's numbers depend on beside its configuration."""
    return {
        "trpotui": trpotui.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "device": str(device),
        "torch threads": str(torch.get_num_threads()),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
    }


def computed_otherwise(state: Mapping[str, Any], device: torch.device) -> str | None:
    """Why a checkpoint's run cannot be expected to go on with the same bits; None if it can.

    Args:
        state: of the checkpoint.
        device: where the networks learn now.
    """
    then, now = state["computing"], computing(device)
    changes = [
        f"{name} is {now.get(name)} and was {then.get(name)}"
        for name in sorted({*then, *now})
        if now.get(name) != then.get(name)
    ]
    return ", ".join(changes) or None


def _as_text(config: RunConfig) -> str:
    # repr: from a program that trains, an argument of the environment may be anything
    return json.dumps(dataclasses.asdict(config), default=repr)


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a run and its hyperparameters side by side."""
    return {**config.pop("hyperparameters"), **config}


def as_tensors(tree: Any) -> Any:
    """Plain data with tensors in the place of its arrays, as a checkpoint holds it."""
    if isinstance(tree, Mapping):
        return {key: as_tensors(value) for key, value in tree.items()}
    if isinstance(tree, np.ndarray | np.generic):
        return torch.from_numpy(np.array(tree))
    return tree


def as_arrays(tree: Any) -> Any:
    """The inverse of `as_tensors`."""
    if isinstance(tree, Mapping):
        return {key: as_arrays(value) for key, value in tree.items()}
    return tree.numpy() if isinstance(tree, Tensor) else tree
