"""What a run keeps, and when: policies, and checkpoints that cost next to nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import torch

from trpotui.config import LIVE_EDITS, NOT_EXACT, RunConfig
from trpotui.rl.checkpoint import Progress
from trpotui.rl.learner import Learner
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.store import Keeper, versions

LEAST_INTERVAL = 100.0
"""Seconds between checkpoints, in those that the last one took: so they cost 1 % at most."""


class Saver:
    """Hands the policies and checkpoints of a run to its keeper.

    Args:
        config: of the run.
        device: where its networks learn.
        learner: of the run.
        progress: of the run.
        keeper: of what it leaves behind.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        learner: Learner,
        progress: Progress,
        keeper: Keeper,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._device = device
        self._learner = learner
        self._progress = progress
        self._keeper = keeper
        self._clock = clock
        self._due = clock() + config.checkpoint_seconds

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint should be saved now, after an update."""
        updates = self._config.checkpoint_updates
        by_number = updates > 0 and self._progress.update % updates == 0
        return self._keeper.keeps and (by_number or self._clock() >= self._due)

    def save(self) -> bool:
        """Keep the policy and a checkpoint; whether both were kept.

        The next checkpoint is due after the configured seconds, or after a hundred times those that
        this one took if that is longer, as on a slow disk.
        """
        if self._progress.update == 0:
            return False
        began = self._clock()
        kept = self.save_policy(best=False)
        state = self._progress.checkpoint(self._learner.state(), self._config, self._device)
        kept &= self._keeper.checkpoint(state)
        ended = self._clock()
        self._due = ended + max(self._config.checkpoint_seconds, LEAST_INTERVAL * (ended - began))
        return kept

    def save_policy(self, *, best: bool) -> bool:
        """Keep the policy, and as the best one too if it is; whether it was kept."""
        progress = self._progress
        saved = SavedPolicy(
            policy=self._learner.snapshot(),
            algorithm=self._config.algorithm,
            config=self._config_and_history(),
            seed=self._config.seed,
            steps=progress.steps,
            updates=progress.update,
            score=progress.score,
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return self._keeper.policy(saved, best=best)

    def _config_and_history(self) -> Mapping[str, Any]:
        history = {
            LIVE_EDITS: list(self._progress.live_edits),
            NOT_EXACT: list(self._progress.discontinuities),
        }
        told = {name: what for name, what in history.items() if what}
        return {**dataclasses.asdict(self._config), **told}
