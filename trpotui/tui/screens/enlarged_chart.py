"""One chart that fills the screen, and goes on being drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from trpotui.telemetry import RunState
from trpotui.tui.screens.latest_size import LatestSize
from trpotui.tui.widgets.chart import Chart, Scales
from trpotui.tui.widgets.chart_subjects import SUBJECTS, Subject
from trpotui.tui.widgets.run_header import RunHeader


class EnlargedChartScreen(LatestSize, Screen[None]):
    """A chart of any subject below the line that says how the run goes.

    Args:
        subject: what it shows at first.
        scales: the axes that were chosen, shared with the charts that it was enlarged from.
        state: of the run.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,z", "app.pop_screen", "back", key_display="esc"),
        Binding("left_square_bracket", "switch(-1)", "chart before", key_display="["),
        Binding("right_square_bracket", "switch(1)", "next chart", key_display="]"),
    ]

    def __init__(self, subject: Subject, scales: Scales, state: RunState) -> None:
        super().__init__()
        self._state = state
        self._chart = Chart(subject, scales, switchable=True, enlarged=True)

    def compose(self) -> Iterator[Widget]:
        """The chart between the run's line and the keys."""
        yield RunHeader()
        yield self._chart
        yield Footer()

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

    def on_chart_subject_requested(self, event: Chart.SubjectRequested) -> None:
        """Show another subject by mouse."""
        self.action_switch(event.distance)

    def on_chart_enlarge_requested(self) -> None:
        """Two clicks lead back as they led here."""
        self.app.pop_screen()
