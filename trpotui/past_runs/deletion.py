"""Removing a run for good."""

from __future__ import annotations

import os
from pathlib import Path

from trpotui.errors import RequestError
from trpotui.past_runs.files import (
    CONFIG,
    CRASH,
    FILM,
    LEFTOVER,
    LOCK,
    LOG,
    MAKES_A_RUN,
    WRITER,
    writing_process,
)


def delete_run(path: Path, runs: Path) -> list[str]:
    """Remove the files of a run, and its directory unless it holds anything else.

    Only files that the program itself writes are removed, by their names; a link among them goes,
    what it points to stays. The lock of the run is held meanwhile, so that nobody writes to it.

    Args:
        path: the run's directory, directly in `runs` or one level below.
        runs: the folder of runs.

    Returns:
        The names of what is left in the directory: what others have put there.

    Raises:
        RequestError: it is no directory of a run inside `runs`, a link leads to it, it is being
            written, or it cannot be removed.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - of no use to whoever only looks

    _check_place(path, runs)
    try:
        with FileLock(path / LOCK, blocking=False, thread_local=False):
            # the configuration first: what an interruption leaves is then seen to be no whole run
            for name in sorted(
                filter(_is_of_the_run, _names(path)), key=lambda name: name != CONFIG
            ):
                (path / name).unlink(missing_ok=True)
            if os.name != "nt":  # there, a file that is open stays
                (path / LOCK).unlink(missing_ok=True)
        if os.name == "nt":
            (path / LOCK).unlink(missing_ok=True)
        left = _names(path)
        if not left:
            path.rmdir()
    except Timeout:
        process = writing_process(path)
        by = "another process" if process is None else f"process {process}"
        raise RequestError(f"{path} is being written by {by}: stop that run first") from None
    except OSError as error:
        raise RequestError(f"{path} cannot be deleted: {error.strerror or error}") from error
    return left


def _check_place(path: Path, runs: Path) -> None:
    """Refuse whatever is not a run's own directory inside `runs`."""
    try:
        inside = path.relative_to(runs).parts
    except ValueError:
        inside = ()
    if not 1 <= len(inside) <= 2 or ".." in inside:
        raise RequestError(f"{path} is no run in {runs}: nothing was deleted")
    step = runs
    for part in inside:
        step = step / part
        if step.is_symlink():
            raise RequestError(f"{step} is a link: remove the run where it really is")
    if not path.is_dir() or not any((path / name).exists() for name in MAKES_A_RUN):
        raise RequestError(f"{path} holds no run: nothing was deleted")


def _names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def _is_of_the_run(name: str) -> bool:
    begins, ends = LEFTOVER
    return (
        name in MAKES_A_RUN
        or name in (LOG, CRASH, WRITER)
        or FILM.fullmatch(name) is not None
        or (name.startswith(begins) and name.endswith(ends))
    )
