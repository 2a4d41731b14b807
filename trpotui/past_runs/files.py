"""What runs left on disk, read within bounds: any of it may be damaged, endless or foreign.

The names are those that `trpotui.run_directory` writes; that package loads torch, which whoever
only looks at runs does not need.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trpotui.config import BESIDE_CONFIG, LIVE_EDITS

CONFIG, METRICS = "config.json", "metrics.jsonl"
POLICY, BEST = "policy.pt", "best.pt"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
LOG, CRASH = "run.log", "crash.log"
LOCK, WRITER = ".lock", ".writer"
LEFTOVER = (".writing-", ".tmp")
"""How the names of half-written files begin and end."""
FILM = re.compile(r"film-\d{1,15}\.pt")
"""Names of the policies that show how the run came about."""
MAKES_A_RUN = frozenset({CONFIG, METRICS, POLICY, BEST, CHECKPOINT, PREVIOUS})
"""A directory with any of these is a run's."""
ABOUT = ("trpotui", "command")
"""Keys of config.json that are no settings of the run."""

MOST_CONFIG = 1_000_000
MOST_DEPTH = 16
MOST_SETTINGS = 500
MOST_EDITS = 20
FIRST = ("algorithm", "environment_id", "environment_kwargs", "seed", "hyperparameters")


class UnreadableError(Exception):
    """Why a file cannot be used, as a clause that names it."""


def shown(text: object, *, most: int = 80) -> str:
    """Text of unknown origin as it may be shown: printable, without markup, and not long."""
    line = printable(str(text)[: most + 1]).translate(str.maketrans("[]", "()"))
    return line if len(line) <= most else line[: most - 1] + "…"


def printable(line: str) -> str:
    """`line` with a question mark in place of every control character."""
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def read_config(path: Path) -> dict[str, Any]:
    """The configuration of the run in a directory, unchecked but for its size and depth.

    Raises:
        UnreadableError: there is none, or it is damaged.
    """
    file = path / CONFIG
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise UnreadableError(f"{CONFIG} is no regular file")
        with file.open("rb") as opened:
            data = opened.read(MOST_CONFIG + 1)
        if len(data) > MOST_CONFIG:
            raise UnreadableError(f"{CONFIG} is too large")
        config = json.loads(data)
    except FileNotFoundError:
        raise UnreadableError(f"{CONFIG} is missing") from None
    except OSError as error:
        raise UnreadableError(f"{CONFIG} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UnreadableError(f"{CONFIG} is damaged") from None
    if not isinstance(config, dict):
        raise UnreadableError(f"{CONFIG} is damaged")
    if _depth(config) > MOST_DEPTH:
        raise UnreadableError(f"{CONFIG} is nested too deeply")
    return {key: value for key, value in config.items() if key not in ABOUT}


def _depth(value: object) -> int:
    """Levels of dicts and lists, counted without recursion and no further than matters."""
    level, depth = [value], 0
    while level and depth <= MOST_DEPTH:
        level = [part for one in level for part in _parts(one)]
        depth += 1
    return depth


def _parts(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def read_tail(file: Path, most: int) -> str:
    """The whole lines at the end of a text, as many as fit into `most` bytes; empty if it is none.

    Control characters become question marks.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        with file.open("rb") as opened:
            opened.seek(max(status.st_size - most, 0))
            data = opened.read(most)
    except OSError:
        return ""
    if status.st_size > most:
        data = data.partition(b"\n")[2]
    lines = data.decode(errors="replace").split("\n")
    return "\n".join(printable(line.expandtabs(4).rstrip("\r")) for line in lines).rstrip("\n")


def writing_process(path: Path) -> int | None:
    """The process that writes to a run's directory; None when none does.

    It does not touch the lock, so a writer that is just starting is never turned away by it. What
    says who writes outlives a process that was killed, and its number may be another's by now:
    where the system lists its locks, the process must hold one.
    """
    try:
        with (path / WRITER).open("rb") as opened:
            process = int(opened.read(32))
    except (OSError, ValueError):
        return None
    return process if _is_alive(process) and _holds_a_lock(process) else None


def _is_alive(process: int) -> bool:
    if process <= 0:  # 0 and below stand for groups of processes
        return False
    if os.name == "nt":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _holds_a_lock(process: int) -> bool:
    try:
        listed = Path("/proc/locks").read_text()
    except (OSError, ValueError):
        return True  # there is no such list on this system
    # 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF
    return any(line.split()[4:5] == [str(process)] for line in listed.splitlines())


def whole_number(value: object, *, most: int = 2**63) -> int | None:
    """`value` if it is a count, else None."""
    return value if type(value) is int and 0 <= value <= most else None


def as_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a run by name, as text that may be shown; those that people change first.

    Hyperparameters stand by their own names, keyword arguments of the environment behind `env.`.
    What was changed while the run went on has all its values, in their order.
    """
    settings: dict[str, str] = {}
    for name in dict.fromkeys([*FIRST, *config]):
        value = config.get(name)
        if isinstance(value, dict) and name in ("hyperparameters", "environment_kwargs"):
            prefix = "" if name == "hyperparameters" else "env."
            for key, part in itertools.islice(value.items(), MOST_SETTINGS):
                settings[shown(prefix + key, most=40)] = setting_text(part)
        elif name in config and name not in BESIDE_CONFIG and len(settings) < MOST_SETTINGS:
            settings[shown(name, most=40)] = setting_text(value)
    for name, value in _live_edits(config.get(LIVE_EDITS)):
        if name in settings and name != "total_steps":  # config.json has the new length as its own
            settings[name] = shown(f"{settings[name]} → {setting_text(value)}", most=60)
    return settings


def _live_edits(edits: object) -> Iterator[tuple[str, object]]:
    """The changes in the order in which they were made; of very many the first."""
    for edit in edits[:MOST_EDITS] if isinstance(edits, list) else ():
        values = edit.get("values") if isinstance(edit, dict) else None
        if isinstance(values, dict):
            yield from itertools.islice(values.items(), MOST_EDITS)


def setting_text(value: object) -> str:
    """A setting as it would be typed after `--set`, with digits in groups."""
    if isinstance(value, list):
        return shown(",".join(map(str, value[:20])), most=60)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10_000:
        return shown(f"{value:,}", most=60)
    return shown(value, most=60)
