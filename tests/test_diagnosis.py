"""Every finding has a run that must bring it and one, like it, that must not."""

import math
import re
from dataclasses import replace

import pytest
import scripted_run
from diagnosis_cases import (
    CASES,
    FALLING,
    FLAT,
    ONE,
    PARTS,
    refusals,
    reports,
    residual,
    returns,
    run,
    scaled,
    still,
)
from scripted_run import refused_step, started, training

from trpotui.config import field_names
from trpotui.diagnosis import Finding, Kind, Severity, diagnose
from trpotui.diagnosis.finding import WINDOW
from trpotui.diagnosis.learning import SAME_UPDATES, STILL_UPDATES
from trpotui.events import HyperparametersChanged, RejectReason
from trpotui.rl.algorithms import ALGORITHMS, load_algorithm
from trpotui.rl.algorithms.trpo import TrpoHyperparameters
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config
from trpotui.telemetry import RunState, fold, fold_all


def find(state, kind) -> Finding | None:
    found = [finding for finding in diagnose(state) if finding.kind is kind]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("name", CASES)
def test_it_is_found_where_it_is(name):
    kind, severity, must, _ = CASES[name]
    finding = find(must(), kind)
    assert finding is not None
    assert finding.severity is severity


@pytest.mark.parametrize("name", CASES)
def test_it_is_not_found_where_it_is_not(name):
    kind, severity, _, must_not = CASES[name]
    finding = find(must_not(), kind)
    assert finding is None or finding.severity < severity


@pytest.mark.parametrize("name", CASES)
def test_the_advice_names_hyperparameters_that_exist(name):
    kind, _, must, _ = CASES[name]
    finding = find(must(), kind)
    names = field_names(TrpoHyperparameters)
    assert finding.settings
    assert set(finding.settings) <= set(names)
    assert all(re.search(rf"\b{setting}\b", finding.advice) for setting in finding.settings)
    written = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", finding.title + " " + finding.advice))
    assert written - {"gauss_newton"} <= set(names)
    assert {name for name in written if name in names} - {"max_kl"} <= set(finding.settings)


def test_every_kind_has_a_case():
    assert {kind for kind, *_ in CASES.values()} == set(Kind)


@pytest.mark.parametrize("reason", RejectReason)
def test_a_refusal_is_explained_by_its_reason(reason):
    finding = find(refusals(4, reason), Kind.REFUSED)
    if reason is RejectReason.NOT_FINITE:
        assert finding is None  # said once, by the finding about numbers that are not finite
        assert find(refusals(4, reason), Kind.NOT_FINITE) is not None
        return
    words = {
        RejectReason.KL_TOO_LARGE: "beyond max_kl",
        RejectReason.NO_GAIN: "gained",
        RejectReason.ZERO_GRADIENT: "gradient is zero",
        RejectReason.NOT_POSITIVE_CURVATURE: "curvature",
    }
    assert finding.title.startswith("4 steps refused in a row because")
    assert words[reason] in finding.title


def test_a_streak_becomes_serious_at_eight():
    severities = [find(refusals(count), Kind.REFUSED).severity for count in (7, 8)]
    assert severities == [Severity.WARNING, Severity.SERIOUS]


def test_a_long_streak_is_counted_beyond_the_updates_that_are_kept():
    finding = find(refusals(300), Kind.REFUSED)
    assert finding.title.startswith("300 steps refused in a row")


def test_small_kl_tells_full_steps_from_shortened_ones():
    kind, _, full, _ = CASES["short full steps"]
    assert find(full(), kind).settings == ("cg_damping",)
    _, _, far, _ = CASES["steps shortened too far"]
    assert find(far(), kind).settings == ("backtrack_factor", "cg_damping")
    _, _, gain, _ = CASES["steps shortened for their gain"]
    assert find(gain(), kind).settings == ("max_kl", "rollout_steps")


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (Kind.SMALL_KL, lambda n: run(reports(n, scaled(kl=0.1)))),
        (Kind.GAIN, lambda n: run(reports(n, scaled(gain=0.1)))),
        (Kind.RESIDUAL, lambda n: run(reports(n, residual(0.9)))),
        (Kind.CRITIC, lambda n: run(reports(n, explained_variance=-2.0))),
        (Kind.ENTROPY, lambda n: run(reports(n, entropy=lambda k: 0.69 if k == 1 else 0.001))),
    ],
)
def test_nothing_is_said_before_there_is_enough_to_go_by(kind, state):
    assert find(state(WINDOW - 1), kind) is None
    assert find(state(WINDOW), kind) is not None


