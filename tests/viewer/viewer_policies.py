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


def random_policy(
    environment_id: str, *, spec: dict[str, Any] | None = None, **kwargs: Any
) -> Policy:
    """Random weights, from a fixed seed, for an environment made with the keyword arguments.

    `spec` holds more fields of the policy's.
    """
    with gym.make(environment_id, **kwargs) as environment:
        made = PolicySpec(
            environment_id=environment_id,
            environment_kwargs=kwargs,
            observation_space=environment.observation_space,
            action_space=environment.action_space,
            hidden_sizes=(HIDDEN,),
            activation="tanh",
            **(spec or {}),
        )
    rng = np.random.default_rng(0)

    actor = random_arrays(made.actor_shapes, rng, WEIGHT_SCALE)
    if "log_std" in actor:
        actor["log_std"][:] = 0.0
    critic = random_arrays(made.critic_shapes, rng, WEIGHT_SCALE)
    return Policy(spec=made, actor=actor, critic=critic, moments=None)
