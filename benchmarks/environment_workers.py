"""What worker processes bring where the steps of an environment are slow.

    python benchmarks/environment_workers.py

Steps per second of one process and of `--env-workers N`, in turn, in pairs: of stepping alone, with
random actions, and of whole trainings, whose first update is left out. The numbers that come out
are the same. MuJoCo's Hopper is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import Row, finish

from trpotui.events import UpdateFinished
from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

AIM = 1.7
ROLLOUT = 128
"""Steps of an update and environment."""


def environments() -> list[str]:
    hopper = ["Hopper-v5"] if importlib.util.find_spec("mujoco") else []
    return ["Acrobot-v1", *hopper]


def actions_for(stepped: BatchedEnvironment, steps: int) -> NDArray[Any]:
    """Random actions [steps, N, ...]."""
    space = stepped.action_space
    space.seed(0)
    drawn = [[space.sample() for _ in range(stepped.n_envs)] for _ in range(steps)]
    return np.array(drawn, dtype=space.dtype)


def stepping(environment_id: str, n_envs: int, o: argparse.Namespace) -> Row:
    """Both in this process, which neither has to wait for."""
    both = [
        make_environments(environment_id, {}, n_envs=n_envs, workers=workers)
        for workers in (0, o.workers)
    ]
    actions = actions_for(both[0], 64)
    speeds: list[list[float]] = [[], []]
    try:
        for stepped in both:
            stepped.reset(seed=0)
            _speed(stepped, actions, o.seconds / 10)
        for _ in range(o.pairs):
            for stepped, found in zip(both, speeds, strict=True):
                found.append(_speed(stepped, actions, o.seconds))
    finally:
        for stepped in both:
            stepped.close()
    return _row(f"{environment_id}, {n_envs} envs, stepping", speeds, o.workers)


def _speed(stepped: BatchedEnvironment, actions: NDArray[Any], seconds: float) -> float:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for action in actions:
            stepped.step(action)
        steps += len(actions) * stepped.n_envs
        stepped.take_finished_episodes()
    return steps / (time.perf_counter() - began)


def training(environment_id: str, n_envs: int, o: argparse.Namespace) -> Row:
    speeds: list[list[float]] = [[], []]
    for _ in range(o.pairs):
        for workers, found in zip((0, o.workers), speeds, strict=True):
            found.append(_training_speed(environment_id, n_envs, workers, o.seconds))
    return _row(f"{environment_id}, {n_envs} envs, training", speeds, o.workers)


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


def _row(what: str, speeds: list[list[float]], workers: int) -> Row:
    one, several = speeds
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
    parser.add_argument("--pairs", type=int, default=7, help="of measurements for each figure")
    parser.add_argument("--n-envs", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--environments", nargs="+", default=environments())
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, at least")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    rows = [
        measure(environment_id, n_envs, o)
        for environment_id in o.environments
        for n_envs in o.n_envs
        for measure in (stepping, training)
    ]
    finish(rows, o.json)


if __name__ == "__main__":
    main()
