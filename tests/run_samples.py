"""Directories of runs that never happened, as real ones leave them; no torch beyond what writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trpotui.config import RunConfig
from trpotui.events import EvaluationFinished, Event, UpdateFinished, metrics_row
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.run_directory import RunDirectory
from trpotui.run_log import log_line

STARTED = datetime(2026, 11, 20, 8, 15, tzinfo=UTC)
CONFIG = RunConfig(
    seed=3,
    total_steps=97 * 1024,  # as the scripted run has it
    hyperparameters=TrpoHyperparameters(rollout_steps=64),
)


def config_with(**changes: Any) -> RunConfig:
    """The configuration with other settings, hyperparameters among them."""
    names = {field.name for field in dataclasses.fields(CONFIG.hyperparameters)}
    hyperparameters = dataclasses.replace(
        CONFIG.hyperparameters, **{name: changes[name] for name in names & changes.keys()}
    )
    rest = {name: changes[name] for name in changes.keys() - names}
    return dataclasses.replace(CONFIG, hyperparameters=hyperparameters, **rest)


def make_run(
    runs: Path,
    events: Iterable[Event] = (),
    *,
    config: RunConfig = CONFIG,
    started: datetime = STARTED,
    files: Iterable[str] = (),
) -> Path:
    """A directory of a run that nobody writes to, with metrics and log; `files` are empty."""
    path = RunDirectory.default_path(runs, config, started)
    with RunDirectory.create(path, config) as directory:
        record(directory, events)
    for name in files:
        (path / name).touch()
    return path


def record(directory: RunDirectory, events: Iterable[Event]) -> None:
    """Write down events as a run does."""
    events = list(events)
    for index, event in enumerate(events):
        if isinstance(event, UpdateFinished):
            after = events[index + 1] if index + 1 < len(events) else None
            evaluation = after if isinstance(after, EvaluationFinished) else None
            directory.append_metrics(metrics_row(event, evaluation))
        elif (line := log_line(event)) is not None:
            directory.log(line.text)
