"""A contact sheet: frames of episodes, evenly spaced, with their steps below."""

from __future__ import annotations

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trpotui.recording.encoder import Picture, Shot

MARGIN = 8
"""Pixels around every frame."""
TEXT_SHARE = 0.05
"""Height of the text, in widths of a frame."""
SMALLEST_TEXT, LARGEST_TEXT = 11, 22
"""Pixels."""
BACKGROUND, FRAME, INK = (255, 255, 255), (200, 204, 210), (20, 22, 26)


class _Cell(NamedTuple):
    picture: Picture
    caption: str


class SheetEncoder:
    """A PNG of some frames of each episode: the first, the last, and between them every n-th.

    n is the least power of two with which there are few enough. Only those are held in memory.

    Args:
        most: frames of an episode, 2 at least.
    """

    def __init__(self, most: int) -> None:
        self._most = max(most, 2)
        self._done: list[list[_Cell]] = []
        self._kept: list[_Cell] = []
        self._every = 1
        self._count = 0

    def add(self, shot: Shot) -> None:
        """Take the next shot."""
        if self._count % self._every == 0 and len(self._kept) == self._most - 1 and not shot.last:
            self._kept = self._kept[::2]
            self._every *= 2
        if self._count % self._every == 0 or shot.last:
            self._kept.append(_Cell(shot.draw(), shot.caption))
        self._count += 1
        if shot.last:
            self._done.append(self._kept)
            self._kept, self._every, self._count = [], 1, 0

    def finish(self) -> bytes:
        """The file."""
        buffer = io.BytesIO()
        _sheet(self._done).save(buffer, "PNG")
        return buffer.getvalue()


def columns_of(count: int, width: int, height: int) -> int:
    """How many frames of a size stand side by side, so that it becomes a little wider than high."""
    return min(count, max(1, math.ceil(math.sqrt(count * 1.4 * height / width))))


def _sheet(episodes: list[list[_Cell]]) -> Image.Image:
    height, width = episodes[0][0].picture.shape[:2]
    size = min(max(round(TEXT_SHARE * width), SMALLEST_TEXT), LARGEST_TEXT)
    font = ImageFont.load_default(size)
    columns = columns_of(max(map(len, episodes)), width, height)
    rows = [cells[i : i + columns] for cells in episodes for i in range(0, len(cells), columns)]
    step_x, step_y = width + MARGIN, height + round(1.5 * size) + MARGIN
    sheet = Image.new("RGB", (columns * step_x + MARGIN, len(rows) * step_y + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    placed = ((x, y, cell) for y, row in enumerate(rows) for x, cell in enumerate(row))
    for x, y, cell in placed:
        left, top = MARGIN + x * step_x, MARGIN + y * step_y
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=FRAME)
        sheet.paste(Image.fromarray(np.ascontiguousarray(cell.picture)), (left, top))
        text = cell.caption
        while len(text) > 1 and draw.textlength(text, font=font) > width:
            text = text[:-1]
        draw.text((left, top + height + size // 5), text, font=font, fill=INK)
    return sheet
