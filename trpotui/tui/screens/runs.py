"""The runs of the past: compared, opened, played, repeated, resumed, deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import DataTable, Static

from trpotui.errors import RequestError
from trpotui.past_runs import Condition, PastRun, PastRuns
from trpotui.past_runs.deletion import delete_run
from trpotui.past_runs.files import shown
from trpotui.tui.messages import PlayRequested
from trpotui.tui.plans import Plan, to_repeat, to_resume
from trpotui.tui.screens.delete_run import DeleteDialog
from trpotui.tui.screens.dialogs import ErrorDialog
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.screens.run_details import RunDetails
from trpotui.tui.widgets.drawing import ON_DARK, ON_LIGHT
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.run_compare import MOST_MARKED, RunCompare, Shown, sign_of
from trpotui.tui.widgets.run_header import RunHeader
from trpotui.tui.widgets.run_table import RunTable, name_of, standing

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

LOOK_SECONDS = 2.0
"""Between two looks at the runs."""
READ_SECONDS = 0.2
"""That one look may spend on reading metrics: the screen and the learner need the interpreter."""
SHOW_SECONDS = 0.5
"""Between two looks at the run that goes on."""
NARROW = 100
"""Columns below which the keys stand closer together."""
REST_SECONDS = 0.4
"""Before the next look while there is more to read."""


class RunsScreen(LatestSize, Screen[None]):
    """A table of runs, and the marked ones (or the one under the cursor) on a chart."""

    app: TrpotuiApp
    VERTICAL_BREAKPOINTS = [(0, "-short"), (18, "-tall")]  # noqa: RUF012 - as Textual declares it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="the run in full: settings and log"),
        Binding("space", "mark", "mark", tooltip="mark up to four runs to compare them"),
        Binding("b", "play", "play best", tooltip="see the best policy of the run play"),
        Binding("g", "repeat", "repeat", tooltip="train again just as it was, edits included"),
        Binding("u", "resume", "resume", tooltip="go on with the run from its checkpoint"),
        Binding("d", "delete", "delete", tooltip="delete the run, after asking"),
        Binding("t,escape", "train", "train", key_display="t", tooltip="back to training"),
        Binding("c", "enlarge", "chart", False, tooltip="large chart, and back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._runs: tuple[PastRun, ...] = ()
        self._places: dict[Path, int] = {}
        """Of the marked runs: each keeps its sign and colour."""
        self._problem = ""
        self._looked = self._looking = self._again = False
        self._regularly: list[Timer] = []

    def compose(self) -> ComposeResult:
        """The table above, what is compared below."""
        yield RunHeader()
        yield RunTable()
        yield Static(id="no-runs", markup=False)
        yield Static(id="run-line", markup=False)
        yield RunCompare()
        yield KeyFooter()

    # looking

    def on_mount(self) -> None:
        """Look at the runs again and again while the screen is seen."""
        self._past = PastRuns(self.app.runs)
        self._regularly = [
            self.set_interval(LOOK_SECONDS, self.look),
            self.set_interval(SHOW_SECONDS, self._show_header),
        ]

    def on_screen_resume(self) -> None:
        """Look at once."""
        for timer in self._regularly:
            timer.resume()
        self._show_header()
        self.look()

    def on_screen_suspend(self) -> None:
        """Nobody sees it."""
        for timer in self._regularly:
            timer.pause()

    def _show_header(self) -> None:
        self.query_one(RunHeader).show(self.app.state)

    @work(exit_on_error=False)
    async def look(self) -> None:
        """Look at the runs in a thread, and draw them."""
        if self._looking:
            self._again = True
            return
        self._looking, self._again = True, False
        try:
            until = time.monotonic() + READ_SECONDS
            found = await asyncio.to_thread(self._past.look, lambda: time.monotonic() > until)
            self._runs, self._problem = found, ""
        except RequestError as error:
            self._runs, self._problem = (), str(error)
        finally:
            self._looking = False
        self._looked = True
        present = {run.path for run in self._runs}
        self._places = {path: place for path, place in self._places.items() if path in present}
        self._show()
        if any(run.metrics.share_read < 1.0 for run in self._runs) and self.is_current:
            self.set_timer(REST_SECONDS, self.look)
        elif self._again:
            self.look()

    # showing

    def _show(self) -> None:
        """Draw everything."""
        if not self._looked:
            return
        colours = ON_DARK if self.app.current_theme.dark else ON_LIGHT
        marks = {path: sign_of(place, colours) for path, place in self._places.items()}
        self.query_one(RunTable).show(self._runs, marks, time.time())
        folder = shown(self.app.runs, most=60)
        marked = f" · {len(marks)} of {MOST_MARKED} marked" if marks else ""
        count = len(self._runs)
        title = f"{count} {'run' if count == 1 else 'runs'} in {folder}{marked}"
        if self.query_one(RunTable).border_title != title:
            self.query_one(RunTable).border_title = title
        empty = self._problem or f"No runs in {folder} yet. Press t, set one up and start it."
        self._say("#no-runs", shown(empty, most=300))
        self.set_class(not self._runs, "-empty")
        self._show_compared()

    def _show_compared(self) -> None:
        """Draw the marked runs, or else the one under the cursor, and its line."""
        run = self._current
        line = "" if run is None else f"{name_of(run)} · {standing(run)}"
        self._say("#run-line", line)
        marked = sorted(
            (place, one) for one in self._runs if (place := self._places.get(one.path)) is not None
        )
        compared = [Shown(place, one) for place, one in marked]
        if not compared and run is not None:
            compared = [Shown(0, run)]
        self.query_one(RunCompare).show(compared)

    def _say(self, selector: str, text: str) -> None:
        static = self.query_one(selector, Static)
        if static.content != text:
            static.update(text, layout=False)

    @property
    def _current(self) -> PastRun | None:
        """The run under the cursor."""
        key = self.query_one(RunTable).cursor_key
        return next((run for run in self._runs if str(run.path) == key), None)

    def on_data_table_row_highlighted(self) -> None:
        """The cursor has moved."""
        if self._looked:
            self._show_compared()

    # what can be done

    def on_data_table_row_selected(self, _event: DataTable.RowSelected) -> None:
        """A click on the row under the cursor opens it."""
        self.action_open()

    def on_run_table_mark_requested(self, event: RunTable.MarkRequested) -> None:
        """Mark by mouse."""
        self._toggle_mark(event.path)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or unmark it."""
        if (run := self._current) is not None:
            self._toggle_mark(run.path)

    def _toggle_mark(self, path: Path) -> None:
        free = [place for place in range(MOST_MARKED) if place not in self._places.values()]
        if path in self._places:
            del self._places[path]
        elif free:
            self._places[path] = free[0]
        else:
            self._refuse(f"{MOST_MARKED} runs are marked: unmark one first")
        self._show()

    def action_enlarge(self) -> None:
        """Give the chart most of the screen, or take it back."""
        self.toggle_class("-large-chart")

    def action_open(self) -> None:
        """Show the run under the cursor in full."""
        if (run := self._current) is not None:
            self.app.push_screen(RunDetails(run))

    def action_play(self) -> None:
        """See the best policy of the run under the cursor play."""
        run = self._current
        if run is None:
            return
        if run.policy is None:
            self._refuse("this run has saved no policy yet")
        else:
            self.post_message(PlayRequested(run.policy, in_terminal=False))

    def action_repeat(self) -> None:
        """Train again with the same configuration and the same changes on the way."""
        run = self._current
        if run is not None and self._may_start():
            self._start(lambda: to_repeat(run.path))

    def action_resume(self) -> None:
        """Go on with the run under the cursor from its checkpoint."""
        run = self._current
        if run is None or not self._may_start():
            return
        if run.condition is Condition.RESUMABLE:
            self._start(lambda: to_resume(run.path, self.app.output))
        else:
            self._refuse(f"this run cannot be resumed: {_why_not(run)}")

    def _may_start(self) -> bool:
        if self.app.busy:
            self._refuse("a run goes on: stop it first")
        elif not self.app.core_loaded:
            self._refuse("torch is still being loaded: try again in a moment")
        return self.app.core_loaded and not self.app.busy

    @work(exit_on_error=False)
    async def _start(self, read: Callable[[], Plan]) -> None:
        try:
            plan = await asyncio.to_thread(read)
        except RequestError as error:
            self.app.push_screen(ErrorDialog(shown(error, most=500)))
            return
        if self._may_start():
            self.app.start(*plan)
            await self.app.switch_mode("train")

    def action_delete(self) -> None:
        """Delete the run under the cursor, after asking."""
        run = self._current
        if run is None:
            return
        if run.process is not None:
            self._refuse(f"this run is being written {run.note}: stop it first")
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._delete(run)

        self.app.push_screen(DeleteDialog(run), answered)

    @work(exit_on_error=False)
    async def _delete(self, run: PastRun) -> None:
        try:
            left = await asyncio.to_thread(delete_run, run.path, self.app.runs)
        except RequestError as error:
            self.app.push_screen(ErrorDialog(shown(error, most=500)))
        else:
            text = f"deleted {shown(run.path.name)}"
            if left:
                names = ", ".join(left)
                text += f"; the directory stays because of {shown(names)} in it"
            self.notify(text, markup=False)
        self.look()

    async def action_train(self) -> None:
        """Back to where runs are started and watched."""
        await self.app.switch_mode("train")

    def _refuse(self, why: str) -> None:
        self.notify(why, severity="warning", markup=False)


def _why_not(run: PastRun) -> str:
    if run.condition is Condition.FINISHED:
        return f"it is finished ({run.note})"
    return f"it is {run.condition} {run.note}" if run.process is not None else run.note
