"""What the tests of all algorithms share: an environment, random batches, and comparisons."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium
import network_samples
import numpy as np
import torch
from gymnasium import spaces
from network_samples import make_critic, make_spec

from trpotui.config import field_names
from trpotui.rl.algorithm import Algorithm, Batch
from trpotui.rl.algorithms import ALGORITHMS, load_algorithm
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.networks import Actor

NAMES = list(ALGORITHMS)
KINDS = ("categorical", "gaussian")


def declares(name: str, *hyperparameters: str) -> bool:
    """Whether an algorithm has one of these hyperparameters."""
    return not set(hyperparameters).isdisjoint(
        field_names(load_algorithm(name).hyperparameter_type)
    )


BY_PASSES = tuple(name for name in NAMES if declares(name, "epochs"))
"""Those that go over a batch several times, in minibatches."""
INPUTS, ACTIONS = 3, 2


def nothing() -> None:
    """An interrupt that never comes."""


class Push(gymnasium.Env):
    """A point pushed left or right by chance and by the actions; it costs to be far from 0."""

    observation_space = spaces.Box(-100, 100, (2,), np.float32)
    ACTIONS = {  # noqa: RUF012
        "discrete": spaces.Discrete(2),
        "continuous": spaces.Box(-1, 1, (2,), np.float32),
        "multi_discrete": spaces.MultiDiscrete([2, 3]),
    }

    def __init__(self, *, kind: str = "discrete") -> None:
        self.action_space = self.ACTIONS[kind]

    def _observation(self):
        return np.array([self._place, self._t], np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t, self._place = 0, float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        push = float(np.asarray(action).reshape(-1)[0])
        self._place += push - 0.4 + 0.1 * float(self.np_random.normal())
        return self._observation(), -abs(self._place), self._place > 2.5, self._t >= 7, {}


def make_learner(config: Any) -> Learner:
    """A learner of its own environments."""
    environments = make_environments(
        config.environment_id, config.environment_kwargs, n_envs=config.n_envs
    )
    return Learner(config, environments, torch.device("cpu"))


def make_actor(kind: str, *, seed: int = 0) -> Actor:
    """Of a policy that prefers some actions already."""
    gaussian = kind == "gaussian"
    spec = make_spec(inputs=INPUTS, hidden=(5,), actions=ACTIONS, gaussian=gaussian)
    actor = network_samples.make_actor(spec, seed=seed, log_std=-0.3)
    generator = torch.Generator().manual_seed(seed)
    actor.parameters.add_(0.5 * torch.randn(len(actor.parameters), generator=generator))
    return actor


def make_algorithm(name: str, actor: Actor, *, seed: int = 5, **hyper: Any) -> Algorithm:
    """Of an actor and a new critic, with a generator of its own."""
    algorithm = load_algorithm(name)
    return algorithm(
        actor,
        make_critic(actor.spec),
        algorithm.hyperparameter_type(**hyper),
        torch.Generator().manual_seed(seed),
    )


def make_batch(actor: Actor, count: int, *, seed: int = 1, **changes: Any) -> Batch:
    """What an actor might have collected, with advantages and targets drawn by chance."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, INPUTS, generator=generator)
    batch = Batch(
        inputs=inputs,
        actions=actor.distribution.sample(actor(inputs), generator),
        advantages=torch.randn(count, generator=generator),
        targets=torch.randn(count, generator=generator),
        values=torch.zeros(count),
    )
    return dataclasses.replace(batch, **changes)


def critic_of(algorithm: Any) -> torch.Tensor:
    """The critic's parameters."""
    return algorithm._critic_fit._critic.parameters


def same(one: Any, other: Any) -> bool:
    """Whether two nested states are bitwise equal."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def timeless(events: list[Any]) -> list[Any]:
    """Events without the two values that depend on the clock."""
    return [
        dataclasses.replace(
            event,
            **{
                name: 0.0
                for name in ("seconds", "steps_per_second")
                if name in {field.name for field in dataclasses.fields(event)}
            },
        )
        for event in events
    ]
