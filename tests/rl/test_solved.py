"""When an environment counts as solved: not before the evidence is more than luck."""

import pytest

from trpotui.events import EvaluationFinished, StopReason
from trpotui.rl import evaluation
from trpotui.rl.evaluation import CONFIRMATION_SEED, EVALUATION_SEED, Evaluation
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config


def run_with(monkeypatch, few, many, **asked):
    """The end of a short CartPole run whose evaluations score `few`, and `many` to confirm."""

    def scripted(_policy, _environments, *, episodes, seed, **_):
        returns = {EVALUATION_SEED: few, CONFIRMATION_SEED: many}[seed]
        assert episodes == (20 if seed == EVALUATION_SEED else 100)
        returns = (returns * 100)[:episodes]
        return Evaluation(tuple(returns), (1,) * episodes)

    monkeypatch.setattr(evaluation, "evaluate", scripted)
    config = make_config(
        RunRequest(
            total_steps=256,
            n_envs=4,
            settings={"rollout_steps": "16", "eval_every": "1"},
            **asked,
        )
    )
    assert config.environment_id == "CartPole-v1"
    events = list(train(config))
    return events[-1], [event for event in events if isinstance(event, EvaluationFinished)]


def test_a_clear_pass_ends_the_run(monkeypatch):
    finished, evaluations = run_with(monkeypatch, [500.0], [500.0, 490.0])
    assert finished.reason is StopReason.SOLVED
    assert finished.update == 1
    assert evaluations[0].solved
    assert evaluations[0].episodes == 100
    assert evaluations[0].mean == 495.0


@pytest.mark.parametrize(
    ("few", "many"),
    [
        ([474.0], [500.0]),  # nothing to confirm
        ([500.0], [474.0]),  # not confirmed
        ([500.0], [500.0, 456.0]),  # a mean of 478, but 3.3 of standard error 2.2
    ],
)
def test_a_pass_that_may_be_luck_does_not(monkeypatch, few, many):
    finished, evaluations = run_with(monkeypatch, few, many)
    assert finished.reason is StopReason.STEPS_REACHED
    assert len(evaluations) == 4
    assert not any(one.solved for one in evaluations)


def test_a_solved_run_goes_on_if_asked_to(monkeypatch):
    finished, evaluations = run_with(monkeypatch, [500.0], [500.0], stop_when_solved=False)
    assert finished.reason is StopReason.STEPS_REACHED
    assert all(one.solved for one in evaluations)
    assert [one.is_best for one in evaluations] == [True, False, False, False]
