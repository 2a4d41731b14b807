"""What is recorded, and whether this installation can."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from trpotui.config import STRICT
from trpotui.errors import RequestError

_ENCODERS = {".gif": ("PIL", "GIF"), ".mp4": ("av", "MP4"), ".png": ("PIL", "PNG")}
"""The module that each kind of file takes, and how people call that kind."""
SUFFIXES = tuple(_ENCODERS)

SMALLEST, LARGEST = 16, 4096
"""Pixels of a frame's side."""
FASTEST_GIF = 50.0
"""Frames per second; asked for shorter frames than 2/100 s, browsers show them for 10/100 s."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RecordOptions:
    """How episodes are recorded."""

    width: int | None = Field(
        default=None, ge=SMALLEST, le=LARGEST, description="of a frame; None as the height gives it"
    )
    height: int | None = Field(
        default=None, ge=SMALLEST, le=LARGEST, description="of a frame; None for its own size"
    )
    fps: float | None = Field(
        default=None, ge=1, le=120, description="frames per second of the file; None: one per step"
    )
    seconds: float | None = Field(
        default=None, gt=0, le=3600, description="length of the recording at most"
    )
    frames: int | None = Field(
        default=None, ge=1, le=100_000, description="frames at most; in a PNG of each episode"
    )
    overlay: bool = Field(default=True, description="show what the policy sees and expects")


def size_of(text: str) -> dict[str, int]:
    """Width and height from `640x480`, or the height alone from `480`.

    Raises:
        RequestError: it is neither, or no size of a frame.
    """
    match = re.fullmatch(r"(?:(\d{1,6})[x×])?(\d{1,6})", text.strip().lower())
    if match is None:
        raise RequestError(f"--size takes WIDTHxHEIGHT or a height, such as 640x480, not '{text}'")
    sides = {"width": match[1], "height": match[2]}
    size = {name: int(side) for name, side in sides.items() if side is not None}
    if not all(SMALLEST <= side <= LARGEST for side in size.values()):
        raise RequestError(f"--size {text}: each side has {SMALLEST} to {LARGEST} pixels")
    return size


def check_encoder(path: Path) -> None:
    """Refuse a recording whose encoder is not installed.

    Args:
        path: of the recording, with one of `SUFFIXES`.

    Raises:
        RequestError: as said, with what to install.
    """
    module, kind = _ENCODERS[path.suffix.lower()]
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise RequestError(
            f"a recording as {kind} takes an encoder: pip install 'trpotui[record]' ({error})"
        ) from error
