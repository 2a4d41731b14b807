"""A terminal that has graphics, or says so: it answers questions, and keeps what it is shown."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios

from tests.end_to_end.terminal import Terminal
from tests.graphics_samples import KittyScreen, sixel_picture

STRING = re.compile(rb"\x1b[P_].*?\x1b\\", re.DOTALL)
BEGUN = re.compile(rb"\x1b[P_].*\Z|\x1b\Z", re.DOTALL)
CLASS = b"\x1b[?62;22c"
CLASS_WITH_SIXEL = b"\x1b[?62;4;22c"
LEFT = b"\x1b[?1049l"


class GraphicsTerminal(Terminal):
    """A terminal of 10 x 20 pixels a cell.

    Args:
        answers: what it has: `sixel`, `kitty`, or `nothing` but device attributes.
    """

    def __init__(self, folder, *arguments, answers, cell=(10, 20), **options):
        self._answers, self._cell = answers, cell
        self._held, self._told = b"", b""
        self.sixels = []
        """Every picture with the cell that it begins in."""
        self.kitty = KittyScreen()
        super().__init__(folder, *arguments, **options)

    def resize(self, columns, rows):
        super().resize(columns, rows)
        pixels = columns * self._cell[0], rows * self._cell[1]
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, *pixels))

    @property
    def cursor(self):
        return self._screen.cursor.x, self._screen.cursor.y

    @property
    def pictures(self):
        """How many there have been."""
        return len(self.sixels) + self.kitty.count

    @property
    def latest(self):
        """Where the latest picture lies (x, y, columns, rows), and its pixels."""
        if self._answers == "kitty":
            # the one before it goes after it has come
            return list(self.kitty.placed.values())[-1]
        position, data = self.sixels[-1]
        picture = sixel_picture(data)
        height, width = picture.shape[:2]
        wide, high = self._cell
        return (*position, -(-width // wide), -(-height // high)), picture

    def _take(self, data):
        data = self._held + data
        self._held = b""
        while found := STRING.search(data):
            self._take_text(data[: found.start()])
            self.printed += found[0]
            self._take_string(found[0].decode())
            data = data[found.end() :]
        if found := BEGUN.search(data):
            data, self._held = data[: found.start()], found[0]
        self._take_text(data)

    def _take_text(self, data):
        super()._take(data)
        self._told += data
        asked = self._told.count(b"\x1b[c")
        self._told = self._told[-2:] if b"\x1b[c" not in self._told[-2:] else b""
        for _ in range(asked):
            os.write(self._ours, CLASS_WITH_SIXEL if self._answers == "sixel" else CLASS)

    def _take_string(self, string):
        if string.startswith("\x1b_G"):
            answer = self.kitty.take(string, self.cursor)
            if answer and self._answers == "kitty":
                os.write(self._ours, answer.encode())
        else:
            self.sixels.append((self.cursor, string))
