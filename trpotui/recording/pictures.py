"""What is seen of policies at one moment, as one picture of a constant size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pygame

from trpotui.errors import RequestError
from trpotui.recording.encoder import Picture
from trpotui.recording.options import LARGEST, RecordOptions
from trpotui.viewer.style import BACKGROUND
from trpotui.viewer.tiles import Tile, columns_of, compose, draw_picture, natural_size
from trpotui.viewing.facts import facts_of
from trpotui.viewing.rewind import RewindablePlayer

WIDEST = 1920
"""Pixels of a recording for which no size was asked."""
WIDEST_ON_SHEET = 320
"""Pixels of each policy on a sheet for which no size was asked."""


class Scene:
    """Draws players side by side.

    A single one without overlay is nothing but the environment's own picture.

    Args:
        players: at least one.
        titles: one for each.
        recording: size and overlay.
        is_sheet: whether the pictures are to be small.
    """

    def __init__(
        self,
        players: Sequence[RewindablePlayer],
        titles: Sequence[str],
        recording: RecordOptions,
        *,
        is_sheet: bool,
    ) -> None:
        self.players = players
        self._titles = titles
        self._overlay = recording.overlay
        self._plain = len(players) == 1 and not recording.overlay
        self._asked = recording.width, recording.height
        columns = columns_of(len(players))
        self._widest = WIDEST_ON_SHEET * columns if is_sheet else WIDEST
        self._size: tuple[int, int] | None = None

    @property
    def tells_the_future(self) -> bool:
        """Whether what follows a step is shown with it."""
        return self._overlay

    def picture(self) -> Picture:
        """The picture [H, W, 3] of now.

        Raises:
            EnvironmentFaultError: an environment raised.
            RequestError: an environment has no picture.
        """
        frames = [player.frame() for player in self.players]
        if self._plain:
            return self._scaled(frames[0])
        tiles = [
            Tile(frame=frame, title=title, facts=facts_of(player))
            for frame, title, player in zip(frames, self._titles, self.players, strict=True)
        ]
        if self._size is None:
            self._size = self._fitted(natural_size(tiles, overlay=self._overlay))
        return compose(tiles, overlay=self._overlay, size=self._size)

    def caption(self, *, numbered: bool) -> str:
        """What the picture shows, in a few words; `numbered` if there are several episodes."""
        first = self.players[0]
        words = [f"episode {first.episode}"] if numbered else []
        words.append(f"step {max(player.steps for player in self.players)}")
        if len(self.players) == 1:
            words.append(f"return {first.total:.4g}")
        return " · ".join(words)

    def _scaled(self, frame: Picture) -> Picture:
        height, width = frame.shape[:2]
        if self._size is None:
            self._size = self._fitted((width, height))
        if self._size == (width, height):
            return frame.copy()
        surface = pygame.Surface(self._size, depth=32)
        surface.fill(BACKGROUND)
        draw_picture(surface, surface.get_rect(), frame)
        data = pygame.image.tobytes(surface, "RGB")
        return np.frombuffer(data, np.uint8).reshape(*self._size[::-1], 3)

    def _fitted(self, natural: tuple[int, int]) -> tuple[int, int]:
        """The size that was asked for, with what was left open as the aspect gives it."""
        width, height = self._asked
        if height is None:
            factor = min(1.0, self._widest / natural[0])
            return max(1, round(natural[0] * factor)), max(1, round(natural[1] * factor))
        if width is None:
            width = max(1, round(natural[0] * height / natural[1]))
            if width > LARGEST:
                raise RequestError(
                    f"--size {height}: a frame of that height is {width} pixels wide, more than "
                    f"{LARGEST}"
                )
        return width, height
