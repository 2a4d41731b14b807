"""One run in a thread of its own, as the app sees it."""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trpotui.errors import RequestError, TrpotuiError
from trpotui.events import Event, Notice, RunStarted, UpdateFinished
from trpotui.tui.messages import FromRun, RunEnded, RunFailed

if TYPE_CHECKING:
    from trpotui.config import RunConfig
    from trpotui.repetition import Repetition
    from trpotui.rl.control import Control
    from trpotui.run_request import RunRequest

Source = Callable[["TrainingSession"], Iterator[Event]]
"""Where a session's events come from: a real run, or a script in tests."""

MOST_WAITING = 1024
"""Events in the queue before the run waits for the screen; it never does at ordinary speeds."""

LOOK_SECONDS = 0.1
"""Between two looks, while the queue is full, whether the screen is still there."""


class TrainingSession:
    """A run that is about to start, goes on, or has ended.

    `run` is the body of the thread. Everything else belongs to the screen's thread.

    Args:
        config: what to train.
        control: steers the run.
        source: makes the events; each kind of run (new, resumed, scripted) has its own.
        repeats: the earlier run that a new one repeats.
    """

    def __init__(
        self,
        config: RunConfig,
        control: Control,
        source: Source,
        *,
        repeats: Repetition | None = None,
    ) -> None:
        self.config = config
        self.control = control
        self.directory: Path | None = None
        self.repeats = repeats
        self.changed: Mapping[str, Any] = {}
        """Hyperparameters that a resumed run did not begin with as `config` has them."""
        self.update = 0
        """The last update that the run has reported; a snapshot's, while it is being handed out."""
        self._source = source
        self._waiting: queue.Queue[FromRun] = queue.Queue(MOST_WAITING)
        self._screen_is_gone = threading.Event()

    def run(self) -> None:
        """Train to the end. Whatever happens becomes an item of the queue, `RunEnded` the last."""
        try:
            for event in self._source(self):
                if isinstance(event, UpdateFinished):
                    self.update = event.update
                elif isinstance(event, RunStarted):
                    self.update = event.first_update
                self._put(event)
        except TrpotuiError as error:
            self._put(RunFailed(str(error), traceback.format_exc(), self._crash_log()))
        except Exception as error:  # noqa: BLE001 - the end of the thread: a dialog tells of it
            message = f"unexpected {type(error).__name__}: {error}"
            self._put(RunFailed(message, traceback.format_exc(), self._crash_log()))
        finally:
            self._put(RunEnded(self.directory))

    def _crash_log(self) -> Path | None:
        from trpotui.past_runs.files import CRASH  # noqa: PLC0415 - after the first frame

        path = None if self.directory is None else self.directory / CRASH
        return path if path is not None and path.is_file() else None

    def leave(self) -> None:
        """Ask the run to save and end, and never wait for the screen again: it is gone."""
        self._screen_is_gone.set()
        self.control.stop()

    def _put(self, item: FromRun) -> None:
        while not self._screen_is_gone.is_set():
            try:
                self._waiting.put(item, timeout=LOOK_SECONDS)
            except queue.Full:
                continue
            return

    def take(self) -> list[FromRun]:
        """What came since the last call, oldest first."""
        taken: list[FromRun] = []
        for _ in range(MOST_WAITING):  # a flood must not keep the screen here for ever
            try:
                taken.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return taken


def new_run(runs: Path, output: Path | None = None) -> Source:
    """A run from the start, in a new directory under `runs`; its best policy also to `output`.

    Where the session repeats an earlier run, so does this one.
    """

    def events(session: TrainingSession) -> Iterator[Event]:
        # here and not above: the screen is there before torch is
        from trpotui.recorded_run import copy_best, recorded_run  # noqa: PLC0415
        from trpotui.rl.trainer import check  # noqa: PLC0415
        from trpotui.run_directory import RunDirectory  # noqa: PLC0415

        check(session.config)
        path = RunDirectory.default_path(runs, session.config, datetime.now(UTC))
        repeats = None if session.repeats is None else session.repeats.stored()
        with RunDirectory.create(path, session.config, repeats=repeats) as directory:
            session.directory = path
            try:
                yield from recorded_run(session.config, directory, session.control)
            finally:
                copy_best(directory, output)

    return events


def stored_config(path: Path) -> RunConfig:
    """The configuration in a run's directory, checked.

    Raises:
        RequestError: it is damaged, or not of this version.
    """
    from trpotui.past_runs.files import UnreadableError, read_config  # noqa: PLC0415 - as above
    from trpotui.run_request import config_from_dict  # noqa: PLC0415 - as above

    try:
        return config_from_dict(read_config(path))
    except UnreadableError as error:
        raise RequestError(f"{path}: {error}") from None


def resumed_run(
    path: Path, output: Path | None = None, request: RunRequest | None = None
) -> Source:
    """The run in a directory, from its newest checkpoint on; its best policy also to `output`.

    Of `request` only the steps, whether being solved ends the run, and settings are looked at.
    """
    steps = None if request is None else request.total_steps
    stop_when_solved = None if request is None else request.stop_when_solved
    settings = None if request is None else request.settings

    def events(session: TrainingSession) -> Iterator[Event]:
        from trpotui.recorded_run import copy_best, recorded_run, resume  # noqa: PLC0415 - as above
        from trpotui.run_directory import RunDirectory  # noqa: PLC0415

        with RunDirectory.open(path) as directory:
            resumption = resume(
                directory, total_steps=steps, stop_when_solved=stop_when_solved, settings=settings
            )
            session.config, session.directory = resumption.config, path
            session.changed = resumption.changed
            run = recorded_run(
                session.config, directory, session.control, resume_from=resumption.state
            )
            try:
                for event in run:
                    yield event
                    if resumption.notice and isinstance(event, RunStarted):
                        yield Notice(message=resumption.notice)
            finally:
                copy_best(directory, output)

    return events
