"""Small policies for tests: what they are made of, networks with random weights, and acting."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from trpotui.rl.architecture import PolicySpec
from trpotui.rl.networks import Actor, Critic, numpy_arrays
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy

CPU = torch.device("cpu")


def box(size: int) -> spaces.Box:
    """A space of `size` numbers between -1 and 1."""
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


def make_spec(
    *,
    inputs: int = 4,
    actions: int = 3,
    gaussian: bool = False,
    hidden: tuple[int, ...] = (7,),
    **changes: Any,
) -> PolicySpec:
    """A policy of numbers to one of `actions` choices, or to a vector of so many numbers."""
    values: dict[str, Any] = {
        "environment_id": "Any-v0",
        "environment_kwargs": {},
        "observation_space": box(inputs),
        "action_space": box(actions) if gaussian else spaces.Discrete(actions),
        "hidden_sizes": hidden,
        "activation": "tanh",
    }
    return PolicySpec(**(values | changes))


def make_actor(
    spec: PolicySpec, *, seed: int = 1, log_std: float = 0.0, orthogonal: bool = True
) -> Actor:
    """An actor as a run begins with it."""
    return Actor(
        spec,
        initial_log_std=log_std,
        orthogonal=orthogonal,
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
    )


def make_critic(spec: PolicySpec, *, seed: int = 2, orthogonal: bool = True) -> Critic:
    """A critic as a run begins with it."""
    generator = torch.Generator().manual_seed(seed)
    return Critic(spec, orthogonal=orthogonal, generator=generator, device=CPU)


def randomised(network: Any, *, seed: int = 0, scale: float = 0.7) -> Any:
    """The same network with no zero biases and no tiny output layer."""
    generator = torch.Generator().manual_seed(seed)
    network.parameters.copy_(scale * torch.randn(len(network.parameters), generator=generator))
    return network


def policy_of(actor: Actor, critic: Critic, moments: ObservationMoments | None = None) -> Policy:
    """The policy that acts with the memory of the networks."""
    return Policy(
        spec=actor.spec,
        actor=numpy_arrays(actor.named),
        critic=numpy_arrays(critic.named),
        moments=moments,
    )


# acting in one step


def act(policy: Policy, observations: Any, rng: np.random.Generator | None = None) -> Any:
    """The environment's actions at the first step of as many episodes; greedy without `rng`."""
    return policy.decoder.decode(raw_actions(policy, policy.network_inputs(observations), rng))


def raw_actions(policy: Policy, inputs: Any, rng: np.random.Generator | None = None) -> Any:
    """Raw actions for rows [N, D] that begin an episode; greedy without `rng`."""
    return policy.session(len(inputs), rng).act(inputs, np.ones(len(inputs), dtype=np.bool_))


def parameters_of(policy: Policy, inputs: Any) -> Any:
    """Distribution parameters [N, K] for rows [N, D] that begin an episode."""
    starts = np.ones(len(inputs), dtype=np.bool_)
    return policy.session(len(inputs)).parameters(inputs, starts)


def values_of(policy: Policy, observations: Any) -> Any:
    """The critic's estimates [N] for observations that begin an episode."""
    inputs = policy.network_inputs(observations)
    return policy.session(len(inputs)).values(inputs, np.ones(len(inputs), dtype=np.bool_))
