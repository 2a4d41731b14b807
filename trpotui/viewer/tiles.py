"""Frames with their titles and facts, drawn side by side; no display is needed for that.

A `Tile` is one policy: its picture between a title above and, when wanted, a panel of facts below.
The panel has a place of its own: laid over the picture it would hide the goal of MountainCar and
the first row of a grid world. `compose` makes one picture of several tiles, for a window as for a
recording.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pygame
from numpy.typing import NDArray

from trpotui.viewer.panel import PANEL_LINES, draw_panel, number
from trpotui.viewer.style import BACKGROUND, BAR, QUIET, TEXT, Ink
from trpotui.viewing.facts import Facts

GAP = 2
"""Pixels between two tiles."""

SMALLEST_PICTURE = 400
"""Small frames are enlarged by a whole factor until their shorter side has this many pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One policy at one moment."""

    frame: NDArray[np.uint8] | None
    """The picture [H, W, 3]; None where the environment has none."""
    title: str
    facts: Facts | None = None
    """For the panel and the title's right end."""
    note: str = ""
    """A few words in place of the title's right end, e.g. the keys of a person who plays."""


def columns_of(count: int) -> int:
    """How many tiles stand side by side: up to four in a row, then the squarest grid."""
    return count if count <= 4 else math.ceil(math.sqrt(count))


def natural_size(tiles: Sequence[Tile], *, overlay: bool) -> tuple[int, int]:
    """Width and height [pixels] at which no picture is scaled, but tiny ones are enlarged."""
    width, height = 1, 1
    for tile in tiles:
        tall, wide = (300, 400) if tile.frame is None else tile.frame.shape[:2]
        whole = max(1, -(-SMALLEST_PICTURE // min(tall, wide)))  # rounded up
        width, height = max(width, wide * whole), max(height, tall * whole)
    columns = columns_of(len(tiles))
    rows = -(-len(tiles) // columns)
    ink = Ink.for_size(width)
    each = height + _title_height(ink) + (_panel_height(ink) if overlay else 0)
    return columns * width + (columns - 1) * GAP, rows * each + (rows - 1) * GAP


def compose(
    tiles: Sequence[Tile], *, overlay: bool = True, size: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """One picture [H, W, 3] of all tiles.

    Args:
        tiles: at least one, drawn from left to right and then downwards.
        overlay: whether the facts are drawn.
        size: width and height [pixels]; by default `natural_size`. Aspects are kept.
    """
    surface = pygame.Surface(size or natural_size(tiles, overlay=overlay), depth=32)
    draw_tiles(surface, surface.get_rect(), tiles, overlay=overlay)
    width, height = surface.get_size()
    data = pygame.image.tobytes(surface, "RGB")
    return np.frombuffer(data, np.uint8).reshape(height, width, 3).copy()


def draw_tiles(
    surface: pygame.Surface, area: pygame.Rect, tiles: Sequence[Tile], *, overlay: bool
) -> None:
    """Draw all tiles into an area of a surface; see `compose`."""
    surface.fill(BACKGROUND, area)
    columns = columns_of(len(tiles))
    rows = -(-len(tiles) // columns)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, right = (area.left + (area.width + GAP) * c // columns for c in (column, column + 1))
        top, bottom = (area.top + (area.height + GAP) * r // rows for r in (row, row + 1))
        place = pygame.Rect(left, top, max(1, right - left - GAP), max(1, bottom - top - GAP))
        _draw_tile(surface, place, tile, overlay=overlay)


def draw_picture(surface: pygame.Surface, area: pygame.Rect, frame: NDArray[np.uint8]) -> None:
    """Draw a frame [H, W, 3] into the middle of an area, as large as its aspect allows."""
    height, width = frame.shape[:2]
    picture = pygame.image.frombuffer(np.ascontiguousarray(frame).data, (width, height), "RGB")
    place = fitted((width, height), area)
    if place.size != (width, height):
        # enlarged pixels stay sharp; anything else is smoothed
        crisp = place.width >= 2 * width
        resize = pygame.transform.scale if crisp else pygame.transform.smoothscale
        picture = resize(picture, place.size)
    surface.blit(picture, place)


def fitted(inner: tuple[int, int], area: pygame.Rect) -> pygame.Rect:
    """The largest rectangle of the inner size's aspect in the middle of the area."""
    factor = min(area.width / inner[0], area.height / inner[1])
    width, height = (max(1, round(side * factor)) for side in inner)
    left = area.left + (area.width - width) // 2
    return pygame.Rect(left, area.top + (area.height - height) // 2, width, height)


def _title_height(ink: Ink) -> int:
    return ink.line + ink.margin


def _panel_height(ink: Ink) -> int:
    return PANEL_LINES * ink.line + 2 * ink.margin


def _draw_tile(surface: pygame.Surface, area: pygame.Rect, tile: Tile, *, overlay: bool) -> None:
    ink = Ink.for_size(area.width, area.height)
    title, panel = _title_height(ink), _panel_height(ink)
    # a picture of no height shows less than facts that are left out
    overlay = overlay and tile.facts is not None and area.height - title >= 2 * panel
    below = panel if overlay else 0
    _draw_title(surface, pygame.Rect(area.topleft, (area.width, title)), tile, ink)
    middle = pygame.Rect(
        area.left, area.top + title, area.width, max(1, area.height - title - below)
    )
    if tile.frame is not None:
        draw_picture(surface, middle, tile.frame)
    else:
        ink.put(surface, "no picture", middle.center, QUIET, anchor="center")
    if overlay and tile.facts is not None:
        place = pygame.Rect(area.left, area.bottom - panel, area.width, panel)
        draw_panel(surface, place, tile.facts, ink)


def _draw_title(surface: pygame.Surface, area: pygame.Rect, tile: Tile, ink: Ink) -> None:
    surface.fill(BAR, area)
    right = tile.note or (_outcome(tile.facts) if tile.facts is not None else "")
    end = area.right - ink.margin
    if right and ink.width(right) + 2 * ink.margin < area.width:
        ink.put(surface, right, (end, area.centery), QUIET, anchor="midright")
        end -= ink.width(right) + ink.margin
    left = area.left + ink.margin
    ink.put(surface, ink.cut(tile.title, end - left), (left, area.centery), TEXT, anchor="midleft")


def _outcome(facts: Facts) -> str:
    done = "  done" if facts.ended else ""
    return f"step {facts.step}   return {number(facts.total)}{done}"
