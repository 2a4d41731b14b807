"""What one iteration of a run adds to its progress, and how that is told."""

from __future__ import annotations

import dataclasses

import numpy as np

from trpotui.events import EpisodesFinished, UpdateFinished
from trpotui.rl.checkpoint import Progress
from trpotui.rl.learner import Iteration


def count(
    iteration: Iteration, seconds: float, progress: Progress
) -> tuple[UpdateFinished, EpisodesFinished]:
    """Advance a run's progress by one iteration and report it.

    Args:
        iteration: a rollout and its update.
        seconds: that it took.
        progress: of the run before it; changed here.
    """
    returns, lengths = iteration.returns, iteration.lengths
    progress.update += 1
    progress.steps += iteration.steps
    progress.seconds += seconds
    progress.episodes += len(returns)
    progress.score = None
    stats = iteration.stats
    report = UpdateFinished(
        update=progress.update,
        steps=progress.steps,
        episodes=progress.episodes,
        seconds=progress.seconds,
        steps_per_second=iteration.steps / max(seconds, 1e-9),
        return_mean=float(np.mean(returns)) if returns else None,
        return_min=min(returns, default=None),
        return_max=max(returns, default=None),
        length_mean=float(np.mean(lengths)) if lengths else None,
        explained_variance=iteration.explained_variance,
        **{field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)},
    )
    episodes = EpisodesFinished(
        steps=progress.steps, returns=tuple(returns), lengths=tuple(lengths)
    )
    return report, episodes
