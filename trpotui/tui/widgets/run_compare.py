"""Up to four runs over each other on one chart, and beside it the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from trpotui.past_runs import PastRun, differing, labels
from trpotui.run_log import return_text
from trpotui.series import Series
from trpotui.tui.widgets.axes import linear_axis, step_axis
from trpotui.tui.widgets.drawing import ON_DARK, ON_LIGHT, Colours, draw
from trpotui.tui.widgets.plotting import (
    COLUMNS_PER_TICK,
    HUGE,
    LEAST_LABEL,
    LINE_MARKER,
    ROWS_PER_TICK,
    SIGNS,
    SMALLEST,
    Layer,
    Picture,
    Role,
)

MOST_MARKED = 4
RUN_SIGNS = ("●", "▲", "■", "★")
RUN_ROLES = (Role.LINE, Role.SECOND, Role.EVALUATION, Role.MARK)
"""Of a live chart, for their colours: here each stands for a run."""
COLUMNS_PER_SIGN = 9
COLUMNS_PER_EVALUATION = 3


class Shown(NamedTuple):
    """A run with the place that its sign and colour come from."""

    place: int
    run: PastRun


class RunCompare(Horizontal):
    """The chart with its legend, and the settings."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Shown, ...] = ()
        self._said: dict[str, object] = {}

    def compose(self) -> Iterator[Widget]:
        """The chart takes what the settings leave."""
        with Vertical(id="overlay"):
            yield Static(id="legend", markup=False)
            yield OverlayChart()
        with VerticalScroll(id="settings"):
            yield Static(id="settings-text", markup=False)

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self.show(self._shown))

    def show(self, shown: Sequence[Shown]) -> None:
        """Draw runs."""
        self._shown = tuple(shown)
        colours = ON_DARK if self.app.current_theme.dark else ON_LIGHT
        chart = self.query_one("#overlay")
        self._entitle(chart, _title(self._shown))
        legend = legend_of(self._shown, colours, chart.content_size.width - 2)
        self._say("#legend", legend, legend)
        self.query_one(OverlayChart).show(self._shown, colours)
        settings = settings_of(self._shown, colours)
        self._entitle(self.query_one("#settings"), settings.title)
        self._say("#settings-text", settings, settings.table)

    def _say(self, selector: str, what: object, content: Text | Table) -> None:
        """Change a text, but only to say something else: each time the screen is laid out anew."""
        if self._said.get(selector) != what:
            self._said[selector] = what
            self.query_one(selector, Static).update(content)

    def _entitle(self, widget: Widget, title: str) -> None:
        if widget.border_title != title:
            widget.border_title = title

    def on_resize(self) -> None:
        """Break the legend for another width."""
        self.call_after_refresh(lambda: self.show(self._shown))


def _title(shown: Sequence[Shown]) -> str:
    """What the chart shows, with the environment if it is the same for all."""
    environments = {one.run.environment_id for one in shown}
    return f"Return on {environments.pop()}" if len(environments) == 1 else "Return"


