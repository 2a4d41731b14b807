"""A disk that fails at the n-th thing it is asked for, and a process or a machine that ends there.

The functions of `os` through which everything is written are replaced while a `Disk` is entered.
Calls on files under its root are numbered from 1; what happens at number n is the fault.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import children
from trpotui.errors import TrpotuiError

CALLS = ("open", "write", "fsync", "replace", "read", "ftruncate", "unlink")
FAILURES = ("once", "for good", "short once", "short for good")
"""The n-th call fails, or it and all later ones. Short: what fails is a write that takes half."""
KILLS = ("killed", "killed in the middle")
"""SIGKILL before the n-th call, or after half of a write."""
LOSSES = ("power lost", "power lost, names too")
"""With the power goes what was not forced to the disk: contents, and then also the names that files
were given since. Nothing that the process does afterwards reaches the disk."""
ENDS = KILLS + LOSSES
OF_WRITES = ("short once", "short for good", "killed in the middle")
"""Those that differ from the others in writes only, and are tried there only."""


class PowerLostError(BaseException):
    """Ends what is done in a process that stands for a machine without power."""


class Disk:
    """What `os` does under a folder, with a fault at one of its calls.

    Nothing is forced to the real disk.

    Args:
        root: of the files that count.
        number: of the call at which the fault happens, from 1.
        fault: one of `FAILURES` or `ENDS`.
    """

    def __init__(self, root: Path, number: int, fault: str) -> None:
        self._root, self.number, self.fault = str(root), number, fault
        self._real = {name: getattr(os, name) for name in CALLS}
        self._files: dict[int, str] = {}
        self._unforced: dict[str, int] = {}
        self._renamed: dict[str, bytes | None] = {}
        self.calls: list[str] = []
        """The name of every call."""

    def __enter__(self) -> Disk:
        for name in CALLS:
            setattr(os, name, getattr(self, f"_{name}"))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _counted(self, name: str) -> bool:
        """Count a call; whether it is to do half before it fails. Raises where it fails at once."""
        self.calls.append(name)
        at, since = len(self.calls) == self.number, len(self.calls) >= self.number
        if at and self.fault in OF_WRITES and name == "write":
            return True
        if at and self.fault in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if at and self.fault in LOSSES:
            self.lose_what_was_not_forced()
            raise PowerLostError
        if at or (since and self.fault not in ("once", "short once")):
            raise self._error(name)
        return False

    def lose_what_was_not_forced(self) -> None:
        """Contents, and in one mode names."""
        for path, size in self._unforced.items():
            if Path(path).is_file():
                os.truncate(path, size + (Path(path).stat().st_size - size) // 2)
        if self.fault.endswith("names too"):
            for path, content in self._renamed.items():
                if content is not None:
                    Path(path).write_bytes(content)
                elif Path(path).exists():
                    self._real["unlink"](path)

    @staticmethod
    def _error(name: str) -> OSError:
        number = errno.EIO if name in ("read", "fsync") else errno.ENOSPC
        return OSError(number, os.strerror(number))

    def _is_here(self, path: object) -> bool:
        return os.fspath(path).startswith(self._root)  # type: ignore[call-overload]

    def _open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        here = self._is_here(path)
        if here:
            self._counted("open")
            if flags & os.O_CREAT and not Path(path).exists():
                self._renamed.setdefault(str(path), None)
        descriptor: int = self._real["open"](path, flags, mode, **options)
        self._files.pop(descriptor, None)
        if here:
            self._files[descriptor] = str(path)
        return descriptor

    def _write(self, descriptor: int, data: Any) -> int:
        path = self._files.get(descriptor)
        if path is None:
            return self._real["write"](descriptor, data)
        half = self._counted("write")
        self._unforced.setdefault(path, os.fstat(descriptor).st_size)
        if not half:
            return self._real["write"](descriptor, data)
        done: int = self._real["write"](descriptor, bytes(data)[: len(data) // 2])
        if self.fault in KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def _fsync(self, descriptor: int) -> None:
        path = self._files.get(descriptor)
        if path is not None:
            self._counted("fsync")
            self._unforced.pop(path, None)
            if Path(path).is_dir():
                self._renamed.clear()
            return
        self._real["fsync"](descriptor)

    def _replace(self, source: Any, target: Any, **options: Any) -> None:
        if self._is_here(source):
            self._counted("replace")
            old = Path(target).read_bytes() if Path(target).exists() else None
            self._renamed.setdefault(str(target), old)
            if str(source) in self._unforced:
                self._unforced[str(target)] = self._unforced.pop(str(source))
        self._real["replace"](source, target, **options)

    def _read(self, descriptor: int, count: int) -> bytes:
        if descriptor in self._files:
            self._counted("read")
        data: bytes = self._real["read"](descriptor, count)
        return data

    def _ftruncate(self, descriptor: int, length: int) -> None:
        if descriptor in self._files:
            self._counted("ftruncate")
        self._real["ftruncate"](descriptor, length)

    def _unlink(self, path: Any, **options: Any) -> None:
        if self._is_here(path):
            self._counted("unlink")
        self._real["unlink"](path, **options)


@dataclass(frozen=True)
class Fault:
    """One fault that was tried, and the files as it left them."""

    root: Path
    mode: str
    number: int
    raised: BaseException | None
    """What the operation raised, where that was heard of."""
    done: bool = False
    """Whether the operation returned as if nothing had happened: its result must last."""


Operation = Callable[[Path, Disk], None]
"""Does its work on the files in a folder, the part that is to fail with the disk entered."""


def faults(
    folder: Path,
    prepare: Callable[[Path], None],
    operation: Operation,
    modes: Iterable[str] = FAILURES + ENDS,
) -> Iterator[Fault]:
    """Let an operation fail at its n-th call for n = 1, 2, 3 ... until it completes, in each mode.

    Args:
        folder: for the files.
        prepare: makes those that the operation begins with.
        operation: what is to fail; where the process is killed it is done by a child.
        modes: of `FAILURES` and `ENDS`.
    """
    start, root = folder / "start", folder / "now"
    start.mkdir()
    prepare(start)
    shutil.copytree(start, root)
    whole = Disk(root, 0, "once")
    operation(root, whole)
    shutil.rmtree(root)
    assert whole.calls
    for mode in modes:
        for number, call in enumerate(whole.calls, 1):
            if mode in OF_WRITES and call != "write":
                continue
            shutil.copytree(start, root)
            disk = Disk(root, number, mode)
            yield (_in_a_child if mode in KILLS else _here)(root, disk, operation)
            shutil.rmtree(root)
        if mode in LOSSES:
            shutil.copytree(start, root)
            yield _after(root, Disk(root, len(whole.calls) + 1, mode), operation)
            shutil.rmtree(root)


def _after(root: Path, disk: Disk, operation: Operation) -> Fault:
    """The power is lost when all is done."""
    operation(root, disk)
    disk.lose_what_was_not_forced()
    return Fault(root, disk.fault, disk.number, None, done=True)


def _here(root: Path, disk: Disk, operation: Operation) -> Fault:
    raised: BaseException | None = None
    try:
        operation(root, disk)
    except (OSError, TrpotuiError, PowerLostError) as error:
        raised = error
    assert len(disk.calls) >= disk.number
    return Fault(root, disk.fault, disk.number, raised, done=raised is None)


def _in_a_child(root: Path, disk: Disk, operation: Operation) -> Fault:
    def action() -> int:
        operation(root, disk)
        return 0

    code = children.end(children.start(action))
    assert code == -signal.SIGKILL, f"the child ended with {code}"
    return Fault(root, disk.fault, disk.number, None)
