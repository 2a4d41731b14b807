"""Taking hold of a directory as its only writer, and leaving nothing behind if that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from trpotui import durable
from trpotui.errors import RequestError

LOCK, WRITER = ".lock", ".writer"
PATIENCE = 2.0
"""Seconds in which a process that has the lock writes its number, also on a busy machine."""


@contextlib.contextmanager
def as_request(path: Path, advice: str = "") -> Iterator[None]:
    """What goes wrong before a run starts is something to change in the request."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"{path} cannot be used as a run directory: {error.strerror or error}{advice}"
        ) from error


def make_directories(path: Path, undo: contextlib.ExitStack) -> None:
    """Make `path` and the directories above it that are missing."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        # it may have been made by another start of the same run: then it is not ours to remove
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            undo.callback(quietly, directory.rmdir)


def lock_directory(path: Path, undo: contextlib.ExitStack) -> FileLock:
    """Take the lock of `path` and write down who has it, which shows that files can be written."""
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    is_new = not (path / LOCK).exists()
    # not per thread: the app opens a directory in one thread and trains in another
    lock = FileLock(path / LOCK, blocking=False, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        if not (path / LOCK).exists():  # some file systems without files look like a held lock
            raise OSError(errno.EACCES, "no file can be made in it", str(path)) from None
        raise RequestError(
            f"{path} is being written by {_holder(path)}: stop it or choose another --run-dir"
        ) from None
    undo.callback(lock.release)
    if is_new:
        # while it is held: whoever waits for it then sees that the file is gone
        undo.callback(quietly, (path / LOCK).unlink)
    undo.callback(quietly, (path / WRITER).unlink)
    durable.write_bytes(path / WRITER, f"{os.getpid()}\n".encode())
    return lock


def _holder(path: Path) -> str:
    """The process that holds the lock of `path`, in words."""
    give_up = time.monotonic() + PATIENCE
    while True:
        # a process that died left its number; the one that has just started is about to write its
        with contextlib.suppress(OSError, ValueError):
            process = int((path / WRITER).read_bytes())
            if _is_alive(process):
                return f"process {process}"
        if time.monotonic() > give_up:
            return "another process"
        time.sleep(0.02)


def _is_alive(process: int) -> bool:
    if process <= 0:  # which would be several
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


def quietly(action: Callable[[], None]) -> None:
    """Undo a step as far as it can be undone."""
    with contextlib.suppress(OSError):
        action()
