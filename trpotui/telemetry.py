"""A pure fold of a run's events into what a screen shows. Both front ends use it.

`fold` returns a new state and leaves the one before as it was, yet copies next to nothing: curves
and lists share their storage with the state that they grew out of (`trpotui.series`). Fold the
events of one run in one thread; the states may be read in any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from trpotui.events import (
    EpisodesFinished,
    EvaluationFinished,
    Event,
    HyperparametersChanged,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
)
from trpotui.run_log import LogLine, Tone, changes, log_line
from trpotui.series import Series
from trpotui.tail import Tail

D = TypeVar("D")

RECENT_EPISODES = 50
"""Episodes whose mean is the smoothed return."""
RECENT_UPDATES = 200
LOG_LINES = 500
MARKS = 200
BUDGET_SPENT = (StopReason.STEPS_REACHED, StopReason.EPISODES_REACHED)


class Mark(NamedTuple):
    """A place on the charts where something was changed by hand."""

    steps: int
    text: str


class EvaluationMark(NamedTuple):
    """An evaluation on the chart of returns, or the mean of those that share its place."""

    steps: float
    mean: float
    std: float


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is drawn over the environment steps of a run."""

    episodes: Series = field(default_factory=Series)
    """The return of every episode: dots."""
    returns: Series = field(default_factory=Series)
    """The mean return of the last `RECENT_EPISODES` episodes: the smoothed line."""
    evaluation_mean: Series = field(default_factory=Series)
    evaluation_std: Series = field(default_factory=Series)
    kl: Series = field(default_factory=Series)
    """Of the steps that were kept, in nats; a refused one has none, so a logarithm may be taken of
    all but an exact zero."""
    refused: Series = field(default_factory=Series)
    """A dot for every refused step, at the height of its max_kl."""
    max_kl: Series = field(default_factory=Series)
    """Over time, because it can be changed while the run goes on."""
    entropy: Series = field(default_factory=Series)
    explained_variance: Series = field(default_factory=Series)
    value_loss: Series = field(default_factory=Series)
    surrogate_gain: Series = field(default_factory=Series)
    """Of the steps that were kept."""
    expected_gain: Series = field(default_factory=Series)
    """Of the same steps, as the linear model promised it."""
    steps_per_second: Series = field(default_factory=Series)

    def evaluations(
        self, width: int, x_from: float | None = None, x_to: float | None = None
    ) -> list[EvaluationMark]:
        """Mean and standard deviation of the evaluations in each column that holds any.

        The arguments are those of `Series.columns`.
        """
        means = self.evaluation_mean.columns(width, x_from, x_to)
        deviations = self.evaluation_std.columns(width, x_from, x_to)
        return [
            EvaluationMark(mean.x, mean.mean, deviation.mean)
            for mean, deviation in zip(means, deviations, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What is known of a run after the events so far."""

    started: RunStarted | None = None
    update: UpdateFinished | None = None
    """The latest one."""
    evaluation: EvaluationFinished | None = None
    """The latest one."""
    best: EvaluationFinished | None = None
    finished: RunFinished | None = None
    failure: str | None = None
    """Why the run was ended by an exception, in a sentence."""
    recent_returns: tuple[float, ...] = ()
    """Of the last `RECENT_EPISODES` episodes, oldest first."""
    total_steps: int | None = None
    """Environment steps to be done, as asked for last."""
    total_episodes: int = 0
    """Episodes after which the run ends too; 0 when steps alone end it."""
    first_entropy: float | None = None
    """Of the policy as this run, or this part of a resumed one, found it, in nats."""
    refused_in_a_row: int = 0
    """Steps refused since the last one that was kept."""
    refused_total: int = 0
    recent_updates: Tail[UpdateFinished] = field(default_factory=lambda: Tail(RECENT_UPDATES))
    curves: Curves = field(default_factory=Curves)
    changed: Mapping[str, Any] = field(default_factory=dict)
    """What was changed by hand so far, by name, with its latest value."""
    marks: Tail[Mark] = field(default_factory=lambda: Tail(MARKS))
    """Hyperparameters changed by hand."""
    log: Tail[LogLine] = field(default_factory=lambda: Tail(LOG_LINES))
    """Oldest first; `log.total` counts those that are no longer kept, too."""

    @property
    def recent_mean(self) -> float | None:
        """Mean return of the recent episodes; None before the first one."""
        if not self.recent_returns:
            return None
        return sum(self.recent_returns) / len(self.recent_returns)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        if self.update is not None:
            return self.update.steps
        return 0 if self.started is None else self.started.first_step

    @property
    def steps_per_second(self) -> float | None:
        """Environment steps per second of training, over the whole of this run."""
        if self.update is None or self.started is None or self.update.seconds <= 0:
            return None
        return self.update.steps / self.update.seconds

    @property
    def share(self) -> float:
        """How much of the run is done, from 0 to 1, by its steps or its episodes if they are ahead.

        A run that used its budget is complete, though a rest was too small for another update.
        """
        if self.finished is not None and self.finished.reason in BUDGET_SPENT:
            return 1.0
        return min(max(self._share_of_steps, self._share_of_episodes), 1.0)

    @property
    def planned_steps(self) -> int | None:
        """Environment steps that the run will have; None while its episodes end it before that."""
        by_episodes = self.total_episodes and self._share_of_episodes >= self._share_of_steps
        return None if by_episodes else self.total_steps

    @property
    def seconds_left(self) -> float | None:
        """Until the budget is spent, at the speed so far."""
        share = max(self._share_of_steps, self._share_of_episodes)
        if self.update is None or not share or not self.steps_per_second:
            return None
        return max(1.0 / share - 1.0, 0.0) * self.update.seconds

    @property
    def _share_of_steps(self) -> float:
        return self.steps / self.total_steps if self.total_steps else 0.0

    @property
    def _share_of_episodes(self) -> float:
        if not self.total_episodes or self.update is None:
            return 0.0
        return self.update.episodes / self.total_episodes


def fold(state: RunState, event: Event) -> RunState:
    """The state after one more event; `state` stays as it was."""
    if isinstance(event, RunStarted):
        state = RunState(
            started=event, total_steps=event.total_steps, total_episodes=event.total_episodes
        )
    line = log_line(event)
    log = state.log if line is None else state.log.appended(line)
    match event:
        case UpdateFinished():
            return _after_update(state, event, log)
        case EpisodesFinished():
            return _after_episodes(state, event)
        case EvaluationFinished():
            return _after_evaluation(state, event, log)
        case HyperparametersChanged():
            mark = Mark(state.steps, changes(event))
            total = event.values.get("total_steps", state.total_steps)
            return _with(
                state,
                changed={**state.changed, **event.values},
                marks=state.marks.appended(mark),
                total_steps=total,
                log=log,
            )
        case RunFinished():
            return _with(state, finished=event, log=log)
        case _:
            return _with(state, log=log)


def failed(state: RunState, message: str, traceback: Path | None = None) -> RunState:
    """The state after an exception has ended the run, which no event tells of.

    Args:
        state: before that.
        message: one sentence.
        traceback: the file that holds it.
    """
    log = state.log.appended(LogLine(f"failed: {message}", Tone.ERROR))
    if traceback is not None and str(traceback) not in message:
        log = log.appended(LogLine(f"the traceback is in {traceback}", Tone.ERROR))
    return _with(state, failure=message, log=log)


def fold_all(events: Iterable[Event], state: RunState | None = None) -> RunState:
    """The state after several events."""
    state = RunState() if state is None else state
    for event in events:
        state = fold(state, event)
    return state


def _after_update(state: RunState, event: UpdateFinished, log: Tail[LogLine]) -> RunState:
    refused = not event.accepted
    return _with(
        state,
        update=event,
        first_entropy=event.entropy if state.first_entropy is None else state.first_entropy,
        refused_in_a_row=state.refused_in_a_row + 1 if refused else 0,
        refused_total=state.refused_total + refused,
        recent_updates=state.recent_updates.appended(event),
        curves=_with_update(state.curves, event),
        log=log,
    )


def _with_update(curves: Curves, event: UpdateFinished) -> Curves:
    x, step = event.steps, event.trust_region
    grown = {
        "entropy": curves.entropy.appended(x, event.entropy),
        "explained_variance": curves.explained_variance.appended(x, event.explained_variance),
        "steps_per_second": curves.steps_per_second.appended(x, event.steps_per_second),
    }
    if event.value_loss is not None:
        grown["value_loss"] = curves.value_loss.appended(x, event.value_loss)
    if event.max_kl is not None:
        grown["max_kl"] = curves.max_kl.appended(x, event.max_kl)
    if not event.accepted:
        if event.max_kl is not None:
            grown["refused"] = curves.refused.appended(x, event.max_kl)
        return _with(curves, **grown)
    grown["kl"] = curves.kl.appended(x, event.kl)
    if event.surrogate_gain is not None:
        grown["surrogate_gain"] = curves.surrogate_gain.appended(x, event.surrogate_gain)
    if step is not None:
        grown["expected_gain"] = curves.expected_gain.appended(x, step.expected_gain)
    return _with(curves, **grown)


def _after_episodes(state: RunState, event: EpisodesFinished) -> RunState:
    recent = (*state.recent_returns, *event.returns)[-RECENT_EPISODES:]
    state = _with(state, recent_returns=recent)
    smoothed = state.recent_mean
    if smoothed is None:
        return state
    curves = _with(
        state.curves,
        episodes=state.curves.episodes.extended(event.steps, event.returns),
        returns=state.curves.returns.appended(event.steps, smoothed),
    )
    return _with(state, curves=curves)


def _after_evaluation(state: RunState, event: EvaluationFinished, log: Tail[LogLine]) -> RunState:
    # both or neither: the two curves are read side by side
    mean, std = (event.mean, event.std) if isfinite(event.mean + event.std) else (nan, nan)
    curves = _with(
        state.curves,
        evaluation_mean=state.curves.evaluation_mean.appended(event.steps, mean),
        evaluation_std=state.curves.evaluation_std.appended(event.steps, std),
    )
    best = event if event.is_best else state.best
    return _with(state, evaluation=event, best=best, curves=curves, log=log)


def _with(old: D, **changes: Any) -> D:
    """`dataclasses.replace` at a sixth of its price, for states of a dozen fields."""
    new = object.__new__(type(old))
    new.__dict__.update(old.__dict__)
    new.__dict__.update(changes)
    return new
