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
        self._film: dict[int, SavedPolicy] = {}  # by update, not yet on the disk

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
        kept = self.save_policy(best=False) & self._save_film()
        state = self._progress.checkpoint(self._learner.state(), self._config, self._device)
        kept &= self._keeper.checkpoint(state)
        ended = self._clock()
        self._due = ended + max(self._config.checkpoint_seconds, LEAST_INTERVAL * (ended - began))
        return kept

    def save_policy(self, *, best: bool) -> bool:
        """Keep the policy, and as the best one too if it is; whether it was kept."""
        return self._keeper.policy(self._saved(), best=best)

    def remember(self) -> None:
        """Note the policy after an update if the run's film wants it; it is kept by `save`."""
        update = self._progress.update
        if self._keeper.keeps and update in film_updates(update):
            self._film[update] = self._saved()

    def _save_film(self) -> bool:
        """Keep the film as it is now; whether it was kept."""
        wanted = film_updates(self._progress.update)
        self._film = {update: saved for update, saved in self._film.items() if update in wanted}
        kept = self._keeper.film(self._film, wanted)
        if kept:
            self._film = {}
        return kept

    def _saved(self) -> SavedPolicy:
        """The policy as it is now, with where it came from."""
        progress = self._progress
        return SavedPolicy(
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

    def _config_and_history(self) -> Mapping[str, Any]:
        history = {
            LIVE_EDITS: list(self._progress.live_edits),
            NOT_EXACT: list(self._progress.discontinuities),
        }
        told = {name: what for name, what in history.items() if what}
        return {**dataclasses.asdict(self._config), **told}


def film_updates(update: int) -> tuple[int, ...]:
    """The updates whose policies a run's film keeps once it is at `update`.

    They are the first, and the last two powers of two: of these, one lies between a third and two
    thirds of the way, wherever the run ends. Knowing nothing but `update`, a resumed run keeps the
    same ones.
    """
    latest = 1 << (update.bit_length() - 1)
    return tuple(sorted({1, max(latest // 2, 1), latest}))
