"""A training run whose directory keeps everything: the loop that both front ends read."""

from __future__ import annotations

import dataclasses
import json
import math
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trpotui.config import RunConfig, build, did_you_mean, field_names
from trpotui.durable import write_bytes
from trpotui.errors import RequestError, RunError, TrpotuiError
from trpotui.events import (
    Discontinuity,
    Event,
    HyperparametersChanged,
    Notice,
    RunStarted,
    UpdateFinished,
)
from trpotui.rl.checkpoint import MAY_CHANGE, Progress, check_same_run
from trpotui.rl.control import Control, Edit
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

    In a run that repeats another one, what was changed in that is changed again.

    Args:
        config: the run.
        directory: where it is kept, and what it repeats.
        control: steers it.
        store: takes the place of the directory as the trainer's store, to see what is kept.
        resume_from: a checkpoint's state to go on from.

    Raises:
        TrpotuiError: the run failed, in one sentence; the traceback is in crash.log.
    """
    repeated = directory.repeated()
    if repeated is not None:
        control.schedule(map(Edit.of, repeated["edits"]))
    try:
        for event in train(config, control, store or directory, resume_from=resume_from):
            line = log_line(event)
            # updates have metrics.jsonl; in the log they would bury the rest
            if line is not None and not isinstance(event, UpdateFinished):
                directory.log(line.text)
            if isinstance(event, HyperparametersChanged | Discontinuity):
                yield from _record(directory, event)
            yield event
            if isinstance(event, RunStarted) and repeated is not None:
                notice = _of_repetition(repeated)
                directory.log(notice.message)
                yield notice
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


def _of_repetition(repeated: Mapping[str, Any]) -> Notice:
    """What is going to happen by itself, and how far the runs can be the same."""
    message = f"this repeats {repeated.get('run')}"
    if updates := [str(edit["update"]) for edit in repeated["edits"]]:
        word = "update" if len(updates) == 1 else "updates"
        message += f"; it will be changed as that was, after {word} {', '.join(updates)}"
    if repeated.get("resumed_after") is not None:
        message += (
            f"; that was resumed after update {repeated['resumed_after']}, but not exactly: from "
            "there on the two differ"
        )
    return Notice(message=message)


def _record(
    directory: RunDirectory, event: HyperparametersChanged | Discontinuity
) -> Iterator[Notice]:
    """Add what happened to config.json; a full disk becomes a notice and the run goes on."""
    try:
        if isinstance(event, Discontinuity):
            directory.record_discontinuity(event.update, event.reason)
        else:
            directory.record_edit(event.update, event.values)
    except OSError as error:
        message = f"this could not be added to the configuration: {error}; the run goes on"
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
    settings: Mapping[str, object] | None = None,
) -> Resumption:
    """Make a run's directory ready to go on from its newest whole checkpoint.

    Args:
        directory: of the run.
        total_steps: environment steps of the whole run; more than before, or None for as many.
        stop_when_solved: whether being solved ends it; None for as before.
        settings: other fields of the run that may change, by name; text is converted.

    Raises:
        RequestError: there is nothing to go on from, or the run would become another one. Nothing
            was changed then.
    """
    options = {"total_steps": total_steps, "stop_when_solved": stop_when_solved}
    asked = {name: value for name, value in options.items() if value is not None}
    config = config_from_dict(directory.config())
    config = _changed(config, {**(settings or {}), **asked}, directory.path)
    check(config)
    state, notice = directory.load_checkpoint()
    progress = Progress.of(state)
    check_same_run(state, config)
    if config.total_steps != _total_steps(state):
        # an edit like one by hand: so it is known when it was made, and the run can be repeated
        edit = {"update": progress.update, "values": {"total_steps": config.total_steps}}
        progress.live_edits.append(edit)
        state = {**state, "live_edits": list(progress.live_edits)}
    owed = 1 if progress.owed_metrics is not None else 0  # which are about to be completed
    missing = directory.truncate_metrics(progress.update - owed)
    directory.write_config(
        config, live_edits=progress.live_edits, discontinuities=progress.discontinuities
    )
    changed = {
        name: value for edit in progress.live_edits for name, value in edit["values"].items()
    }
    changed.pop("total_steps", None)  # which the configuration knows
    told = "; ".join(sentence for sentence in (notice, missing) if sentence)
    return Resumption(config, state, changed, told or None)


def _changed(config: RunConfig, asked: Mapping[str, object], path: Path) -> RunConfig:
    """A run's configuration with what was asked for, as far as it stays the same run."""
    known = [*field_names(RunConfig), *field_names(type(config.hyperparameters))]
    for name in asked:
        if name not in known:
            raise RequestError(f"unknown setting '{name}'{did_you_mean(name, known)}")
        if name not in MAY_CHANGE:
            raise RequestError(
                f"{name} cannot be changed when a run is resumed: that would be another run"
            )
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    changed = build(RunConfig, {**values, **asked}, what="setting")
    for name, option in (("total_steps", "--steps"), ("total_episodes", "total_episodes")):
        before, after = getattr(config, name), getattr(changed, name)
        if (after or math.inf) < (before or math.inf):  # 0 is no bound
            raise RequestError(
                f"{option} {after} is less than the {before or 'boundless number'} of {path}: "
                "a resumed run can only grow"
            )
    return changed


def _total_steps(state: Mapping[str, Any]) -> int:
    """How many steps the run of a checkpoint was to have, as it was asked for last."""
    asked = [json.loads(state["config"]), *(edit["values"] for edit in state["live_edits"])]
    return int([values["total_steps"] for values in asked if "total_steps" in values][-1])


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
