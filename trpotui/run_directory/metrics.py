"""metrics.jsonl: one object for every update, in order, without a gap."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from trpotui import durable

MOST_WAITING = 100_000
"""Rows that wait for a disk with room; of more, the oldest are lost."""


class MetricsFile:
    """The rows of a run, those that the disk did not take included.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)

    def append(self, row: Mapping[str, int | float | bool | str]) -> None:
        """Add a row; a number that is not finite becomes null.

        Raises:
            OSError: it waits in memory, and goes with the next one or with `flush`.
        """
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        self._waiting.append((json.dumps(finite, allow_nan=False) + "\n").encode())
        self._write()

    def flush(self) -> None:
        """Force every row to the disk, so that a checkpoint is never ahead of its metrics.

        Raises:
            OSError: some may not be there.
        """
        if self._waiting:
            self._write()
        durable.sync(self._path)

    def _write(self) -> None:
        durable.append_line(self._path, b"".join(self._waiting))
        self._waiting.clear()

    def truncate(self, update: int) -> str | None:
        """Keep the rows up to and including `update`: later ones are about to be made again.

        A last line that was torn by a crash goes too, and so does whatever follows a line that is
        no row.

        Returns:
            What is missing of the rows up to `update`, as a sentence; None when nothing is.

        Raises:
            OSError: the file cannot be read or written; it is as it was.
        """
        try:
            data = durable.read_bytes(self._path)
        except FileNotFoundError:
            data = b""
        kept, last = 0, 0
        for line in data.splitlines(keepends=True):
            row = _update_of(line)
            if row is None or row > update:
                break
            kept, last = kept + len(line), row
        if kept < len(data):
            durable.write_bytes(self._path, data[:kept])
        if last >= update:
            return None
        which = f"update {update}" if last + 1 == update else f"updates {last + 1} to {update}"
        return f"{self._path.name} lacks {which}"


def _update_of(line: bytes) -> int | None:
    """The update of a whole row; None of anything else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    update = row.get("update") if isinstance(row, dict) else None
    return update if line.endswith(b"\n") and isinstance(update, int) else None
