"""How quickly environments are stepped with random actions, several forms of them in turn."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import Row, finish

from trpotui.rl.environments import BatchedEnvironment

WARM_UP = 0.1
"""Share of a measurement's time for which each form is stepped before the first one."""
Measure = Callable[[str, int, argparse.Namespace], Row]
"""Of an environment, a number of copies, and the options."""


def measure_all(
    parser: argparse.ArgumentParser,
    *measures: Measure,
    environments: Sequence[str],
    n_envs: Sequence[int],
    pairs: int,
) -> None:
    """Read the command line, and print a row of every environment, number of copies and measure.

    Args:
        parser: with the script's own options.
        measures: for each row.
        environments: which are measured by default.
        n_envs: their copies by default.
        pairs: of measurements by default.
    """
    parser.add_argument("--pairs", type=int, default=pairs, help="of measurements for each figure")
    parser.add_argument("--n-envs", type=int, nargs="+", default=n_envs)
    parser.add_argument("--environments", nargs="+", default=environments)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each, at least")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    rows = [
        measure(environment_id, count, o)
        for environment_id in o.environments
        for count in o.n_envs
        for measure in measures
    ]
    finish(rows, o.json)


def speeds(forms: Sequence[BatchedEnvironment], *, pairs: int, seconds: float) -> list[list[float]]:
    """Steps per second of each form, measured in turn `pairs` times; they are closed afterwards."""
    actions = _actions_for(forms[0], 64)
    found: list[list[float]] = [[] for _ in forms]
    try:
        for form in forms:
            form.reset(seed=0)
            _speed(form, actions, seconds * WARM_UP)
        for _ in range(pairs):
            for form, measured in zip(forms, found, strict=True):
                measured.append(_speed(form, actions, seconds))
    finally:
        for form in forms:
            form.close()
    return found


def _actions_for(form: BatchedEnvironment, steps: int) -> NDArray[Any]:
    """Random actions [steps, N, ...]."""
    space = form.action_space
    space.seed(0)
    drawn = [[space.sample() for _ in range(form.n_envs)] for _ in range(steps)]
    return np.array(drawn, dtype=space.dtype)


def _speed(form: BatchedEnvironment, actions: NDArray[Any], seconds: float) -> float:
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for action in actions:
            form.step(action)
        steps += len(actions) * form.n_envs
        form.take_finished_episodes()
    return steps / (time.perf_counter() - began)
