"""A training run whose directory keeps everything: the loop that both front ends read."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trpotui.config import RunConfig, build
from trpotui.durable import write_bytes
from trpotui.errors import RequestError, RunError, TrpotuiError
from trpotui.events import (
    Event,
    HyperparametersChanged,
    Notice,
    UpdateFinished,
)
from trpotui.rl.checkpoint import Progress
from trpotui.rl.control import Control
from trpotui.rl.store import Store
from trpotui.rl.trainer import check, train
from trpotui.run_directory import BEST, CRASH, POLICY, RunDirectory
from trpotui.run_log import log_line
from trpotui.run_request import config_from_dict


def recorded_run(
    config: RunConfig,
    directory: RunDirectory,
    control: Control,
    *,
    store: Store | None = None,
    resume_from: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """The events of `train`, written to the run's log as they pass.

    Args:
        config: the run.
        directory: where it is kept.
        control: steers it.
        store: takes the place of the directory as the trainer's store, to see what is kept.
        resume_from: a checkpoint's state to go on from.

    Raises:
        TrpotuiError: the run failed, in one sentence; the traceback is in crash.log.
    """
    try:
        for event in train(config, control, store or directory, resume_from=resume_from):
            line = log_line(event)
            # updates have metrics.jsonl; in the log they would bury the rest
            if line is not None and not isinstance(event, UpdateFinished):
                directory.log(line.text)
            if isinstance(event, HyperparametersChanged):
                yield from _record_edit(directory, event)
            yield event
    except TrpotuiError as error:
        directory.log(f"failed: {error}")
        directory.write_crash(traceback.format_exc())
        raise
    except Exception as error:
        directory.log(f"failed: {type(error).__name__}: {error}")
        directory.write_crash(traceback.format_exc())
        raise RunError(
            f"the run failed: {type(error).__name__}: {error}; "
            f"details are in {directory.path / CRASH}"
        ) from error


def _record_edit(directory: RunDirectory, event: HyperparametersChanged) -> Iterator[Notice]:
    """Add a change to config.json; a full disk becomes a notice and the run goes on."""
    try:
        directory.record_edit(event.update, event.values)
    except OSError as error:
        message = f"the change could not be added to the configuration: {error}; the run goes on"
        directory.log(message)
        yield Notice(message=message)


@dataclass(frozen=True)
class Resumption:
    """What is needed to go on with a run."""

    config: RunConfig
    state: Mapping[str, Any]
    """Of the checkpoint to go on from."""
    changed: Mapping[str, Any]
    """Hyperparameters that are no longer those of the configuration, with their latest values."""
    notice: str | None
    """What the person should know: the newest checkpoint was damaged."""


def resume(
    directory: RunDirectory,
    *,
    total_steps: int | None = None,
    stop_when_solved: bool | None = None,
) -> Resumption:
    """Make a run's directory ready to go on from its newest whole checkpoint.

    Args:
        directory: of the run.
        total_steps: environment steps of the whole run; more than before, or None for as many.
        stop_when_solved: whether being solved ends it; None for as before.

    Raises:
        RequestError: there is nothing to go on from, or the run would become another one. Nothing
            was changed then.
    """
    config = config_from_dict(directory.config())
    if total_steps is not None and total_steps < config.total_steps:
        raise RequestError(
            f"--steps {total_steps} is less than the {config.total_steps} of {directory.path}: "
            "a resumed run can only grow"
        )
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    if total_steps is not None:
        values["total_steps"] = total_steps
    if stop_when_solved is not None:
        values["stop_when_solved"] = stop_when_solved
    config = build(RunConfig, values, what="setting")
    check(config)
    state, notice = directory.load_checkpoint()
    progress = Progress.of(state)
    directory.truncate_metrics(progress.update)
    directory.write_config(config, live_edits=progress.live_edits)
    changed = {
        name: value for edit in progress.live_edits for name, value in edit["values"].items()
    }
    changed.pop("total_steps", None)  # which the configuration knows
    return Resumption(config, state, changed, notice)


def copy_best(directory: RunDirectory, output: Path | None) -> Path | None:
    """Write the best policy (or the latest, when none was evaluated) to `output` too.

    Returns:
        The file to play, or None when the run left none.

    Raises:
        RunError: `output` cannot be written.
    """
    for name in (BEST, POLICY):
        saved = directory.path / name
        if saved.is_file():
            if output is None:
                return saved
            try:
                write_bytes(output, saved.read_bytes())
            except OSError as error:
                raise RunError(f"{output} could not be written: {error}") from error
            return output
    return None
