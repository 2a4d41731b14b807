"""Colours and letters of everything that the player draws with pygame."""

from __future__ import annotations

from functools import lru_cache

import pygame

BACKGROUND = (16, 18, 22)
BAR = (32, 35, 42)
PANEL = (22, 25, 30)
TEXT = (236, 239, 243)
QUIET = (160, 168, 180)
TRACK = (46, 51, 60)
ACCENT = (86, 180, 233)
"""Sky blue, as all colours with a meaning from the set of Okabe and Ito, which colour-blind people
can tell apart."""
WARM = (230, 159, 0)
"""Orange."""

SMALLEST_LETTERS, COMMON_LETTERS, LARGEST_LETTERS = 13, 22, 44
"""Pixels; letters grow beyond the common size only where a talk fills a screen with them."""

FINER = 2
"""Letters are drawn that much larger and then shrunk: hinting spaces small ones unevenly."""

TEXTS_KEPT = 512
"""Drawn words that are kept: most of them return in the next frame."""


class Ink:
    """Letters of one size.

    Args:
        size: of the font [pixels].
    """

    def __init__(self, size: int) -> None:
        pygame.font.init()
        self.size = size
        self._font = pygame.font.Font(None, FINER * size)
        self.line = round(1.35 * self._font.get_height() / FINER)
        """Height of a line [pixels]."""
        self.margin = max(6, size // 2)
        self._rendered = lru_cache(maxsize=TEXTS_KEPT)(self._render)

    @classmethod
    def for_size(cls, width: int, height: int = 0) -> Ink:
        """The letters for a tile or window of that size [pixels]."""
        tall = min(max(height // 34, COMMON_LETTERS), LARGEST_LETTERS)
        size = max(min(width // 27, tall), SMALLEST_LETTERS)
        try:
            _ink(size).width("")
        except pygame.error:  # an environment that was closed has ended all of pygame
            _ink.cache_clear()
        return _ink(size)

    def width(self, text: str) -> int:
        """Of a text [pixels]."""
        return -(-int(self._font.size(text)[0]) // FINER)

    def cut(self, text: str, room: int) -> str:
        """The text, or as much of its beginning as fits the room [pixels]."""
        if self.width(text) <= room:
            return text
        while text and self.width(text + "…") > room:
            text = text[:-1]
        return text.rstrip() + "…" if text else ""

    def put(
        self,
        surface: pygame.Surface,
        text: str,
        at: tuple[int, int],
        colour: tuple[int, int, int] = TEXT,
        *,
        anchor: str = "topleft",
    ) -> None:
        """Write one line; `anchor` names the point of it that lies at the place."""
        if text:
            drawn = self._rendered(text, colour)
            surface.blit(drawn, drawn.get_rect(**{anchor: at}))

    def _render(self, text: str, colour: tuple[int, int, int]) -> pygame.Surface:
        large = self._font.render(text, True, colour)
        width, height = large.get_size()
        return pygame.transform.smoothscale(large, (-(-width // FINER), -(-height // FINER)))


@lru_cache(maxsize=16)
def _ink(size: int) -> Ink:
    return Ink(size)
