"""When the policy of a run is evaluated, and what comes of it: the best one is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from trpotui.config import RunConfig
from trpotui.events import EvaluationFinished, Event, evaluation_metrics
from trpotui.rl.checkpoint import Progress
from trpotui.rl.control import Control, Interrupted
from trpotui.rl.evaluation import LONGEST_EPISODE, Evaluator
from trpotui.rl.learner import Learner
from trpotui.rl.saving import Saver
from trpotui.rl.store import Keeper


class Scoring:
    """Evaluates the policy of a run.

    Args:
        config: of the run.
        learner: of the run.
        progress: of the run.
        control: stops an evaluation.
        keeper: of metrics.
        saver: of the best policy.
    """

    def __init__(
        self,
        config: RunConfig,
        learner: Learner,
        progress: Progress,
        *,
        control: Control,
        keeper: Keeper,
        saver: Saver,
    ) -> None:
        self._every = config.eval_every
        self._learner = learner
        self._progress = progress
        self._control = control
        self._keeper = keeper
        self._saver = saver
        self._evaluator = Evaluator(config)
        self.solved_at = self._evaluator.solved_at
        """Mean return at which the environment counts as solved; None when it has none."""

    def close(self) -> None:
        """Close the environments."""
        self._evaluator.close()

    def after_update(self, metrics: Mapping[str, Any], *, is_last: bool) -> Iterator[Event]:
        """Evaluate if that is due, and keep the metrics of an update with what that gave.

        Args:
            metrics: of the update.
            is_last: whether no other one is to follow, which is always a reason to evaluate.
        """
        every = self._every
        if every > 0 and (is_last or self._progress.update % every == 0):
            yield from self._evaluate_and_keep(metrics)
        else:
            self._keep(metrics)
        yield from self._keeper.take_notices()

    def make_up(self) -> Iterator[Event]:
        """Evaluate once more what was being evaluated when the run was stopped, if anything was."""
        metrics = self._progress.owed_metrics
        if metrics is not None:
            self._progress.owed_metrics = None
            yield from self._evaluate_and_keep(metrics)
            yield from self._keeper.take_notices()

    def finish(self) -> Iterator[Event]:
        """Evaluate the last policy of a run, if no evaluation did: it was cut short by hand."""
        if self._every and self._progress.score is None:
            yield self._evaluate()
            yield from self._keeper.take_notices()

    def _evaluate_and_keep(self, metrics: Mapping[str, Any]) -> Iterator[Event]:
        found: Mapping[str, Any] = {}
        try:
            evaluation = self._evaluate()
            found = evaluation_metrics(evaluation)
        except Interrupted:  # whoever goes on with the run has to make it again
            self._progress.owed_metrics = dict(metrics)
            raise
        finally:  # an evaluation that fails or is interrupted takes no metrics with it
            self._keep({**metrics, **found})
        yield evaluation

    def _keep(self, metrics: Mapping[str, Any]) -> None:
        """Keep the metrics of an update; those of a run that is not exact tell since when."""
        discontinuities = self._progress.discontinuities
        told = {"exact_until": discontinuities[0]["update"]} if discontinuities else {}
        self._keeper.metrics({**metrics, **told})

    def _evaluate(self) -> EvaluationFinished:
        """Score the greedy policy, and keep it if it is the best so far."""
        began = time.perf_counter()
        policy, progress = self._learner.live_policy(), self._progress
        result, solved = self._evaluator(policy, self._control.raise_if_stopping)
        progress.seconds += time.perf_counter() - began
        score = progress.score = result.score
        is_best = progress.best is None or score.mean > progress.best.mean
        is_best |= solved > progress.solved
        if result.unfinished:
            self._keeper.notice(
                f"{result.unfinished} of {score.episodes} evaluation episodes did not end within "
                f"{LONGEST_EPISODE:,} steps and count as far as they came: the environment may "
                "need a time limit (--env-set max_episode_steps=N)"
            )
        progress.just_solved = solved
        progress.solved |= solved
        if is_best:
            progress.best = score
            self._saver.save_policy(best=True)
        return EvaluationFinished(
            update=progress.update,
            steps=progress.steps,
            episodes=score.episodes,
            mean=score.mean,
            std=score.std,
            minimum=min(result.returns),
            maximum=max(result.returns),
            is_best=is_best,
            solved=solved,
        )
