"""A plot in characters, drawn by plotext."""

from __future__ import annotations

import math

import plotext

from trpotui.plots import Plot, as_series, thinned

DOTS = 2
"""Points that a character of the line is wide."""
SHADE = "░"
LEAST = (30, 10)
"""Columns and rows of the smallest plot."""
_TICKS = 5
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def as_text(plot: Plot, *, width: int, height: int) -> str:
    """The plot in characters without colours; lines end where their last mark is.

    Args:
        plot: what to draw.
        width: columns, the axis and its labels included; at least 30 are taken.
        height: rows, title and axes included; at least 10 are taken.
    """
    width, height = max(width, LEAST[0]), max(height, LEAST[1])
    y_low, y_high = _limits(plot)
    y_ticks, x_ticks = _ticks(y_low, y_high), _ticks(float(plot.x[0]), float(plot.x[-1]))
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.limit_size(False, False)
    plotext.plotsize(width, height - 3)  # two lines of title, one of the name of the axis
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    plotext.ylim(y_low, y_high)
    plotext.yticks(y_ticks, [f"{tick:,.6g}" for tick in y_ticks])
    plotext.xticks(x_ticks, [f"{tick:,.6g}" for tick in x_ticks])
    if plot.low is not None:
        plotext.scatter(*_shaded(plot, width, height), marker=SHADE)
    plotext.plot(*thinned(plot.x, plot.y, DOTS * width), marker="braille")
    canvas = plotext.uncolorize(plotext.build())
    plotext.clear_figure()
    lines = [plot.title, plot.subtitle, *canvas.splitlines(), plot.x_label.rjust(width)]
    return "\n".join(line[:width].rstrip() for line in lines)


def _limits(plot: Plot) -> tuple[float, float]:
    """The least and the greatest value, a little apart if they are the same."""
    low = float((plot.y if plot.low is None else plot.low).min())
    high = float((plot.y if plot.high is None else plot.high).max())
    if low == high:
        room = max(abs(low), 1.0) / 10
        return low - room, high + room
    return low, high


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, about five."""
    if low == high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(s * power for s in _STEPS if (high - low) / (s * power) <= _TICKS)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [index * step for index in range(first, last + 1)]


def _shaded(plot: Plot, width: int, height: int) -> tuple[list[float], list[float]]:
    """Points that fill the band, one for each character."""
    assert plot.low is not None
    assert plot.high is not None
    y_low, y_high = _limits(plot)
    row = (y_high - y_low) / height
    xs: list[float] = []
    ys: list[float] = []
    lows = as_series(plot.x, plot.low).columns(width)
    highs = as_series(plot.x, plot.high).columns(width)
    for under, over in zip(lows, highs, strict=True):
        count = int((over.mean - under.mean) / row) + 1
        xs += [under.x] * count
        ys += [under.mean + (over.mean - under.mean) * i / count for i in range(count)]
    return xs, ys
