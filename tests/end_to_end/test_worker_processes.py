"""Whole runs whose environments are stepped in other processes, and what ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Command
from trpotui.run_directory import RunDirectory

PATIENCE = 100.0
"""Seconds after which what should have happened counts as never happening."""
TRAIN = ["train", "--no-ui", "--quiet", "--env", "MountainCarContinuous-v0", "--run-dir", "run"]
SMALL = ["--n-envs", "3", "--set", "rollout_steps=20", "--set", "hidden_sizes=4"]
ENDLESS = ["--steps", "1000000000", "--set", "eval_every=0", "--set", "checkpoint_updates=5"]


def test_the_option_changes_nothing_but_who_steps(tmp_path):
    trpotui = Command(tmp_path)
    short = [*SMALL, "--steps", "600", "--set", "eval_every=0", "--no-stop-when-solved"]
    rows = []
    for folder, workers in (("one", "0"), ("two", "2")):
        result = trpotui(*TRAIN[:-1], folder, *short, "--env-workers", workers)
        assert (result.returncode, result.stderr) == (0, "")
        config = json.loads((tmp_path / folder / "config.json").read_text())
        assert config["env_workers"] == int(workers)
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        rows.append([json.loads(line) for line in lines])
    for row in [*rows[0], *rows[1]]:
        del row["seconds"], row["steps_per_second"]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 10
    longer = ("train", "--no-ui", "--quiet", "--resume", "two", "--steps", "900")
    assert trpotui(*longer, "--env-workers", "0").returncode == 0
    refused = trpotui("train", "--no-ui", "--repeat", "two", "--env-workers", "0")
    assert refused.returncode == 2
    assert refused.stderr.startswith("trpotui: --env-workers cannot be used with --repeat")


class Started:
    """A run in a process group of its own, with two worker processes, after some updates."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trpotui", *TRAIN, *SMALL, *ENDLESS, "--env-workers", "2"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while not (folder / "run" / "checkpoint.pt").exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        self.workers = [int(pid) for pid in found.stdout.split()]
        assert len(self.workers) == 2

    def finish(self) -> tuple[int, str]:
        """Exit code and errors, when nobody is left who could write there."""
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_all_of_them_stops_and_saves_the_run(tmp_path, number):
    started = Started(tmp_path)
    for pid in started.workers:
        os.kill(pid, number)
    os.killpg(started.process.pid, number)
    assert started.finish() == (128 + number, "")
    with RunDirectory.open(tmp_path / "run") as directory:
        state, notice = directory.load_checkpoint()
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert notice is None
    assert state["update"] == len(rows)


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_run_is_saved(tmp_path):
    started = Started(tmp_path)
    os.kill(started.workers[0], signal.SIGKILL)
    code, err = started.finish()
    assert code == 1
    assert "Traceback" not in err
    assert "MountainCarContinuous-v0: step " in err
    assert "of 2 was killed by SIGKILL" in err
    with RunDirectory.open(tmp_path / "run") as directory:
        state, _ = directory.load_checkpoint()
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert state["update"] == len(rows)


@pytest.mark.slow
def test_a_killed_run_leaves_no_process(tmp_path):
    started = Started(tmp_path)
    started.process.kill()
    assert started.finish() == (-signal.SIGKILL, "")
