"""The fold of events into what a screen shows, and into lines of metrics."""

import dataclasses
import math
import time
from pathlib import Path

import pytest
import scripted_run
from hypothesis import given
from hypothesis import strategies as st
from scripted_run import STEPS_PER_UPDATE, started, training, update_finished

from trpotui.events import (
    EpisodesFinished,
    EvaluationFinished,
    HyperparametersChanged,
    LineSearchTry,
    RejectReason,
    RunFinished,
    RunStarted,
    StopReason,
    TrustRegionStep,
    UpdateFinished,
    metrics_row,
)
from trpotui.run_log import Tone
from trpotui.series import CAPACITY
from trpotui.telemetry import (
    LOG_LINES,
    RECENT_EPISODES,
    RECENT_UPDATES,
    Curves,
    Mark,
    RunState,
    failed,
    fold,
    fold_all,
)

STARTED = RunStarted(
    algorithm="trpo",
    environment_id="CartPole-v1",
    device="cpu",
    seed=0,
    total_steps=1000,
    n_envs=2,
    steps_per_update=100,
    actor_parameters=10,
    critic_parameters=9,
    distribution="categorical",
    action_size=2,
    solved_at=475.0,
    first_update=0,
    first_step=0,
)
UPDATE = UpdateFinished(
    update=3,
    steps=300,
    episodes=4,
    seconds=2.0,
    steps_per_second=150.0,
    return_mean=None,
    return_min=None,
    return_max=None,
    length_mean=None,
    kl=0.0,
    entropy=0.6,
    value_loss=1.0,
    explained_variance=0.5,
    grad_norm=0.1,
)
EVALUATION = EvaluationFinished(
    update=3,
    steps=300,
    episodes=20,
    mean=10.0,
    std=1.0,
    minimum=8.0,
    maximum=12.0,
    is_best=True,
    solved=False,
)


def test_speed_and_time_left_follow_from_steps_and_seconds():
    state = fold(fold(RunState(), STARTED), UPDATE)
    assert state.steps == 300
    assert state.steps_per_second == 150.0
    assert state.seconds_left == pytest.approx(700 / 150)


def test_share_and_time_left_follow_whichever_limit_is_nearer():
    steps = fold(fold(RunState(), STARTED), UPDATE)
    assert (steps.share, steps.planned_steps) == (pytest.approx(0.3), 1000)
    episodes = UPDATE.episodes
    assert episodes > 0
    limited = dataclasses.replace(STARTED, total_episodes=2 * episodes)
    state = fold(fold(RunState(), limited), UPDATE)
    assert state.share == pytest.approx(0.5)
    assert state.seconds_left == pytest.approx(UPDATE.seconds)
    assert state.planned_steps is None  # not known: it depends on how long the episodes become
    far = fold(fold(RunState(), dataclasses.replace(STARTED, total_episodes=10**9)), UPDATE)
    assert (far.share, far.planned_steps) == (steps.share, steps.planned_steps)


@pytest.mark.parametrize("reason", [StopReason.STEPS_REACHED, StopReason.EPISODES_REACHED])
def test_run_that_used_its_budget_is_complete_and_another_is_not(reason):
    state = fold(fold(RunState(), STARTED), UPDATE)
    finished = RunFinished(
        reason=reason,
        update=3,
        steps=300,
        episodes=9,
        seconds=2.0,
        best_mean=None,
        best_std=None,
        best_episodes=None,
    )
    assert fold(state, finished).share == 1.0
    stopped = dataclasses.replace(finished, reason=StopReason.STOPPED)
    assert fold(state, stopped).share == pytest.approx(0.3)


def test_nothing_is_done_before_the_first_update():
    started = dataclasses.replace(STARTED, total_episodes=5)
    state = fold(RunState(), started)
    assert (state.share, state.planned_steps, RunState().share) == (0.0, None, 0.0)
    resumed = fold(RunState(), dataclasses.replace(STARTED, first_step=250))
    assert resumed.share == pytest.approx(0.25)


def test_nothing_is_claimed_before_it_is_known():
    state = fold(RunState(), STARTED)
    assert (state.recent_mean, state.steps_per_second, state.seconds_left) == (None, None, None)


def test_the_recent_mean_is_over_the_last_episodes_only():
    state = RunState()
    for value in range(RECENT_EPISODES + 10):
        state = fold(state, EpisodesFinished(steps=value, returns=(float(value),), lengths=(1,)))
    expected = range(10, RECENT_EPISODES + 10)
    assert state.recent_mean == pytest.approx(sum(expected) / RECENT_EPISODES)
    assert state.curves.returns.last == (RECENT_EPISODES + 9, state.recent_mean)
    assert state.curves.episodes.count == RECENT_EPISODES + 10


