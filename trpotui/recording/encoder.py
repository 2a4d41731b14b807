"""What the kinds of recordings have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""[H, W, 3], red, green and blue; of one size throughout a recording."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One moment of an episode."""

    draw: Callable[[], Picture]
    """Its picture; valid until the next moment, and worth not calling where it is not needed."""
    frames: int
    """For how many frames of the file it is shown."""
    caption: str
    """For kinds that write below it what it shows."""
    last: bool
    """Whether what follows, if anything does, is of another episode."""


class Encoder(Protocol):
    """Takes shots one after the other and makes a file of them.

    Both methods raise RunError when a library refuses.
    """

    def add(self, shot: Shot) -> None:
        """Take the next shot."""

    def finish(self) -> bytes:
        """The file; called once, after the last shot."""


def encoder_for(path: Path, *, fps: float, most_pictures: int) -> Encoder:
    """The encoder of a file, by its suffix.

    Args:
        path: of the file.
        fps: frames per second.
        most_pictures: of an episode on a sheet.
    """
    # each loads its library
    match path.suffix.lower():
        case ".gif":
            from trpotui.recording.gif import GifEncoder  # noqa: PLC0415

            return GifEncoder(fps)
        case ".mp4":
            from trpotui.recording.mp4 import Mp4Encoder  # noqa: PLC0415

            return Mp4Encoder(fps)
        case _:
            from trpotui.recording.sheet import SheetEncoder  # noqa: PLC0415

            return SheetEncoder(most_pictures)
