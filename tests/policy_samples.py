"""Saved policies of random weights, for tests of what keeps them."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.rl.architecture import PolicySpec, Shapes
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy, SavedPolicy, Score

CARTPOLE_BOUNDS = np.array([4.8, np.inf, 0.41887903, np.inf], dtype=np.float32)
CARTPOLE = spaces.Box(-CARTPOLE_BOUNDS, CARTPOLE_BOUNDS)


def saved_policy(
    *,
    observation_space: spaces.Space[Any] = CARTPOLE,
    action_space: spaces.Space[Any] | None = None,
    environment_id: str = "CartPole-v1",
    environment_kwargs: dict[str, Any] | None = None,
    hidden_sizes: tuple[int, ...] = (8, 8),
    normalized: bool = False,
    config: dict[str, Any] | None = None,
    **architecture: Any,
) -> SavedPolicy:
    """A policy with weights from a fixed seed, for CartPole unless told otherwise."""
    spec = PolicySpec(
        environment_id=environment_id,
        environment_kwargs=environment_kwargs or {},
        observation_space=observation_space,
        action_space=spaces.Discrete(2) if action_space is None else action_space,
        hidden_sizes=hidden_sizes,
        **({"activation": "tanh"} | architecture),
    )
    rng = np.random.default_rng(0)

    size = spec.observation_size
    policy = Policy(
        spec=spec,
        actor=random_arrays(spec.actor_shapes, rng),
        critic=random_arrays(spec.critic_shapes, rng),
        moments=ObservationMoments(
            mean=rng.standard_normal(size), variance=rng.random(size), count=1234.0, clip=10.0
        )
        if normalized
        else None,
    )
    return SavedPolicy(
        policy=policy,
        algorithm="trpo",
        config={"algorithm": "trpo", "gamma": 0.99} if config is None else config,
        seed=7,
        steps=20_480,
        updates=20,
        score=Score(episodes=20, mean=487.5, std=12.25),
        versions={"trpotui": "0.1.0", "torch": "2.13.0"},
        created="2026-11-20T08:15:00+00:00",
    )


def random_arrays(
    shapes: Shapes, rng: np.random.Generator, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """Arrays of a network, drawn from a normal distribution."""
    return {
        name: (scale * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
