"""Reads a file as a stranger's policy, and sees to it that nothing else happens."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trpotui.cli import run as run_command
from trpotui.errors import PolicyFileError
from trpotui.inspection import as_table, facts_of
from trpotui.policy_file import check_environment, read_policy
from trpotui.rl.policy import SavedPolicy

MODULE = "module_that_must_not_be_imported"
MOST_MEMORY = 64 * 2**20
"""Bytes that reading an input may take beyond ten times its size."""
MOST_SECONDS = 10.0
"""Of the processor's time for one input."""
EVERY = 25
"""Of so many inputs, one goes through the command."""
FORBIDDEN = ("import", "os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "webbrowser.")
HARMLESS = ("os.listdir", "os.scandir", "os.putenv")


class Watch:
    """An audit hook that notes what reading a file must not do; hooks cannot be removed."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if self._path is None:
            return
        if event == "open":
            if not isinstance(arguments[0], int) and Path(arguments[0]) != self._path:
                self.seen.append(f"open {arguments[0]}")
        elif event.startswith(FORBIDDEN) and event not in HARMLESS:
            self.seen.append(f"{event} {arguments[:1]}")

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """While this is entered, only `path` may be opened and nothing imported."""
        self._path = path
        try:
            yield
        finally:
            self._path = None


def most_memory_so_far() -> int:
    """The largest resident size of this process in bytes since `forget_memory`; 0 if unknown."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def forget_memory() -> int:
    """Begin to look for the largest resident size; the present one in bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return most_memory_so_far()


def one_sentence(message: str, path: Path) -> bool:
    return (
        message.startswith(f"{path} ")
        and message.isprintable()
        and "[" not in message
        and len(message) < len(str(path)) + 700
    )


class Judge:
    """Reads inputs and checks what comes of each."""

    def __init__(self, folder: Path) -> None:
        self.path, self.marker = folder / "policy.pt", folder / "was-here"
        self.valid = self.refused = 0
        self.watch = Watch()
        (folder / f"{MODULE}.py").write_text(f"open({str(self.marker)!r}, 'w').close()")

    @property
    def count(self) -> int:
        return self.valid + self.refused

    def __call__(self, data: bytes) -> None:
        """Read these bytes as a policy file."""
        self.path.write_bytes(data)
        before, began = forget_memory(), time.process_time()
        saved, said = None, ""
        try:
            with self.watch.reading(self.path):
                saved = read_policy(self.path)
        except PolicyFileError as error:
            said = str(error)
        assert time.process_time() - began < MOST_SECONDS
        assert most_memory_so_far() - before < MOST_MEMORY + 10 * len(data)
        if saved is None:
            self.refused += 1
            assert one_sentence(said, self.path), said
        else:
            self.valid += 1
            self._check_policy(saved)
        if self.count % EVERY == 0:
            self._inspect(valid=saved is not None)
        assert self.watch.seen == [], self.watch.seen
        assert MODULE not in sys.modules
        assert not self.marker.exists()

    def _check_policy(self, saved: SavedPolicy) -> None:
        policy = saved.policy
        for array in (*policy.actor.values(), *policy.critic.values()):
            assert np.isfinite(array).all()
        rows = np.zeros((2, policy.spec.observation_size), policy.spec.row_dtype)
        with np.errstate(all="ignore"):  # finite weights may be huge
            actions = policy.session(2).act(rows, np.ones(2, dtype=np.bool_))
        assert len(actions) == 2
        table = as_table(facts_of(saved))
        assert table.replace("\n", "").isprintable()
        assert len(table.splitlines()) == len(facts_of(saved))
        said = ""
        try:
            check_environment(saved, self.path)
        except PolicyFileError as error:
            said = str(error)
        assert said == "" or one_sentence(said, self.path)

    def _inspect(self, *, valid: bool) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_command(["inspect", str(self.path)])
        if valid:
            assert (code, err.getvalue()) == (0, "")
        else:
            assert (code, out.getvalue()) == (2, "")
            (line,) = err.getvalue().splitlines()
            assert line.startswith(f"trpotui: {self.path} ")
