"""A process in a pseudo-terminal that is driven by keys, and what its screen showed when.

What the process writes is kept with the time at which it came, and made a screen of afterwards:
that takes time, and the process is to have all of it.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pyte

ROWS, COLUMNS = 40, 120

Condition = Callable[[pyte.Screen], bool]
"""What a screen has to show."""


class AppTerminal:
    """A process in a pseudo-terminal of 120 x 40.

    Args:
        command: the process and its arguments.
        folder: where it runs and keeps its preferences.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        self.written: list[tuple[float, bytes]] = []
        self.started = time.perf_counter()
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            environment["TRPOTUI_CONFIG_DIR"] = str(folder)
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def send(self, keys: str) -> float:
        """Press keys; returns when."""
        now = time.perf_counter()
        os.write(self._master, keys.encode())
        return now

    def read_for(self, seconds: float) -> None:
        """Keep what is written within `seconds`."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            self._read(left)

    def read_until(self, happened: Callable[[], bool], seconds: float) -> None:
        """Keep what is written until something has happened, which is looked at now and then.

        Raises:
            TimeoutError: it has not happened within `seconds`.
        """
        until = time.perf_counter() + seconds
        while not happened():
            if time.perf_counter() > until:
                raise TimeoutError(f"waited for {seconds} s; the screen:\n{self.text()}")
            self.read_for(0.1)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the process has ended
            return False
        self.written.append((time.perf_counter(), data))
        return bool(data)

    def end(self) -> None:
        """End the process and take its last words."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        while self._read(5.0):
            pass
        os.waitpid(self.pid, 0)
        os.close(self._master)

    # what was seen

    def text(self) -> str:
        """What it shows now."""
        screen, stream = _blank()
        for _, data in self.written:
            stream.feed(data)
        return "\n".join(screen.display)

    def first_times(self, awaited: list[tuple[float, Condition]]) -> list[float | None]:
        """Seconds from each time until its condition first held after it; None if it never did.

        What has not come when the next but one is awaited counts as never.

        Args:
            awaited: times in order, and what the screen is to show after them.
        """
        screen, stream = _blank()
        begins = [begin for begin, _ in awaited]
        found: list[float | None] = [None] * len(awaited)
        for at, data in self.written:
            stream.feed(data)
            begun = bisect.bisect_left(begins, at)
            for place in range(max(begun - 2, 0), begun):
                begin, condition = awaited[place]
                if found[place] is None and condition(screen):
                    found[place] = at - begin
        return found


def _blank() -> tuple[pyte.Screen, pyte.ByteStream]:
    screen = pyte.Screen(COLUMNS, ROWS)
    return screen, pyte.ByteStream(screen)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def worked(pid: int) -> float:
    """Seconds of processor time of a process's first thread."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def shows(text: str) -> Condition:
    """A screen on which a text stands, all of it or a part."""
    return lambda screen: text in "\n".join(screen.display)


def unlike(condition: Condition) -> Condition:
    """A screen on which something is not so."""
    return lambda screen: not condition(screen)


def alike(one: tuple[int, int], other: tuple[int, int]) -> Condition:
    """A screen on which two cells, each a row and a column, stand on the same ground."""
    return lambda screen: screen.buffer[one[0]][one[1]].bg == screen.buffer[other[0]][other[1]].bg
