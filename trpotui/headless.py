"""A run without a screen: its events as a progress bar, as plain lines, or as JSON."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from trpotui.config import RunConfig
from trpotui.events import (
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
)
from trpotui.recorded_run import copy_best, recorded_run
from trpotui.rl.control import Control
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.profiling import Profile, table
from trpotui.run_directory import RunDirectory
from trpotui.run_log import log_line
from trpotui.telemetry import RunState, fold
from trpotui.terminal import Printer, stop_on_signals

REDRAW_SECONDS = 0.1
LEAST_WIDTH = 60
"""Columns below which there is no room for a bar beside its numbers."""


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """What a headless run prints."""

    quiet: bool = False
    """Nothing but errors."""
    json: bool = False
    """The metrics of every update on standard output, one JSON object a line."""
    log_every: int = 10
    """Updates between plain lines, where standard error is no terminal."""
    profile: bool = False
    """Where the time went, at the end."""


def run_headless(
    config: RunConfig,
    directory: RunDirectory,
    *,
    output: Path | None,
    reporting: Reporting,
    resume_from: Mapping[str, Any] | None = None,
) -> int:
    """Train to the end, or until a signal asks to stop, and return the exit code.

    Args:
        config: the run.
        directory: where it is kept; the caller closes it.
        output: the best policy is also written here at the end.
        reporting: what to print.
        resume_from: a checkpoint's state to go on from.

    Raises:
        RunError: the run failed; what was learned until then is in the directory.
    """
    control = Control()
    out, err = Printer(sys.stdout), Printer(sys.stderr)
    store = _Tee(directory, out) if reporting.json else None
    state = RunState()
    with stop_on_signals(control) as received, _reporter(reporting, err) as report:
        events = recorded_run(config, directory, control, store=store, resume_from=resume_from)
        profile = Profile() if reporting.profile else None
        if profile is not None:
            events = profile.over(events)
        try:
            for event in events:
                state = fold(state, event)
                report(state, event)
        finally:
            saved = copy_best(directory, output)
    told = err if reporting.json else out
    if not reporting.quiet and state.finished is not None:
        told.line(summarize(state.finished, config.environment_id, saved))
    if profile is not None:
        told.line(table(profile.seconds))
    return 128 + received[0] if received else 0


def summarize(finished: RunFinished, environment_id: str, policy: Path | None) -> str:
    """One line: what was reached, and the command that plays it."""
    verbs = {
        StopReason.SOLVED: "solved",
        StopReason.STOPPED: "stopped on",
        StopReason.STEPS_REACHED: "finished",
        StopReason.EPISODES_REACHED: "finished",
    }
    scored = "not evaluated"
    if finished.best_mean is not None:
        scored = (
            f"{finished.best_mean:.4g} ± {finished.best_std:.3g} over {finished.best_episodes} "
            "episodes"
        )
    line = (
        f"{verbs[finished.reason]} {environment_id}: {scored}, "
        f"{finished.steps:,} steps in {finished.seconds:.1f} s"
    )
    if policy is None:
        return line
    path = str(policy) if not str(policy).startswith("-") else f"./{policy}"
    return f"{line}; play it: trpotui play {shlex.quote(path)}"


class _Tee:
    """A store that also prints the metrics."""

    def __init__(self, directory: RunDirectory, out: Printer) -> None:
        self._directory = directory
        self._out = out

    def append_metrics(self, row: Mapping[str, float | int | bool | str]) -> None:
        self._out.line(json.dumps(row))
        self._directory.append_metrics(row)

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        self._directory.save_policy(saved, best=best)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        self._directory.save_checkpoint(state)

    def save_film(self, new: Mapping[int, SavedPolicy], kept: Collection[int]) -> None:
        self._directory.save_film(new, kept)


Report = Callable[[RunState, Event], None]


@contextmanager
def _reporter(reporting: Reporting, err: Printer) -> Iterator[Report]:
    """What is shown while the run goes on: a bar on a terminal, else lines, or nothing."""
    with ExitStack() as stack:
        if reporting.quiet:
            yield lambda *_: None
        elif _can_draw_a_bar(reporting):
            yield stack.enter_context(_progress_bar(err))
        else:
            yield lambda state, event: _plain_line(state, event, err, reporting)


def _can_draw_a_bar(reporting: Reporting) -> bool:
    """Whether standard error is a terminal that can, and no JSON runs over the same screen."""
    console = Console(stderr=True)
    if reporting.json and sys.stdout.isatty():
        return False
    return console.is_terminal and not console.is_dumb_terminal and console.width >= LEAST_WIDTH


@contextmanager
def _progress_bar(err: Printer) -> Iterator[Report]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=Console(stderr=True),
        auto_refresh=False,  # drawn from this thread only, where a lost terminal can be caught
        transient=True,
    )
    task = progress.add_task("starting", numbers="")
    next_draw = 0.0

    def report(state: RunState, event: Event) -> None:
        nonlocal next_draw
        if isinstance(event, Notice):
            err.attempt(lambda: progress.console.print(event.message, markup=False))
        if isinstance(event, RunStarted):
            progress.update(
                task,
                description=event.environment_id,
                total=1.0,
            )
        if time.monotonic() >= next_draw or isinstance(event, RunFinished):
            next_draw = time.monotonic() + REDRAW_SECONDS
            progress.update(task, completed=state.share, numbers=_numbers(state))
            err.attempt(progress.refresh)

    err.attempt(progress.start)
    try:
        yield report
    finally:
        err.attempt(progress.stop)


def _numbers(state: RunState) -> str:
    """Return, KL, speed and time left, as far as they are known."""
    parts = []
    if state.recent_mean is not None:
        parts.append(f"return {state.recent_mean:.4g}")
    if state.update is not None:
        parts.append(f"KL {state.update.kl:.2g}")
    if state.steps_per_second is not None:
        parts.append(f"{state.steps_per_second:,.0f} steps/s")
    if state.seconds_left is not None:
        minutes, seconds = divmod(round(state.seconds_left), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return " ".join(parts)


def _plain_line(state: RunState, event: Event, err: Printer, reporting: Reporting) -> None:
    match event:
        case UpdateFinished() if event.update % reporting.log_every == 0:
            err.line(f"update {event.update}  steps {event.steps:,}  {_numbers(state)}")
        case UpdateFinished():
            pass
        case RunFinished():
            pass  # the summary says it
        case _:
            line = log_line(event)
            if line is not None:
                err.line(line.text)
