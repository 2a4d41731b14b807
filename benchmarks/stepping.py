"""How quickly environments are stepped with random actions, several forms of them in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.environments import BatchedEnvironment

WARM_UP = 0.1
"""Share of a measurement's time for which each form is stepped before the first one."""


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
