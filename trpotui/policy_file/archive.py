"""Where a policy file's bytes become plain data and tensors, with torch as the last step.

torch ignores an archive's checksums, inflates what is compressed, and may find in an archive
another directory than the one that was looked at. So the archive is read and checked here, and
torch is given a new one of exactly what has been checked (`instructions` checks its pickle).
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import torch

from trpotui.policy_file.values import RefusedError, foreign, shown, too_large

MAX_FILE_BYTES = 256 * 2**20
MAX_DIRECTORY_BYTES = 2 * 2**20

_ENTRY = re.compile(r"data\.pkl|version|byteorder|data/[0-9]{1,9}|\.\w+(/\w+)?", re.ASCII)
_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_RECORD = struct.Struct("<4sQ2H2L4Q")


def read_file(path: Path) -> bytes:
    """Read a regular file of bounded size once into memory.

    Raises:
        RefusedError: it is missing, no regular file, empty, too large, or cannot be read.
    """
    try:
        # not blocking: opening a pipe that nobody writes to would wait for ever
        flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, os.O_RDONLY | flags)
        try:
            size = _checked_size(os.fstat(descriptor))
            data = _read(descriptor, size + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise RefusedError("does not exist") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RefusedError(f"cannot be read: {shown(reason)}") from None
    if len(data) != size:
        raise RefusedError("cannot be read: its size changed meanwhile")
    if not data:
        foreign("it is empty")
    return data


def read_entries(data: bytes) -> dict[str, bytes]:
    """The entries of a PyTorch archive by their names without the common prefix, all checked.

    Raises:
        RefusedError: it is no zip archive, it is damaged, or it is not laid out as PyTorch does.
    """
    if data[:4] != b"PK\x03\x04":
        foreign("it is not a zip archive")
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            prefix = _check_names(infos)
            _check_sizes(infos, len(data))
            # reading an entry to its end compares its checksum
            return {info.filename.removeprefix(prefix): archive.read(info) for info in infos}
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
    ) as error:
        raise RefusedError(f"is damaged: {shown(error)}") from error


def load_entries(entries: dict[str, bytes]) -> object:
    """What torch makes of checked entries, with every tensor on the CPU.

    Raises:
        RefusedError: torch does not load them.
    """
    buffer = io.BytesIO()
    # a new archive, so that torch cannot find in the old one what zipfile did not see
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            if not name.startswith("."):
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    buffer.seek(0)
    try:
        value: object = torch.load(buffer, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # torch documents no list of what it raises
        reason = f"PyTorch cannot load it ({type(error).__name__})"
        raise RefusedError(f"is damaged: {reason}") from error
    return value


def _read(descriptor: int, most: int) -> bytes:
    parts = []
    while most > 0 and (part := os.read(descriptor, most)):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _checked_size(status: os.stat_result) -> int:
    if stat.S_ISDIR(status.st_mode):
        foreign("it is a directory")
    if not stat.S_ISREG(status.st_mode):
        foreign("it is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        too_large()
    return status.st_size


def _check_directory(data: bytes) -> None:
    """Bound the archive's directory before zipfile makes an object of each of its entries.

    The directory, its 64-bit record and locator (which torch always writes) and its end record lie
    one after the other at the end of the file; that leaves no room for a second directory.
    """
    end = len(data) - _END.size
    if end < 0 or data[end : end + 4] != b"PK\x05\x06":
        raise RefusedError("is damaged: the end of its archive is missing")
    size, offset = _END.unpack_from(data, end)[5:7]
    locator = end - _LOCATOR.size
    if locator >= 0 and data[locator : locator + 4] == b"PK\x06\x07":
        end = locator - _RECORD.size
        if end < 0 or data[end : end + 4] != b"PK\x06\x06":
            raise RefusedError("is damaged: the directory of its archive is missing")
        size, offset = _RECORD.unpack_from(data, end)[8:10]
    if size > MAX_DIRECTORY_BYTES:
        too_large()
    if offset + size != end:
        raise RefusedError("is damaged: the directory of its archive is not where it should be")


def _check_names(infos: list[zipfile.ZipInfo]) -> str:
    """The folder, with its slash, that all entries lie in; each is one that torch writes, once."""
    names = [info.orig_filename for info in infos]
    prefix = names[0].partition("/")[0] + "/" if names else ""
    if f"{prefix}data.pkl" not in names:
        foreign("its archive was not written by PyTorch")
    if len(set(names)) != len(names):
        foreign("its archive holds an entry twice")
    for name in names:
        if not (name.startswith(prefix) and _ENTRY.fullmatch(name.removeprefix(prefix))):
            foreign(f"its archive holds '{shown(name)}', which no policy file does")
    return prefix


def _check_sizes(infos: list[zipfile.ZipInfo], available: int) -> None:
    """Entries are stored as they are, so that together they are no larger than the file."""
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            foreign("its archive is compressed or encrypted")
    if sum(max(info.file_size, info.compress_size) for info in infos) > available:
        raise RefusedError("is damaged: the entries of its archive are larger than the file")
