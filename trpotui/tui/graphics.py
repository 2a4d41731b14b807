"""Pictures of true pixels in terminals that have them: sixel, and Kitty's graphics protocol.

Sixel data is encoded by textual-image, Kitty's by this module. Both are strings, written where the
cursor is; nothing here writes to the terminal once the app has it.

Source: https://sw.kovidgoyal.net/kitty/graphics-protocol/; for sixel, the VT330/VT340 Programmer
Reference Manual, volume 2, chapter 14.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import zlib
from abc import ABC, abstractmethod
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple

from trpotui.errors import RequestError
from trpotui.tui.terminal_answers import Answers, Cell, ask_terminal, cell_pixels

if TYPE_CHECKING:
    from PIL.Image import Image
    from textual.driver import Driver

    from trpotui.tui.frames import Frame

AUTO, BLOCKS, SIXEL, KITTY = "auto", "blocks", "sixel", "kitty"
USUAL_CELL = Cell(10, 20)
"""Of a VT340, for a terminal that does not say."""
COLOUR_DEFINITION = re.compile(r"(#\d+);2;\d+;\d+;\d+")
SIXEL_BAND = 6
"""Rows of pixels that are written together."""
MOST_PIXELS = 1000
"""Of a side of a sixel picture: what xterm takes, and 45 ms to encode."""
KITTY_CHUNK = 4096
"""Bytes of one command's data at most."""
NEARBY_SECONDS, FAR_SECONDS = 1.0, 2.0
"""That an answer may take from this machine, and from the other end of a connection."""


class Spot(NamedTuple):
    """Where a picture lies in its room, in cells, and its size."""

    x: int
    y: int
    columns: int
    rows: int
    width: int
    """Pixels."""
    height: int
    """Pixels."""


class Graphics(ABC):
    """A way to write pictures to the terminal.

    Args:
        cell: its size as the terminal has told it; the system's word goes first.
    """

    def __init__(self, cell: Cell | None = None) -> None:
        self._cell = cell

    @property
    def cell(self) -> Cell:
        """Pixels of a cell at this moment."""
        return cell_pixels() or self._cell or USUAL_CELL

    @abstractmethod
    def spot(self, height: int, width: int, *, rows: int, columns: int) -> Spot:
        """The largest picture of that aspect that fits, in the middle of the room.

        Args:
            height: pixels of the frame.
            width: likewise.
            rows: cells of the room.
            columns: likewise.
        """

    @abstractmethod
    def draw(self, frame: Frame, spot: Spot) -> str:
        """What to write with the cursor in the spot's first cell; any thread may ask."""

    @property
    def removal(self) -> str:
        """What to write to have the picture gone; writing over its cells is done by the caller."""
        return ""


