"""A training run as a stream of events.

    for event in train(make_config(RunRequest(environment_id="CartPole-v1"))):
        print(event)

The trainer owns no files: what is to be kept it hands to a `Store`. It is steered through a
`Control`. Exceptions leave it as exceptions; the environments are closed whichever way it ends.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch

import trpotui
from trpotui.config import RunConfig
from trpotui.errors import RunError
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
from trpotui.rl.control import Control, Interrupted
from trpotui.rl.devices import resolve_device, threads
from trpotui.rl.environments import BatchedEnvironment, make_environments, registered_spec
from trpotui.rl.evaluation import Evaluation, evaluate
from trpotui.rl.learner import Iteration, Learner
from trpotui.rl.policy import SavedPolicy, Score
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder

EVALUATION_SEED = 1_000_000
"""Evaluations of all runs start from the same episodes, and from others than `eval` and `play`."""
CONFIRMATION_SEED = 2_000_000
MOST_EVALUATION_ENVIRONMENTS = 100
CONFIDENCE = 1.5
"""Standard errors by which the mean of a confirmation must be above the threshold: a run that stops
at the first mean that just passes would be below it on other episodes one time in twenty."""


class Store(Protocol):
    """Where a run keeps what must outlive it. Methods may raise OSError."""

    def append_metrics(self, row: Mapping[str, float | int | bool | str]) -> None:
        """Keep the metrics of one update."""

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        """Keep the latest policy, and as the best one too if it is."""

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep everything needed to go on; the checkpoint before it stays as well."""


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
        self._store = store
        self._solved_at = registered_spec(config.environment_id).reward_threshold
        self._update = self._steps = self._episodes = 0
        self._seconds = 0.0
        self._best: Score | None = None
        self._score: Score | None = None  # of the policy as it is now
        self._solved = False
        self._not_kept: set[str] = set()  # what the last attempt to save failed for
        self._notices: list[Notice] = []
        self._evaluation_environments: dict[int, BatchedEnvironment] = {}
        if resume_from is not None:
            self._restore_counters(resume_from)
        self._environments = make_environments(
            config.environment_id, config.environment_kwargs, n_envs=config.n_envs
        )
        try:
            self._learner = Learner(config, self._environments, device, first_update=self._update)
            if resume_from is not None:
                self._learner.restore(resume_from["learner"])
        except BaseException:
            self._environments.close()
            raise
        self._checkpoint_due = time.monotonic() + config.checkpoint_seconds

    def close(self) -> None:
        """Close the environments and let go of whoever waits for a snapshot."""
        for request in self._control.take_snapshot_requests():
            request.cancel()
        for environments in (self._environments, *self._evaluation_environments.values()):
            environments.close()

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
        while self._update == 0 or self._steps + self._steps_per_update <= self._config.total_steps:
            yield from self._serve_control()
            began = time.perf_counter()
            iteration = self._learner.iterate(self._control.raise_if_stopping)
            report, episodes = self._count(iteration, time.perf_counter() - began)
            if episodes.returns:
                yield episodes
            yield report
            yield from self._evaluate_if_due(report)
            yield from self._checkpoint_if_due()
            if self._solved and self._config.stop_when_solved:
                return StopReason.SOLVED
        if self._config.eval_every and self._score is None:
            yield self._evaluate()
        return StopReason.STEPS_REACHED

    @property
    def _steps_per_update(self) -> int:
        return self._config.n_envs * self._config.hyperparameters.rollout_steps

    def _started(self) -> RunStarted:
        return RunStarted(
            algorithm=self._config.algorithm,
            environment_id=self._config.environment_id,
            device=str(self._device),
            seed=self._config.seed,
            total_steps=self._config.total_steps,
            n_envs=self._config.n_envs,
            steps_per_update=self._steps_per_update,
            actor_parameters=self._learner.actor.parameters.numel(),
            critic_parameters=self._learner.critic.parameters.numel(),
            solved_at=self._solved_at,
            first_update=self._update,
            first_step=self._steps,
        )

    def _serve_control(self) -> Iterator[Event]:
        """Do what was asked since the last update, and wait while the run is held."""
        ready = False
        while not ready:
            for request in self._control.take_snapshot_requests():
                if request.set_running_or_notify_cancel():
                    request.set_result(self._learner.snapshot())
            changes = self._control.take_changes()
            if changes:
                self._learner.change(changes)
                yield HyperparametersChanged(
                    update=self._update,
                    values={
                        name: getattr(self._learner.algorithm.hyperparameters, name)
                        for name in changes
                    },
                )
            ready = self._control.wait_while_paused()
        self._control.raise_if_stopping()

    def _count(
        self, iteration: Iteration, seconds: float
    ) -> tuple[UpdateFinished, EpisodesFinished]:
        """Advance the counters by one iteration and report it."""
        self._update += 1
        self._steps += iteration.steps
        self._seconds += seconds
        self._score = None
        returns, lengths = self._environments.take_finished_episodes()
        self._episodes += len(returns)
        stats = iteration.stats
        report = UpdateFinished(
            update=self._update,
            steps=self._steps,
            episodes=self._episodes,
            seconds=self._seconds,
            steps_per_second=iteration.steps / max(seconds, 1e-9),
            return_mean=float(np.mean(returns)) if returns else None,
            return_min=min(returns, default=None),
            return_max=max(returns, default=None),
            length_mean=float(np.mean(lengths)) if lengths else None,
            explained_variance=iteration.explained_variance,
            **{field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)},
        )
        episodes = EpisodesFinished(
            steps=self._steps, returns=tuple(returns), lengths=tuple(lengths)
        )
        return report, episodes

    def _evaluate_if_due(self, report: UpdateFinished) -> Iterator[Event]:
        """Evaluate every so often, and keep the metrics of the update with what that gave."""
        evaluation = None
        try:
            if self._config.eval_every and self._update % self._config.eval_every == 0:
                evaluation = self._evaluate()
        finally:  # an evaluation that fails or is interrupted takes no metrics with it
            row = metrics_row(report, evaluation)
            self._keep("metrics", lambda store: store.append_metrics(row))
        if evaluation is not None:
            yield evaluation
        yield from self._take_notices()

    def _evaluate(self) -> EvaluationFinished:
        """Score the greedy policy; one that looks solved must show it on more episodes."""
        result = self._play(self._config.eval_episodes, EVALUATION_SEED)
        solved = False
        if self._solved_at is not None and result.score.mean >= self._solved_at:
            result = self._play(self._config.confirm_episodes, CONFIRMATION_SEED)
            doubt = CONFIDENCE * result.score.standard_error
            solved = result.score.mean - doubt >= self._solved_at
        score = result.score
        is_best = self._best is None or score.mean > self._best.mean or (solved > self._solved)
        self._score = score
        self._solved |= solved
        if is_best:
            self._best = score
            self._save(best=True)
        return EvaluationFinished(
            update=self._update,
            steps=self._steps,
            episodes=score.episodes,
            mean=score.mean,
            std=score.std,
            minimum=min(result.returns),
            maximum=max(result.returns),
            is_best=is_best,
            solved=solved,
        )

    def _play(self, episodes: int, seed: int) -> Evaluation:
        count = min(episodes, MOST_EVALUATION_ENVIRONMENTS)
        if count not in self._evaluation_environments:
            self._evaluation_environments[count] = make_environments(
                self._config.environment_id, self._config.environment_kwargs, n_envs=count
            )
        began = time.perf_counter()
        result = evaluate(
            self._learner.live_policy(),
            self._evaluation_environments[count],
            episodes=episodes,
            seed=seed,
            interrupt=self._control.raise_if_stopping,
        )
        self._seconds += time.perf_counter() - began
        return result

    def _checkpoint_if_due(self) -> Iterator[Event]:
        if self._store is not None and time.monotonic() >= self._checkpoint_due:
            self._checkpoint_due = time.monotonic() + self._config.checkpoint_seconds
            yield from self._checkpoint()

    def _checkpoint(self) -> Generator[Event, None, bool]:
        saved = self._save(best=False)
        if saved:
            yield CheckpointSaved(update=self._update, steps=self._steps)
        yield from self._take_notices()
        return saved

    def _finish(self, reason: StopReason) -> Iterator[Event]:
        """Save everything and say why it ended."""
        if self._store is not None and self._update:
            saved = yield from self._checkpoint()
            if not saved:
                raise RunError(
                    "the last policy could not be saved; see the message before this one"
                )
        yield RunFinished(
            reason=reason,
            update=self._update,
            steps=self._steps,
            episodes=self._episodes,
            seconds=self._seconds,
            best_mean=None if self._best is None else self._best.mean,
            best_std=None if self._best is None else self._best.std,
            best_episodes=None if self._best is None else self._best.episodes,
        )

    def _save(self, *, best: bool) -> bool:
        """Keep the policy, and unless it is only the best so far a checkpoint too."""
        if self._update == 0:
            return False
        saved = SavedPolicy(
            policy=self._learner.snapshot(),
            algorithm=self._config.algorithm,
            config=dataclasses.asdict(self._config),
            seed=self._config.seed,
            steps=self._steps,
            updates=self._update,
            score=self._score,
            versions=versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        kept = self._keep("policy", lambda store: store.save_policy(saved, best=best))
        if not best:
            kept &= self._keep("checkpoint", lambda store: store.save_checkpoint(self._state()))
        return kept

    def _keep(self, what: str, action: Callable[[Store], None]) -> bool:
        """Have the store keep something; a full disk becomes one notice and the run goes on."""
        if self._store is None:
            return True
        try:
            action(self._store)
        except OSError as error:
            if what not in self._not_kept:
                message = f"the {what} could not be saved: {error}; the run goes on"
                self._notices.append(Notice(message=message))
            self._not_kept.add(what)
            return False
        self._not_kept.discard(what)
        return True

    def _take_notices(self) -> Iterator[Event]:
        yield from self._notices
        self._notices.clear()

    def _state(self) -> dict[str, Any]:
        """Everything needed to go on, as plain data and tensors."""
        best = None if self._best is None else dataclasses.asdict(self._best)
        return {
            "format": "trpotui-checkpoint",
            "format_version": 1,
            "learner": self._learner.state(),
            "update": self._update,
            "steps": self._steps,
            "episodes": self._episodes,
            "seconds": self._seconds,
            "best": best,
            "solved": self._solved,
        }

    def _restore_counters(self, state: Mapping[str, Any]) -> None:
        self._update, self._steps = state["update"], state["steps"]
        self._episodes, self._seconds = state["episodes"], state["seconds"]
        self._best = None if state["best"] is None else Score(**state["best"])
        self._solved = state["solved"]


def versions() -> dict[str, str]:
    """What a policy was made with."""
    return {
        "trpotui": trpotui.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
    }
