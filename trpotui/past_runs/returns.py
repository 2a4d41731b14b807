"""The returns of a run, update by update: all of them, where `metrics` keeps a bounded curve."""

from __future__ import annotations

import json
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from trpotui.past_runs.files import METRICS, UnreadableError, whole_number
from trpotui.past_runs.metrics import MOST_LINE, finite_number


@dataclass(frozen=True, kw_only=True)
class Returns:
    """The mean return of the episodes that ended in each update; nothing where none did."""

    places: array[float]
    """The update of each value, or its episode where `single`."""
    values: array[float]
    single: bool
    """Whether every update had exactly one episode, so that each value is an episode's return."""


def read_returns(run: Path) -> Returns:
    """Read the returns that the run in a directory has written so far.

    Lines that are no rows are left out, as are rows that go back in time.

    Raises:
        UnreadableError: there is no file of metrics, or it cannot be read.
    """
    updates, episodes, values = array("d"), array("d"), array("d")
    single, before = True, 0
    file = run / METRICS
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UnreadableError(f"{METRICS} is no regular file")
        with file.open("rb") as opened:
            for update, count, value in _rows(opened):
                single &= count == before + 1
                before = count
                if value is not None:
                    updates.append(update)
                    episodes.append(count)
                    values.append(value)
    except FileNotFoundError:
        raise UnreadableError(f"{METRICS} is missing") from None
    except OSError as error:
        raise UnreadableError(f"{METRICS} cannot be read: {error.strerror}") from None
    return Returns(places=episodes if single else updates, values=values, single=single)


def _rows(opened: BinaryIO) -> Iterator[tuple[int, int, float | None]]:
    """Update, episodes so far and mean return of each row."""
    last = 0
    for line in _lines(opened):
        row = _parsed(line)
        update, episodes = whole_number(row.get("update")), whole_number(row.get("episodes"))
        if update is not None and episodes is not None and update > last:
            last = update
            yield update, episodes, finite_number(row.get("return_mean"))


def _lines(opened: BinaryIO) -> Iterator[bytes]:
    """Whole lines that are not too long for a row."""
    begins = True
    while line := opened.readline(MOST_LINE):
        ends = line.endswith(b"\n")
        if begins and ends:
            yield line
        begins = ends


def _parsed(line: bytes) -> dict[str, Any]:
    """The row of a line; empty if it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}
