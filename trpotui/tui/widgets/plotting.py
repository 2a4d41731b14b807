"""From the curves of a run to what is drawn of them: axes, and points in the unit square.

Nothing here draws. What comes out has a size that depends on the chart's and not on the run's, lies
between 0 and 1 on both axes, and is finite: the drawing library takes neither the logarithm of what
is not positive nor the difference of huge numbers, so it is never given any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import pairwise

from trpotui.series import Column, Series
from trpotui.tui.widgets.axes import Axis, linear_axis, log_axis, step_axis

LINE_MARKER = "braille"
HUGE = 1e100
"""Greater values are drawn here, and those under its inverse at 0: nothing overflows."""
COLUMNS_PER_SIGN = 4
COLUMNS_PER_TICK = 11
ROWS_PER_TICK = 3
ROWS_PER_LOG_TICK = 2
LEAST_LABEL = 5
"""Cells that the labels of the vertical axis get at least, so that it stays where it is."""
SMALLEST = (16, 4)
"""Columns and rows below which there is no chart."""


class Role(StrEnum):
    """What something on a chart stands for; each has a colour and a sign of its own."""

    LINE = "line"
    SECOND = "second"
    DOTS = "dots"
    EVALUATION = "evaluation"
    LIMIT = "limit"
    REFUSED = "refused"
    MARK = "mark"


SIGNS = {
    Role.LINE: "⠒",
    Role.SECOND: "+",
    Role.DOTS: "·",
    Role.EVALUATION: "◆",
    Role.LIMIT: "╌",
    Role.REFUSED: "✗",
    Role.MARK: "│",
}
"""Beside the colours: the charts are readable without them."""


class Kind(Enum):
    """How the points of a column of cells are drawn."""

    MEAN = 1
    """A line through the means."""
    COURSE = 2
    """That, and dots for the least and the greatest where they are not on it. A line through those
    would turn noise into a solid block, which is dear and hides how it moves."""
    DOTS = 3
    """A dot for the least and one for the greatest."""
    SIGNS = 4
    """A sign at the mean of a few columns."""
    LEVEL = 5
    """A dashed line at the value that holds there."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A series, what it stands for and how it is drawn."""

    series: Series
    kind: Kind
    role: Role


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a chart is to show; later curves lie over earlier ones."""

    curves: tuple[Curve, ...]
    level: float | None = None
    """A dashed line that is there before there is any point."""
    floor: float | None = None
    """The axis does not go below; what does is marked at the edge. Not on a logarithmic axis."""
    first_step: int = 0
    steps: int = 0
    total_steps: int | None = None
    ended: bool = False
    marks: tuple[tuple[int, str], ...] = ()
    """Steps at which something was changed by hand, and what."""

    @property
    def last_step(self) -> float:
        """Of the run and of all points: those of one update do not come all at once."""
        lasts = [curve.series.last[0] for curve in self.curves if curve.series.last is not None]
        return max([float(self.steps), *lasts])

    def same_as(self, other: Content | None) -> bool:
        """Whether both are drawn alike. Series are values, so the same one has the same points."""
        return (
            other is not None
            and len(self.curves) == len(other.curves)
            and all(
                mine.series is theirs.series and mine.role is theirs.role
                for mine, theirs in zip(self.curves, other.curves, strict=True)
            )
            and self._rest() == other._rest()
        )

    def _rest(self) -> tuple[object, ...]:
        return (
            self.level,
            self.floor,
            self.first_step,
            self.steps,
            self.total_steps,
            self.ended,
            self.marks,
        )


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Points of the unit square with one marker and one colour, joined by lines or not."""

    role: Role
    marker: str
    joined: bool
    xs: list[float]
    ys: list[float]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A chart, ready to be drawn."""

    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    marks: tuple[tuple[float, str], ...]
    """Where a vertical line stands between 0 and 1, and what it says."""


def picture(content: Content, width: int, height: int, *, logarithmic: bool) -> Picture | str:
    """What to draw of a content in a chart of so many cells, its axes included.

    Returns:
        The picture, or a few words that say why there is none.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return "too small for a chart"
    columns = width - 1 - LEAST_LABEL
    x = step_axis(
        content.first_step,
        content.last_step,
        content.total_steps,
        ended=content.ended,
        most_ticks=max(columns // COLUMNS_PER_TICK, 2),
    )
    drawn = [(curve, _columns(curve, columns, x)) for curve in content.curves]
    values = [value for _, found in drawn for column in found for value in (column[1], column[3])]
    if not values:
        return "no data yet"
    if content.level is not None:
        values.append(_tame(content.level))
    y = _value_axis(values, content.floor, logarithmic=logarithmic, rows=height - 2)
    if y is None:
        return "nothing above 0 for a logarithmic axis"
    canvas = (max(width - 1 - max(len(tick.label) for tick in y.ticks), 2), height - 2)
    layers = []
    if content.level is not None:
        layers.append(_dashes([_point(x.low, _tame(content.level))], canvas[0], x, y))
    for curve, found in drawn:
        layers += _layers(curve, found, canvas, x, y)
    for _, found in drawn:
        layers += _arrows(found, x, y)
    return Picture(
        x=x,
        y=y,
        layers=tuple(layer for layer in layers if layer.xs),
        marks=tuple((x.place(step), text) for step, text in content.marks if x.holds(step)),
    )


def _point(x: float, y: float) -> Column:
    return Column(x, y, y, y)


def _columns(curve: Curve, columns: int, x: Axis) -> list[Column]:
    """What is drawn of a curve, in its own units."""
    series, place = curve.series, (x.low, x.high)
    if curve.kind is Kind.DOTS:
        return [_point(at, _tame(value)) for at, value in series.dots(columns, *place)]
    if curve.kind is Kind.SIGNS:
        columns = max(columns // COLUMNS_PER_SIGN, 1)
    found = series.columns(columns, *place)
    if curve.kind is not Kind.COURSE:
        return [_point(column.x, _tame(column.mean)) for column in found]
    return [Column(at, _tame(low), _tame(mean), _tame(high)) for at, low, mean, high in found]


def _tame(value: float) -> float:
    return min(max(value, -HUGE), HUGE) if abs(value) > 1 / HUGE else 0.0


def _value_axis(
    values: list[float], floor: float | None, *, logarithmic: bool, rows: int
) -> Axis | None:
    if logarithmic:
        values = [value for value in values if value > 0.0]
        if not values:
            return None
        axis = log_axis(min(values), max(values), most_ticks=max(rows // ROWS_PER_LOG_TICK, 2))
    else:
        low, high = min(values), max(values)
        if floor is not None:
            low, high = max(low, floor), max(high, floor)
        axis = linear_axis(low, high, most_ticks=max(rows // ROWS_PER_TICK, 2))
    return axis.padded(LEAST_LABEL)


def _layers(
    curve: Curve, found: list[Column], canvas: tuple[int, int], x: Axis, y: Axis
) -> Iterator[Layer]:
    """The layers of a curve, the lowest first."""
    if curve.kind is Kind.LEVEL:
        yield _dashes(found, canvas[0], x, y)
        return
    if curve.kind is Kind.COURSE:
        yield _layer(Role.DOTS, SIGNS[Role.DOTS], _off_the_line(found, canvas[1], y), x, y)
    joined = curve.kind in (Kind.MEAN, Kind.COURSE)
    marker = LINE_MARKER if joined else SIGNS[curve.role]
    points = [(column.x, column.mean) for column in found]
    yield _layer(curve.role, marker, points, x, y, joined=joined)


def _off_the_line(found: list[Column], rows: int, y: Axis) -> list[tuple[float, float]]:
    """The extremes of each column that are more than a row from its mean."""
    row = 1.0 / max(rows - 1, 1)
    return [
        (column.x, value)
        for column in found
        for value in (column.low, column.high)
        if abs(y.place(value) - y.place(column.mean)) > row
    ]


def _layer(
    role: Role,
    marker: str,
    points: list[tuple[float, float]],
    x: Axis,
    y: Axis,
    *,
    joined: bool = False,
) -> Layer:
    xs = [x.place(at) for at, _ in points]
    ys = [y.place(value) for _, value in points]
    return Layer(role=role, marker=marker, joined=joined, xs=xs, ys=ys)


def _dashes(found: list[Column], columns: int, x: Axis, y: Axis) -> Layer:
    """A dash in every column, at the value that was the last by then, or the first to come."""
    ys: list[float] = []
    if found:
        points = [(x.place(column.x), y.place(column.mean)) for column in found]
        later = iter(pairwise([*points, (math.inf, 0.0)]))
        here, after = next(later)
        for column in range(columns):
            while column / (columns - 1) >= after[0]:
                here, after = next(later)
            ys.append(here[1])
    xs = [column / (columns - 1) for column in range(len(ys))]
    return Layer(role=Role.LIMIT, marker=SIGNS[Role.LIMIT], joined=False, xs=xs, ys=ys)


def _arrows(found: list[Column], x: Axis, y: Axis) -> Iterator[Layer]:
    """Arrows at the edge where a curve leaves the axis."""
    under = [x.place(column.x) for column in found if y.below(column.low)]
    over = [x.place(column.x) for column in found if y.above(column.high)]
    for marker, edge, xs in (("▼", 0.0, under), ("▲", 1.0, over)):
        yield Layer(role=Role.REFUSED, marker=marker, joined=False, xs=xs, ys=[edge] * len(xs))
