"""Policies that have learnt nothing, but always the same nothing."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from tests.policy_samples import random_arrays
from trpotui.rl.architecture import PolicySpec
from trpotui.rl.policy import Policy

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

    actor = random_arrays(spec.actor_shapes, rng, WEIGHT_SCALE)
    if "log_std" in actor:
        actor["log_std"][:] = 0.0
    critic = random_arrays(spec.critic_shapes, rng, WEIGHT_SCALE)
    return Policy(spec=spec, actor=actor, critic=critic, moments=None)