class Sixel(Graphics):
    """Six rows of pixels at a time, in up to 256 colours; text that is written there replaces it.

    Raises:
        ImportError: textual-image is not installed.
    """

    def __init__(self, cell: Cell | None = None) -> None:
        # its public modules ask the terminal when they are imported; this one does not
        from textual_image._sixel import image_to_sixels  # noqa: PLC0415 - an extra

        super().__init__(cell)
        self._encode = image_to_sixels

    def spot(self, height: int, width: int, *, rows: int, columns: int) -> Spot:
        """As said there; whole bands only, since some terminals draw all of the last one."""
        cell = self.cell
        room = min(MOST_PIXELS, columns * cell.width), min(MOST_PIXELS, rows * cell.height)
        scale = min(room[0] / width, room[1] / height)
        wide, high = max(1, round(width * scale)), round(height * scale)
        high = max(SIXEL_BAND, high - high % SIXEL_BAND)
        across, down = -(-wide // cell.width), -(-high // cell.height)
        return Spot((columns - across) // 2, (rows - down) // 2, across, down, wide, high)

    def draw(self, frame: Frame, spot: Spot) -> str:
        """As said there."""
        sixels = self._encode(_resized(frame, spot.width, spot.height))
        # the encoder takes a colour that it defines to be chosen by that; xterm does not
        return COLOUR_DEFINITION.sub(r"\g<0>\1", sixels)


class Kitty(Graphics):
    """Compressed pixels that the terminal scales to cells; they stay until they are removed.

    Every other picture has the same number: the new one is there before the old one goes.

    Raises:
        ImportError: Pillow is not installed, which textual-image brings.
    """

    def __init__(self, cell: Cell | None = None) -> None:
        importlib.import_module("PIL.Image")  # it fails now, or not while something is drawn
        super().__init__(cell)
        first = 2 * os.getpid() + 2**25  # apart from what others number from 1
        self._numbers = (first, first + 1)

    def spot(self, height: int, width: int, *, rows: int, columns: int) -> Spot:
        """As said there; no more pixels than the frame has."""
        cell = self.cell
        scale = min(columns * cell.width / width, rows * cell.height / height)
        across = min(columns, max(1, round(width * scale / cell.width)))
        down = min(rows, max(1, round(height * scale / cell.height)))
        wide, high = min(width, across * cell.width), min(height, down * cell.height)
        return Spot((columns - across) // 2, (rows - down) // 2, across, down, wide, high)

    def draw(self, frame: Frame, spot: Spot) -> str:
        """As said there."""
        data = zlib.compress(_resized(frame, spot.width, spot.height).tobytes(), 1)
        payload = b64encode(data).decode()
        old, new = self._numbers
        self._numbers = new, old
        keys = (
            f"a=T,q=2,f=24,o=z,t=d,s={spot.width},v={spot.height},i={new},p=1,C=1,"
            f"c={spot.columns},r={spot.rows},"
        )
        commands = []
        for start in range(0, len(payload), KITTY_CHUNK):
            end = start + KITTY_CHUNK
            more = int(end < len(payload))
            commands.append(f"\x1b_G{keys}m={more};{payload[start:end]}\x1b\\")
            keys = "q=2,"
        return "".join(commands) + _without(old)

    @property
    def removal(self) -> str:
        """As said there, its data too."""
        return "".join(_without(number) for number in self._numbers)


def _without(number: int) -> str:
    return f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\"


def _resized(frame: Frame, width: int, height: int) -> Image:
    """Each pixel the mean of those that it covers; where it gets larger, pixels repeat."""
    from PIL import Image  # noqa: PLC0415 - of the extra

    picture = Image.fromarray(frame)
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.BOX)


def taking_away(driver: type[Driver], removal: str) -> type[Driver]:
    """The driver, made to remove the pictures before it gives the terminal back, or suspends.

    Args:
        driver: of the terminal.
        removal: what it is to write then.
    """

    class Leaving(driver):  # type: ignore[valid-type, misc]
        """Leaves no pictures."""

        def stop_application_mode(self) -> None:
            """Give the terminal back."""
            self.write(removal)
            super().stop_application_mode()

    return Leaving


def check_graphics(choice: str) -> None:
    """Refuse graphics that need a package which is not installed.

    Raises:
        RequestError: as said, with what to install.
    """
    if choice in (SIXEL, KITTY):
        try:
            Sixel()
        except ImportError as error:
            raise RequestError(
                f"--graphics {choice} needs a package that is not installed here: "
                f"pip install 'trpotui[graphics]' ({error})"
            ) from error


def graphics_of(choice: str, *, coloured: bool, far: bool) -> Graphics | None:
    """How pictures are drawn on this terminal; None for half blocks.

    To be asked before the app takes the terminal, which is asked what it has.

    Args:
        choice: `auto` takes what the terminal says that it has, if the package is there.
        coloured: whether pictures are to have colours; `auto` draws none without.
        far: whether the terminal is at the other end of a connection.

    Raises:
        RequestError: what was chosen needs a package that is not installed.
    """
    check_graphics(choice)
    if choice == BLOCKS:
        return None
    if choice == AUTO and (not coloured or importlib.util.find_spec("textual_image") is None):
        return None
    answers = ask_terminal(FAR_SECONDS if far else NEARBY_SECONDS)
    try:
        return _chosen(choice, answers)
    except ImportError:  # a package that is not as it should be: nobody has asked for it
        return None


def _chosen(choice: str, answers: Answers) -> Graphics | None:
    if choice == SIXEL or (choice == AUTO and answers.sixel and answers.cell):
        return Sixel(answers.cell)
    if choice == KITTY or (choice == AUTO and answers.kitty):
        return Kitty(answers.cell)
    return None
