"""A policy's greedy forward pass, written down once for every form that it is exported to.

Legend: N environments, D observation features, S state features, K distribution parameters, A
action dimensions.
"""

from __future__ import annotations

import json
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

import trpotui
from trpotui.errors import RequestError
from trpotui.export.operations import Operations
from trpotui.export.stages import image_features, recurrent_cell
from trpotui.rl.acting import SDE_VARIANCE_FLOOR
from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN
from trpotui.rl.normalization import LEAST_DEVIATION, ObservationMoments
from trpotui.rl.policy import Policy, SavedPolicy
from trpotui.rl.spaces import describe_space

V = TypeVar("V")

OBSERVATIONS, STATE = "observations", "state"
ACTIONS, PARAMETERS, NEXT_STATE = "actions", "parameters", "next_state"
SUPPORTED = ("mlp", "cnn", "gru", "lstm")


class Outputs(NamedTuple, Generic[V]):
    """What comes out of a forward pass."""

    actions: V
    """Greedy actions [N, *shape] of the environment's own type."""
    parameters: V
    """Distribution parameters [N, K]: logits, or means and log sigmas side by side."""
    state: V | None
    """Memory [N, S] for the next step; None of a network without any."""


def check_supported(saved: SavedPolicy) -> None:
    """Refuse a policy that cannot be exported.

    Raises:
        RequestError: its network is of another kind.
    """
    network = saved.policy.spec.network
    if network not in SUPPORTED:
        raise RequestError(
            f"a policy with a {network} network cannot be exported yet: only "
            f"{', '.join(SUPPORTED)} ones can"
        )


def about(saved: SavedPolicy) -> str:
    """What an exported file says of itself, as JSON: where it comes from, and its interface."""
    spec = saved.policy.spec
    return json.dumps(
        {
            "exported_by": f"trpotui {trpotui.__version__}",
            "environment": spec.environment_id,
            "environment_arguments": dict(spec.environment_kwargs),
            "algorithm": saved.algorithm,
            "observation_space": describe_space(spec.observation_space),
            "action_space": describe_space(spec.action_space),
            "distribution": spec.distribution,
            "network": spec.network,
            "observation_features": spec.observation_size,
            "state_features": spec.state_size,
        }
    )


def greedy(
    ops: Operations[V], policy: Policy, observations: V, state: V | None = None
) -> Outputs[V]:
    """The greedy actions of a policy, normalisation of observations included.

    Args:
        ops: how to compute.
        policy: whose arrays become constants.
        observations: encoded rows [N, D], not normalised.
        state: memory [N, S] after the step before, zeros where an episode begins; None without any.
    """
    spec, arrays = policy.spec, policy.actor
    hidden = _normalized(ops, policy.moments, observations)
    if spec.has_memory:
        assert state is not None
        hidden, state = recurrent_cell(ops, policy, hidden, state)
    elif spec.network == "cnn":
        hidden = image_features(ops, policy, hidden)
    depth = len(spec.hidden_sizes)
    activation = {"tanh": "Tanh", "relu": "Relu"}[spec.activation]
    for index in range(depth + 1):
        latent = hidden
        weight, bias = (
            ops.constant(f"{index}.{part}", arrays[f"{index}.{part}"])
            for part in ("weight", "bias")
        )
        hidden = ops.affine(hidden, weight, bias)
        if index < depth:
            hidden = ops.apply(activation, hidden)
    outputs = hidden
    if spec.output_bounds is not None:
        lowest, highest = spec.output_bounds
        outputs = ops.combine("Max", outputs, ops.constant("lowest_output", lowest))
        outputs = ops.combine("Min", outputs, ops.constant("highest_output", highest))
    return Outputs(_actions(ops, policy, outputs), _parameters(ops, policy, latent, outputs), state)


def deviations(moments: ObservationMoments) -> NDArray[np.float64]:
    """What centred observations [N, D] are divided by [D]."""
    deviation = np.sqrt(moments.variance)
    return np.where(deviation < LEAST_DEVIATION, 1.0, deviation)


def _normalized(ops: Operations[V], moments: ObservationMoments | None, rows: V) -> V:
    """Rows as the network sees them; in float64, as the policy does it."""
    if moments is None:
        return rows
    rows = ops.cast(rows, np.dtype(np.float64))
    rows = ops.combine("Sub", rows, ops.constant("mean", moments.mean))
    rows = ops.combine("Div", rows, ops.constant("deviation", deviations(moments)))
    rows = ops.combine("Max", rows, ops.constant("lowest_input", np.array(-moments.clip)))
    rows = ops.combine("Min", rows, ops.constant("highest_input", np.array(moments.clip)))
    return ops.cast(rows, np.dtype(np.float32))


def _parameters(ops: Operations[V], policy: Policy, latent: V, outputs: V) -> V:
    """Distribution parameters [N, K] of the outputs of the last layer, and of what it saw."""
    spec = policy.spec
    if "log_std" not in policy.actor:
        return outputs
    log_std = np.clip(policy.actor["log_std"], LOG_STD_MIN, LOG_STD_MAX)
    if spec.exploration == "independent":
        return ops.join([outputs, ops.like(ops.constant("log_std", log_std), outputs)])
    weight = ops.constant("sde_variances", np.square(np.exp(log_std)).T)
    floor = ops.constant("sde_floor", np.full(spec.action_size, SDE_VARIANCE_FLOOR, np.float32))
    variance = ops.affine(ops.combine("Mul", latent, latent), weight, floor)
    half = ops.constant("half", np.array(0.5, np.float32))
    return ops.join([outputs, ops.combine("Mul", ops.apply("Log", variance), half)])


def _actions(ops: Operations[V], policy: Policy, outputs: V) -> V:
    """The environment's actions [N, *shape] for the outputs of the last layer."""
    decoder, space = policy.decoder, policy.spec.action_space
    match decoder.distribution:
        case "gaussian":
            actions = ops.cast(ops.columns(outputs, 0, decoder.size), np.dtype(np.float64))
            for operation, name in (
                ("Mul", "scale"), ("Add", "offset"), ("Max", "low"), ("Min", "high"),
            ):  # fmt: skip
                constant = ops.constant(f"action_{name}", getattr(decoder, name))
                actions = ops.combine(operation, actions, constant)
        case "bernoulli":
            actions = ops.positive(outputs)
        case _:
            ends = np.cumsum(decoder.choices).tolist()
            starts = [0, *ends[:-1]]
            parts = zip(starts, ends, strict=True)
            actions = ops.join([ops.argmax(ops.columns(outputs, *part)) for part in parts])
            first = np.broadcast_to(np.asarray(decoder.start, np.int64), len(ends))
            actions = ops.combine("Add", actions, ops.constant("first_choice", first.copy()))
    dtype = space.dtype
    assert dtype is not None
    return ops.shaped(ops.cast(actions, np.dtype(dtype)), space.shape or ())
