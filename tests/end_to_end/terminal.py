"""A terminal without a window: a command in it, its screen as text, and the modes it leaves."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte

from tests.end_to_end.conftest import TRPOTUI

PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""
ESCAPE, ENTER, TAB = "\x1b", "\r", "\t"
AFTER_ESCAPE = 0.4
"""Seconds: what comes sooner is taken for the rest of a sequence."""
TAKEN_WITHIN = 20.0
"""Seconds for a program to read a key; one that is stopped never does."""
NOTHING = b"\0"
"""What a terminal does not show, and no program here writes: says where its output ends."""
MODES = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
KITTY = re.compile(rb"\x1b\[([<>=])\d*u")
"""Push and pop of the kitty keyboard protocol; pyte would print them."""
AS_BEFORE = {b"7": b"h", b"25": b"h"}
"""Modes that are on in a terminal nobody has touched (line wrap, the cursor); no others are."""
SHELL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # as a login does: Ctrl-C and hanging up reach this process
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A running `trpotui` in a terminal of its own.

    Args:
        folder: where it runs; preferences are kept there too, and there is no display.
        arguments: of the command.
        size: columns and rows.
        program: what runs in place of the command, as arguments of Python.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        size: tuple[int, int] = (120, 40),
        program: Sequence[str] = TRPOTUI[1:],
    ) -> None:
        self._ours, self._theirs = os.openpty()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self._rest = b""
        self._modes: dict[bytes, bytes] = {}
        self._pushed = 0
        self._text: str | None = None
        self._at_end = False
        self.printed = b""
        """Everything that the program wrote."""
        self.resize(*size)
        self._attributes = termios.tcgetattr(self._theirs)
        variables = os.environ | {
            "TERM": "xterm-256color",
            "TRPOTUI_CONFIG_DIR": str(folder / "preferences"),
        }
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER", "COLUMNS", "LINES"):
            variables.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, *program, *arguments],
            cwd=folder,
            env=variables,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    # what a person does

    def press(self, *keys: str) -> None:
        """Type keys, one after the other."""
        for key in keys:
            os.write(self._ours, key.encode())
            self._read_for(0.05)
            if key == ESCAPE:
                self._read_until_taken()
                self._read_for(AFTER_ESCAPE)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self._text = None

    def hang_up(self) -> None:
        """Close the window, as a lost connection does."""
        for name in ("_ours", "_theirs"):
            if (number := getattr(self, name)) >= 0:
                os.close(number)
                setattr(self, name, -1)

    # what a person sees

    @property
    def text(self) -> str:
        """The screen, line by line."""
        if self._text is None:
            self._text = "\n".join(self._screen.display)
        return self._text

    def wait_for(self, *texts: str) -> str:
        """Wait until all of the texts stand on the screen; the screen then."""
        self.wait_until(lambda: all(text in self.text for text in texts), f"{texts} on the screen")
        return self.text

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        """Read until `condition` holds, which is asked after each piece: it may not last."""
        give_up = time.monotonic() + PATIENCE
        while not condition():
            ended = self.process.poll() is not None
            if not self._read(0.5 if ended else 0.05) and ended:
                assert condition(), (
                    f"it ended with {self.process.returncode} before {what}:\n{self._end()}"
                )
                return
            assert time.monotonic() < give_up, f"never {what}:\n{self.text}"

    def catch_up(self) -> None:
        """Read what has been written so far."""
        while self._read(0.0):
            pass

    def wait_for_end(self, seconds: float = PATIENCE) -> int:
        """Read until the process has ended; its exit code, negative after a signal."""
        give_up = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < give_up, f"it does not end:\n{self.text}"
            self._read_for(0.05)
        self._read_the_rest()
        return self.process.returncode

    def left_behind(self) -> list[str]:
        """What the terminal is left with that it did not have before; nothing if all is well."""
        left = [
            f"mode {mode.decode()} is {'on' if state == b'h' else 'off'}"
            for mode, state in self._modes.items()
            if state != AS_BEFORE.get(mode, b"l")
        ]
        if self._pushed:
            left.append(f"the keyboard protocol was pushed {self._pushed} times more than popped")
        if termios.tcgetattr(self._theirs) != self._attributes:
            left.append("the attributes of the terminal differ")
        return left

    def _end(self) -> str:
        return self.printed[-4000:].decode(errors="replace")

    def _read_for(self, seconds: float) -> None:
        """Take what the program writes in that time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> bool:
        """Take a piece of what the program writes in that time; whether there was any."""
        if self._ours < 0:
            time.sleep(seconds)
            return False
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        data = os.read(self._ours, 65536)
        self._at_end |= NOTHING in data
        self._take(data.replace(NOTHING, b""))
        return True

    def _read_until_taken(self) -> None:
        """Read until the program has taken the keys that were typed."""
        give_up = time.monotonic() + TAKEN_WITHIN
        while time.monotonic() < give_up and self.process.poll() is None:
            waiting = fcntl.ioctl(self._theirs, termios.FIONREAD, bytes(4))
            if not int.from_bytes(waiting, sys.byteorder):
                return
            self._read_for(0.02)

    def _read_the_rest(self) -> None:
        """Take all that an ended program has written, which the kernel may yet be handing over."""
        if self._ours < 0:
            return
        while self._read(0.05):
            pass
        os.write(self._theirs, NOTHING)
        give_up = time.monotonic() + PATIENCE
        while not self._at_end:
            assert time.monotonic() < give_up, "the terminal hands nothing over"
            self._read(0.05)
        self._at_end = False

    def _take(self, data: bytes) -> None:
        self.printed += data
        self._text = None
        data = self._rest + data
        # a sequence that is cut in two waits for its end
        cut = data.rfind(b"\x1b", len(data) - 32 if len(data) > 32 else 0)
        whole = cut < 0 or re.match(rb"\x1b(\[[\d;:?<>=$]*[@-Z\\-~]|[^\[])", data[cut:])
        data, self._rest = (data, b"") if whole else (data[:cut], data[cut:])
        for modes, state in MODES.findall(data):
            self._modes.update(dict.fromkeys(modes.split(b";"), state))
        for sign in KITTY.findall(data):
            self._pushed += {b">": 1, b"<": -1, b"=": 0}[sign]
        self._stream.feed(KITTY.sub(b"", data))
