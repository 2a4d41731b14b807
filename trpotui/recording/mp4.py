"""MP4 with H.264, as every browser and slide program plays it.

PyAV brings FFmpeg's libraries and calls them in this process, so there is none to be left behind.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from trpotui.errors import RunError
from trpotui.recording.encoder import Picture, Shot

QUALITY = "16"
"""The constant rate factor; 18 is said to look lossless, and flat colours are cheap."""
BT709 = 1
"""How H.264 numbers the colours of computer screens."""


class Mp4Encoder:
    """An MP4 of constant frame rate; an odd side grows by one pixel, as its colours need.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float) -> None:
        self._file = io.BytesIO()
        self._container = av.open(self._file, mode="w", format="mp4")
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream(
            "libx264", rate=rate, options={"crf": QUALITY, "preset": "medium"}
        )
        self._began = False

    def add(self, shot: Shot) -> None:
        """Take the next shot."""
        with _refusals_told():
            self._add(shot.draw(), shot.frames)

    def _add(self, picture: Picture, frames: int) -> None:
        height, width = picture.shape[:2]
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not self._began:
            self._begin(picture)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        for _ in range(frames):
            frame.pts = None  # the stream counts
            self._container.mux(self._stream.encode(frame))

    def finish(self) -> bytes:
        """The file."""
        with _refusals_told():
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._file.getvalue()

    def _begin(self, picture: Picture) -> None:
        context = self._stream.codec_context
        context.height, context.width = picture.shape[:2]
        context.pix_fmt = "yuv420p"
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = ColorRange.MPEG
        self._began = True


@contextlib.contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise RunError(f"the MP4 could not be encoded: {error.strerror}") from error
