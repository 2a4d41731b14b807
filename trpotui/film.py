"""The film of a run: its first, a middle, its best and its last policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trpotui.errors import PolicyFileError, RequestError
from trpotui.rl.policy import SavedPolicy
from trpotui.run_directory import BEST, CONFIG, POLICY
from trpotui.run_directory.film import film_files

FIRST = 1
"""The update whose policy is a run's first."""


class Take(NamedTuple):
    """One policy of a film."""

    names: tuple[str, ...]
    """Of first, middle, best and last: those that it is."""
    path: Path
    saved: SavedPolicy

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"{' and '.join(self.names)}, {self.saved.steps:,} steps"


def best_of(directory: Path) -> Path:
    """The best policy of a run, or the latest of one that was never evaluated.

    Raises:
        RequestError: the directory holds no run, or one without a policy.
    """
    for name in (BEST, POLICY):
        if (directory / name).is_file():
            return directory / name
    if (directory / CONFIG).is_file():
        raise RequestError(f"the run in {directory} has no policy yet")
    raise RequestError(f"{directory} holds no run: there is no {CONFIG} in it")


def film_of(directory: Path, read: Callable[[Path], SavedPolicy]) -> tuple[list[Take], str]:
    """The policies of a run in the order in which they were learned.

    Args:
        directory: of the run.
        read: a checked policy from its file.

    Returns:
        The takes, and a sentence about what is missing; empty when nothing is.

    Raises:
        RequestError: the directory holds no run, or one without a policy.
        PolicyFileError: its best or its last policy cannot be played here. One that was kept for
            the film alone is left out.
    """
    best_of(directory)
    try:
        kept = film_files(directory)
    except OSError as error:
        raise RequestError(f"{directory} cannot be read: {error.strerror}") from error
    ends = [
        (name, directory / file, read(directory / file))
        for name, file in (("best", BEST), ("last", POLICY))
        if (directory / file).is_file()
    ]
    name, _, last = ends[-1]
    middle = _middle(kept, last.updates) if name == "last" else None
    found, missing = [], []
    for name, update in (("first", FIRST), ("middle", middle)):
        if update in kept:
            try:
                found.append((name, kept[update], read(kept[update])))
            except PolicyFileError as error:  # not forced to the disk, so a power loss damages it
                missing.append(str(error))
        elif update == FIRST:
            missing.append(f"the run in {directory} kept no first policy")
    return _merged([*found, *ends]), "; ".join(missing)


def _middle(kept: dict[int, Path], updates: int) -> int | None:
    """The update nearest to the middle of a run of so many."""
    inside = [update for update in kept if FIRST < update < updates]
    return min(inside, key=lambda update: abs(2 * update - updates), default=None)


def _merged(found: list[tuple[str, Path, SavedPolicy]]) -> list[Take]:
    """One take for each policy, in the order of their updates."""
    takes: dict[int, Take] = {}
    for name, path, saved in found:
        before = takes.get(saved.updates)
        names = (name,) if before is None else (*before.names, name)
        takes[saved.updates] = Take(names, path, saved)
    return [take for _, take in sorted(takes.items())]
