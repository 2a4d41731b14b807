"""What the player window shows: a frame with its aspect kept, between two lines of text.

The text has bars of its own: laid over the picture it would hide the goal of MountainCar and the
first row of a grid world.
"""

from __future__ import annotations

import numpy as np
import pygame
from numpy.typing import NDArray

from trpotui.viewer.playback import Playback

SMALLEST_PICTURE = 400
"""Small frames are enlarged by a whole factor until their shorter side has this many pixels."""

LARGEST_SHARE = 0.8
"""Share of the screen's width and height that a new window takes at most."""

HINTS = (
    "space pause  ·  left / right speed  ·  n next episode  ·  q quit",
    "space pause  ·  q quit",
    "q quit",
)
"""The keys, from the longest text to the shortest: the first one that fits is shown."""

_BACKGROUND = (16, 18, 22)
_BAR = (32, 35, 42)
_TEXT = (240, 242, 245)
_QUIET = (175, 182, 192)
_PAUSED = (255, 200, 87)


class Canvas:
    """The window's surface.

    Args:
        title: what is played, for the caption.
        frame: a frame [H, W, 3] that the window's first size fits.

    Raises:
        pygame.error: the window cannot be opened.
    """

    def __init__(self, title: str, frame: NDArray[np.uint8]) -> None:
        pygame.font.init()
        self._fonts: dict[int, pygame.font.Font] = {}
        width, height = _picture_size(frame)
        _, _, bar = self._text_style(width)
        self._surface = pygame.display.set_mode((width, height + 2 * bar), pygame.RESIZABLE)
        # after the first frame: some environments set a caption of their own when they draw
        pygame.display.set_caption(f"{title} · trpotui")

    def draw(self, frame: NDArray[np.uint8], playback: Playback) -> None:
        """Show a frame [H, W, 3], what is being played, and the keys."""
        self._surface = pygame.display.get_surface() or self._surface
        self._surface.fill(_BACKGROUND)
        width, height = self._surface.get_size()
        font, margin, bar = self._text_style(width)
        self._draw_picture(frame, pygame.Rect(0, bar, width, max(1, height - 2 * bar)))
        pygame.draw.rect(self._surface, _BAR, (0, 0, width, bar))
        self._draw_state(playback, font, margin)
        pygame.draw.rect(self._surface, _BAR, (0, height - bar, width, bar))
        hint = next((h for h in HINTS if font.size(h)[0] + 2 * margin <= width), HINTS[-1])
        text = font.render(hint, True, _QUIET)
        self._surface.blit(text, ((width - text.get_width()) // 2, height - bar + margin // 2))
        pygame.display.flip()

    def _draw_picture(self, frame: NDArray[np.uint8], area: pygame.Rect) -> None:
        height, width = frame.shape[:2]
        picture = pygame.image.frombuffer(frame.data, (width, height), "RGB")
        place = fitted((width, height), area)
        if place.size != (width, height):
            # enlarged pixels stay sharp; anything else is smoothed
            crisp = place.width >= 2 * width
            resize = pygame.transform.scale if crisp else pygame.transform.smoothscale
            picture = resize(picture, place.size)
        self._surface.blit(picture, place)

    def _draw_state(self, playback: Playback, font: pygame.font.Font, margin: int) -> None:
        player = playback.player
        speed = f"{playback.pace.speed:g}×"
        right, colour = (f"paused  {speed}", _PAUSED) if playback.pace.paused else (speed, _TEXT)
        state = font.render(right, True, colour)
        edge = self._surface.get_width() - margin - state.get_width()
        self._surface.blit(state, (edge, margin // 2))
        place = margin
        for part in (
            f"episode {player.episode} / {playback.episodes}",
            f"step {player.steps}",
            f"return {player.total:.1f}",
            "done" if player.ended else "",
        ):
            text = font.render(part, True, _TEXT)
            if place + text.get_width() + margin > edge:
                break
            self._surface.blit(text, (place, margin // 2))
            place += text.get_width() + 2 * margin

    def _text_style(self, width: int) -> tuple[pygame.font.Font, int, int]:
        """Font, margin and height of a bar [pixels] for the window's width."""
        size = min(max(width // 26, 15), 26)
        if size not in self._fonts:
            self._fonts[size] = pygame.font.Font(None, size)
        font = self._fonts[size]
        margin = size // 2
        return font, margin, font.get_height() + margin


def fitted(inner: tuple[int, int], area: pygame.Rect) -> pygame.Rect:
    """The largest rectangle of the inner size's aspect in the middle of the area."""
    factor = min(area.width / inner[0], area.height / inner[1])
    width, height = (max(1, round(side * factor)) for side in inner)
    left = area.left + (area.width - width) // 2
    return pygame.Rect(left, area.top + (area.height - height) // 2, width, height)


def _picture_size(frame: NDArray[np.uint8]) -> tuple[int, int]:
    """The picture's size [pixels] to begin with: not tiny, and not larger than the screen."""
    height, width = frame.shape[:2]
    screen = min(pygame.display.get_desktop_sizes())
    whole = -(-SMALLEST_PICTURE // min(width, height))  # rounded up
    factor = min(
        float(whole), LARGEST_SHARE * screen[0] / width, LARGEST_SHARE * screen[1] / height
    )
    return max(1, round(width * factor)), max(1, round(height * factor))
