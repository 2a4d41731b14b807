"""The app: owns the run that goes on, and gives the terminal back whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.reactive import reactive
from textual.timer import Timer

from trpotui.errors import RequestError
from trpotui.run_request import RunRequest
from trpotui.signals import HUNG_UP, on_signals
from trpotui.telemetry import RunState, failed, fold
from trpotui.tui.core import load_core, play_screen, runs_screen
from trpotui.tui.drawing_budget import DrawingBudget
from trpotui.tui.giving_way import GivingWay
from trpotui.tui.messages import CoreLoaded, FromRun, PlayRequested, RunEnded, RunFailed
from trpotui.tui.palette import PaletteApp
from trpotui.tui.plans import to_repeat, to_resume
from trpotui.tui.preferences import Preferences
from trpotui.tui.screens.dialogs import ErrorDialog, QuitDialog
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.screens.train import TrainScreen
from trpotui.tui.session import Source, TrainingSession, new_run
from trpotui.tui.terminal_driver import lasting
from trpotui.tui.windows import OpenWindow, Windows

if TYPE_CHECKING:
    from trpotui.config import RunConfig
    from trpotui.repetition import Repetition

PULL_SECONDS = 0.25
"""Between two looks at the queue of the run: faster than that, drawing would slow the run."""


class Status(StrEnum):
    """What the app is doing about a run."""

    IDLE = "idle"
    TRAINING = "training"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    FAILED = "failed"


class TrpotuiApp(PaletteApp):
    """Train, watch and replay trust-region policies; `run` returns the exit code.

    Args:
        runs: where new runs are kept.
        output: the best policy of each run is also written here.
        source: makes the events of a run; scripted in tests.
        open_window: plays a policy in a window; None where there are no windows.
        clock: seconds, monotonic; scripted in tests.
        request: what stands in the setup at first, from the command line; by default what was
            trained last, as far as `preferences` remembers it.
        resume: the directory of a run to go on with at once.
        repeat: the directory of a run to train again at once.
        preferences: what is remembered from sitting to sitting; None remembers nothing.
    """

    TITLE = "trpotui"
    CSS_PATH = [  # noqa: RUF012 - as Textual declares it
        "trpotui.tcss",
        "styles/charts.tcss",
        "styles/setup.tcss",
        "styles/play.tcss",
        "styles/runs.tcss",
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (180, "-wide")]  # noqa: RUF012
    MODES: ClassVar = {"train": TrainScreen, "play": play_screen, "runs": runs_screen}
    DEFAULT_MODE = "train"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?", tooltip="the keys of the screen"),
        Binding("q,ctrl+c", "quit", "quit", tooltip="quit; a run that goes on is saved first"),
    ]

    status: reactive[Status] = reactive(Status.IDLE)
    core_loaded: reactive[bool] = reactive(False)

    def __init__(
        self,
        *,
        runs: Path = Path("runs"),
        output: Path | None = None,
        source: Source | None = None,
        open_window: OpenWindow | None = None,
        clock: Callable[[], float] = time.monotonic,
        request: RunRequest | None = None,
        preferences: Preferences | None = None,
        resume: Path | None = None,
        repeat: Path | None = None,
    ) -> None:
        self._way = GivingWay()
        super().__init__()
        self._resume = resume
        self._repeat = repeat
        self.preferences = preferences
        self.request = request or (preferences and preferences.setup) or RunRequest()
        self.clock = clock
        self.runs = runs
        self.output = output
        self.windows = Windows(self, open_window)
        self.state = RunState()
        self.session: TrainingSession | None = None
        self._source = source or new_run(runs, output)
        self._pulling: Timer | None = None
        self._budget = DrawingBudget(clock)
        self._exit_when_ended: int | None = None

    def on_mount(self) -> None:
        """Listen for signals, and import what is heavy while the first screen is already there."""
        on_signals(self._on_signal)
        self._pulling = self.set_interval(PULL_SECONDS, self._pull, pause=True)
        self._follow_theme()
        # after the first frame: importing torch holds the interpreter that draws it
        self.call_after_refresh(self.load_core)

    def _follow_theme(self) -> None:
        """Take up the theme of the last sitting, and remember every other one."""
        if self.preferences is None:
            return
        if self.preferences.theme in self.available_themes:
            self.theme = self.preferences.theme
        self.watch(self, "theme", self.preferences.remember_theme, init=False)

    @work(thread=True, exit_on_error=False)
    def load_core(self) -> None:
        """Import torch and gymnasium in a thread."""
        load_core()
        self.post_message(CoreLoaded())

    def on_core_loaded(self) -> None:
        """Tell the widgets that algorithms can be looked at, and start what is to be at once."""
        self.core_loaded = True
        resume, self._resume = self._resume, None
        repeat, self._repeat = self._repeat, None
        try:
            if resume is not None:
                self.start(*to_resume(resume, self.output, self.request))
            elif repeat is not None:
                self.start(*to_repeat(repeat))
        except RequestError as error:
            self.push_screen(ErrorDialog(str(error)))

    # the run

    def start(
        self,
        config: RunConfig,
        source: Source | None = None,
        repeats: Repetition | None = None,
    ) -> None:
        """Train in a worker thread what a `Plan` holds; the run before must have ended."""
        if self.busy:
            return
        self.state = RunState()
        control, source = self._way.control(), source or self._source
        self.session = TrainingSession(config, control, source, repeats=repeats)
        self.status = Status.TRAINING
        self.run_worker(self.session.run, thread=True, exit_on_error=False, group="training")
        assert self._pulling is not None
        self._pulling.resume()

    @property
    def busy(self) -> bool:
        """Whether a run goes on."""
        return self.status in (Status.TRAINING, Status.PAUSED, Status.STOPPING)

    def stop_run(self) -> None:
        """Ask the run to save and end."""
        if self.session is not None and self.busy:
            self.status = Status.STOPPING
            self.session.control.stop()

    def toggle_pause(self) -> None:
        """Hold the run at its next update boundary, or let it go on."""
        if self.session is None or self.status not in (Status.TRAINING, Status.PAUSED):
            return
        if self.status is Status.PAUSED:
            self.session.control.resume()
            self.status = Status.TRAINING
        else:
            self.session.control.pause()
            self.status = Status.PAUSED

    def one_update(self) -> None:
        """Hold the run if it is not held, and let it do one more update."""
        if self.session is None or self.status not in (Status.TRAINING, Status.PAUSED):
            return
        if self.status is Status.TRAINING:
            self.toggle_pause()
        self.session.control.allow_one_update()

    def _pull(self) -> None:
        """Fold what the run has said, and draw it if drawing is due."""
        assert self.session is not None
        for item in self.session.take():
            self._receive(item)
        if self._budget.is_due() or not self.busy:
            self._budget.begin()
            self._show()
            self.call_after_refresh(self._budget.end)

    def _receive(self, item: FromRun) -> None:
        match item:
            case RunFailed():
                self.status = Status.FAILED
                self.state = failed(self.state, item.message, item.crash_log)
                self.push_screen(ErrorDialog(item.message, item.details))
            case RunEnded():
                assert self._pulling is not None
                self._pulling.pause()
                if self.status is not Status.FAILED:
                    self.status = Status.FINISHED
                if self._exit_when_ended is not None:
                    self.exit(self._exit_when_ended, return_code=self._exit_when_ended)
            case _:
                self.state = fold(self.state, item)

    def _show(self) -> None:
        stack = self.screen_stack  # empty for a moment while one mode takes another's place
        if stack and isinstance(stack[0], TrainScreen) and self.is_running:
            stack[0].show(self.state)

    async def on_play_requested(self, event: PlayRequested) -> None:
        """Play the policy in a file, on the screen for that."""
        from trpotui.tui.screens.play import PlayScreen  # noqa: PLC0415 - after the first frame

        await self.switch_mode("play")
        if isinstance(self.screen, PlayScreen):
            self.screen.play_file(event.path, in_terminal=event.in_terminal)

    # leaving

    def get_driver_class(self) -> type[Driver]:
        """One that survives its terminal, so that the run is saved when a connection is lost."""
        return lasting(super().get_driver_class(), lambda: self._on_signal(HUNG_UP), self._way)

    def on_unmount(self) -> None:
        """Save the run also where the app ends by an error of its own."""
        self.leave_run()

    def leave_run(self) -> None:
        """Have a run that still goes on save and end by itself, when the screen has gone."""
        if self.session is not None:
            self.session.leave()

    def _on_signal(self, number: int) -> None:
        """Save the run and leave; a second signal leaves at once."""
        code = 128 + number
        if self._exit_when_ended is not None or not self.busy:
            self.exit(code, return_code=code)
            return
        self._exit_when_ended = code
        self.stop_run()

    async def action_quit(self) -> None:
        """Leave; a run that goes on is saved first, if the person agrees.

        While it is being saved, asking again leaves at once: it goes on saving without a screen.
        """
        if not self.busy or self._exit_when_ended is not None:
            self.exit(self._exit_when_ended or 0, return_code=self._exit_when_ended or 0)
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._exit_when_ended = 0
                self.stop_run()
                if not self.busy:  # it ended while the question was open
                    self.exit(0)

        self.push_screen(QuitDialog(), answered)

    def action_help(self) -> None:
        """Show the keys of the screen."""
        self.push_screen(HelpScreen())
