"""Everything needed to go on with a run: its progress, and what has been learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from trpotui.config import LIVE_EDITS
from trpotui.errors import RequestError
from trpotui.rl.policy import Score

FORMAT, VERSION = "trpotui-checkpoint", 1


@dataclass
class Progress:
    """How far a run is."""

    update: int = 0
    steps: int = 0
    episodes: int = 0
    seconds: float = 0.0
    """Of training and evaluating; pauses are left out."""
    best: Score | None = None
    solved: bool = False
    live_edits: list[dict[str, Any]] = field(default_factory=list)
    """What was changed while the run went on: `update` and `values` of each time."""

    def checkpoint(self, learner: Mapping[str, Any]) -> dict[str, Any]:
        """The state of a checkpoint, as plain data and tensors.

        Args:
            learner: the learner's own state.
        """
        return {
            "format": FORMAT,
            "format_version": VERSION,
            "learner": learner,
            "update": self.update,
            "steps": self.steps,
            "episodes": self.episodes,
            "seconds": self.seconds,
            "best": None if self.best is None else dataclasses.asdict(self.best),
            "solved": self.solved,
            LIVE_EDITS: list(self.live_edits),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """How far the run of a checkpoint was.

        Raises:
            RequestError: it is no checkpoint of a run, or one of another version.
        """
        if state.get("format") != FORMAT or state.get("format_version") != VERSION:
            raise RequestError("the checkpoint is not one that this version of trpotui wrote")
        try:
            best = state["best"]
            return cls(
                update=state["update"],
                steps=state["steps"],
                episodes=state["episodes"],
                seconds=state["seconds"],
                best=None if best is None else Score(**best),
                solved=state["solved"],
                live_edits=list(state.get(LIVE_EDITS, ())),  # absent before there were any
            )
        except (KeyError, TypeError) as error:
            raise RequestError(f"the checkpoint is not complete: {error}") from error
