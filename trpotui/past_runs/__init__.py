"""The runs of the past as their directories tell of them: found, read within bounds, compared.

Nothing here writes, takes a lock or loads torch; only `trpotui.past_runs.deletion` changes
anything.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trpotui.errors import RequestError
from trpotui.past_runs.files import (
    BEST,
    CHECKPOINT,
    CONFIG,
    CRASH,
    LOG,
    MAKES_A_RUN,
    METRICS,
    POLICY,
    PREVIOUS,
    UnreadableError,
    as_settings,
    read_config,
    shown,
    whole_number,
    writing_process,
)
from trpotui.past_runs.log import read_end
from trpotui.past_runs.metrics import CHUNK, Evaluation, Metrics, MetricsReader
from trpotui.past_runs.run import Condition, PastRun, differing, labels

__all__ = ["Condition", "Evaluation", "Metrics", "PastRun", "PastRuns", "differing", "labels"]

NAME = re.compile(r"(?P<algorithm>.+)-s(?P<seed>\d{1,10})-(?P<time>\d{8}T\d{6}Z)(-\d+)?")
"""What `RunDirectory.default_path` makes of a run."""


class PastRuns:
    """The runs below a folder, at `folder/<env>/<run>` or `folder/<run>`.

    What has been read stays known, so a look at runs that did not change costs next to nothing.
    Look in one thread at a time.

    Args:
        folder: it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, _Known] = {}

    def look(self, enough: Callable[[], bool] = lambda: False) -> tuple[PastRun, ...]:
        """The runs as they are now, the latest started first.

        Args:
            enough: asked now and then; once it says so, the rest is left for the next look.

        Raises:
            RequestError: the folder cannot be read.
        """
        try:
            found = dict(_directories_of_runs(self.folder))
        except FileNotFoundError:
            found = {}
        except OSError as error:
            raise RequestError(f"{self.folder} cannot be read: {error.strerror}") from error
        self._known = {path: self._known.get(path) or _Known(path) for path in found}
        latest_first = sorted(self._known.values(), key=lambda known: known.started, reverse=True)
        _read_in_turns(latest_first, enough)
        return tuple(known.run(found[known.path]) for known in latest_first)


def _read_in_turns(runs: list[_Known], enough: Callable[[], bool]) -> None:
    """Read metrics, a piece of each run at a time: a long one does not keep the others waiting."""
    while runs:
        more = []
        for known in runs:
            if known.read(CHUNK):
                more.append(known)
            if enough():
                return
        runs = more


def _directories_of_runs(folder: Path) -> Iterator[tuple[Path, frozenset[str]]]:
    """Directories that hold a run, with the names in them."""
    for outer in _content(folder)[1]:
        try:
            names, inner_directories = _content(outer)
        except OSError:
            continue
        if names & MAKES_A_RUN:
            yield outer, names
        for inner in inner_directories:
            try:
                names, _ = _content(inner)
            except OSError:
                continue
            if names & MAKES_A_RUN:
                yield inner, names


def _content(directory: Path) -> tuple[frozenset[str], list[Path]]:
    """The names in a directory, and which of them are directories."""
    with os.scandir(directory) as scan:
        entries = list(scan)
    return (
        frozenset(entry.name for entry in entries),
        [directory / entry.name for entry in entries if entry.is_dir()],
    )


