"""The runs that the tests of the app are shown agree with themselves, as real ones do."""

import itertools
import math

import pytest
import scripted_run
from scripted_run import training

from trpotui.events import EpisodesFinished, EvaluationFinished, UpdateFinished
from trpotui.telemetry import fold_all


def test_the_numbers_agree():
    events = list(scripted_run.finished(training(60, refused={20, 40})))
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    ended = 0
    for event in events:
        if isinstance(event, EpisodesFinished):
            ended += len(event.returns)
        if isinstance(event, UpdateFinished):
            assert event.episodes == ended
    for event in updates:
        step = event.trust_region
        assert step.accepted == (event.update not in {20, 40})
        assert step.kl <= step.max_kl
        assert (step.tries[-1].reject_reason is None) == step.accepted
        assert all(one.kl > step.max_kl for one in step.tries if one.reject_reason is not None)
        assert step.step_scale == pytest.approx(math.sqrt(2 * step.max_kl / step.x_h_x))
        gain = step.step_fraction * step.step_scale * step.g_dot_x
        assert step.expected_gain == pytest.approx(gain)
    assert len({len(event.trust_region.tries) for event in updates}) == 3
    evaluations = [event for event in events if isinstance(event, EvaluationFinished)]
    for before, event in itertools.pairwise(evaluations):
        best = max(e.mean for e in evaluations if e.steps <= before.steps)
        assert event.is_best == (event.mean > best)
    assert events == list(scripted_run.finished(training(60, refused={20, 40})))
    with pytest.raises(RuntimeError, match="broken"):
        fold_all(scripted_run.failing(training(3), RuntimeError("broken")))
