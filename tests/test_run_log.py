"""What happens in a run, in sentences."""

import dataclasses

import pytest
import scripted_run
from scripted_run import update_finished

from trpotui.events import (
    CheckpointSaved,
    EpisodesFinished,
    HyperparametersChanged,
    Notice,
    RejectReason,
    RunFinished,
    StopReason,
)
from trpotui.run_log import Tone, kl_text, log_line, return_text


def text(event):
    return log_line(event).text


def test_an_update_is_told_in_a_sentence():
    step = scripted_run.accepted_step(18)
    report = update_finished(18, step=dataclasses.replace(step, kl=0.0093), return_mean=271.3)
    assert text(report) == "update 18: KL 0.0093 of 0.0100, full step accepted, return 271"
    step = scripted_run.accepted_step(18, backtracks=2)
    report = update_finished(18, step=dataclasses.replace(step, kl=2e-5), return_mean=None)
    assert text(report) == "update 18: KL 2.0e-05 of 0.0100, 0.64 of the step at try 3"
    assert log_line(report).tone is Tone.PLAIN
    plain = update_finished(3, return_mean=None, max_kl=None, kl=0.0071)
    plain = dataclasses.replace(plain, trust_region=None)
    assert text(plain) == "update 3: KL 0.0071"


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (RejectReason.KL_TOO_LARGE, "step refused after 11 tries (KL too large)"),
        (RejectReason.NO_GAIN, "step refused after 11 tries (no gain)"),
        (RejectReason.NOT_FINITE, "step refused after 11 tries (not finite)"),
        (RejectReason.ZERO_GRADIENT, "no step tried (gradient is zero)"),
        (RejectReason.NOT_POSITIVE_CURVATURE, "no step tried (curvature not positive)"),
    ],
)
def test_a_refusal_is_told_with_its_reason(reason, told):
    report = update_finished(19, step=scripted_run.refused_step(19, reason=reason))
    assert log_line(report) == (f"update 19: {told}, parameters kept", Tone.WARNING)


def test_other_events_are_told_too():
    start = scripted_run.started(total_steps=1000)
    told = "training trpo on CartPole-v1: 1,000 steps, 16 environments, seed 0, cpu"
    assert text(start) == told
    limited = dataclasses.replace(start, total_episodes=1500)
    assert "CartPole-v1: 1,500 episodes (or 1,000 steps), 16" in text(limited)
    resumed = dataclasses.replace(start, first_update=7)
    assert text(resumed) == f"{told}, going on after update 7"
    score = dataclasses.replace(scripted_run.evaluation_finished(4), mean=10.0, std=1.0)
    assert log_line(score) == ("new best: 10.0 ± 1.0 over 20 episodes", Tone.GOOD)
    other = dataclasses.replace(score, is_best=False, solved=True)
    assert log_line(other) == ("evaluation: 10.0 ± 1.0 over 20 episodes, solved", Tone.PLAIN)
    assert log_line(Notice(message="no disk")) == ("no disk", Tone.WARNING)
    assert text(CheckpointSaved(update=4, steps=1)) == "checkpoint saved after update 4"
    changed = HyperparametersChanged(update=4, values={"max_kl": 0.02})
    assert text(changed) == "after update 4: max_kl = 0.02"
    assert log_line(EpisodesFinished(steps=1, returns=(), lengths=())) is None


@pytest.mark.parametrize("reason", StopReason)
def test_the_end_is_told_with_its_reason(reason):
    end = RunFinished(
        reason=reason,
        update=3,
        steps=3072,
        episodes=9,
        seconds=1.25,
        best_mean=480.0,
        best_std=2.0,
        best_episodes=100,
    )
    word = {"solved": "solved", "stopped": "stopped"}.get(reason, "finished")
    told = f"{word} after 3,072 steps and 1.2 s"
    assert text(end) == f"{told}, best 480.0 over 100 episodes"
    assert text(dataclasses.replace(end, best_mean=None)) == told


def test_numbers_have_as_many_digits_as_mean_something():
    assert [kl_text(kl) for kl in (0.0, 0.0123, 0.0005, 0.0004)] == [
        "0.0000",
        "0.0123",
        "0.0005",
        "4.0e-04",
    ]
    assert [return_text(value) for value in (1.26, -99.94, 271.3, -1234.5)] == [
        "1.3",
        "-99.9",
        "271",
        "-1,234",
    ]