def test_only_a_best_evaluation_replaces_the_best():
    worse = dataclasses.replace(EVALUATION, mean=5.0, is_best=False)
    state = fold(fold(RunState(), EVALUATION), worse)
    assert state.best == EVALUATION
    assert state.evaluation == worse


def test_a_new_run_forgets_the_one_before():
    before = fold_all(training(30, refused={30}, edits={7: {"max_kl": 0.02}}))
    assert fold(before, STARTED) == fold(RunState(), STARTED)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_a_fold_leaves_every_state_before_as_it_was(choices):
    events = list(training(20, refused={4, 5}, edits={6: {"gamma": 0.9}}))
    histories = [[]]
    states = [RunState()]
    for choice in choices:
        parent = choice % len(states)
        history = [*histories[parent], events[min(len(histories[parent]), len(events) - 1)]]
        histories.append(history)
        states.append(fold(states[parent], history[-1]))
    for history, state in zip(histories, states, strict=True):
        assert state == fold_all(history)


def test_a_state_has_its_fields_and_no_others():
    for event in scripted_run.finished(training(5, refused={3}, edits={2: {"max_kl": 1.0}})):
        state = fold(RunState(), event)
        assert vars(state).keys() == {field.name for field in dataclasses.fields(RunState)}
        assert vars(state.curves).keys() == {field.name for field in dataclasses.fields(Curves)}


def test_every_curve_holds_what_its_events_brought():
    events = list(training(12, refused={5, 6}, evaluate_every=4))
    curves = fold_all(events).curves
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    kept = [event for event in updates if event.trust_region.accepted]
    for name in ("entropy", "explained_variance", "value_loss", "steps_per_second", "max_kl"):
        assert points(getattr(curves, name)) == [(e.steps, getattr(e, name)) for e in updates]
    for name in ("kl", "surrogate_gain"):
        assert points(getattr(curves, name)) == [(e.steps, getattr(e, name)) for e in kept]
    assert points(curves.expected_gain) == [(e.steps, e.trust_region.expected_gain) for e in kept]
    refused = [event for event in updates if not event.trust_region.accepted]
    assert points(curves.refused) == [(e.steps, e.max_kl) for e in refused]
    assert len(refused) == 2
    evaluations = [event for event in events if isinstance(event, EvaluationFinished)]
    assert points(curves.evaluation_mean) == [(e.steps, e.mean) for e in evaluations]
    assert curves.evaluations(1000) == [(e.steps, e.mean, e.std) for e in evaluations]


def points(series):
    """Of a series that is not full yet."""
    return [(bucket.first, bucket.mean) for bucket in series.buckets()]


def test_what_an_algorithm_does_not_have_has_no_curve():
    state = fold(fold(RunState(), STARTED), UPDATE)
    curves = state.curves
    assert points(curves.kl) == [(300, 0.0)]
    empty = (curves.max_kl, curves.surrogate_gain, curves.expected_gain, curves.refused)
    assert [series.count for series in empty] == [0, 0, 0, 0]
    assert state.refused_total == 0


def test_what_is_not_finite_is_counted_and_not_drawn():
    curves = fold_all(scripted_run.unhealthy(10)).curves
    assert (curves.value_loss.count, curves.value_loss.skipped) == (8, 2)
    assert (curves.entropy.count, curves.entropy.skipped) == (8, 2)
    assert curves.returns.columns(80) == curves.episodes.dots(80) == []


def test_returns_that_are_not_finite_break_no_curve():
    bad = EpisodesFinished(steps=10, returns=(1.0, math.nan), lengths=(1, 1))
    curves = fold(RunState(), bad).curves
    assert (curves.episodes.count, curves.episodes.skipped) == (1, 1)
    assert curves.returns.count == 0


def test_refusals_are_counted_in_a_row_and_in_all():
    states = [RunState()]
    for event in training(12, refused={3, 4, 8, 9, 10, 12}, evaluate_every=0):
        if isinstance(event, UpdateFinished):
            states.append(fold(states[-1], event))
    assert [s.refused_in_a_row for s in states] == [0, 0, 0, 1, 2, 0, 0, 0, 1, 2, 3, 0, 1]
    assert states[-1].refused_total == 6


def test_a_change_by_hand_is_marked_where_it_was_made():
    state = fold_all(training(5, edits={2: {"max_kl": 0.02, "gamma": 0.9}, 4: {"max_kl": 0.03}}))
    assert list(state.marks) == [
        Mark(2 * STEPS_PER_UPDATE, "max_kl = 0.02, gamma = 0.9"),
        Mark(4 * STEPS_PER_UPDATE, "max_kl = 0.03"),
    ]
    assert [y for _, y in points(state.curves.max_kl)] == [0.01, 0.01, 0.02, 0.02, 0.03]


def test_a_changed_budget_changes_the_time_left():
    state = fold(fold(RunState(), STARTED), UPDATE)
    state = fold(state, HyperparametersChanged(update=3, values={"total_steps": 600}))
    assert state.total_steps == 600
    assert state.seconds_left == pytest.approx(300 / 150)
    state = fold(state, HyperparametersChanged(update=3, values={"gamma": 0.9}))
    assert state.total_steps == 600


