"""The live charts, as many as there is room for."""

from __future__ import annotations

from collections.abc import Iterator

from textual import events
from textual.containers import Container
from textual.geometry import Size

from trpotui.telemetry import RunState
from trpotui.tui.widgets.chart import Chart, Scales
from trpotui.tui.widgets.chart_subjects import SUBJECTS, Subject

ROWS_OF_A_CHART = 12
COLUMNS_OF_A_CHART = 40
NARROW = 100
"""Columns of the terminal below which nothing stands beside the charts."""


class ChartPane(Container):
    """The return above, the other subjects below; the last chart turns to what has no place.

    On 120 x 40 that is the return above KL and a chart that can be turned; on a low screen one row;
    on a large one everything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scales: Scales = {}
        """The axes that were chosen."""
        self._wanted: Subject | None = None
        self._charts = [Chart(subject, self.scales) for subject in SUBJECTS]
        self._active = self._charts[0]

    def compose(self) -> Iterator[Chart]:
        """All of them; those without a place are not displayed, and cost nothing."""
        self._arrange(_expected(self.app.size))
        yield from self._charts

    def show(self, state: RunState) -> None:
        """Draw the curves of a state."""
        for chart in self._charts:
            chart.show(state)

    @property
    def active(self) -> Chart:
        """The chart that was focused last; what a key does that is not meant for another."""
        return self._active if self._active.display else self._charts[0]

    def switch(self, distance: int) -> None:
        """Turn the last chart to another subject."""
        shown = self._shown()
        fixed = len(shown) - 1
        others = SUBJECTS[fixed:]
        place = others.index(shown[-1].subject) + distance
        self._wanted = others[place % len(others)]
        self._arrange(self.size)

    def _shown(self) -> list[Chart]:
        return [chart for chart in self._charts if chart.display]

    def on_resize(self) -> None:
        """Find places for another size."""
        self._arrange(self.size)

    def _arrange(self, size: Size) -> None:
        """Give a place to as many charts as fit, and a subject to each."""
        columns = min(max(size.width // COLUMNS_OF_A_CHART, 1), 3)
        rows = max(size.height // ROWS_OF_A_CHART, 1)
        count = columns if rows == 1 else 1 + columns * (rows - 1)
        count = min(count, len(SUBJECTS))
        self.styles.grid_size_columns = columns
        self._charts[0].styles.column_span = columns if rows > 1 else 1
        others = SUBJECTS[count - 1 :]
        last = self._wanted if self._wanted in others else others[0]
        for place, chart in enumerate(self._charts):
            chart.display = place < count
            if place < count - 1:
                chart.turn_to(SUBJECTS[place], switchable=False)
            elif place == count - 1:
                assert last is not None
                chart.turn_to(last, switchable=len(others) > 1)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember which chart the keys are meant for."""
        if isinstance(event.widget, Chart):
            self._active = event.widget

    def on_chart_subject_requested(self, event: Chart.SubjectRequested) -> None:
        """Turn by mouse."""
        event.stop()
        self.switch(event.distance)


def _expected(terminal: Size) -> Size:
    """What the style sheet leaves of a terminal to the charts, before it has been laid out."""
    width, height = terminal
    if width < NARROW:
        return Size(width, max(height - 14, 0))
    return Size(width - 32, (height - 2) * 3 // 4)
