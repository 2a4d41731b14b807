"""A training run as a stream of events.

    for event in train(make_config(RunRequest(environment_id="CartPole-v1"))):
        print(event)

The trainer owns no files: what is to be kept it hands to a `Store`. It is steered through a
`Control`. Exceptions leave it as exceptions; the environments are closed whichever way it ends.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from trpotui.config import LIVE_EDITS, RunConfig, build
from trpotui.errors import RequestError, RunError
from trpotui.events import (
    CheckpointSaved,
    EpisodesFinished,
    EvaluationFinished,
    Event,
    HyperparametersChanged,
    Notice,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
    metrics_row,
)
from trpotui.rl.checkpoint import Progress
from trpotui.rl.control import Control, Interrupted
from trpotui.rl.devices import resolve_device, threads
from trpotui.rl.environments import (
    has_native_form,
    make_environments,
    make_single_environment,
    registered_spec,
)
from trpotui.rl.evaluation import LONGEST_EPISODE, Evaluator
from trpotui.rl.learner import Iteration, Learner
from trpotui.rl.policy import SavedPolicy, Score
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder
from trpotui.rl.store import Keeper, Store, versions


def check(config: RunConfig) -> None:
    """Find out what is wrong with a request before anything is written or trained.

    Raises:
        RequestError: the device is absent, the environment cannot be made, or a space is not
            supported.
    """
    resolve_device(config.device)
    environments = make_environments(config.environment_id, config.environment_kwargs, n_envs=1)
    try:
        ObservationEncoder(environments.observation_space)
        ActionDecoder(environments.action_space)
    finally:
        environments.close()
    if has_native_form(registered_spec(config.environment_id)):
        # it may take arguments that the single one, which is played, does not
        make_single_environment(config.environment_id, config.environment_kwargs).close()


def train(
    config: RunConfig,
    control: Control | None = None,
    store: Store | None = None,
    *,
    resume_from: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Train as `config` says and yield what happens.

    Args:
        config: the run, as `trpotui.run_request.make_config` makes it.
        control: stops, pauses and changes the run from other threads.
        store: keeps metrics, policies and checkpoints; None keeps nothing.
        resume_from: a checkpoint's state, to go on from there in new episodes.

    Yields:
        `RunStarted` first; for every update `EpisodesFinished` (if any did) and `UpdateFinished`;
        `EvaluationFinished` and `CheckpointSaved` as they happen; `RunFinished` last.

    Raises:
        RequestError: before anything is trained, when the request cannot be met.
        RunError: the environment failed, or what was learned could not be saved at the end. What
            was learned until then is saved first, if it can be.
    """
    device = resolve_device(config.device)
    h = config.hyperparameters
    batch, width = config.n_envs * h.rollout_steps, max(h.hidden_sizes, default=1)
    with threads(config.torch_threads, batch=batch, width=width):
        run = _Run(config, device, control or Control(), store, resume_from)
        try:
            yield from run.events()
        finally:
            run.close()


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        control: Control,
        store: Store | None,
        resume_from: Mapping[str, Any] | None,
    ) -> None:
        self._config = config
        self._device = device
        self._control = control
        self._keeper = Keeper(store)
        self._just_solved = False  # by the last evaluation; a resumed run has to show it again
        self._evaluator = Evaluator(config)
        self._progress = Progress() if resume_from is None else Progress.of(resume_from)
        self._score: Score | None = None  # of the policy as it is now
        self._total_steps = config.total_steps  # may be changed while the run goes on
        self._environments = make_environments(
            config.environment_id, config.environment_kwargs, n_envs=config.n_envs
        )
        try:
            self._learner = Learner(
                config, self._environments, device, first_update=self._progress.update
            )
            if resume_from is not None:
                self._learner.restore(resume_from["learner"])
        except BaseException:
            self._environments.close()
            raise
        self._checkpoint_due = time.monotonic() + config.checkpoint_seconds

    def close(self) -> None:
        """Close the environments and let go of whoever waits for a snapshot."""
        self._control.end()
        self._environments.close()
        self._evaluator.close()

    def events(self) -> Iterator[Event]:
        """The run from its start to its end."""
        yield self._started()
        try:
            reason = yield from self._train()
        except Interrupted:
            reason = StopReason.STOPPED
        except Exception:
            self._save(best=False)
            raise
        yield from self._finish(reason)

    def _train(self) -> Generator[Event, None, StopReason]:
        """Updates until the run is over, and a score for the last policy; returns why it ended."""
        while self._has_steps_left():
            yield from self._serve_control()
            if not self._has_steps_left():  # fewer were asked for
                break
            began = time.perf_counter()
            iteration = self._learner.iterate(self._control.raise_if_stopping)
            report, episodes = self._count(iteration, time.perf_counter() - began)
            if episodes.returns:
                yield episodes
            yield report
            yield from self._evaluate_if_due(report)
            yield from self._checkpoint_if_due()
            if self._just_solved and self._config.stop_when_solved:
                return StopReason.SOLVED
            yield from self._answer_requests()  # more steps may be asked for at the last moment
        if self._config.eval_every and self._score is None:  # the run was shortened
            yield self._evaluate()
        return StopReason.STEPS_REACHED

    def _has_steps_left(self) -> bool:
        after_one_more = self._progress.steps + self._steps_per_update
        return self._progress.update == 0 or after_one_more <= self._total_steps

    @property
    def _steps_per_update(self) -> int:
        return self._config.n_envs * self._config.hyperparameters.rollout_steps

    def _started(self) -> RunStarted:
        return RunStarted(
            algorithm=self._config.algorithm,
            environment_id=self._config.environment_id,
            device=str(self._device),
            seed=self._config.seed,
            total_steps=self._total_steps,
            n_envs=self._config.n_envs,
            steps_per_update=self._steps_per_update,
            actor_parameters=self._learner.actor.parameters.numel(),
            critic_parameters=self._learner.critic.parameters.numel(),
            solved_at=self._evaluator.solved_at,
            first_update=self._progress.update,
            first_step=self._progress.steps,
        )

    def _serve_control(self) -> Iterator[Event]:
        """Do what was asked since the last update, and wait while the run is held."""
        ready = False
        while not ready:
            yield from self._answer_requests()
            ready = self._control.wait_while_paused()
        self._control.raise_if_stopping()

    def _answer_requests(self) -> Iterator[Event]:
        """Hand out the snapshots and make the changes that were asked for."""
        for request in self._control.take_snapshot_requests():
            if request.set_running_or_notify_cancel():
                request.set_result(self._learner.snapshot())
        changes = self._control.take_changes()
        if changes:
            yield self._change(changes)

    def _change(self, values: Mapping[str, object]) -> HyperparametersChanged | Notice:
        """Change hyperparameters and the length of the run: all of `values`, or nothing."""
        length = {name: value for name, value in values.items() if name == "total_steps"}
        try:
            run = build(RunConfig, {"total_steps": self._total_steps, **length}, what="setting")
            self._learner.change({name: values[name] for name in values if name not in length})
        except RequestError as error:  # a mistake in a form must not cost the run
            return Notice(message=f"nothing was changed: {error}")
        self._total_steps = run.total_steps
        hyperparameters = self._learner.algorithm.hyperparameters
        made = {name: getattr(run if name in length else hyperparameters, name) for name in values}
        self._progress.live_edits.append({"update": self._progress.update, "values": made})
        return HyperparametersChanged(update=self._progress.update, values=made)

    def _count(
        self, iteration: Iteration, seconds: float
    ) -> tuple[UpdateFinished, EpisodesFinished]:
        """Advance the counters by one iteration and report it."""
        returns, lengths = self._environments.take_finished_episodes()
        progress = self._progress
        progress.update += 1
        progress.steps += iteration.steps
        progress.seconds += seconds
        progress.episodes += len(returns)
        self._score = None
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

    def _evaluate_if_due(self, report: UpdateFinished) -> Iterator[Event]:
        """Evaluate, and keep the metrics of the update with what that gave."""
        evaluation = None
        try:
            if self._evaluation_is_due():
                evaluation = self._evaluate()
        finally:  # an evaluation that fails or is interrupted takes no metrics with it
            self._keeper.metrics(metrics_row(report, evaluation))
        if evaluation is not None:
            yield evaluation
        yield from self._keeper.take_notices()

    def _evaluation_is_due(self) -> bool:
        """Every so often, and after the last update."""
        every = self._config.eval_every
        return every > 0 and (self._progress.update % every == 0 or not self._has_steps_left())

    def _evaluate(self) -> EvaluationFinished:
        """Score the greedy policy, and keep it if it is the best so far."""
        began = time.perf_counter()
        policy = self._learner.live_policy()
        result, solved = self._evaluator(policy, self._control.raise_if_stopping)
        self._progress.seconds += time.perf_counter() - began
        score = result.score
        progress = self._progress
        is_best = progress.best is None or score.mean > progress.best.mean
        is_best |= solved > progress.solved
        self._score = score
        self._just_solved = solved
        if result.unfinished:
            self._keeper.notice(
                f"{result.unfinished} of {score.episodes} evaluation episodes did not end within "
                f"{LONGEST_EPISODE:,} steps and count as far as they came: the environment may "
                "need a time limit (--env-set max_episode_steps=N)"
            )
        self._progress.solved |= solved
        if is_best:
            self._progress.best = score
            self._save(best=True)
        return EvaluationFinished(
            update=self._progress.update,
            steps=self._progress.steps,
            episodes=score.episodes,
            mean=score.mean,
            std=score.std,
            minimum=min(result.returns),
            maximum=max(result.returns),
            is_best=is_best,
            solved=solved,
        )

    def _checkpoint_if_due(self) -> Iterator[Event]:
        if self._keeper.keeps and time.monotonic() >= self._checkpoint_due:
            self._checkpoint_due = time.monotonic() + self._config.checkpoint_seconds
            yield from self._checkpoint()

    def _checkpoint(self) -> Generator[Event, None, bool]:
        saved = self._save(best=False)
        if saved:
            yield CheckpointSaved(update=self._progress.update, steps=self._progress.steps)
        yield from self._keeper.take_notices()
        return saved

    def _finish(self, reason: StopReason) -> Iterator[Event]:
        """Save everything and say why it ended."""
        if self._keeper.keeps and self._progress.update:
            saved = yield from self._checkpoint()
            if not saved:
                raise RunError(
                    "the last policy could not be saved; see the message before this one"
                )
        progress, best = self._progress, self._progress.best
        yield RunFinished(
            reason=reason,
            update=progress.update,
            steps=progress.steps,
            episodes=progress.episodes,
            seconds=progress.seconds,
            best_mean=None if best is None else best.mean,
            best_std=None if best is None else best.std,
            best_episodes=None if best is None else best.episodes,
        )

    def _save(self, *, best: bool) -> bool:
        """Keep the policy, and unless it is only the best so far a checkpoint too."""
        if self._progress.update == 0:
            return False
        saved = SavedPolicy(
            policy=self._learner.snapshot(),
            algorithm=self._config.algorithm,
            config=self._config_with_edits(),
            seed=self._config.seed,
            steps=self._progress.steps,
            updates=self._progress.update,
            score=self._score,
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        kept = self._keeper.policy(saved, best=best)
        if not best:
            kept &= self._keeper.checkpoint(self._progress.checkpoint(self._learner.state()))
        return kept

    def _config_with_edits(self) -> dict[str, Any]:
        config, edits = dataclasses.asdict(self._config), self._progress.live_edits
        return {**config, LIVE_EDITS: list(edits)} if edits else config