class _Known:
    """What has been read of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = MetricsReader(path / METRICS)
        self._config: dict[str, Any] = {}
        self._settings: dict[str, str] = {}
        self._damage = ""
        self._ended: str | None = None
        self._stamps: dict[str, tuple[int, ...] | None] = {}
        self._name = NAME.fullmatch(path.name)
        self.started = self._when()

    def read(self, most: int) -> bool:
        """Read on in the metrics; whether there is more to read."""
        try:
            return self._reader.read(most).share_read < 1.0
        except UnreadableError:
            return False

    def run(self, names: frozenset[str]) -> PastRun:
        """The run as it is now, with its metrics as far as they were read."""
        if self._changed(CONFIG):
            self._read_config()
        if self._changed(LOG):
            self._ended = read_end(self.path)
        damage = self._damage
        try:
            metrics = self._reader.read(0)
        except UnreadableError as error:
            metrics, damage = Metrics(), damage or str(error)
        process = writing_process(self.path)
        failed = process is None and self._failed(names)
        condition, note = self._condition(names, metrics, damage, process, failed=failed)
        policy = next((name for name in (BEST, POLICY) if name in names), None)
        return PastRun(
            path=self.path,
            environment_id=shown(self._of_config("environment_id", str), most=60),
            algorithm=shown(self._of_config("algorithm", str), most=40),
            seed=whole_number(self._of_config("seed", int)),
            started=self.started,
            total_steps=whole_number(self._config.get("total_steps")),
            condition=condition,
            note=note,
            failed=failed,
            process=process,
            settings=self._settings,
            metrics=metrics,
            policy=None if policy is None else self.path / policy,
        )

    def _changed(self, name: str) -> bool:
        """Whether a file is not the one that it was at the last look."""
        try:
            status = (self.path / name).stat()
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            stamp = None
        changed = name not in self._stamps or self._stamps[name] != stamp
        self._stamps[name] = stamp
        return changed

    def _read_config(self) -> None:
        self._config, self._settings, self._damage = {}, {}, ""
        try:
            config = read_config(self.path)
        except UnreadableError as error:
            self._damage = str(error)
            return
        required = {"environment_id": str, "algorithm": str, "hyperparameters": dict}
        if not all(isinstance(config.get(key), kind) for key, kind in required.items()):
            self._damage = f"{CONFIG} is no configuration of a run"
        self._config, self._settings = config, as_settings(config)

    def _of_config(self, key: str, kind: type) -> object:
        """A value of the configuration, or what the names of the directories say in its place."""
        value = self._config.get(key)
        if isinstance(value, kind):
            return value
        if self._name is None:
            return "?" if kind is str else None
        named = {
            "environment_id": self.path.parent.name,
            "algorithm": self._name["algorithm"],
            "seed": int(self._name["seed"]),
        }
        return named[key]

    def _failed(self, names: frozenset[str]) -> bool:
        """Whether the traceback of an exception is the last that was written."""
        if CRASH not in names or self._ended is not None:
            return False
        try:
            log, crash = (self.path / LOG).stat(), (self.path / CRASH).stat()
        except OSError:
            return LOG not in names
        return crash.st_mtime_ns >= log.st_mtime_ns

    def _condition(
        self,
        names: frozenset[str],
        metrics: Metrics,
        damage: str,
        process: int | None,
        *,
        failed: bool,
    ) -> tuple[Condition, str]:
        if damage:
            return Condition.DAMAGED, damage
        if process is not None:
            here = process == os.getpid()
            return Condition.WRITTEN, "by this app" if here else f"by process {process}"
        if self._ended == "solved":
            return Condition.FINISHED, "solved"
        if metrics.share_read == 1.0 and (done := self._all_done(metrics)):
            return Condition.FINISHED, done
        note = "failed" if failed else "stopped" if self._ended else "interrupted"
        if names & {CHECKPOINT, PREVIOUS}:
            return Condition.RESUMABLE, note
        return Condition.UNFINISHED, f"{note} before its first checkpoint"

    def _all_done(self, metrics: Metrics) -> str:
        """What one more update would go beyond, in words; empty while it would not."""
        config, rollout = self._config, self._config["hyperparameters"]
        total = whole_number(config.get("total_steps"))
        if total is None or not metrics.updates:
            return ""
        n_envs = whole_number(config.get("n_envs")) or 0
        episodes = n_envs * (whole_number(rollout.get("rollout_episodes")) or 0)
        steps = 0 if episodes else n_envs * (whole_number(rollout.get("rollout_steps")) or 0)
        if metrics.steps + max(steps, 1) > total:
            return "all steps done"
        most = whole_number(config.get("total_episodes")) or 0
        return "all episodes done" if most and metrics.episodes + max(episodes, 1) > most else ""

    def _when(self) -> float:
        """When the run started: by its name, or else when its configuration was written."""
        if self._name:
            with contextlib.suppress(ValueError):
                named = datetime.strptime(self._name["time"], "%Y%m%dT%H%M%SZ")
                return named.replace(tzinfo=UTC).timestamp()
        for file in (self.path / CONFIG, self.path):
            try:
                return file.stat().st_mtime
            except OSError:
                continue
        return time.time()
