"""A picture of plotted curves as lines of cells, drawn by plotext.

plotext is imported with the first picture, not with this module: the screen is there before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from trpotui.tui.widgets.plotting import Picture, Role

Colours = Mapping[Role, tuple[int, int, int]]

# After Okabe and Ito, "Color universal design": told apart with any kind of colour vision. Those on
# a light ground are the darker ones, or darkened.
ON_DARK: Colours = {
    Role.LINE: (86, 180, 233),
    Role.SECOND: (230, 159, 0),
    Role.DOTS: (122, 132, 142),
    Role.EVALUATION: (0, 178, 130),
    Role.LIMIT: (240, 228, 66),
    Role.REFUSED: (230, 105, 10),
    Role.MARK: (204, 121, 167),
}
ON_LIGHT: Colours = {
    Role.LINE: (0, 114, 178),
    Role.SECOND: (200, 85, 0),
    Role.DOTS: (120, 126, 132),
    Role.EVALUATION: (0, 125, 90),
    Role.LIMIT: (40, 40, 40),
    Role.REFUSED: (200, 60, 0),
    Role.MARK: (160, 70, 120),
}
LEAST_FOR_TEXT = 60
"""Columns of a chart whose marks say what they stand for."""

_ESCAPE = re.compile("\x1b\\[([0-9;]*)m")
_COLOUR = "38;2;"


def draw(picture: Picture, width: int, height: int, colours: Colours) -> list[Strip]:
    """The lines of a chart, from the top; what has no colour of its own takes that of the widget.

    Args:
        picture: what to draw.
        width: columns, the vertical axis and its labels included.
        height: rows, the horizontal axis and its labels included.
        colours: what everything is drawn in.
    """
    from textual_plotext import Plot  # noqa: PLC0415 - not before there is something to draw

    plot = Plot()
    plot.plotsize(width, height)
    plot._set_size(width, height)  # plotsize() takes no more than what it thinks is the terminal
    plot.canvas_color("default")
    plot.axes_color("default")
    plot.ticks_color("default")
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    plot.xlim(0, 1)
    plot.ylim(0, 1)
    plot.xticks([tick.at for tick in picture.x.ticks], [tick.label for tick in picture.x.ticks])
    plot.yticks([tick.at for tick in picture.y.ticks], [tick.label for tick in picture.y.ticks])
    for at, _ in picture.marks:
        plot.vline(at, colours[Role.MARK])
    for layer in picture.layers:
        put = plot.plot if layer.joined else plot.scatter
        put(layer.xs, layer.ys, marker=layer.marker, color=colours[layer.role])
    for at, text in mark_texts(picture, width):
        plot.text(text, at, 1, color=colours[Role.MARK], alignment="left")
    return list(_strips(plot.build(), width))


def mark_texts(picture: Picture, width: int) -> Iterator[tuple[float, str]]:
    """What stands beside the marks, in one row without overlaps; the latest marks come first."""
    if width < LEAST_FOR_TEXT:
        return
    columns = width - 1 - max(len(tick.label) for tick in picture.y.ticks)
    free = columns  # to the left of this column
    for at, text in reversed(picture.marks):
        mark = round(at * (columns - 1))
        for start in (mark + 1, mark - len(text)):
            if 0 <= start <= free - len(text):
                free = min(start, mark) - 1
                yield start / (columns - 1), text
                break


def _strips(canvas: str, width: int) -> Iterator[Strip]:
    """What plotext has built, without its escape codes: one in colour, or one that ends that."""
    for line in canvas.splitlines():
        pieces = _ESCAPE.split(line)  # text, code, text, code, ..., text
        codes = ["", *pieces[1::2]]
        segments = [
            Segment(text, _style(code))
            for text, code in zip(pieces[::2], codes, strict=True)
            if text
        ]
        yield Strip(segments, width)


@lru_cache(maxsize=64)
def _style(code: str) -> Style | None:
    if not code.startswith(_COLOUR):
        return None
    red, green, blue = map(int, code.removeprefix(_COLOUR).split(";"))
    return Style(color=Color.from_rgb(red, green, blue))
