"""Runs that end in one process and go on in another."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.rl.resuming import TIMES, differences

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LAUNCHER = """
import sys, gymnasium
from tests.rl.resuming import Push
from trpotui.cli import run
gymnasium.register("Push-v0", entry_point=Push)
sys.exit(run(sys.argv[1:]))
"""
PATIENCE = 100.0
"""Seconds after which what should have happened counts as never happening."""
SHORT = [
    *("--n-envs", "3", "--no-stop-when-solved", "--steps", "6300"),
    *("--set", "rollout_steps=30", "--set", "hidden_sizes=8"),
    *("--set", "eval_every=4", "--set", "eval_episodes=1", "--set", "checkpoint_updates=5"),
]
"""70 updates, of which a fourth is evaluated."""
RUNS = {
    "CartPole": ["--env", "CartPole-v1", "--set", "normalize_observations=true"],
    "Pendulum": ["--env", "Pendulum-v1", "--algo", "ppo", "--set", "exploration=gsde",
                 "--set", "sde_interval=4", "--set", "normalize_rewards=true"],
    "Push": ["--env", "Push-v0", "--set", "network=gru", "--set", "memory_size=4"],
}  # fmt: skip
"""A native vector form, a vector of single environments, and one that draws in every step."""


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, "train", "--no-ui", "--quiet", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> int:
    _, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode


def rows(path: Path) -> list[dict]:
    """The metrics of a run, without what depends on the time, and without a torn line."""
    if not (path / "metrics.jsonl").exists():
        return []
    lines = (path / "metrics.jsonl").read_text().split("\n")[:-1]
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def wait_for_update(process: subprocess.Popen, path: Path, update: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(rows(path)) < update:
        assert process.poll() is None, "the run was over before it was stopped"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("name", RUNS)
def test_silent_bug_14_killed_and_stopped_runs_leave_the_same_as_one_that_was_not(tmp_path, name):
    whole, run = tmp_path / "whole", tmp_path / "run"
    other = start(tmp_path, *RUNS[name], *SHORT, "--run-dir", "whole")
    process = start(tmp_path, *RUNS[name], *SHORT, "--run-dir", "run")
    wait_for_update(process, run, 12)
    process.send_signal(signal.SIGKILL)
    finish(process)
    process = start(tmp_path, "--resume", "run")
    wait_for_update(process, run, 30)
    process.send_signal(signal.SIGINT)
    assert finish(process) == 130
    before = rows(run)
    assert 30 <= len(before) < 70
    assert finish(start(tmp_path, "--resume", "run")) == 0
    assert finish(other) == 0
    assert len(rows(whole)) == 70
    assert rows(run) == rows(whole)
    ours, theirs = (torch.load(it / "checkpoint.pt", weights_only=True) for it in (run, whole))
    assert differences(ours, theirs) == []
    assert "not_exact" not in json.loads((run / "config.json").read_text())
