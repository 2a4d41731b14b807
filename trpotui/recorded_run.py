"""A training run whose directory keeps everything: the loop that both front ends read."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trpotui.config import RunConfig
from trpotui.durable import write_bytes
from trpotui.errors import RunError, TrpotuiError
from trpotui.events import (
    EvaluationFinished,
    Event,
    HyperparametersChanged,
    Notice,
    RunFinished,
    RunStarted,
)
from trpotui.rl.control import Control
from trpotui.rl.store import Store
from trpotui.rl.trainer import train
from trpotui.run_directory import BEST, CRASH, POLICY, RunDirectory


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
            if line := describe(event):
                directory.log(line)
            if isinstance(event, HyperparametersChanged):
                yield from _record_edit(directory, event)
            yield event
    except TrpotuiError:
        directory.write_crash(traceback.format_exc())
        raise
    except Exception as error:
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


def describe(event: Event) -> str:
    """A line for people about what is no plain update; empty for the rest."""
    match event:
        case RunStarted():
            return (
                f"training {event.algorithm} on {event.environment_id}: {event.total_steps:,} "
                f"steps, {event.n_envs} environments, seed {event.seed}, {event.device}"
            )
        case EvaluationFinished():
            best = ", new best" if event.is_best else ""
            return (
                f"evaluation after update {event.update}: {event.mean:.1f} ± {event.std:.1f} "
                f"over {event.episodes} episodes{best}"
            )
        case HyperparametersChanged():
            changes = ", ".join(f"{name}={value}" for name, value in event.values.items())
            return f"changed after update {event.update}: {changes}"
        case Notice():
            return event.message
        case RunFinished():
            return f"ended after {event.steps:,} steps: {event.reason.replace('_', ' ')}"
        case _:
            return ""


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
