"""Runs of the past that are to be trained on, read before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trpotui.tui.session import Source, resumed_run, stored_config

if TYPE_CHECKING:
    from trpotui.config import RunConfig
    from trpotui.repetition import Repetition
    from trpotui.run_request import RunRequest


class Plan(NamedTuple):
    """What `TrpotuiApp.start` needs to know."""

    config: RunConfig
    source: Source | None = None
    """Makes the events of the run where it is no new one."""
    repeats: Repetition | None = None
    """The earlier run that a new one repeats."""


def to_resume(path: Path, output: Path | None = None, request: RunRequest | None = None) -> Plan:
    """Go on with the run in a directory; the arguments are those of `resumed_run`.

    Raises:
        RequestError: its configuration is damaged, or not of this version.
    """
    return Plan(stored_config(path), resumed_run(path, output, request))


def to_repeat(path: Path) -> Plan:
    """Train the run in a directory again, with what was changed while it went on.

    Raises:
        RequestError: its configuration is damaged, or not of this version.
    """
    from trpotui.repetition import repetition_of  # noqa: PLC0415 - imports torch

    repetition = repetition_of(path)
    return Plan(repetition.config, repeats=repetition)
