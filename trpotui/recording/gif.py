"""Animated GIFs of pictures that mostly stay the same.

Pillow compresses each frame; the frames are put together here, because Pillow would keep all of
them in memory until the end, and would merge equal ones. Format: GIF89a, CompuServe 1990.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trpotui.recording.encoder import Picture, Shot

TRANSPARENT = 0
"""The index of pixels that stay as they were."""
COLOURS = 255
"""The other indices."""
Packed = NDArray[np.uint32]
"""Red, green and blue of each pixel in one number."""
_FOR_EVER = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
_END = b"\x3b"


class GifEncoder:
    """A GIF that repeats for ever.

    A frame brings the pixels that have changed, transparent ones between them, and their palette.
    Up to 255 changed colours are exact; of more, each becomes the nearest of 255.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float) -> None:
        self._seconds_per_frame = 1 / fps
        self._file = io.BytesIO()
        self._before: Packed | None = None
        self._frames = 0
        self._shown = 0  # 1/100 s that all frames so far are shown

    def add(self, shot: Shot) -> None:
        """Take the next shot."""
        picture = packed(shot.draw())
        height, width = picture.shape
        if self._before is None:
            self._file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
            self._file.write(_FOR_EVER)
            changed = np.ones((height, width), dtype=np.bool_)
        else:
            changed = self._before != picture
        self._before = picture
        # hundredths that the rounding of one frame left over go to the next ones
        self._frames += shot.frames
        delay = round(100 * self._frames * self._seconds_per_frame) - self._shown
        self._shown += delay
        self._write_control(min(delay, 0xFFFF))
        self._write_image(picture, changed)

    def finish(self) -> bytes:
        """The file."""
        self._file.write(_END)
        return self._file.getvalue()

    def _write_control(self, delay: int) -> None:
        """How long the image that follows is shown [1/100 s], over what was there before."""
        keep_and_transparent = 0x04 | 0x01
        self._file.write(
            struct.pack("<BBBBHBB", 0x21, 0xF9, 4, keep_and_transparent, delay, TRANSPARENT, 0)
        )

    def _write_image(self, picture: Packed, changed: NDArray[np.bool_]) -> None:
        left, top, right, bottom = box_of(changed)
        changed = changed[top:bottom, left:right]
        colours, palette = _with_palette(picture[top:bottom, left:right][changed])
        indices = np.full(changed.shape, TRANSPARENT, dtype=np.uint8)
        indices[changed] = colours
        height, width = changed.shape
        self._file.write(struct.pack("<BHHHHB", 0x2C, left, top, width, height, 0x87))
        self._file.write(palette)
        self._file.write(_compressed(indices, palette))


def packed(picture: Picture) -> Packed:
    """The colours of a picture [H, W, 3] as numbers [H, W], which compare faster."""
    red, green, blue = (picture[:, :, channel].astype(np.uint32) for channel in range(3))
    colours: Packed = (red << 16 | green << 8 | blue).astype(np.uint32, copy=False)
    return colours


def unpacked(colours: Packed) -> NDArray[np.uint8]:
    """The inverse of `packed`, of numbers [P]."""
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)


def box_of(changed: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what has changed; one pixel where nothing has."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _with_palette(pixels: Packed) -> tuple[NDArray[np.uint8], bytes]:
    """The index of each pixel [P], from 1, in a palette of 256 entries, and that palette."""
    found, indices = np.unique(pixels, return_inverse=True)
    if len(found) > COLOURS:
        reduced = Image.fromarray(unpacked(pixels)[None]).quantize(
            COLOURS, dither=Image.Dither.NONE
        )
        indices, palette = np.asarray(reduced)[0], bytes(reduced.getpalette() or ())
    else:
        palette = unpacked(found).tobytes()
    return (indices + 1).astype(np.uint8), (bytes(3) + palette)[:768].ljust(768, b"\0")


def _compressed(indices: NDArray[np.uint8], palette: bytes) -> bytes:
    """Pixels [H, W] as a GIF holds them."""
    image = Image.fromarray(indices)
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False, interlace=False)
    return _pixels_of(buffer.getvalue())


def _pixels_of(gif: bytes) -> bytes:
    """The compressed pixels in a GIF of one frame."""
    place = 13 + _table_size(gif[10])
    while gif[place] == 0x21:  # an extension: its kind, then blocks until an empty one
        place += 2
        while gif[place]:
            place += 1 + gif[place]
        place += 1
    place += 10 + _table_size(gif[place + 9])
    return gif[place : gif.rindex(_END)]


def _table_size(flags: int) -> int:
    """Bytes of the colour table that a descriptor announces."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
