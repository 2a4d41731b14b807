"""The policy of nobody: what a player needs to know where a person plays alone."""

from __future__ import annotations

import numpy as np

from trpotui.rl.architecture import PolicySpec
from trpotui.rl.policy import Policy
from trpotui.single_environment import make_environment
from trpotui.viewing.contenders import Contender

YOU = "you"
"""The title of the person."""


def person_in(environment_id: str) -> Contender:
    """A person who plays an environment that there need not be a policy for.

    Raises:
        RequestError: the environment cannot be made, or has spaces that are not supported.
    """
    environment = make_environment(environment_id, {})
    try:
        spec = PolicySpec(
            environment_id=environment_id,
            environment_kwargs={},
            observation_space=environment.observation_space,
            action_space=environment.action_space,
            hidden_sizes=(1,),
            activation="tanh",
        )
    finally:
        environment.close()
    nothing = {
        name: {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
        for name, shapes in (("actor", spec.actor_shapes), ("critic", spec.critic_shapes))
    }
    policy = Policy(spec=spec, moments=None, **nothing)
    return Contender(policy=policy, title=YOU, by_hand=True)


def person_against(rival: Contender) -> Contender:
    """A person who plays what a policy plays."""
    return Contender(policy=rival.policy, title=YOU, by_hand=True)