def test_returns_need_longer():
    assert find(run(reports(STILL_UPDATES - 1, **returns(still))), Kind.RETURNS) is None
    assert find(run(reports(SAME_UPDATES - 1, **FLAT)), Kind.RETURNS) is None
    assert find(run(reports(4), device="cuda"), Kind.DEVICE) is None


def test_returns_that_never_came_are_not_said_to_stand_still():
    none = dict.fromkeys(("return_mean", "return_min", "return_max"))
    state = run(reports(STILL_UPDATES, **FALLING, **none), **ONE)
    assert diagnose(state) == ()


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, -1e9)])
def test_standing_still_does_not_depend_on_the_unit_of_the_return(scale, shift):
    flat = returns(lambda k: scale * still(k) + shift)
    rising = returns(lambda k: scale * (still(k) + 0.1 * k) + shift)
    assert find(run(reports(STILL_UPDATES, **flat)), Kind.RETURNS) is not None
    assert find(run(reports(STILL_UPDATES, **rising)), Kind.RETURNS) is None


def all_but_solved(mean):
    """A state with everything wrong that being solved excuses, its returns about `mean`."""
    poor = reports(
        STILL_UPDATES,
        scaled(kl=0.1),
        explained_variance=-1.0,
        entropy=lambda k: 0.69 if k == 1 else 0.001,
        **returns(lambda k: mean + still(k) / 50),
    )
    return run(poor, solved_at=475.0)


def test_a_run_that_was_solved_is_left_in_peace():
    state = all_but_solved(100.0)
    expected = {Kind.CRITIC, Kind.SMALL_KL, Kind.ENTROPY, Kind.RETURNS}
    assert {finding.kind for finding in diagnose(state)} == expected
    score = replace(scripted_run.evaluation_finished(STILL_UPDATES), mean=480.0, is_best=True)
    unconfirmed = fold(state, replace(score, solved=False))
    assert diagnose(unconfirmed) == ()
    assert diagnose(fold(unconfirmed, replace(score, mean=100.0, is_best=False))) == ()
    assert diagnose(all_but_solved(480.0)) == ()  # the episodes of training say so as well


def test_a_resumed_run_is_not_judged_by_its_own_first_entropy():
    """That is the one of a policy that had learned already."""
    low = reports(WINDOW, entropy=lambda k: 0.3 if k == 1 else 0.04)
    assert find(run(low), Kind.ENTROPY) is not None
    assert find(run(low, first_update=50), Kind.ENTROPY) is not None
    assert find(run(low, first_update=50, **PARTS), Kind.ENTROPY) is None
    lower = reports(WINDOW, entropy=0.04)
    assert find(run(lower), Kind.ENTROPY) is not None


def test_sigma_of_a_resumed_run_is_compared_with_what_it_went_on_from():
    falling = reports(80, **FALLING, **returns(still))
    assert "of what it was at first" in find(run(falling, **ONE), Kind.ENTROPY).title
    resumed = find(run(falling, first_update=50, **ONE), Kind.ENTROPY)
    assert "of what it was at the resumption" in resumed.title


def test_sigma_need_not_be_one_at_first():
    small = reports(80, entropy=lambda k: -3.7 - 0.1 * (k - 1), **returns(still))
    assert find(run(small, **ONE), Kind.ENTROPY) is not None


