"""Policies that have learnt nothing, but always the same nothing."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np

from trpotui.rl.policy import Layer, Policy
from trpotui.rl.spaces import PolicySpec

HIDDEN = 8
WEIGHT_SCALE = 0.5


def random_policy(environment_id: str, **kwargs: Any) -> Policy:
    """Random weights, from a fixed seed, for an environment made with the keyword arguments."""
    with gym.make(environment_id, **kwargs) as environment:
        spec = PolicySpec(
            environment_id=environment_id,
            environment_kwargs=kwargs,
            observation_space=environment.observation_space,
            action_space=environment.action_space,
            hidden_sizes=(HIDDEN,),
            activation="tanh",
        )
    rng = np.random.default_rng(0)

    def layers(sizes: tuple[int, ...]) -> tuple[Layer, ...]:
        return tuple(
            (
                rng.normal(0, WEIGHT_SCALE, (outputs, inputs)).astype(np.float32),
                rng.normal(0, WEIGHT_SCALE, outputs).astype(np.float32),
            )
            for inputs, outputs in itertools.pairwise(sizes)
        )

    gaussian = spec.distribution == "gaussian"
    return Policy(
        spec=spec,
        actor=layers(spec.actor_sizes),
        log_std=np.zeros(spec.actor_sizes[-1], dtype=np.float32) if gaussian else None,
        critic=layers(spec.critic_sizes),
        moments=None,
    )