class OverlayChart(Widget):
    """The returns of some runs; kept as drawn until there is something else to draw."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._shown: Sequence[Shown] = ()
        self._colours: Colours = ON_DARK
        self._drawn: tuple[Size, int, tuple[tuple[int, Series, Series], ...]] | None = None
        self._strips: list[Strip] = []
        self.draws = 0
        """Times that something was drawn anew."""

    def show(self, shown: Sequence[Shown], colours: Colours) -> None:
        """Draw runs, if others are shown than before or they have grown."""
        self._shown, self._colours = shown, colours
        if not self.size:
            return
        curves = tuple((one.place, *_curves_of(one.run)) for one in shown)
        drawn = (self.size, id(colours), curves)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        self.draws += 1
        width, height = self.size
        picture = overlay(shown, width, height)
        if picture is None:
            text = "no returns yet" if shown else "no run"
            line = (text if width >= len(text) else "")[:width].center(width)
            self._strips = [Strip.blank(width)] * ((height - 1) // 2) + [Strip([Segment(line)])]
        else:
            self._strips = draw(picture, width, height, colours)
        self.refresh()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.show(self._shown, self._colours)

    def render_line(self, y: int) -> Strip:
        """A line as it was drawn last."""
        style = self.rich_style
        if y < len(self._strips):
            return self._strips[y].apply_style(style)
        return Strip.blank(self.size.width, style)


def _curves_of(run: PastRun) -> tuple[Series, Series]:
    return run.metrics.returns, run.metrics.evaluations


def overlay(shown: Sequence[Shown], width: int, height: int) -> Picture | None:
    """The chart of some runs; None where there is nothing to draw or no room for it.

    Each run is a line with its sign on it here and there; a run alone has its evaluations too.
    """
    curves = [(one.place, *_curves_of(one.run)) for one in shown]
    lasts = [series.last for _, *both in curves for series in both if series.last is not None]
    if not lasts or width < SMALLEST[0] or height < SMALLEST[1]:
        return None
    columns = width - 1 - LEAST_LABEL
    x = step_axis(
        0.0,
        max(at for at, _ in lasts),
        None,
        ended=True,
        most_ticks=max(columns // COLUMNS_PER_TICK, 2),
    )
    drawn: list[tuple[Role, str, list[tuple[float, float]]]] = []
    for place, returns, evaluations in curves:
        drawn.append((RUN_ROLES[place], LINE_MARKER, _means(returns, 2 * columns, x.high)))
        if len(shown) == 1:
            some = max(columns // COLUMNS_PER_EVALUATION, 1)
            points = _means(evaluations, some, x.high)
            drawn.append((Role.EVALUATION, SIGNS[Role.EVALUATION], points))
    for place, returns, _evaluations in curves:  # signs over all lines
        some = max(columns // COLUMNS_PER_SIGN, 1)
        drawn.append((RUN_ROLES[place], RUN_SIGNS[place], _means(returns, some, x.high)))
    values = [value for _, _, points in drawn for _, value in points]
    y = linear_axis(min(values), max(values), most_ticks=max((height - 2) // ROWS_PER_TICK, 2))
    return Picture(
        x=x,
        y=y.padded(LEAST_LABEL),
        layers=tuple(
            Layer(
                role=role,
                marker=marker,
                joined=marker == LINE_MARKER,
                xs=[x.place(at) for at, _ in points],
                ys=[y.place(value) for _, value in points],
            )
            for role, marker, points in drawn
            if points
        ),
        marks=(),
    )


def _means(series: Series, columns: int, x_to: float) -> list[tuple[float, float]]:
    return [
        (column.x, min(max(column.mean, -HUGE), HUGE))
        for column in series.columns(columns, 0.0, x_to)
    ]


def sign_of(place: int, colours: Colours) -> Text:
    """The sign of the run at a place, in its colour."""
    return Text(RUN_SIGNS[place], style=_style(RUN_ROLES[place], colours))


def _style(role: Role, colours: Colours) -> Style:
    return Style(color=Color.from_rgb(*colours[role]), bold=True)


def legend_of(shown: Sequence[Shown], colours: Colours, width: int) -> Text:
    """Every run with its sign, its short name and its best evaluation, in as few lines as do."""
    parts = []
    for one, name in zip(shown, labels([one.run for one in shown]), strict=True):
        best = (
            ""
            if one.run.metrics.best is None
            else f" best {return_text(one.run.metrics.best.mean)}"
        )
        parts.append(sign_of(one.place, colours).append(f" {name}{best}", style="not bold"))
    if len(shown) == 1 and shown[0].run.metrics.evaluations.count:
        sign = Text(SIGNS[Role.EVALUATION], style=_style(Role.EVALUATION, colours))
        parts.append(sign.append(" evaluations", style="not bold"))
    text, used = Text(), 0
    for part in parts:
        separator = "" if not used else "   " if used + 3 + part.cell_len <= width else "\n"
        used = part.cell_len + (used + 3 if separator == "   " else 0)
        text.append(separator).append_text(part)
    return text


class Settings(NamedTuple):
    """What stands beside the chart."""

    title: str
    header: tuple[Text, ...]
    """The sign of each run; empty where there is one run."""
    rows: tuple[tuple[str, ...], ...]

    @property
    def table(self) -> Table:
        """As it is shown."""
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=bool(self.header))
        for place in range(len(self.rows[0]) if self.rows else 0):
            heading = self.header[place - 1] if self.header and place else Text()
            table.add_column(heading, no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        return table


def settings_of(shown: Sequence[Shown], colours: Colours) -> Settings:
    """What differs among several runs, or all settings of one."""
    runs = [one.run for one in shown]
    if len(runs) <= 1:
        return Settings(
            "Settings", (), tuple(item for run in runs for item in run.settings.items())
        )
    rows = differing(runs)
    if not rows:
        return Settings("Settings", (), (("no setting differs",),))
    return Settings(
        f"{len(rows)} setting{' differs' if len(rows) == 1 else 's differ'}",
        tuple(sign_of(one.place, colours) for one in shown),
        tuple((name, *("–" if value is None else value for value in row)) for name, row in rows),
    )
