"""What the player window shows: the tiles, a line about the playing, and now and then a card."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pygame

from trpotui.viewer.keys import CARD
from trpotui.viewer.playback import Playback
from trpotui.viewer.style import ACCENT, BAR, PANEL, QUIET, TEXT, TRACK, WARM, Ink
from trpotui.viewer.tiles import Tile, draw_tiles, natural_size

LARGEST_SHARE = 0.85
"""Share of the screen's width and height that a new window takes at most."""

HINTS = (
    "space pause   . , step   + − speed   n next seed   s screenshot   h all keys   q quit",
    "space pause   . , step   h all keys   q quit",
    "h all keys",
    "",
)
"""The keys, from the longest text to the shortest: the first one that fits is shown."""


class Canvas:
    """The window's surface.

    Args:
        title: what is played, for the caption.
        tiles: that the window's first size fits.

    Raises:
        pygame.error: the window cannot be opened.
    """

    def __init__(self, title: str, tiles: Sequence[Tile]) -> None:
        self.full_screen = False
        self.shows_card = False
        self._size = _first_size(tiles)
        self._surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)
        self._picture = self._surface.get_rect()
        # after the first frame: some environments set a caption of their own when they draw
        pygame.display.set_caption(f"{title} · trpotui")

    def toggle_full_screen(self) -> None:
        """Fill the screen, or take the window's size again."""
        self.full_screen = not self.full_screen
        if self.full_screen:
            self._size = pygame.display.get_window_size()
            self._surface = pygame.display.set_mode((0, 0), pygame.FULLSCREEN)
        else:
            self._surface = pygame.display.set_mode(self._size, pygame.RESIZABLE)

    def draw(self, tiles: Sequence[Tile], playback: Playback, message: str = "") -> None:
        """Show the tiles, what is being played, and a message or the keys."""
        self._surface = pygame.display.get_surface() or self._surface
        width, height = self._surface.get_size()
        ink = Ink.for_size(width, height)
        bar = _bar_height(ink)
        self._picture = pygame.Rect(0, 0, width, max(1, height - bar))
        draw_tiles(self._surface, self._picture, tiles, overlay=playback.overlay)
        self._draw_bar(pygame.Rect(0, height - bar, width, bar), playback, message, ink)
        if self.shows_card:
            _draw_card(self._surface, self._picture, ink)
        pygame.display.flip()

    def png(self) -> bytes:
        """The tiles as they were drawn last, as a PNG file."""
        buffer = io.BytesIO()
        pygame.image.save(self._surface.subsurface(self._picture), buffer, "tiles.png")
        return buffer.getvalue()

    def _draw_bar(self, area: pygame.Rect, playback: Playback, message: str, ink: Ink) -> None:
        self._surface.fill(BAR, area)
        together, pace = playback.together, playback.pace
        parts = [
            (f"{pace.speed:g}×", TEXT),
            ("paused" if pace.paused else "", WARM),
            (f"episode {together.episode} / {playback.episodes}", TEXT),
            (_mode(playback), TEXT),
        ]
        left = area.left + ink.margin
        for text, colour in parts:
            if text and left + ink.width(text) < area.right:
                ink.put(self._surface, text, (left, area.centery), colour, anchor="midleft")
                left += ink.width(text) + 2 * ink.margin
        room = area.right - ink.margin - left
        hint = ink.cut(message, room) if message else _first_fitting(HINTS, room, ink)
        place = (area.right - ink.margin, area.centery)
        ink.put(self._surface, hint, place, ACCENT if message else QUIET, anchor="midright")


def _mode(playback: Playback) -> str:
    if playback.hand is not None and len(playback.together.players) == 1:
        return ""  # no policy plays
    return "sampled" if playback.together.stochastic else "greedy"


def _bar_height(ink: Ink) -> int:
    return ink.line + ink.margin


def _first_fitting(texts: Sequence[str], room: int, ink: Ink) -> str:
    return next(text for text in texts if not text or ink.width(text) <= room)


def _draw_card(surface: pygame.Surface, area: pygame.Rect, ink: Ink) -> None:
    keys = max(ink.width(key) for key, _ in CARD) + 3 * ink.margin
    width = keys + max(ink.width(what) for _, what in CARD) + 4 * ink.margin
    card = pygame.Rect(0, 0, width, len(CARD) * ink.line + 4 * ink.margin)
    card.center = area.center
    pygame.draw.rect(surface, PANEL, card, border_radius=ink.margin)
    pygame.draw.rect(surface, TRACK, card, width=1, border_radius=ink.margin)
    left, top = card.left + 2 * ink.margin, card.top + 2 * ink.margin
    for key, what in CARD:
        ink.put(surface, key, (left, top), ACCENT)
        ink.put(surface, what, (left + keys, top))
        top += ink.line


def _first_size(tiles: Sequence[Tile]) -> tuple[int, int]:
    """The window's size [pixels] to begin with: not tiny, and not larger than the screen."""
    width, height = natural_size(tiles, overlay=True)
    height += _bar_height(Ink.for_size(width))
    screen = min(pygame.display.get_desktop_sizes())
    factor = min(1.0, LARGEST_SHARE * screen[0] / width, LARGEST_SHARE * screen[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))
