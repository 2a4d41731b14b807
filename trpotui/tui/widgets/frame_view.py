"""A picture in half blocks, in characters where there are no colours, or in pixels where it can be.

Pixels are no part of what Textual draws: their cells stay blank, and the picture is handed to the
driver, whose thread writes it after what was drawn before.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from textwrap import wrap
from time import monotonic
from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.errors import NoWidget
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from trpotui.tui.frames import characters, fitted, half_blocks

if TYPE_CHECKING:
    from trpotui.tui.frames import Frame
    from trpotui.tui.graphics import Graphics, Spot

PICTURE_SECONDS = 0.1
"""Between two pictures of pixels at least."""
REST = 2.0
"""Seconds of rest for each second that such a picture took."""
OVER_PICTURES = "Toast, Tooltip"
"""What Textual lays over the widgets of a screen."""


class FrameView(Widget):
    """A frame as large as it fits with its aspect kept, or a sentence where there is none."""

    ALLOW_SELECT = False

    def __init__(self) -> None:
        super().__init__()
        self._frame: Frame | None = None
        self._note = ""
        self._drawn: list[Strip] = []
        self._drawn_for: Size | None = None
        self._graphics: Graphics | None = None
        self._is_graphic = False
        """Whether the picture is one of pixels now."""
        self._next_picture: Timer | None = None
        self._last_picture = self._rest = 0.0

    def draw_with(self, graphics: Graphics | None) -> None:
        """Draw pictures of pixels wherever nothing lies over them."""
        self._graphics = graphics
        self.look_again()

    def show(self, frame: Frame | None, note: str = "") -> None:
        """Draw another frame; `note` where it is None."""
        if frame is None and self._frame is None and note == self._note:
            return
        stands = frame is self._frame
        self._frame, self._note = frame, note
        if self._is_graphic and frame is not None:
            if not stands:
                self._draw_soon()
            return
        self._drawn_for = None
        self.refresh()
        self.look_again()

    def notify_style_update(self) -> None:
        """Draw again in the colours of another theme."""
        super().notify_style_update()
        self._drawn_for = None

    def render_line(self, y: int) -> Strip:
        """One line of the picture at its present size."""
        lines = self._lines(self.size)
        self._draw_soon()
        return lines[y] if y < len(lines) else Strip.blank(self.size.width, self.rich_style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """What is to be seen of the picture, at a third of what Textual needs for styles.

        There are none here: no border, no padding, and every cell has its colours already.
        """
        lines = self._lines(self.size)[crop.y : crop.bottom]
        self._draw_soon()
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
        if frame is not None and self._is_graphic:
            content = []
        elif frame is None:
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

    # pictures of pixels

    def look_again(self) -> None:
        """Go over to pixels where they can be drawn, and back where they cannot."""
        if self._graphics is None or self._is_graphic == (self._place() is not None):
            return
        self._is_graphic = not self._is_graphic
        if not self._is_graphic:
            self._write(self._graphics.removal)
        self._drawn_for = None
        self.refresh()

    def _place(self) -> Region | None:
        """Where on the screen pixels can be drawn; None where they cannot.

        All of it has to be seen. The last line is left out: a sixel picture that ends there would
        scroll the screen.
        """
        if self._graphics is None or self._frame is None or not self.is_attached:
            return None
        screen = self.screen
        try:
            visible = screen.find_widget(self).visible_region
        except NoWidget:
            return None
        if not screen.is_active or not visible.area or visible.size != self.size:
            return None
        over = [widget.region for widget in screen.query(OVER_PICTURES) if widget.display]
        if visible.bottom >= screen.size.height or any(visible.overlaps(one) for one in over):
            return None
        return visible

    def _draw_soon(self) -> None:
        """Draw pixels when they may be drawn again, if they are drawn at all."""
        if self._graphics is None or self._next_picture is not None or not self.is_attached:
            return
        seconds = self._last_picture + max(PICTURE_SECONDS, self._rest) - monotonic()
        self._next_picture = self.set_timer(max(seconds, 0.001), self._draw_pixels)

    async def _draw_pixels(self) -> None:
        """Hand the picture to the driver; it is encoded in another thread."""
        self._next_picture = None
        self.look_again()
        graphics, frame, place = self._graphics, self._frame, self._place()
        if graphics is None or frame is None or place is None:
            return
        self._last_picture = monotonic()
        spot = graphics.spot(*frame.shape[:2], rows=place.height, columns=place.width)
        picture = await asyncio.to_thread(graphics.draw, frame, spot)
        self._rest = (1 + REST) * (monotonic() - self._last_picture)
        if self._place() == place:
            self._write(_at(place, spot) + picture + "\x1b8")
        else:
            self._draw_soon()

    def _write(self, text: str) -> None:
        """Have the driver's thread write it, as everything else on this terminal."""
        driver = self.app._driver
        if driver is not None and self.app.is_running:
            driver.write(text)
            driver.flush()


def _at(place: Region, spot: Spot) -> str:
    """Keeps the cursor in mind, and moves it."""
    return f"\x1b7\x1b[{place.y + spot.y + 1};{place.x + spot.x + 1}H"


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
