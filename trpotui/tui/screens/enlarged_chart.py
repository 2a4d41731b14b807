"""One chart that fills the screen, and goes on being drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget

from trpotui.telemetry import RunState
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.widgets.chart import Chart, Scales
from trpotui.tui.widgets.chart_subjects import SUBJECTS, Subject
from trpotui.tui.widgets.key_footer import KeyFooter
from trpotui.tui.widgets.run_header import RunHeader

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

START = Binding("s", "start_or_stop", "start", tooltip="start a run, or stop the one that goes on")
PAUSE = Binding("space", "pause", "pause", tooltip="hold the run, or let it go on")
ONE_UPDATE = Binding(
    "full_stop",
    "one_update",
    "update",
    key_display=".",
    tooltip="hold the run, and do one more update",
)
"""Keys of a run, wherever it is watched."""


class EnlargedChartScreen(LatestSize, Screen[None]):
    """A chart of any subject below the line that says how the run goes.

    Args:
        subject: what it shows at first.
        scales: the axes that were chosen, shared with the charts that it was enlarged from.
        state: of the run.
        start_or_stop: what that key does on the screen below.
    """

    app: TrpotuiApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,z", "app.pop_screen", "back", key_display="esc"),
        Binding(
            "left_square_bracket", "switch(-1)", "prev", key_display="[", tooltip="the chart before"
        ),
        Binding(
            "right_square_bracket", "switch(1)", "next", key_display="]", tooltip="the next chart"
        ),
        START,
        PAUSE,
        ONE_UPDATE,
    ]

    def __init__(
        self,
        subject: Subject,
        scales: Scales,
        state: RunState,
        start_or_stop: Callable[[], None],
    ) -> None:
        super().__init__()
        self._start_or_stop = start_or_stop
        self._state = state
        self._chart = Chart(subject, scales, switchable=True, enlarged=True)

    def compose(self) -> Iterator[Widget]:
        """The chart between the run's line and the keys."""
        yield RunHeader()
        yield self._chart
        yield KeyFooter()

    def on_mount(self) -> None:
        """Draw what is known so far."""
        self.show(self._state)

    def show(self, state: RunState) -> None:
        """Draw another state."""
        self.query_one(RunHeader).show(state)
        self._chart.show(state)

    def action_switch(self, distance: int) -> None:
        """Show another subject."""
        place = SUBJECTS.index(self._chart.subject) + distance
        self._chart.turn_to(SUBJECTS[place % len(SUBJECTS)], switchable=True)

    def action_start_or_stop(self) -> None:
        """Start a run as set up, or stop the one that goes on."""
        self._start_or_stop()

    def action_pause(self) -> None:
        """Hold the run, or let it go on."""
        self.app.toggle_pause()

    def action_one_update(self) -> None:
        """Let a held run do one more update."""
        self.app.one_update()

    def on_chart_subject_requested(self, event: Chart.SubjectRequested) -> None:
        """Show another subject by mouse."""
        self.action_switch(event.distance)

    def on_chart_enlarge_requested(self) -> None:
        """Two clicks lead back as they led here."""
        self.app.pop_screen()
