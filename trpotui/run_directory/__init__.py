"""The directory of one run: its configuration, metrics, policies, checkpoints, log, and its lock.

A `RunDirectory` is the `Store` that the trainer is handed. One process writes to a directory at a
time: the operating system holds the lock and gives it back when that process is gone, however it
ended. Whole files are replaced through `trpotui.durable`; metrics and log grow by a line at a time.

What is on the disk always fits together: metrics and best policy are there before the checkpoint
that counts on them, and what the disk did not take is kept in memory and goes with the next save.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock

import trpotui
from trpotui import durable
from trpotui.config import (
    BESIDE_CONFIG,
    FIRST_TOTAL_STEPS,
    LIVE_EDITS,
    NOT_EXACT,
    REPEATS,
    RunConfig,
)
from trpotui.errors import RequestError
from trpotui.policy_file import policy_bytes
from trpotui.rl.policy import SavedPolicy
from trpotui.run_directory.checkpoints import CHECKPOINT, PREVIOUS, Checkpoints
from trpotui.run_directory.film import save_film
from trpotui.run_directory.lock import WRITER, as_request, lock_directory, make_directories, quietly
from trpotui.run_directory.metrics import MetricsFile
from trpotui.run_directory.naming import default_path

CONFIG = "config.json"
METRICS = "metrics.jsonl"
POLICY, BEST = "policy.pt", "best.pt"
LOG, CRASH = "run.log", "crash.log"
_ABOUT = ("trpotui", "command", *BESIDE_CONFIG)
"""Keys of config.json that are no fields of the configuration."""
_OF_A_RUN = (CONFIG, METRICS, POLICY, BEST, CHECKPOINT, PREVIOUS)


class RunDirectory:
    """The files of one run, which nobody else writes to until `close`.

    Methods that write raise OSError when the disk does not take it; what was there stays. Make one
    with `create` for a new run or `open` to go on with one.
    """

    def __init__(self, path: Path, stored: Mapping[str, Any], lock: FileLock) -> None:
        self.path = path
        self._stored = stored
        self._lock = lock
        self._metrics = MetricsFile(path / METRICS)
        self._checkpoints = Checkpoints(path)
        self._unsaved_best: bytes | None = None

    default_path = staticmethod(default_path)

    @classmethod
    def create(
        cls,
        path: Path,
        config: RunConfig,
        *,
        command: Sequence[str] | None = None,
        repeats: Mapping[str, Any] | None = None,
    ) -> RunDirectory:
        """Make the directory of a new run and write its config.json.

        Args:
            path: the directory; it and those above it are made if they do not exist.
            config: the run.
            command: the command line that started it, for whoever reads config.json.
            repeats: the run that it repeats, as `repeated` is to return it.

        Raises:
            RequestError: it holds a run, another process writes to it, it cannot be made or cannot
                be written. Nothing that this call made is left behind.
        """
        about = {"trpotui": trpotui.__version__, "command": None if command is None else [*command]}
        stored = {**about, **dataclasses.asdict(config)}
        if repeats is not None:
            stored[REPEATS] = repeats
        advice = "; choose another --run-dir"
        with as_request(path, advice), contextlib.ExitStack() as undo:
            make_directories(path, undo)
            lock = lock_directory(path, undo)
            if any((path / name).exists() for name in _OF_A_RUN):
                raise RequestError(
                    f"{path} already holds a run: go on with it by --resume {path}, "
                    "or choose another --run-dir"
                )
            undo.callback(quietly, (path / CONFIG).unlink)
            _write_config(path / CONFIG, stored)
            undo.pop_all()
            return cls(path, stored, lock)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open the directory of a run in order to go on with it.

        Raises:
            RequestError: it holds no run, another process writes to it, or it cannot be read or
                written.
        """
        if not (path / CONFIG).is_file():
            raise RequestError(f"{path} holds no run: there is no {CONFIG} in it")
        with as_request(path), contextlib.ExitStack() as undo:
            lock = lock_directory(path, undo)
            try:
                stored = durable.read_json(path / CONFIG)
            except ValueError as error:
                raise RequestError(f"{path / CONFIG} is damaged: {error}") from error
            durable.remove_leftovers(path)
            undo.pop_all()
            return cls(path, stored, lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write to the directory; closing twice is harmless."""
        if self._lock.is_locked:
            try:
                quietly((self.path / WRITER).unlink)
            finally:
                self._lock.release()

    def config(self) -> dict[str, Any]:
        """What config.json holds of the run's configuration, for the caller to validate."""
        return {key: value for key, value in self._stored.items() if key not in _ABOUT}

    def repeated(self) -> Mapping[str, Any] | None:
        """The run that this one repeats, and what is to be changed in it; None if it is a new one.

        Of the changes, those that were made already are left out.
        """
        repeats = self._stored.get(REPEATS)
        if not isinstance(repeats, dict):
            return None
        made = self._stored.get(LIVE_EDITS, ())
        return {**repeats, "edits": [e for e in repeats.get("edits", ()) if e not in made]}

    def write_config(
        self,
        config: RunConfig,
        *,
        live_edits: Sequence[Mapping[str, Any]] = (),
        discontinuities: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Replace the configuration in config.json, as a resumed run that grew needs it.

        Args:
            config: the run as it goes on.
            live_edits: those that the checkpoint knows of; later ones are lost with their updates.
            discontinuities: where it was resumed, but not as if nothing had happened; likewise.

        Raises:
            RequestError: it cannot be written; the old one is still there.
        """
        about = {key: value for key, value in self._stored.items() if key in _ABOUT}
        for name, known in ((LIVE_EDITS, live_edits), (NOT_EXACT, discontinuities)):
            about.pop(name, None)
            if known:
                about[name] = [*known]
        if config.total_steps != self._stored.get("total_steps"):
            about.setdefault(FIRST_TOTAL_STEPS, self._stored.get("total_steps"))
        stored = {**about, **dataclasses.asdict(config)}
        with as_request(self.path):
            _write_config(self.path / CONFIG, stored)
        self._stored = stored

    def record_edit(self, update: int, values: Mapping[str, Any]) -> None:
        """Add what was changed while the run goes on to config.json.

        A new total_steps also takes the place of the old one, for whoever resumes the run; the
        first one is kept for whoever repeats it.
        """
        length = {}
        if "total_steps" in values:
            first = self._stored.get(FIRST_TOTAL_STEPS, self._stored["total_steps"])
            length = {FIRST_TOTAL_STEPS: first, "total_steps": values["total_steps"]}
        self._add(LIVE_EDITS, {"update": update, "values": dict(values)}, length)

    def record_discontinuity(self, update: int, reason: str) -> None:
        """Add to config.json that the run was resumed, but not as if nothing had happened."""
        self._add(NOT_EXACT, {"update": update, "reason": reason}, {})

    def _add(self, key: str, entry: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
        """Make a list in config.json longer, and change other values of it."""
        stored = {**self._stored, key: [*self._stored.get(key, ()), entry], **changed}
        durable.write_json(self.path / CONFIG, stored)
        self._stored = stored

    def append_metrics(self, row: Mapping[str, int | float | bool | str]) -> None:
        """Add one update's row to metrics.jsonl; a number that is not finite becomes null."""
        self._metrics.append(row)

    def truncate_metrics(self, update: int) -> str | None:
        """Keep the rows up to and including `update`: later ones are about to be made again.

        Returns:
            What is missing of them, as a sentence; None when nothing is.

        Raises:
            RequestError: they cannot be read or written.
        """
        with as_request(self.path):
            return self._metrics.truncate(update)

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        """Write policy.pt, and best.pt as well if this is the best policy so far.

        Raises:
            RunError: the policy holds a number that is not finite; nothing was written.
        """
        data = policy_bytes(saved)
        if best:
            self._unsaved_best = data
        durable.write_bytes(self.path / POLICY, data)
        self._save_best()

    def _save_best(self) -> None:
        """Write best.pt if a best policy waits for it."""
        if self._unsaved_best is not None:
            durable.write_bytes(self.path / BEST, self._unsaved_best)
            self._unsaved_best = None

    def save_film(self, new: Mapping[int, SavedPolicy], kept: Collection[int]) -> None:
        """Write policies of the run's film, and remove those of updates that are not `kept`."""
        save_film(self.path, new, kept)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write checkpoint.pt, keeping the one before it as checkpoint.previous.pt.

        The metrics and the best policy that it counts on are saved before it.

        Args:
            state: plain dicts, lists, texts, numbers and tensors.

        Raises:
            RunError: the state is made of anything else and could not be loaded again.
        """
        self._save_best()
        self._metrics.flush()
        self._checkpoints.save(state)

    def load_checkpoint(self) -> tuple[dict[str, Any], str | None]:
        """The state of the newest checkpoint that is whole.

        Returns:
            The state, and a notice when it is not the newest one's.

        Raises:
            RequestError: there is no checkpoint, or none that is whole.
        """
        return self._checkpoints.load()

    def log(self, line: str) -> None:
        """Add a line with the time to run.log; a full disk must not end a run for its log."""
        text = f"{_timestamp()} {' '.join(line.splitlines())}\n"
        with contextlib.suppress(OSError):
            durable.append_line(self.path / LOG, text.encode(errors="backslashreplace"))

    def write_crash(self, text: str) -> None:
        """Write crash.log in place of an earlier one; failing at it must not hide the crash."""
        content = f"{_timestamp()}\n{text.rstrip()}\n"
        with contextlib.suppress(OSError):
            durable.write_bytes(self.path / CRASH, content.encode(errors="backslashreplace"))


def _write_config(path: Path, stored: Mapping[str, object]) -> None:
    try:
        durable.write_json(path, stored)
    except (TypeError, ValueError) as error:
        raise RequestError(f"the configuration cannot be kept as JSON: {error}") from error


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
