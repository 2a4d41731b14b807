"""A policy as plain arrays in a `.npz` file, which numpy alone can run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.errors import RequestError
from trpotui.export.checking import Run
from trpotui.export.forward import about, deviations
from trpotui.rl.policy import SavedPolicy

Array = NDArray[Any]


def check_plain(saved: SavedPolicy) -> None:
    """Refuse a policy whose step takes more than the arrays and twenty lines.

    Raises:
        RequestError: there is more to its network than affine layers.
    """
    network = saved.policy.spec.network
    if network != "mlp":
        raise RequestError(
            f"--numpy is for networks of affine layers alone: export this policy, whose network is "
            f"{network}, with --onnx or --torchscript"
        )


def npz_bytes(saved: SavedPolicy) -> bytes:
    """The content of an `.npz` file of a policy: whatever `act` needs, and what it is about."""
    policy, spec, decoder = saved.policy, saved.policy.spec, saved.policy.decoder
    size = spec.observation_size
    arrays: dict[str, Any] = {
        "about": about(saved),
        "mean": np.zeros(size) if policy.moments is None else policy.moments.mean,
        "deviation": np.ones(size) if policy.moments is None else deviations(policy.moments),
        "clip": np.inf if policy.moments is None else policy.moments.clip,
        "layers": len(spec.hidden_sizes) + 1,
        "activation": spec.activation,
        "distribution": spec.distribution,
        "action_dtype": str(spec.action_space.dtype),
        "action_shape": np.array(spec.action_space.shape or (), np.int64),
        **policy.actor,
    }
    unbounded = (np.full(spec.output_size, -np.inf), np.full(spec.output_size, np.inf))
    bounds = unbounded if spec.output_bounds is None else spec.output_bounds
    arrays |= {"lowest_output": np.float32(bounds[0]), "highest_output": np.float32(bounds[1])}
    if spec.distribution == "gaussian":
        arrays |= {name: getattr(decoder, name) for name in ("scale", "offset", "low", "high")}
    else:
        arrays |= {"choices": np.array(decoder.choices), "start": np.array(decoder.start)}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def act(policy: Mapping[str, Array], rows: Array) -> tuple[Array, Array]:
    """Greedy actions of the environment for observation rows [N, D], and the logits or means."""
    x = (rows - policy["mean"]) / policy["deviation"]
    x = np.clip(x, -policy["clip"], policy["clip"]).astype(np.float32)
    for i in range(policy["layers"]):
        if i > 0:
            x = np.tanh(x) if policy["activation"] == "tanh" else np.maximum(x, 0)
        x = x @ policy[f"{i}.weight"].T + policy[f"{i}.bias"]
    x = np.clip(x, policy["lowest_output"], policy["highest_output"])
    if policy["distribution"] == "gaussian":
        actions = x[:, : len(policy["scale"])] * policy["scale"] + policy["offset"]
        actions = np.clip(actions, policy["low"], policy["high"])
    elif policy["distribution"] == "bernoulli":
        actions = (x > 0).astype(np.float64)
    else:
        parts = np.split(x, np.cumsum(policy["choices"])[:-1], axis=1)
        actions = np.stack([part.argmax(axis=1) for part in parts], axis=1) + policy["start"]
    return actions.astype(str(policy["action_dtype"])).reshape(-1, *policy["action_shape"]), x


def npz_runner(data: bytes) -> Run:
    """What an `.npz` file computes."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        policy = dict(file)
    return lambda rows, state: list(act(policy, rows))  # noqa: ARG005 - no memory
