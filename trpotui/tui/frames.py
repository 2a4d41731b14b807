"""Pictures as text: half-block cells of two pixels each, or characters where there is no colour.

Legend: H, W pixels of an environment's frame; R, C rows and columns of terminal cells. A cell is
about twice as high as it is wide, so half a cell is about a square.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frame = NDArray[np.uint8]
    """[H, W, 3]."""

HALF_BLOCK = "▀"
SHADES = " ░▒▓█"
EMPHASIS = 0.6
"""Exponent of the contrast with the ground: a 25th of the greatest becomes a 7th."""
MOST_EMPHASIS = 4.0
FAINTEST = 0.12
"""Ink of at most 1 that still makes a character."""
SPLIT = 0.4
"""Share of the fuller half's ink below which a half block leaves the other one out."""


class Run(NamedTuple):
    """Neighbouring cells of one row that look the same."""

    text: str
    foreground: int
    """0xRRGGBB, of the upper pixels where `text` is half blocks."""
    background: int
    """0xRRGGBB, of the lower pixels, or of both where `text` is blank."""


def fitted(height: int, width: int, *, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of the largest picture of that aspect which fits; at least one cell.

    Args:
        height: H.
        width: W.
        rows: of cells that there are.
        columns: of cells that there are.
    """
    scale = min(columns / width, 2 * rows / height)
    return max(1, round(height * scale / 2)), max(1, round(width * scale))


def resized(frame: Frame, height: int, width: int) -> Frame:
    """The frame at another size, each pixel the mean of those that it covers.

    Nothing gets lost, however small the picture gets. Where it gets larger, pixels repeat.
    """
    import numpy as np  # noqa: PLC0415 - the screen is there before numpy is

    rows = np.arange(height + 1) * frame.shape[0] // height
    columns = np.arange(width + 1) * frame.shape[1] // width
    sums = np.add.reduceat(frame, rows[:-1], axis=0, dtype=np.uint32)  # [height, W, 3]
    sums = np.add.reduceat(sums, columns[:-1], axis=1)  # [height, width, 3]
    # reduceat hands out the single element where a range is empty
    counts = np.maximum(np.diff(rows), 1)[:, None] * np.maximum(np.diff(columns), 1)[None, :]
    small: Frame = (sums // counts[..., None].astype(np.uint32)).astype(np.uint8)
    return small


def emphasized(pixels: Frame) -> Frame:
    """The pixels of a drawing with what stands out from its ground standing out more.

    Resizing makes a thin line on white a pale one. A picture without a ground stays as it is.
    """
    import numpy as np  # noqa: PLC0415 - as above

    ground = _ground(pixels)
    if ground is None:
        return pixels
    contrast = pixels - ground
    share = np.abs(contrast).max(axis=2, keepdims=True) / 255.0  # of the greatest there can be
    gain = np.minimum(np.maximum(share, 1e-6) ** (EMPHASIS - 1.0), MOST_EMPHASIS)
    strong: Frame = np.rint(np.clip(ground + contrast * gain, 0, 255)).astype(np.uint8)
    return strong


def half_blocks(frame: Frame, *, rows: int, columns: int) -> list[list[Run]]:
    """The frame as `rows` lines of `columns` coloured cells, run by run."""
    packed = _packed(emphasized(resized(frame, 2 * rows, columns)))
    upper, lower = packed[0::2], packed[1::2]  # [R, C] each
    starts = _starts((upper << 24) | lower)
    lines = []
    for row in range(rows):
        edges = [*starts[row], columns]
        tops, bottoms = upper[row, starts[row]].tolist(), lower[row, starts[row]].tolist()
        lines.append(
            [
                Run((" " if top == bottom else HALF_BLOCK) * (end - start), top, bottom)
                for start, end, top, bottom in zip(edges, edges[1:], tops, bottoms, strict=False)
            ]
        )
    return lines


def characters(frame: Frame, *, rows: int, columns: int) -> list[str]:
    """The frame as `rows` lines of `columns` characters, fuller the more a place stands out.

    A black cart on white and a white one on black look alike, on every terminal.
    """
    import numpy as np  # noqa: PLC0415 - as above

    pixels = emphasized(resized(frame, 2 * rows, columns))
    ground = _ground(pixels)
    if ground is None:
        ink = pixels @ np.array([0.2126, 0.7152, 0.0722]) / 255.0  # [2R, C], its brightness
    else:
        ink = np.abs(pixels - ground).max(axis=2) / 255.0
    upper, lower = ink[0::2], ink[1::2]
    shades = np.ceil((upper + lower) / 2 * (len(SHADES) - 1) - FAINTEST).astype(np.intp)
    signs = np.array(list(SHADES))[shades]
    signs[(upper > FAINTEST) & (lower < SPLIT * upper)] = "▀"
    signs[(lower > FAINTEST) & (upper < SPLIT * lower)] = "▄"
    return ["".join(line) for line in signs]


def as_png(frame: Frame) -> bytes:
    """The frame as a PNG file of 8-bit RGB, without loss (RFC 2083)."""
    height, width, _ = frame.shape
    lines = b"".join(b"\0" + line.tobytes() for line in frame)  # 0: no filter
    chunks = (
        (b"IHDR", struct.pack("!2I5B", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack("!I", len(data)) + name + data + struct.pack("!I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _ground(pixels: Frame) -> NDArray[np.float32] | None:
    """The colour [3] that most of a picture has, if there is one."""
    import numpy as np  # noqa: PLC0415 - as above

    colours, counts = np.unique(_packed(pixels), return_counts=True)
    if 2 * counts.max() < counts.sum():
        return None
    packed = int(colours[counts.argmax()])
    return np.array([packed >> 16, packed >> 8 & 0xFF, packed & 0xFF], dtype=np.float32)


def _packed(pixels: Frame) -> NDArray[np.int64]:
    """0xRRGGBB of each pixel, with five bits of each colour so that more neighbours are equal."""
    import numpy as np  # noqa: PLC0415 - as above

    coarse = ((pixels & 0xF8) | (pixels >> 5)).astype(np.int64)  # black stays 0, white 255
    packed: NDArray[np.int64] = (coarse[..., 0] << 16) | (coarse[..., 1] << 8) | coarse[..., 2]
    return packed


def _starts(cells: NDArray[Any]) -> list[list[int]]:
    """In each row of cells [R, C], the columns at which a run of equal ones begins."""
    import numpy as np  # noqa: PLC0415 - as above

    changed = np.ones(cells.shape, dtype=bool)
    changed[:, 1:] = cells[:, 1:] != cells[:, :-1]
    return [np.flatnonzero(line).tolist() for line in changed]
