"""The policies on disk, each described or, where it cannot be read, with the reason."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trpotui.errors import TrpotuiError

if TYPE_CHECKING:
    from trpotui.rl.policy import SavedPolicy, Score

RUN_FILES = {"best.pt": "best", "policy.pt": "last"}
"""What of a run's directory is listed, and what it is called."""
DEEPEST = 4
"""Directories below a folder that are looked into."""
MOST_FILES = 2000
"""Policies that are listed: the newest ones."""
MOST_READ = 40
"""Files that one scan reads: a tenth of a second or so."""
LONGEST_PROBLEM = 300

Stamp = tuple[int, int]
"""When a file was last written [ns], and its size [bytes]."""


@dataclass(frozen=True, kw_only=True)
class PolicyEntry:
    """A policy file as the list shows it."""

    path: Path
    name: str
    """How a person knows it: the file's stem, or the run and which of its policies it is."""
    time: float
    """When the policy was made [seconds since 1970, UTC]."""
    environment_id: str = ""
    algorithm: str = ""
    score: Score | None = None
    steps: int = 0
    problem: str | None = None
    """Why it is no policy that can be read; None when it is one."""


class PolicyList:
    """Finds policies and remembers what it has read, so that looking again is cheap.

    Use it from one thread at a time.

    Args:
        saved: a folder of policy files.
        runs: a folder of run directories.
        read: reads and checks one file; raises TrpotuiError with the reason when it is no policy.
    """

    def __init__(
        self, saved: Path, runs: Path, *, read: Callable[[Path], SavedPolicy] | None = None
    ) -> None:
        self._saved = saved
        self._runs = runs
        self._read = read or _read_policy
        self.unread = 0
        """Files that the last scan has left to the next one."""
        self._known: dict[Path, tuple[Stamp, PolicyEntry]] = {}

    def scan(self, *, most_read: int = MOST_READ) -> tuple[PolicyEntry, ...]:
        """The policies there are now, the newest first.

        Args:
            most_read: new or changed files to read, the newest first; others come with later scans.
        """
        found = sorted(self._found(), key=lambda item: -item[2][0])[:MOST_FILES]
        known = {}
        self.unread = 0
        for path, name, stamp in found:
            before = self._known.get(path)
            if before is not None and before[0] == stamp:
                known[path] = before
            elif most_read:
                most_read -= 1
                known[path] = stamp, self._described(path, name, stamp)
            else:
                self.unread += 1
        self._known = known
        entries = (entry for _, entry in known.values())
        return tuple(sorted(entries, key=lambda entry: (-entry.time, str(entry.path))))

    def _found(self) -> Iterator[tuple[Path, str, Stamp]]:
        for path in _files(self._saved):
            if path.suffix == ".pt" and (stamp := _stamp(path)):
                yield path, path.relative_to(self._saved).with_suffix("").as_posix(), stamp
        for path in _files(self._runs):
            if path.name in RUN_FILES and (stamp := _stamp(path)):
                yield path, f"{RUN_FILES[path.name]} of {path.parent.name}", stamp

    def _described(self, path: Path, name: str, stamp: Stamp) -> PolicyEntry:
        written = stamp[0] / 1e9
        try:
            saved = self._read(path)
        except TrpotuiError as error:
            problem = plain(str(error))
            return PolicyEntry(path=path, name=plain(name), time=written, problem=problem)
        except Exception as error:  # noqa: BLE001 - one bad file must not take the list with it
            problem = plain(f"it cannot be read: {type(error).__name__}: {error}")
            return PolicyEntry(path=path, name=plain(name), time=written, problem=problem)
        return PolicyEntry(
            path=path,
            name=plain(name),
            time=_made(saved.created, written),
            environment_id=plain(saved.policy.spec.environment_id),
            algorithm=plain(saved.algorithm),
            score=saved.score,
            steps=saved.steps,
        )


def age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, sign in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {sign}"
    return "now" if seconds < 5 else f"{int(seconds)} s"


def amount(count: int) -> str:
    """A number of steps in few characters."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:,.1f}M"


def _files(folder: Path) -> Iterator[Path]:
    """The files in a folder and below it, hidden ones left out; none where it cannot be read."""
    for directory, folders, names in os.walk(folder):
        below = len(Path(directory).relative_to(folder).parts)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if below >= DEEPEST:
            folders.clear()
        yield from (Path(directory, name) for name in names if not name.startswith("."))


def _stamp(path: Path) -> Stamp | None:
    """None for what is no file, or is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size) if stat.S_ISREG(status.st_mode) else None


def _made(created: str, written: float) -> float:
    """When a policy says it was made, if that can be; else when its file was written."""
    try:
        made = datetime.fromisoformat(created)
    except ValueError:
        return written
    seconds = (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 < seconds <= written + 1 else written


def plain(text: str) -> str:
    """Text of a stranger on one line, without what a terminal would obey."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= LONGEST_PROBLEM else words[: LONGEST_PROBLEM - 1] + "…"


def _read_policy(path: Path) -> SavedPolicy:
    from trpotui.policy_file import read_policy  # noqa: PLC0415 - imports torch

    return read_policy(path)
