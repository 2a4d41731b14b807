"""Runs that are cut in two and gone on with, and what has to be the same of them."""

from __future__ import annotations

import io
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from trpotui.config import RunConfig
from trpotui.events import Discontinuity, Event, UpdateFinished
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.control import Control
from trpotui.rl.trainer import train

TIMES = ("seconds", "steps_per_second")
ENDLESS = 10**9

SHORT: dict[str, dict[str, Any]] = {
    "trpo": {},
    "ppo": {"epochs": 2, "minibatches": 2},
    "ppo_penalty": {"epochs": 2, "minibatches": 2},
    "trpo_penalty": {"coefficient": "adaptive"},
}
"""Hyperparameters with which an algorithm is quick and uses all of its state."""


class Push(gymnasium.Env):
    """A point pushed by its actions and by chance, at every step; the episodes differ in length."""

    observation_space = spaces.Box(-100, 100, (2,), np.float32)

    def __init__(self, *, continuous: bool = False) -> None:
        self.action_space = (
            spaces.Box(-1, 1, (2,), np.float32) if continuous else spaces.Discrete(2)
        )

    def _observation(self):
        return np.array([self._place, self._t], np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002
        super().reset(seed=seed)
        self._t, self._place = 0, float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        push = float(np.asarray(action).reshape(-1)[0])
        self._place += push - 0.4 + 0.1 * float(self.np_random.normal())
        return self._observation(), -abs(self._place), self._place > 2.5, self._t >= 9, {}


class Form(VectorEnv):
    """A native vector form of walks, whose copies share one generator; it hides nothing."""

    single_observation_space = spaces.Box(-100, 100, (2,), np.float32)
    single_action_space = spaces.Discrete(2)

    def __init__(self, num_envs: int, mode: AutoresetMode, *, one_array: bool = False) -> None:
        self.num_envs = num_envs
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": mode}
        self._mode = mode
        self._place, self._t = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)
        self._gain = np.float32(0.5)
        self._hidden = [0.0]
        self._shown = np.zeros((num_envs, 2), np.float32) if one_array else None

    def _observation(self):
        observation = np.stack([self._place, self._t], axis=1).astype(np.float32)
        if self._shown is None:
            return observation
        self._shown[:] = observation  # which it does not copy for whoever looks at it
        return self._shown

    def _begin(self, which):
        self._place[which] = self.np_random.normal(size=int(which.sum()))
        self._t[which] = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        which = np.ones(self.num_envs, np.bool_) if options is None else options["reset_mask"]
        self._begin(which)
        self._ended[which] = False
        return self._observation(), {}

    def step(self, actions):
        again = (
            self._ended
            if self._mode is AutoresetMode.NEXT_STEP
            else np.zeros(self.num_envs, np.bool_)
        )
        noise = self.np_random.normal(size=self.num_envs)
        self._place = self._place + self._gain * actions - 0.3 + 0.1 * noise + self._hidden[0]
        self._t = self._t + 1
        if again.any():
            self._begin(again)
        terminated = (self._place > 1.5) & ~again
        truncated = (self._t >= 6) & ~again
        rewards = np.where(again, 0.0, -np.abs(self._place))
        self._ended = terminated | truncated
        info = {}
        if self._mode is AutoresetMode.SAME_STEP and self._ended.any():
            info["final_obs"] = list(self._observation())
            self._begin(self._ended)
        return self._observation(), rewards, terminated, truncated, info


def make_config(environment_id: str, algorithm: str = "trpo", **values: Any) -> RunConfig:
    """A small run that ends by being stopped; names of the run's fields or hyperparameters."""
    kind = load_algorithm(algorithm).hyperparameter_type
    fields = set(RunConfig.__dataclass_fields__)
    hyper = {"rollout_steps": 7, "hidden_sizes": (5,), **SHORT.get(algorithm, {})}
    hyper |= {name: value for name, value in values.items() if name not in fields}
    run = {"n_envs": 3, "eval_every": 0, "total_steps": ENDLESS, "stop_when_solved": False}
    run |= {name: value for name, value in values.items() if name in fields}
    return RunConfig(
        algorithm=algorithm, environment_id=environment_id, hyperparameters=kind(**hyper), **run
    )


class Shelf:
    """A store in memory, whose checkpoints have been through the bytes of a file."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []

    def append_metrics(self, row):
        self.rows.append({key: value for key, value in row.items() if key not in TIMES})

    def save_policy(self, saved, *, best):
        pass

    def save_checkpoint(self, state):
        buffer = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        self.checkpoints.append(torch.load(buffer, weights_only=True))

    @property
    def last(self) -> dict[str, Any]:
        """The newest checkpoint."""
        return self.checkpoints[-1]


def run(
    config: RunConfig,
    updates: int,
    *,
    resume_from: dict[str, Any] | None = None,
    edits: dict[int, dict[str, object]] | None = None,
) -> tuple[Shelf, list[Event]]:
    """A run that is stopped after so many updates in all: what it left behind, and its events.

    Args:
        config: of the run.
        updates: those of the run's beginning included.
        resume_from: a checkpoint's state.
        edits: what is changed by hand, by the updates done before it.
    """
    shelf, control, events = Shelf(), Stop(updates), []
    if resume_from is None:
        control.change((edits or {}).get(0, {}))
    for event in train(config, control, shelf, resume_from=resume_from):
        events.append(event)
        if isinstance(event, UpdateFinished):
            control.change((edits or {}).get(event.update, {}))
    return shelf, events


class Stop(Control):
    """Stops a run between two updates, evaluation and changes included."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._last = updates

    def take_changes(self, update):
        taken = super().take_changes(update)
        if update >= self._last:
            self.stop()
        return taken


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ, times aside; tensors must have the same bits."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [f"{path}.{key}" for key in one.keys() ^ other.keys()]
        for key in (key for key in one if key in other and key not in TIMES):
            found += differences(one[key], other[key], f"{path}.{key}")
        return found
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return [] if same and torch.equal(one, other) else [path]
    return [] if type(one) is type(other) and one == other else [path]


def is_the_whole(first: Shelf, second: Shelf, whole: Shelf) -> bool:
    """Whether two parts of a run are the run that was not cut."""
    return first.rows + second.rows == whole.rows and not differences(second.last, whole.last)


def inexact(events: list[Event]) -> list[str]:
    """Why a run was not continued exactly."""
    return [event.reason for event in events if isinstance(event, Discontinuity)]
