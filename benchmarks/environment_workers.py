"""What worker processes bring where the steps of an environment are slow.

    python benchmarks/environment_workers.py

Steps per second of one process and of `--env-workers N`, in turn, in pairs: of stepping alone, with
random actions, and of whole trainings, whose first update is left out. The numbers that come out
are the same. Acrobot is one whose copies are not moved together, and stands for any environment
with steps of its length; MuJoCo's Hopper is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from contextlib import closing

import slow_acrobot
from rows import Row
from stepping import measure_all, speeds

from trpotui.events import UpdateFinished
from trpotui.rl.environments import make_environments
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

AIM = 1.7
ROLLOUT = 128
"""Steps of an update and environment."""


def environments() -> list[str]:
    hopper = ["Hopper-v5"] if importlib.util.find_spec("mujoco") else []
    return [slow_acrobot.ID, *hopper]


def stepping(environment_id: str, n_envs: int, o: argparse.Namespace) -> Row:
    """Both in this process, which neither has to wait for."""
    both = [
        make_environments(environment_id, {}, n_envs=n_envs, workers=workers)
        for workers in (0, o.workers)
    ]
    found = speeds(both, pairs=o.pairs, seconds=o.seconds)
    return _row(f"{environment_id}, {n_envs} envs, stepping", found, o.workers)


def training(environment_id: str, n_envs: int, o: argparse.Namespace) -> Row:
    found: list[list[float]] = [[], []]
    for _ in range(o.pairs):
        for workers, measured in zip((0, o.workers), found, strict=True):
            measured.append(_training_speed(environment_id, n_envs, workers, o.seconds))
    return _row(f"{environment_id}, {n_envs} envs, training", found, o.workers)


def _training_speed(environment_id: str, n_envs: int, workers: int, seconds: float) -> float:
    request = RunRequest(
        environment_id=environment_id,
        preset="default",
        n_envs=n_envs,
        total_steps=10**9,
        settings={
            "rollout_steps": ROLLOUT,
            "eval_every": 0,
            "env_workers": workers,
            "torch_threads": 1,
        },
    )
    began: tuple[float, int] | None = None
    with closing(train(make_config(request))) as events:
        for event in events:
            if not isinstance(event, UpdateFinished):
                continue
            now = time.perf_counter()
            if began is None:
                began = now, event.steps
            elif now - began[0] >= seconds:
                return (event.steps - began[1]) / (now - began[0])
    raise AssertionError("a run of a thousand million steps has ended")


def _row(what: str, found: list[list[float]], workers: int) -> Row:
    one, several = found
    return Row(
        what=what,
        unit="steps/s",
        ours=several,
        peers={"one process": one},
        aim=AIM if workers == 2 else None,
        notes=f"{workers} workers, {len(os.sched_getaffinity(0))} cores, "
        f"load {os.getloadavg()[0]:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    measure_all(parser, stepping, training, environments=environments(), n_envs=[16, 64], pairs=7)


if __name__ == "__main__":
    main()
