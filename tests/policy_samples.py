"""Saved policies of random weights, for tests of what keeps them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from gymnasium import spaces

from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Layer, Policy, SavedPolicy, Score
from trpotui.rl.spaces import PolicySpec

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
) -> SavedPolicy:
    """A policy with weights from a fixed seed, for CartPole unless told otherwise."""
    spec = PolicySpec(
        environment_id=environment_id,
        environment_kwargs=environment_kwargs or {},
        observation_space=observation_space,
        action_space=action_space or spaces.Discrete(2),
        hidden_sizes=hidden_sizes,
        activation="tanh",
    )
    rng = np.random.default_rng(0)

    def layers(sizes: tuple[int, ...]) -> tuple[Layer, ...]:
        return tuple(
            (
                rng.standard_normal((outputs, inputs), dtype=np.float32),
                rng.standard_normal(outputs, dtype=np.float32),
            )
            for inputs, outputs in itertools.pairwise(sizes)
        )

    size = spec.observation_size
    policy = Policy(
        spec=spec,
        actor=layers(spec.actor_sizes),
        log_std=rng.standard_normal(spec.actor_sizes[-1], dtype=np.float32)
        if spec.distribution == "gaussian"
        else None,
        critic=layers(spec.critic_sizes),
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
