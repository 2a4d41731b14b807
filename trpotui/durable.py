"""The one place that writes whole files, so that none is ever found half-written.

A file is written beside its target under a temporary name, forced to the disk, read back, and only
then renamed over the target. Whoever opens the target, also after a power loss in the middle, finds
the old content or the new one. Files that grow do so by whole lines.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

_PREFIX, _SUFFIX = ".writing-", ".tmp"


def write_bytes(
    path: Path, data: bytes, *, verify: Callable[[bytes], object] | None = None
) -> None:
    """Replace the content of `path` by `data`, wholly or not at all.

    Args:
        path: the target; a symbolic link is followed, so that the link stays one.
        data: the new content.
        verify: called with what was read back, before the target is touched; by raising it keeps
            the old content.

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
        _write_new(temporary, data)
        written = _read_back(temporary, data)
        if verify is not None:
            verify(written)
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to `path`, or nothing if it does not fit, so that the next one starts a line.

    Raises:
        OSError: the line was not added.
    """
    written = 0
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(line)
        finally:
            if written < len(line):
                with contextlib.suppress(OSError):
                    file.truncate(before)
    if written < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


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
        value = json.loads(path.read_bytes())
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


def _write_new(path: Path, data: bytes) -> None:
    """Create `path`, which must not exist, and force `data` to the disk."""
    # not tempfile: its files are private to the user, and a policy should obey the umask
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_back(path: Path, data: bytes) -> bytes:
    """The content of `path`; raises OSError when it is not `data`."""
    written = path.read_bytes()
    if written != data:
        raise OSError(errno.EIO, "what was read back differs from what was written", str(path))
    return written


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
