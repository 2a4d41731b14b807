"""What a terminal answers when it is asked for its graphics, before the app takes it.

Every terminal answers the question for its device attributes, so that answer ends the waiting; one
that answers nothing is waited for only so long. The questions: XTerm Control Sequences (DA1 and
`CSI 16 t`) and the query action of Kitty's graphics protocol.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from trpotui.signals import handling

DEVICE_ATTRIBUTES = "\x1b[c"
ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]+)c")
SIXEL_ATTRIBUTE = 4
CELL_PIXELS = "\x1b[16t"
CELL_ANSWER = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
KITTY_QUERY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
"""Asks whether one pixel could be shown, and shows nothing."""
KITTY_ANSWER = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
NO_KITTY_QUERY = ("screen", "tmux", "linux")
"""Beginnings of TERM where that query would become a title, or be printed."""


class Cell(NamedTuple):
    """Pixels of one cell."""

    width: int
    height: int


class Answers(NamedTuple):
    """What the terminal says of itself."""

    sixel: bool = False
    kitty: bool = False
    cell: Cell | None = None
    """None where it does not say."""


def ask_terminal(seconds: float) -> Answers:
    """Ask this process's terminal for its graphics.

    Kitty's protocol is asked for only where there is no sixel: what does not know the question may
    print it.

    Args:
        seconds: to wait at most for each of two answers.
    """
    try:
        with _attentive():
            cell = cell_pixels()
            question = DEVICE_ATTRIBUTES if cell else CELL_PIXELS + DEVICE_ATTRIBUTES
            answer = _answer(question, seconds)
            if (attributes := ATTRIBUTES.search(answer)) is None:
                return Answers(cell=cell)
            if found := CELL_ANSWER.search(answer):
                cell = Cell(int(found[2]), int(found[1])) if int(found[1]) * int(found[2]) else None
            # the first number is the terminal's class
            if SIXEL_ATTRIBUTE in [int(one) for one in attributes[1].split(b";")[1:] if one]:
                return Answers(sixel=True, cell=cell)
            if not _may_ask_for_kitty():
                return Answers(cell=cell)
            answer = _answer(KITTY_QUERY + DEVICE_ATTRIBUTES, seconds)
            return Answers(kitty=KITTY_ANSWER.search(answer) is not None, cell=cell)
    except (ImportError, OSError, ValueError):  # a system without such terminals, or it has gone
        return Answers()


def cell_pixels() -> Cell | None:
    """Pixels of a cell as the system knows them at this moment; None where it does not."""
    try:
        import fcntl  # noqa: PLC0415 - not everywhere
        import termios  # noqa: PLC0415 - likewise

        size = fcntl.ioctl(sys.__stderr__.fileno(), termios.TIOCGWINSZ, b"\0" * 8)  # type: ignore[union-attr]
    except (ImportError, AttributeError, OSError, ValueError):
        return None
    rows, columns, width, height = struct.unpack("HHHH", size)
    if not rows or not columns or width < columns or height < rows:
        return None
    return Cell(width // columns, height // rows)


def _may_ask_for_kitty() -> bool:
    inside = any(os.environ.get(name) for name in ("TMUX", "STY"))
    return not (
        inside
        or os.environ.get("TERM", "").startswith(NO_KITTY_QUERY)
        or os.environ.get("TERM_PROGRAM") == "Apple_Terminal"
    )


def _answer(question: str, seconds: float) -> bytes:
    """What comes until the device attributes have come, or the time is over."""
    assert sys.__stdin__ is not None
    assert sys.__stderr__ is not None
    sys.__stderr__.flush()
    os.write(sys.__stderr__.fileno(), question.encode())  # where the app is going to write too
    source, got = sys.__stdin__.fileno(), b""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not ATTRIBUTES.search(got):
        if select.select([source], [], [], left)[0]:
            data = os.read(source, 4096)
            if not data:
                break
            got += data
    return got


@contextlib.contextmanager
def _attentive() -> Iterator[None]:
    """A terminal that neither shows answers nor keeps them until a line ends; as before afterwards.

    SIGTERM in that time ends the program by an exception, so that this is undone then too.
    """
    import termios  # noqa: PLC0415 - not everywhere

    assert sys.__stdin__ is not None
    number = sys.__stdin__.fileno()
    try:
        before = termios.tcgetattr(number)
        mode = termios.tcgetattr(number)
        mode[3] &= ~(termios.ECHO | termios.ICANON)  # signals of the keyboard stay
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        with _ended_by_exception():
            try:
                termios.tcsetattr(number, termios.TCSADRAIN, mode)
                yield
            finally:
                termios.tcsetattr(number, termios.TCSADRAIN, before)
    except termios.error as error:
        raise OSError(*error.args) from error


@contextlib.contextmanager
def _ended_by_exception() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> NoReturn:
        sys.exit(128 + number)

    with handling(end, [signal.SIGTERM]):
        yield
