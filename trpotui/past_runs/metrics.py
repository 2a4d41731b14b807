"""The metrics of a run, read as they grow: each byte once, in bounded memory, whatever it is."""

from __future__ import annotations

import json
import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from trpotui.past_runs.files import METRICS, UnreadableError, whole_number
from trpotui.series import Series

CHUNK = 1 << 18
MOST_LINE = 1 << 16
"""Bytes of a row; a longer line is none."""
MOST_STEPS = 10**12
"""Of a run, as its configuration bounds them."""
REMEMBERED = 64
"""Bytes before the place where reading goes on that must still be what they were."""
POINTS = 512
"""Most points of a curve."""


class Evaluation(NamedTuple):
    """Greedy episodes of the policy after an update."""

    update: int
    steps: int
    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What the rows so far say."""

    updates: int = 0
    steps: int = 0
    episodes: int = 0
    seconds: float | None = None
    """Training time."""
    evaluation: Evaluation | None = None
    """The last one."""
    best: Evaluation | None = None
    returns: Series = field(default_factory=lambda: Series(POINTS))
    """Mean return of the episodes of each update, over the environment steps."""
    evaluations: Series = field(default_factory=lambda: Series(POINTS))
    """Mean return of each evaluation."""
    wrong_rows: int = 0
    """Lines that were no rows and were left out."""
    share_read: float = 1.0
    """Less than 1 while there is more to read."""


class MetricsReader:
    """Reads the metrics of one run, again and again while they grow.

    Args:
        file: metrics.jsonl; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, ...] | None = None
        self._forget()

    def _forget(self) -> None:
        self._metrics = Metrics()
        self._returns, self._evaluations = self._metrics.returns, self._metrics.evaluations
        self._best: Evaluation | None = None
        self._evaluation: Evaluation | None = None
        self._updates = self._steps = self._episodes = self._wrong = 0
        self._seconds: float | None = None
        self._offset = 0
        self._remembered = b""
        self._rest = b""
        self._in_long_line = False

    def read(self, most: int | None = None) -> Metrics:
        """What is known after reading what is new.

        Args:
            most: bytes to read, about; None reads all there are.

        Raises:
            UnreadableError: there is a file and it cannot be read.
        """
        try:
            status = self._file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError(f"{METRICS} is no regular file")
            if _stamp(status) != self._stamp or (self._offset < status.st_size and most != 0):
                with self._file.open("rb") as opened:
                    self._read(opened, math.inf if most is None else most)
        except FileNotFoundError:
            self._forget()
        except OSError as error:
            raise UnreadableError(f"{METRICS} cannot be read: {error.strerror}") from None
        return self._metrics

    def _read(self, opened: BinaryIO, most: float) -> None:
        status = os.fstat(opened.fileno())
        if not self._goes_on(opened, status):
            self._forget()
        self._stamp = _stamp(status)
        opened.seek(self._offset)
        # no further than the size that goes with the stamp: the file may be growing
        while self._offset < status.st_size and most > 0:
            chunk = opened.read(min(CHUNK, status.st_size - self._offset))
            if not chunk:
                break
            most -= len(chunk)
            self._offset += len(chunk)
            self._remembered = (self._remembered + chunk)[-REMEMBERED:]
            self._take(chunk)
        self._metrics = Metrics(
            updates=self._updates,
            steps=self._steps,
            episodes=self._episodes,
            seconds=self._seconds,
            evaluation=self._evaluation,
            best=self._best,
            returns=self._returns,
            evaluations=self._evaluations,
            wrong_rows=self._wrong,
            share_read=self._offset / status.st_size if status.st_size else 1.0,
        )

    def _goes_on(self, opened: BinaryIO, status: os.stat_result) -> bool:
        """Whether the file is the one read so far, with more at its end."""
        before, now = self._stamp, _stamp(status)
        if before is None or before[:2] != now[:2] or status.st_size < self._offset:
            return False
        if before[2:] != now[2:] and status.st_size == before[3]:
            return False  # written to without growing
        opened.seek(self._offset - len(self._remembered))
        return opened.read(len(self._remembered)) == self._remembered

    def _take(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if self._in_long_line or len(line) > MOST_LINE or not self._take_row(line):
                self._wrong += 1
            self._in_long_line = False
        if len(self._rest) > MOST_LINE:
            self._rest, self._in_long_line = b"", True

    def _take_row(self, line: bytes) -> bool:
        """Add a row to the curves; False when the line is none, or goes back in time."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return False
        if not isinstance(row, dict):
            return False
        update, steps = whole_number(row.get("update")), whole_number(row.get("steps"))
        if update is None or steps is None or not self._steps <= steps <= MOST_STEPS:
            return False
        self._updates, self._steps = update, steps
        self._episodes = whole_number(row.get("episodes")) or 0
        self._seconds = finite_number(row.get("seconds"))
        mean = finite_number(row.get("return_mean"))
        if mean is not None:
            self._returns = self._returns.appended(steps, mean)
        score = finite_number(row.get("eval_return"))
        if score is not None:
            self._evaluations = self._evaluations.appended(steps, score)
            self._evaluation = Evaluation(update, steps, score, finite_number(row.get("eval_std")))
            if self._best is None or score > self._best.mean:
                self._best = self._evaluation
        return True


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def finite_number(value: object) -> float | None:
    """`value` as a finite float, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
