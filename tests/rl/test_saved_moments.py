"""Silent bug 10: the best policy acts in a new process as it did when it was evaluated."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trpotui.policy_file import read_policy, write_policy
from trpotui.rl.evaluation import Evaluation, Evaluator
from trpotui.rl.trainer import train

IN_A_NEW_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from trpotui.policy_file import read_policy

policy = read_policy(Path(sys.argv[1])).policy
observations = np.load(sys.argv[2])
starts = np.ones(len(observations), dtype=np.bool_)
session = policy.session(len(observations))
np.save(sys.argv[3], session.parameters(policy.network_inputs(observations), starts))
"""
SCORES = [1.0, 5.0, 2.0, 2.0, 2.0]
"""Of the evaluations; the second is the best, and moments go on changing after it."""


def parameters(policy, observations: np.ndarray) -> np.ndarray:
    """Distribution parameters for observations as the environment hands them out."""
    starts = np.ones(len(observations), dtype=np.bool_)
    session = policy.session(len(observations))
    return session.parameters(policy.network_inputs(observations), starts)


class Shelf:
    """A store that writes the best policy to a file and remembers the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):
        if best:
            write_policy(self._path, saved)
        else:
            self.last = saved.policy

    def save_checkpoint(self, state):
        pass


@pytest.mark.parametrize(
    "environment_id", ["CartPole-v1", pytest.param("Pendulum-v1", marks=pytest.mark.slow)]
)
def test_silent_bug_10_best_policy_in_a_new_process_is_the_one_that_was_evaluated(
    make_config, monkeypatch, tmp_path, environment_id
):
    config = make_config(
        environment_id,
        hyper={"normalize_observations": True, "rollout_steps": 64, "max_kl": 0.05},
        total_steps=2 * 64 * 9,
        eval_every=2,
        stop_when_solved=False,
    )
    size = {"CartPole-v1": 4, "Pendulum-v1": 3}[environment_id]
    observations = np.random.default_rng(0).normal(size=(50, size)).astype(np.float32)
    evaluated = []

    def scripted(_, policy, interrupt):  # noqa: ARG001
        evaluated.append(parameters(policy, observations).copy())
        return Evaluation((SCORES[len(evaluated) - 1],), (1,)), False

    monkeypatch.setattr(Evaluator, "__call__", scripted)
    best, given, found = tmp_path / "best.pt", tmp_path / "given.npy", tmp_path / "found.npy"
    shelf = Shelf(best)
    for _ in train(config, store=shelf):
        pass
    assert len(evaluated) == len(SCORES)

    np.save(given, observations)
    subprocess.run([sys.executable, "-c", IN_A_NEW_PROCESS, best, given, found], check=True)
    there = np.load(found)
    assert there.dtype == np.float32
    assert np.array_equal(there, evaluated[1])
    # with the moments of the end it would be another policy
    drifted = dataclasses.replace(read_policy(best).policy, moments=shelf.last.moments)
    assert not np.array_equal(parameters(drifted, observations), there)
