"""The one place that writes whole files, so that none is ever found half-written.

A file is written beside its target under a temporary name, forced to the disk, read back, and only
then renamed over the target. Whoever opens the target, also after a power loss in the middle, finds
the old content or the new one. Files that grow do so by whole lines. What a run can do without may
be left unforced: that is quicker, and safe from everything but a power loss.

Everything goes through the functions of `os`, one call for each thing that the disk may refuse, so
that tests can let each of them fail.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

_PREFIX, _SUFFIX = ".writing-", ".tmp"
_CHUNK = 1 << 20
_MODE = 0o666  # of new files, less the umask
_BINARY = getattr(os, "O_BINARY", 0)


def write_bytes(
    path: Path,
    data: bytes,
    *,
    verify: Callable[[bytes], object] | None = None,
    force: bool = True,
) -> None:
    """Replace the content of `path` by `data`, wholly or not at all.

    Args:
        path: the target; a symbolic link is followed, so that the link stays one.
        data: the new content.
        verify: called with what was read back, before the target is touched; by raising it keeps
            the old content.
        force: to the disk; else a power loss within the next seconds may leave a part of it.

    Raises:
        OSError: the disk is full, the directory is missing or not writable, the target is no
            regular file, or what was read back differs. The target is as it was, unless only the
            last step failed, which makes the finished rename survive a power loss.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        # renaming over a device or a pipe would destroy it
        raise OSError(errno.EINVAL, "it exists and is no regular file", str(path))
    temporary = target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
    try:
        _write_new(temporary, data, force=force)
        written = _read_back(temporary, data)
        if verify is not None:
            verify(written)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if force:
        _sync_directory(target.parent)


def unused(directory: Path, stem: str, suffix: str) -> Path:
    """A path at which nothing is: `stem`, or with a number behind it, from 2 on."""
    endings = itertools.chain([""], (f"-{count}" for count in itertools.count(2)))
    paths = (directory / f"{stem}{ending}{suffix}" for ending in endings)
    return next(path for path in paths if not path.exists())


def append_line(path: Path, line: bytes) -> None:
    """Add a line, or several, to `path`, or nothing if it does not fit.

    What an earlier writer left of a line that it could not finish is cut off first, so that every
    line stays one.

    Raises:
        OSError: nothing was added, or less than a line, which the next call cuts off.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, _MODE)
    try:
        end, written = _end_of_lines(descriptor), 0
        try:
            written = os.write(descriptor, line)
        finally:
            if written < len(line):
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)
    finally:
        os.close(descriptor)
    if written < len(line):
        raise _no_space(path)


def sync(path: Path) -> None:
    """Force `path`, content and name, to the disk; nothing to do where there is no such file.

    Raises:
        OSError: it may not be on the disk.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | _BINARY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_directory(path.parent)


def read_bytes(path: Path) -> bytes:
    """The content of `path`.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | _BINARY)
    try:
        parts = []
        while part := os.read(descriptor, _CHUNK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace the content of `path` by `value` as indented JSON.

    Raises:
        OSError: as `write_bytes`.
        ValueError: a number is not finite.
        TypeError: a value has no JSON form.
    """
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, object]:
    """The JSON object in `path`.

    Raises:
        OSError: it cannot be read.
        ValueError: its content is no JSON object.
    """
    try:
        value = json.loads(read_bytes(path))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004  # the content is wrong, not a type
    return value


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files that killed writers left in `directory`; nobody may be writing there.

    Raises:
        OSError: the directory cannot be read, or a leftover cannot be removed.
    """
    for leftover in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _write_new(path: Path, data: bytes, *, force: bool) -> None:
    """Create `path`, which must not exist, with `data`, and perhaps force it to the disk."""
    # not tempfile: its files are private to the user, and a policy should obey the umask
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, _MODE)
    try:
        rest = memoryview(data)
        while rest:  # a call may take a part only
            written = os.write(descriptor, rest)
            if written == 0:
                raise _no_space(path)
            rest = rest[written:]
        if force:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_space(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _read_back(path: Path, data: bytes) -> bytes:
    """The content of `path`; raises OSError when it is not `data`."""
    written = read_bytes(path)
    if written != data:
        raise OSError(errno.EIO, "what was read back differs from what was written", str(path))
    return written


def _end_of_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends; what follows it is cut off."""
    size = end = os.fstat(descriptor).st_size
    newline = -1
    while end > 0 and newline < 0:
        start = max(end - _CHUNK, 0) if end < size else end - 1  # nearly always the last byte
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        end = start + newline + 1 if newline >= 0 else start
    if end < size:
        os.ftruncate(descriptor, end)
    return end


def _sync_directory(directory: Path) -> None:
    """Force the names in `directory` to the disk, where directories can be opened for that."""
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems do not know it; the rename itself has happened
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
