"""One run of the past, and what tells several apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from trpotui.past_runs.metrics import Metrics


class Condition(StrEnum):
    """What can be done with a run."""

    WRITTEN = "being written"
    FINISHED = "finished"
    RESUMABLE = "can be resumed"
    UNFINISHED = "cannot be resumed"
    DAMAGED = "damaged"


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One run. Every text of it may be shown as it is."""

    path: Path
    environment_id: str
    algorithm: str
    seed: int | None
    started: float
    """Seconds since 1970."""
    total_steps: int | None
    """Environment steps that were asked for."""
    condition: Condition
    note: str
    """The condition in more words: why it ended, who writes, what is damaged."""
    failed: bool
    """Whether it last ended by an exception."""
    process: int | None
    """Who writes to it."""
    settings: dict[str, str]
    """Every setting by name."""
    metrics: Metrics
    policy: Path | None
    """The best policy, or the latest where none was evaluated."""


def differing(runs: Sequence[PastRun]) -> list[tuple[str, tuple[str | None, ...]]]:
    """The settings that are not the same in all of `runs`, with each one's value, None for none."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = [(name, tuple(run.settings.get(name) for run in runs)) for name in names]
    return [row for row in rows if len(set(row[1])) > 1]


def labels(runs: Sequence[PastRun]) -> list[str]:
    """A short name for each run: the algorithm, and of the rest only what tells them apart."""
    environments = [run.environment_id for run in runs]
    algorithms = [run.algorithm for run in runs]
    seeds = [f"s{'?' if run.seed is None else run.seed}" for run in runs]
    columns = [algorithms]
    if len(set(environments)) > 1:
        columns.insert(0, environments)
    if len(set(seeds)) > 1:
        columns.append(seeds)
    names = [" ".join(parts) for parts in zip(*columns, strict=True)]
    if len(set(names)) == len(names):
        return names
    return [f"{name} {started_text(run)}" for name, run in zip(names, runs, strict=True)]


def started_text(run: PastRun) -> str:
    """When a run started, in the person's own time."""
    return datetime.fromtimestamp(run.started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
