"""The few policies of a run, beside its best and its last, that show how it came about."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from trpotui import durable
from trpotui.policy_file import policy_bytes
from trpotui.rl.policy import SavedPolicy

_NAME = re.compile(r"film-(\d{1,15})\.pt")


def film_files(directory: Path) -> dict[int, Path]:
    """The policies of the film in a run's directory, by their updates, in that order.

    Raises:
        OSError: the directory cannot be read.
    """
    found = {}
    for path in directory.iterdir():
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def save_film(directory: Path, new: Mapping[int, SavedPolicy], kept: Collection[int]) -> None:
    """Write policies, and then remove those of updates that are not `kept`.

    They are not forced to the disk, which takes ten times as long as the rest: a power loss may
    damage one, which whoever reads the film is told and can do without.

    Args:
        directory: of the run.
        new: policies by their updates.
        kept: the updates whose policies the film consists of.

    Raises:
        OSError: not all of it was done.
        RunError: a policy holds a number that is not finite.
    """
    for update, saved in new.items():
        durable.write_bytes(directory / f"film-{update}.pt", policy_bytes(saved), force=False)
    for update, path in film_files(directory).items():
        if update not in kept:
            path.unlink(missing_ok=True)
