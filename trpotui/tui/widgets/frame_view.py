"""A picture in half blocks, or in characters where there are no colours."""

from __future__ import annotations

from functools import lru_cache
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from trpotui.tui.frames import characters, fitted, half_blocks

if TYPE_CHECKING:
    from trpotui.tui.frames import Frame


class FrameView(Widget):
    """A frame as large as it fits with its aspect kept, or a sentence where there is none."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._frame: Frame | None = None
        self._note = ""
        self._drawn: list[Strip] = []
        self._drawn_for: Size | None = None

    def show(self, frame: Frame | None, note: str = "") -> None:
        """Draw another frame; `note` where it is None."""
        if frame is None and self._frame is None and note == self._note:
            return
        self._frame, self._note = frame, note
        self._drawn_for = None
        self.refresh()

    def notify_style_update(self) -> None:
        """Draw again in the colours of another theme."""
        super().notify_style_update()
        self._drawn_for = None

    def render_line(self, y: int) -> Strip:
        """One line of the picture at its present size."""
        lines = self._lines(self.size)
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """What is to be seen of the picture, at a third of what Textual needs for styles.

        There are none here: no border, no padding, and every cell has its colours already.
        """
        lines = self._lines(self.size)[crop.y : crop.bottom]
        return [strip.crop(crop.x, crop.right) for strip in lines]

    def _lines(self, size: Size) -> list[Strip]:
        if self._drawn_for != size:
            self._drawn, self._drawn_for = self._draw(*size), size
        return self._drawn

    def _draw(self, width: int, height: int) -> list[Strip]:
        """Lines of the whole widget, the picture in their middle."""
        style = self.rich_style
        frame = self._frame
        if not width or not height:
            return []
        if frame is None:
            texts = wrap(self._note, width)[:height]
            content = [Strip([Segment(text, style)]).crop(0, width) for text in texts]
        else:
            rows, columns = fitted(frame.shape[0], frame.shape[1], rows=height, columns=width)
            content = self._picture(frame, min(rows, height), min(columns, width))
        lines = [_centred(strip, width, style) for strip in content]
        above = (height - len(lines)) // 2
        blank = Strip.blank(width, style)
        lines = [blank] * above + lines + [blank] * (height - above - len(lines))
        if frame is None or not self._has_colours:  # a picture has nothing but true colours
            background = self.background_colors[1]
            for line_filter in self.get_line_filters():
                lines = [line.apply_filter(line_filter, background) for line in lines]
        return lines

    @property
    def _has_colours(self) -> bool:
        """Half blocks without colours would all look the same."""
        return not self.app.no_color and self.app.console.color_system is not None

    def _picture(self, frame: Frame, rows: int, columns: int) -> list[Strip]:
        if not self._has_colours:
            style = self.rich_style
            lines = characters(frame, rows=rows, columns=columns)
            return [Strip([Segment(line, style)], columns) for line in lines]
        return [
            Strip(
                [Segment(run.text, colours(run.foreground, run.background)) for run in line],
                columns,
            )
            for line in half_blocks(frame, rows=rows, columns=columns)
        ]


def _centred(strip: Strip, width: int, style: Style) -> Strip:
    left = (width - strip.cell_length) // 2
    right = width - left - strip.cell_length
    return Strip([Segment(" " * left, style), *strip, Segment(" " * right, style)], width)


@lru_cache(4096)
def colours(foreground: int, background: int) -> Style:
    """The style of 0xRRGGBB on 0xRRGGBB."""
    return Style.from_color(colour(foreground), colour(background))


@lru_cache(4096)
def colour(value: int) -> Color:
    """A colour of 0xRRGGBB."""
    return Color.from_rgb(value >> 16, value >> 8 & 0xFF, value & 0xFF)