def test_a_change_by_hand_asks_for_new_evidence():
    kinds = {Kind.REFUSED, Kind.CRITIC}
    bad = reports(50, refused_step, explained_variance=-1.0)
    state = run(bad[:30])
    assert {finding.kind for finding in diagnose(state)} >= kinds
    state = fold(state, HyperparametersChanged(update=30, values={"cg_damping": 1.0}))
    assert diagnose(state) == ()
    for report in bad[30:33]:
        state = fold(state, report)
    (finding,) = diagnose(state)
    assert finding.title.startswith("3 steps refused in a row")


def test_the_worst_comes_first():
    def step(update):
        return refused_step(update) if update > 25 else residual(0.9)(update)

    state = run(reports(35, step, explained_variance=-1.0), device="cuda")
    severities = [finding.severity for finding in diagnose(state)]
    assert severities == sorted(severities, reverse=True)
    assert set(severities) == set(Severity)


def test_there_is_nothing_to_say_of_nothing():
    assert diagnose(RunState()) == ()
    assert diagnose(fold(RunState(), started())) == ()


def test_an_algorithm_without_a_trust_region_is_judged_by_the_rest():
    state = run(
        [replace(report, trust_region=None) for report in reports(30, explained_variance=-1.0)]
    )
    assert [finding.kind for finding in diagnose(state)] == [Kind.CRITIC]


FORMS = {
    "reinforce": {"learning_rate": 3e-4},
    "a2c": {"learning_rate": 3e-4},
    "ppo": {"learning_rate": 3e-4, "clip_range": 0.2},
    "ppo_penalty": {"learning_rate": 3e-4, "penalty": 1.0, "target_kl": 0.01},
    "trpo_penalty": {"penalty": 1.0},
    "npg": {"max_kl": 0.01},
    "trpo": {"max_kl": 0.01},
}
"""What the updates of an algorithm report of how far they may go."""


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_advice_names_what_the_algorithm_has(name, adaptive):
    form = {"max_kl": None, "trust_region": None} | FORMS[name]
    if name == "trpo_penalty" and adaptive:
        form["target_kl"] = 0.01
    reason = RejectReason.NO_GAIN if "trpo" in name else RejectReason.ZERO_GRADIENT
    flat = reports(40, explained_variance=-1.0, entropy=lambda k: 0.9**k, **FLAT)
    alike = [replace(report, reject_reason=reason, **form) for report in flat]
    shrunk = [
        replace(report, **form) for report in reports(120, value_loss=math.nan, **returns(still))
    ]
    collapsed = [replace(report, **form) for report in reports(40, **FALLING, **returns(still))]
    kinds = set()
    for state in (run(alike), run(shrunk), run(collapsed, **ONE)):
        for finding in diagnose(state):
            kinds.add(finding.kind)
            names = field_names(load_algorithm(name).hyperparameter_type)
            assert set(finding.settings) <= set(names)
            assert all(re.search(rf"\b{one}\b", finding.advice) for one in finding.settings)
            mentioned = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", finding.advice))
            assert mentioned - {"gauss_newton"} <= set(names)
    assert kinds >= {Kind.REFUSED, Kind.ENTROPY, Kind.RETURNS, Kind.NOT_FINITE}


def test_a_healthy_scripted_run_has_no_findings():
    state = RunState()
    for event in training(97):
        state = fold(state, event)
        assert diagnose(state) == ()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3, 7])
def test_a_healthy_run_of_cartpole_has_no_findings(seed):
    state = assert_nothing_found(RunRequest(preset="default", seed=seed))
    assert state.best.solved


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_long_healthy_runs_have_no_findings(seed):
    assert_nothing_found(RunRequest(seed=seed, stop_when_solved=False))
    assert_nothing_found(
        RunRequest(environment_id="Pendulum-v1", preset="default", seed=seed, total_steps=100_000)
    )


def assert_nothing_found(request):
    state = RunState()
    for event in train(make_config(request)):
        state = fold(state, event)
        assert diagnose(state) == ()
    return state


def test_diagnosing_leaves_the_state_as_it_was():
    events = list(training(40, refused=range(30, 41)))
    state = fold_all(events)
    assert diagnose(state) == diagnose(state) != ()
    assert state == fold_all(events)
