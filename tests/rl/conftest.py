"""What the tests of the learning core share."""

from __future__ import annotations

import itertools

import gymnasium
import pytest
import torch

from trpotui.config import RunConfig
from trpotui.rl.algorithms import load_algorithm


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Small matrices are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def float64():
    """Build networks in float64, where a product and autograd agree to 1e-12."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def register():
    """Register environment classes for one test: `register(Class, **spec)` returns the id."""
    numbers = itertools.count()
    ids: list[str] = []

    def registered(entry_point, **spec) -> str:
        environment_id = f"CoreTest{next(numbers)}-v0"
        gymnasium.register(environment_id, entry_point=entry_point, **spec)
        ids.append(environment_id)
        return environment_id

    yield registered
    for environment_id in ids:
        gymnasium.registry.pop(environment_id)


@pytest.fixture
def make_config():
    """A small run, of TRPO unless told otherwise: `make_config(id, hyper={...}, **run_fields)`."""

    def made(
        environment_id: str, *, algorithm: str = "trpo", hyper: dict | None = None, **run
    ) -> RunConfig:
        hyperparameters = {"rollout_steps": 16, "hidden_sizes": (8,)} | (hyper or {})
        values = {"n_envs": 2, "total_steps": 64, "eval_every": 0} | run
        return RunConfig(
            algorithm=algorithm,
            environment_id=environment_id,
            hyperparameters=load_algorithm(algorithm).hyperparameter_type(**hyperparameters),
            **values,
        )

    return made
