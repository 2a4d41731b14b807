"""The directory of one run: its configuration, metrics, policies, checkpoints, log, and its lock.

A `RunDirectory` is the `Store` that the trainer is handed. One process writes to a directory at a
time: the operating system holds the lock and gives it back when that process is gone, however it
ended. Whole files are replaced through `trpotui.durable`; metrics and log grow by a line at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from filelock import FileLock

import trpotui
from trpotui import durable
from trpotui.config import LIVE_EDITS, RunConfig
from trpotui.errors import RequestError, RunError
from trpotui.policy_file import policy_bytes
from trpotui.policy_file.archive import load_entries, read_entries
from trpotui.policy_file.values import RefusedError
from trpotui.rl.policy import SavedPolicy
from trpotui.run_directory.lock import WRITER, as_request, lock_directory, make_directories, quietly

CONFIG = "config.json"
METRICS = "metrics.jsonl"
POLICY, BEST = "policy.pt", "best.pt"
CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
LOG, CRASH = "run.log", "crash.log"
_ABOUT = ("trpotui", "command", LIVE_EDITS)
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
        self._newest_is_good = False

    @staticmethod
    def default_path(root: Path, config: RunConfig, now: datetime) -> Path:
        """`root/<env>/<algo>-s<seed>-<UTC time>`, with a number at its end if that is taken."""
        stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{_as_file_name(config.algorithm)}-s{config.seed}-{stamp}"
        path = first = root / _as_file_name(config.environment_id) / name
        number = 1
        while path.exists():
            number += 1
            path = first.with_name(f"{name}-{number}")
        return path

    @classmethod
    def create(
        cls, path: Path, config: RunConfig, *, command: Sequence[str] | None = None
    ) -> RunDirectory:
        """Make the directory of a new run and write its config.json.

        Args:
            path: the directory; it and those above it are made if they do not exist.
            config: the run.
            command: the command line that started it, for whoever reads config.json.

        Raises:
            RequestError: it holds a run, another process writes to it, it cannot be made or cannot
                be written. Nothing that this call made is left behind.
        """
        about = {"trpotui": trpotui.__version__, "command": None if command is None else [*command]}
        stored = {**about, **dataclasses.asdict(config)}
        with as_request(path), contextlib.ExitStack() as undo:
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
            with contextlib.suppress(OSError):
                (self.path / WRITER).unlink(missing_ok=True)
            self._lock.release()

    def config(self) -> dict[str, Any]:
        """What config.json holds of the run's configuration, for the caller to validate."""
        return {key: value for key, value in self._stored.items() if key not in _ABOUT}

    def write_config(
        self, config: RunConfig, *, live_edits: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Replace the configuration in config.json, as a resumed run that grew needs it.

        Args:
            config: the run as it goes on.
            live_edits: those that the checkpoint knows of; later ones are lost with their updates.

        Raises:
            RequestError: it cannot be written; the old one is still there.
        """
        about = {key: value for key, value in self._stored.items() if key in _ABOUT}
        about.pop(LIVE_EDITS, None)
        if live_edits:
            about[LIVE_EDITS] = [*live_edits]
        stored = {**about, **dataclasses.asdict(config)}
        with as_request(self.path):
            _write_config(self.path / CONFIG, stored)
        self._stored = stored

    def record_edit(self, update: int, values: Mapping[str, Any]) -> None:
        """Add what was changed while the run goes on to config.json.

        A new total_steps also takes the place of the old one, for whoever resumes the run.
        """
        edit = {"update": update, "values": dict(values)}
        stored = {**self._stored, LIVE_EDITS: [*self._stored.get(LIVE_EDITS, ()), edit]}
        if "total_steps" in values:
            stored["total_steps"] = values["total_steps"]
        durable.write_json(self.path / CONFIG, stored)
        self._stored = stored

    def append_metrics(self, row: Mapping[str, int | float | bool | str]) -> None:
        """Add one update's row to metrics.jsonl; a number that is not finite becomes null."""
        finite = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in row.items()
        }
        durable.append_line(
            self.path / METRICS, (json.dumps(finite, allow_nan=False) + "\n").encode()
        )

    def truncate_metrics(self, update: int) -> None:
        """Keep the rows up to and including `update`: later ones are about to be made again.

        A last line that was torn by a crash goes too, and so does whatever follows a line that is
        no row.
        """
        path = self.path / METRICS
        if not path.exists():
            return
        data, kept = path.read_bytes(), 0
        for line in data.splitlines(keepends=True):
            if not _is_row(line, last_update=update):
                break
            kept += len(line)
        if kept < len(data):
            durable.write_bytes(path, data[:kept])

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        """Write policy.pt, and best.pt as well if this is the best policy so far.

        Raises:
            RunError: the policy holds a number that is not finite; nothing was written.
        """
        data = policy_bytes(saved)
        durable.write_bytes(self.path / POLICY, data)
        if best:
            durable.write_bytes(self.path / BEST, data)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Write checkpoint.pt, keeping the one before it as checkpoint.previous.pt.

        Args:
            state: plain dicts, lists, texts, numbers and tensors.

        Raises:
            RunError: the state is made of anything else and could not be loaded again.
        """
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        newest = self.path / CHECKPOINT
        # one that nobody has read may be damaged, and the one before it all there is
        if self._newest_is_good and newest.exists():
            durable.write_bytes(self.path / PREVIOUS, newest.read_bytes())
        try:
            durable.write_bytes(newest, buffer.getvalue(), verify=_state)
        except RefusedError as refusal:
            raise RunError(f"the checkpoint was not saved, because it {refusal}") from refusal
        self._newest_is_good = True

    def load_checkpoint(self) -> tuple[dict[str, Any], str | None]:
        """The state of the newest checkpoint that is whole.

        Returns:
            The state, and a notice when it is not the newest one's.

        Raises:
            RequestError: there is no checkpoint, or none that is whole.
        """
        trouble = []
        for name in (CHECKPOINT, PREVIOUS):
            try:
                state = _state((self.path / name).read_bytes())
            except FileNotFoundError:
                trouble.append(f"{name} is missing")
            except OSError as error:
                trouble.append(f"{name} cannot be read ({error.strerror})")
            except RefusedError:
                trouble.append(f"{name} is damaged")
            else:
                self._newest_is_good = name == CHECKPOINT
                notice = "".join(f"{damage}: going on from the one before it" for damage in trouble)
                return state, notice or None
        raise RequestError(f"{self.path} cannot be gone on with: {' and '.join(trouble)}")

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


def _state(data: bytes) -> dict[str, Any]:
    """The state in a checkpoint's bytes; raises RefusedError when they are damaged."""
    state = load_entries(read_entries(data))
    if not isinstance(state, dict):
        raise RefusedError("is damaged: it holds no dict")
    return state


def _is_row(line: bytes, *, last_update: int) -> bool:
    """Whether a line is a whole row of metrics, of an update up to `last_update`."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    update = row.get("update") if isinstance(row, dict) else None
    return line.endswith(b"\n") and isinstance(update, int) and update <= last_update


def _as_file_name(name: str) -> str:
    """`name` with a hyphen in place of what cannot be part of a file's name everywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "run"


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