def test_the_latest_value_of_what_was_changed_is_known():
    state = fold_all(training(5, edits={2: {"max_kl": 0.02, "gamma": 0.9}, 4: {"max_kl": 0.03}}))
    assert state.changed == {"max_kl": 0.03, "gamma": 0.9}


@pytest.mark.parametrize("field", ["mean", "std"])
def test_an_evaluation_that_is_not_finite_has_no_mark(field):
    state = fold(RunState(), EVALUATION)
    state = fold(state, dataclasses.replace(EVALUATION, steps=400, **{field: math.nan}))
    assert state.curves.evaluations(80) == [(300, 10.0, 1.0)]


def test_the_first_entropy_stays():
    state = fold_all(training(5))
    assert state.first_entropy == update_finished(1).entropy != state.update.entropy


def test_a_long_run_keeps_no_more_than_a_short_one():
    state = fold(RunState(), started())
    updates = [update_finished(k) for k in range(1, 98)]
    for k in range(2 * CAPACITY):
        steps = (k + 1) * STEPS_PER_UPDATE
        report = dataclasses.replace(updates[k % 97], update=k + 1, steps=steps)
        state = fold(state, report)
        state = fold(state, EpisodesFinished(steps=steps, returns=(1.0, 2.0), lengths=(1, 2)))
    for field in dataclasses.fields(Curves):
        assert len(getattr(state.curves, field.name)) <= CAPACITY
    assert len(state.log) == LOG_LINES
    assert state.log.total == 1 + 2 * CAPACITY
    assert len(state.recent_updates) == RECENT_UPDATES
    assert len(state.recent_returns) == RECENT_EPISODES


def test_a_fold_costs_microseconds():
    reports = [update_finished(k) for k in range(1, 501)]
    fastest = math.inf
    for _ in range(3):
        state = fold(RunState(), started())
        began = time.process_time()
        for report in reports:
            state = fold(state, report)
        fastest = min(fastest, (time.process_time() - began) / len(reports))
    assert fastest < 100e-6  # about 10 on an idle core


def test_the_log_is_in_the_order_of_the_events():
    lines = [line.text for line in fold_all(scripted_run.finished(training(2))).log]
    assert [line.split(":")[0].split(" ")[0] for line in lines] == [
        "training",
        "update",
        "update",
        "new",
        "checkpoint",
        "solved",
    ]


def test_metrics_leave_out_what_does_not_apply():
    row = metrics_row(UPDATE, None)
    assert "return_mean" not in row
    assert "max_kl" not in row
    assert "step_fraction" not in row
    assert "eval_return" not in row
    assert row["kl"] == 0.0


def test_metrics_hold_the_trust_region_step_and_the_evaluation():
    tries = tuple(
        LineSearchTry(fraction=0.8**k, kl=0.02, gain=-0.1, reject_reason=RejectReason.KL_TOO_LARGE)
        for k in range(3)
    )
    step = TrustRegionStep(
        max_kl=0.01,
        grad_norm=0.1,
        g_dot_x=1.0,
        x_h_x=1.0,
        step_scale=0.1,
        expected_gain=0.0,
        cg_residuals=(1.0, 0.5, 0.01),
        tries=tries,
        accepted=False,
        step_fraction=0.0,
        kl=0.0,
        surrogate_gain=0.0,
        reject_reason=RejectReason.KL_TOO_LARGE,
    )
    report = dataclasses.replace(UPDATE, reject_reason=step.reject_reason, trust_region=step)
    row = metrics_row(report, EVALUATION)
    assert row["backtracks"] == 2
    assert row["accepted"] is False
    assert row["reject_reason"] == "kl_too_large"
    assert row["cg_residual"] == 0.01
    assert (row["eval_return"], row["eval_std"]) == (10.0, 1.0)


def test_a_failure_says_why_and_where_its_traceback_is():
    state = fold_all(training(3))
    bad = failed(state, "the pole has snapped", Path("runs/a/crash.log"))
    assert bad.failure == "the pole has snapped"
    assert [line.text for line in bad.log[-2:]] == [
        "failed: the pole has snapped",
        "the traceback is in runs/a/crash.log",
    ]
    assert {line.tone for line in bad.log[-2:]} == {Tone.ERROR}
    assert (state.failure, bad.curves, bad.update) == (None, state.curves, state.update)
    assert fold(bad, started()).failure is None, "of another run"


def test_a_traceback_that_the_failure_names_is_not_named_again():
    message = "the run failed: ValueError: no; details are in runs/a/crash.log"
    log = failed(RunState(), message, Path("runs/a/crash.log")).log
    assert [line.text for line in log] == [f"failed: {message}"]
