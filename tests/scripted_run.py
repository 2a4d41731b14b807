"""Runs that never happened, for tests of what shows them: the same events every time, no torch.

The numbers are those of a TRPO run on CartPole-v1 (16 environments of 64 steps): they agree with
each other where a real run's do, and every one is a function of the update's number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from trpotui.events import (
    CheckpointSaved,
    EpisodesFinished,
    EvaluationFinished,
    Event,
    HyperparametersChanged,
    LineSearchTry,
    Notice,
    RejectReason,
    RunFinished,
    RunStarted,
    StopReason,
    TrustRegionStep,
    UpdateFinished,
)

STEPS_PER_UPDATE = 1024
SECONDS_PER_UPDATE = 0.02
UPDATES = 97
MAX_KL = 0.01
BACKTRACK_FACTOR = 0.8
SOLVED_AT = 475.0
_EPISODES = [0]  # finished until each update, as far as they were asked for


def started(**changes: Any) -> RunStarted:
    """The first event of a run."""
    event = RunStarted(
        algorithm="trpo",
        environment_id="CartPole-v1",
        device="cpu",
        seed=0,
        total_steps=UPDATES * STEPS_PER_UPDATE,
        n_envs=16,
        steps_per_update=STEPS_PER_UPDATE,
        actor_parameters=4610,
        critic_parameters=4545,
        distribution="categorical",
        action_size=2,
        solved_at=SOLVED_AT,
        first_update=0,
        first_step=0,
    )
    return dataclasses.replace(event, **changes)


def wave(number: int, *, period: float = 3.7) -> float:
    """Something between -1 and 1 that looks like noise."""
    return math.sin(number * period) * math.cos(number * 1.3)


def mean_return(update: int) -> float:
    """20 at first, 500 in the end, and some noise on the way."""
    level = 480.0 / (1.0 + math.exp(-(update - 12) / 3.0))
    return min(20.0 + level + 12.0 * wave(update) * math.exp(-update / 30), 500.0)


def accepted_step(update: int, *, backtracks: int = 0, max_kl: float = MAX_KL) -> TrustRegionStep:
    """A step taken in full, or after so many longer tries."""
    fractions = [BACKTRACK_FACTOR**k for k in range(backtracks + 1)]
    last = fractions[-1]
    kl = max_kl * (0.8 + 0.15 * wave(update))
    full_gain = _full_gain(update, max_kl)
    tries = [
        LineSearchTry(
            fraction=fraction,
            kl=max_kl * 1.02 * (fraction / fractions[-2]) ** 2,
            gain=0.9 * fraction * full_gain,
            reject_reason=RejectReason.KL_TOO_LARGE,
        )
        for fraction in fractions[:-1]
    ]
    gain = last * full_gain * (0.9 + 0.1 * wave(update, period=2.1))
    tries.append(LineSearchTry(fraction=last, kl=kl, gain=gain, reject_reason=None))
    return dataclasses.replace(
        _step(update, max_kl),
        expected_gain=last * full_gain,
        tries=tuple(tries),
        accepted=True,
        step_fraction=last,
        kl=kl,
        surrogate_gain=gain,
        reject_reason=None,
    )


def refused_step(
    update: int, *, reason: RejectReason = RejectReason.KL_TOO_LARGE, max_kl: float = MAX_KL
) -> TrustRegionStep:
    """A step whose line search found nothing in 11 tries, or that there was nothing to try of."""
    hopeless = (RejectReason.ZERO_GRADIENT, RejectReason.NOT_POSITIVE_CURVATURE)
    tries = 0 if reason in hopeless else 11
    full_gain = _full_gain(update, max_kl)
    attempts = []
    for k in range(tries):
        fraction = BACKTRACK_FACTOR**k
        kl, gain = 0.9 * max_kl * fraction**2, 0.9 * fraction * full_gain
        if reason is RejectReason.KL_TOO_LARGE:
            kl = max_kl * (1.05 + fraction**2)
        elif reason is RejectReason.NO_GAIN:
            gain = -gain
        else:
            kl = gain = math.nan
        attempts.append(LineSearchTry(fraction=fraction, kl=kl, gain=gain, reject_reason=reason))
    return dataclasses.replace(_step(update, max_kl), tries=tuple(attempts), reject_reason=reason)


def _full_gain(update: int, max_kl: float) -> float:
    """g^T (beta x): with x^T H x = g^T x it is sqrt(2 delta g^T x)."""
    return math.sqrt(2 * max_kl * _curvature(update))


def _curvature(update: int) -> float:
    return 0.004 * (1.5 + wave(update, period=1.9))


def _step(update: int, max_kl: float) -> TrustRegionStep:
    """All but what the line search did, which is nothing so far."""
    curvature = _curvature(update)
    residuals = tuple(10.0 ** (-0.7 * k + 0.1 * wave(update + k)) for k in range(1, 11))
    return TrustRegionStep(
        max_kl=max_kl,
        grad_norm=0.1 * (1.2 + wave(update)),
        g_dot_x=curvature,
        x_h_x=curvature,
        step_scale=math.sqrt(2 * max_kl / curvature),
        expected_gain=0.0,
        cg_residuals=(1.0, *residuals),
        tries=(),
        accepted=False,
        step_fraction=0.0,
        kl=0.0,
        surrogate_gain=0.0,
        reject_reason=None,
    )


def update_finished(
    update: int, *, step: TrustRegionStep | None = None, **changes: Any
) -> UpdateFinished:
    """The report of one update, with a full step unless another is given."""
    step = step or accepted_step(update)
    returns = episode_returns(update)
    event = UpdateFinished(
        update=update,
        steps=update * STEPS_PER_UPDATE,
        episodes=_episodes_until(update),
        seconds=update * SECONDS_PER_UPDATE,
        steps_per_second=STEPS_PER_UPDATE / SECONDS_PER_UPDATE * (1.0 + 0.2 * wave(update)),
        return_mean=sum(returns) / len(returns) if returns else None,
        return_min=min(returns, default=None),
        return_max=max(returns, default=None),
        length_mean=sum(returns) / len(returns) if returns else None,
        kl=step.kl,
        entropy=0.693 - 0.2 * (1.0 - math.exp(-update / 25)),
        value_loss=80.0 * math.exp(-update / 20) * (1.5 + wave(update)),
        explained_variance=0.9 - 0.9 * math.exp(-update / 8),
        grad_norm=step.grad_norm,
        max_kl=step.max_kl,
        reject_reason=step.reject_reason,
        surrogate_gain=step.surrogate_gain,
        trust_region=step,
    )
    return dataclasses.replace(event, **changes)


def episode_returns(update: int) -> tuple[float, ...]:
    """Of the episodes that ended in an update: many short ones, few long ones, or none."""
    mean = mean_return(update)
    count = round(STEPS_PER_UPDATE / mean) if mean < 490.0 or update % 3 == 0 else 0
    return tuple(
        float(min(max(round(mean * (1.0 + 0.4 * wave(update * 31 + k))), 8), 500))
        for k in range(count)
    )


def _episodes_until(update: int) -> int:
    while len(_EPISODES) <= update:
        _EPISODES.append(_EPISODES[-1] + len(episode_returns(len(_EPISODES))))
    return _EPISODES[update]


def episodes_finished(update: int) -> EpisodesFinished:
    """The same episodes as an event."""
    returns = episode_returns(update)
    return EpisodesFinished(
        steps=update * STEPS_PER_UPDATE, returns=returns, lengths=tuple(map(int, returns))
    )


def evaluation_finished(update: int, *, best: float = -math.inf) -> EvaluationFinished:
    """Twenty greedy episodes, or a hundred that confirm a solved one; `best` is that so far."""
    mean = min(1.1 * mean_return(update), 500.0)
    solved = mean >= SOLVED_AT
    std = 0.2 * min(500.0 - mean, mean)
    return EvaluationFinished(
        update=update,
        steps=update * STEPS_PER_UPDATE,
        episodes=100 if solved else 20,
        mean=mean,
        std=std,
        minimum=max(mean - 2 * std, 8.0),
        maximum=min(mean + 2 * std, 500.0),
        is_best=mean > best,
        solved=solved,
    )


def training(
    updates: int = 18,
    *,
    refused: Collection[int] = (),
    reason: RejectReason = RejectReason.KL_TOO_LARGE,
    evaluate_every: int = 2,
    edits: Mapping[int, Mapping[str, Any]] | None = None,
    start: RunStarted | None = None,
) -> Iterator[Event]:
    """A run that still goes on, even if it was solved on the way.

    Args:
        updates: how many it has done.
        refused: the numbers of those whose step was refused.
        reason: why.
        evaluate_every: updates between evaluations; 0 never evaluates.
        edits: number of an update to the hyperparameters changed by hand after it; max_kl acts.
        start: the first event; `started()` if None.
    """
    yield start or started()
    best, max_kl = -math.inf, MAX_KL
    for update in range(1, updates + 1):
        changes = (edits or {}).get(update - 1)
        if changes:
            max_kl = changes.get("max_kl", max_kl)
            yield HyperparametersChanged(update=update - 1, values=changes)
        if episode_returns(update):
            yield episodes_finished(update)
        if update in refused:
            step = refused_step(update, reason=reason, max_kl=max_kl)
        else:
            step = accepted_step(update, backtracks=int(update % 9 == 0), max_kl=max_kl)
        yield update_finished(update, step=step)
        if evaluate_every and update % evaluate_every == 0:
            evaluation = evaluation_finished(update, best=best)
            best = max(best, evaluation.mean)
            yield evaluation


def finished(events: Iterable[Event], reason: StopReason = StopReason.SOLVED) -> Iterator[Event]:
    """A run and its end, with what the last events say of it."""
    report: UpdateFinished | None = None
    best: EvaluationFinished | None = None
    for event in events:
        if isinstance(event, UpdateFinished):
            report = event
        if isinstance(event, EvaluationFinished) and event.is_best:
            best = event
        yield event
    assert report is not None, "a run that did no update has no end"
    yield CheckpointSaved(update=report.update, steps=report.steps)
    yield RunFinished(
        reason=reason,
        update=report.update,
        steps=report.steps,
        episodes=report.episodes,
        seconds=report.seconds,
        best_mean=None if best is None else best.mean,
        best_std=None if best is None else best.std,
        best_episodes=None if best is None else best.episodes,
    )


def failing(events: Iterable[Event], error: Exception) -> Iterator[Event]:
    """A run that ends as a failing one does: with an exception and without `RunFinished`."""
    yield from events
    raise error


def unhealthy(updates: int = 30) -> Iterator[Event]:
    """A run with everything that a chart must survive: refusals, no episodes, NaN and infinity."""
    yield started()
    yield Notice(message="could not save: No space left on device; the run goes on")
    bad = {"entropy": math.nan, "value_loss": math.inf, "explained_variance": -math.inf}
    for update in range(1, updates + 1):
        none = dict.fromkeys(("return_mean", "return_min", "return_max", "length_mean"))
        if update % 5:
            yield update_finished(update, **none)
        else:
            step = refused_step(update, reason=RejectReason.NOT_FINITE)
            yield update_finished(update, step=step, **none, **bad)
