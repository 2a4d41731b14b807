"""What widgets tell their screen: facts in the past tense, in the program's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from trpotui.events import Event

if TYPE_CHECKING:
    from trpotui.run_request import RunRequest


class CoreLoaded(Message):
    """Torch, gymnasium and what stands on them are imported: algorithms can be looked at."""


class RunRequested(Message):
    """The person wants a run started."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__()
        self.request = request


class StopRequested(Message):
    """The person wants the run that goes on saved and ended."""


class ChangeRequested(Message):
    """The person wants hyperparameters of the run that goes on changed."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__()
        self.values = values


class PlayRequested(Message):
    """The person wants to see a policy from a file play."""

    def __init__(self, path: Path, *, in_terminal: bool) -> None:
        super().__init__()
        self.path = path
        self.in_terminal = in_terminal


@dataclass(frozen=True)
class RunFailed:
    """A run ended by an exception, after what it had learned was saved."""

    message: str
    """One sentence."""
    details: str
    """The traceback."""
    crash_log: Path | None = None
    """The file that keeps it."""


@dataclass(frozen=True)
class RunEnded:
    """The thread of a run is done; nothing more comes from it."""

    directory: Path | None
    """Where the run was kept; None when it did not get that far."""


FromRun = Event | RunFailed | RunEnded
"""What waits in a session's queue."""
