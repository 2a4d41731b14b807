"""A training run as a stream of events.

    for event in train(make_config(RunRequest(environment_id="CartPole-v1"))):
        print(event)

The trainer owns no files: what is to be kept it hands to a `Store`. It is steered through a
`Control`. Exceptions leave it as exceptions; the environments are closed whichever way it ends.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import torch

from trpotui.config import RunConfig
from trpotui.errors import RunError
from trpotui.events import (
    CheckpointSaved,
    Discontinuity,
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
    metrics_row,
)
from trpotui.rl.allocation import freed_memory_kept
from trpotui.rl.checkpoint import Progress, check_same_run, computed_otherwise
from trpotui.rl.collector import LONGEST_WAIT
from trpotui.rl.control import Control, Interrupted
from trpotui.rl.devices import memory_told, resolve_device, threads
from trpotui.rl.environments import (
    check_workers,
    has_native_form,
    make_environments,
    make_single_environment,
    registered_spec,
)
from trpotui.rl.images import UNITS, image_layout
from trpotui.rl.learner import Iteration, Learner
from trpotui.rl.refusals import Refusals
from trpotui.rl.replay import RebuildError
from trpotui.rl.reporting import count
from trpotui.rl.run_length import RunLength, expected_samples
from trpotui.rl.saving import Saver
from trpotui.rl.scoring import Scoring
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder
from trpotui.rl.steering import Steering
from trpotui.rl.store import Keeper, Store


def check(config: RunConfig) -> None:
    """Find out what is wrong with a request before anything is written or trained.

    Raises:
        RequestError: the device is absent, the environment cannot be made, or a space is not
            supported.
    """
    resolve_device(config.device)
    environments = make_environments(config.environment_id, config.environment_kwargs, n_envs=1)
    try:
        if config.env_workers:
            check_workers(config.environment_id, config.environment_kwargs, n_envs=config.n_envs)
        ObservationEncoder(environments.observation_space)
        ActionDecoder(environments.action_space)
        if config.hyperparameters.network == "cnn":
            image_layout(environments.observation_space)
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
        resume_from: a checkpoint's state, to go on from there as if nothing had happened.

    Yields:
        `RunStarted` first; for every update `EpisodesFinished` (if any did) and `UpdateFinished`;
        `EvaluationFinished` and `CheckpointSaved` as they happen; `RunFinished` last.

    Raises:
        RequestError: before anything is trained, when the request cannot be met, or is for another
            run than that of the checkpoint.
        RunError: the environment failed, or what was learned could not be saved at the end. What
            was learned until then is saved first, if it can be.
    """
    device = resolve_device(config.device)
    h = config.hyperparameters
    width = max([*h.hidden_sizes, UNITS if h.network == "cnn" else 1])
    samples = expected_samples(config)
    with (
        threads(config.torch_threads, batch=samples, width=width),
        freed_memory_kept(),
        memory_told(device),
    ):
        run = _Run(config, device, control or Control(), store, resume_from)
        try:
            yield from run.events()
        finally:
            run.close()
            del run  # its arrays are to go before the memory that was kept


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
        self._resume_from = resume_from
        self._keeper = Keeper(store)
        self._progress = Progress()
        if resume_from is not None:
            self._progress = Progress.of(resume_from)
            check_same_run(resume_from, config)
        self._refusals = Refusals()
        self._refusals.in_a_row = self._progress.refused_in_a_row
        self._refusals.total = self._progress.refused
        self._length = RunLength(config)
        self._environments = make_environments(
            config.environment_id,
            config.environment_kwargs,
            n_envs=config.n_envs,
            workers=config.env_workers,
            timeout=config.env_timeout,
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
        self._steering = Steering(control, self._learner, self._length, self._progress)
        self._saver = Saver(config, device, self._learner, self._progress, self._keeper)
        self._scoring = Scoring(
            config,
            self._learner,
            self._progress,
            control=control,
            keeper=self._keeper,
            saver=self._saver,
        )

    def close(self) -> None:
        """Close the environments and let go of whoever waits for a snapshot."""
        self._control.end()
        self._environments.close()
        self._scoring.close()

    def events(self) -> Iterator[Event]:
        """The run from its start to its end."""
        yield self._started()
        try:
            if self._resume_from is not None:
                yield from self._rebuild(self._resume_from)
            reason = yield from self._train()
        except Interrupted:
            reason = StopReason.STOPPED
        except Exception:
            self._save()
            raise
        yield from self._finish(reason)

    def _rebuild(self, state: Mapping[str, Any]) -> Iterator[Discontinuity]:
        """Go on in the episodes of a checkpoint; where that is not possible, in new ones.

        Yields:
            What keeps the run from going on as if nothing had happened.
        """
        reasons = [computed_otherwise(state, self._device)]
        try:
            self._learner.rebuild(state["learner"], self._control.raise_if_stopping)
        except RebuildError as error:
            reasons.append(f"new episodes were begun, because {error}")
        self._resume_from = None
        if why := "; ".join(filter(None, reasons)):
            update = self._progress.update
            self._progress.discontinuities.append({"update": update, "reason": why})
            yield Discontinuity(message=f"continued, not exact: {why}", update=update, reason=why)

    def _train(self) -> Generator[Event, None, StopReason]:
        """Updates until the run is over, and a score for the last policy; returns why it ended."""
        yield from self._scoring.make_up()
        while not self._is_solved and self._end() is None:
            yield from self._steering.serve()
            if self._end() is not None:  # fewer steps were asked for
                break
            began = time.perf_counter()
            iteration = self._learner.iterate(
                self._control.raise_if_stopping, self._length.remaining(self._progress)
            )
            report, episodes = count(iteration, time.perf_counter() - began, self._progress)
            self._saver.remember()
            if episodes.returns:
                yield episodes
            yield report
            self._tell_of_cut_off(iteration)
            yield from self._scoring.after_update(
                metrics_row(report, None), is_last=self._end() is not None
            )
            yield from self._tell_of_refusal(report)
            if self._saver.is_due:
                yield from self._checkpoint()
            if not self._is_solved:
                yield from self._steering.answer()  # more steps may be asked for at the last moment
        if self._is_solved:
            return StopReason.SOLVED
        yield from self._scoring.finish()
        return self._end() or StopReason.STEPS_REACHED

    def _end(self) -> StopReason | None:
        """Why there is no further update; None while there is one."""
        return self._length.end(self._progress)

    @property
    def _is_solved(self) -> bool:
        """Whether being solved ends the run now."""
        return self._progress.just_solved and self._config.stop_when_solved

    def _started(self) -> RunStarted:
        return RunStarted(
            algorithm=self._config.algorithm,
            environment_id=self._config.environment_id,
            device=str(self._device),
            seed=self._config.seed,
            total_steps=self._length.total_steps,
            total_episodes=self._length.total_episodes,
            n_envs=self._config.n_envs,
            steps_per_update=self._length.steps_per_update,
            actor_parameters=self._learner.actor.parameters.numel(),
            critic_parameters=self._learner.critic.parameters.numel(),
            distribution=self._learner.spec.distribution,
            action_size=self._learner.spec.action_size,
            solved_at=self._scoring.solved_at,
            first_update=self._progress.update,
            first_step=self._progress.steps,
        )

    def _tell_of_cut_off(self, iteration: Iteration) -> None:
        """Once a run: a rollout of whole episodes waited for one that does not end."""
        if iteration.cut_off and not self._progress.told_of_cut_off:
            self._progress.told_of_cut_off = True
            self._keeper.notice(
                f"{iteration.cut_off} training episodes did not end within the "
                f"{LONGEST_WAIT:,} steps that a rollout allows for each and were cut off: the "
                "environment may need a time limit (--env-set max_episode_steps=N)"
            )

    def _tell_of_refusal(self, report: UpdateFinished) -> Iterator[Notice]:
        """An update that would have made a parameter not finite; after several the run stops."""
        try:
            message = self._refusals.count(report)
        finally:
            self._progress.refused_in_a_row = self._refusals.in_a_row
            self._progress.refused = self._refusals.total
        if message is not None:
            yield Notice(message=message)

    def _save(self) -> bool:
        """Keep the policy and a checkpoint; whether both were kept."""
        # where a checkpoint is not yet gone on with, the next one would lack its episodes
        return self._resume_from is not None or self._saver.save()

    def _checkpoint(self) -> Generator[Event, None, bool]:
        saved = self._save()
        if saved:
            yield CheckpointSaved(update=self._progress.update, steps=self._progress.steps)
        yield from self._keeper.take_notices()
        return saved

    def _finish(self, reason: StopReason) -> Iterator[Event]:
        """Save everything and say why it ended."""
        if self._keeper.keeps and self._progress.update and not (yield from self._checkpoint()):
            raise RunError("the last policy could not be saved; see the message before this one")
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
