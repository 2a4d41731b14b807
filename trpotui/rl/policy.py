"""A policy that acts in numpy: what the rollout steps on a CPU and what players show.

Legend: N environments, D observation features, A action dimensions, K distribution parameters.

For small networks the cost of a torch call is larger than the arithmetic, so the actor's layers
are numpy views of the torch parameters (`tensor.numpy()` shares memory) while a run learns, and
plain arrays when a policy comes from a file. No torch is needed to act.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.spaces import (
    ActionDecoder,
    ObservationEncoder,
    PolicySpec,
    describe_space,
    space_from_description,
)

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
"""log sigma is clamped to this range alike when sampling and when evaluating a density."""

ACTION_STREAM = 1
"""Second word of the seed of action noise: gymnasium seeds environments with the first alone, and
the same stream in both would tie the actions to what the environment draws."""

Float32 = NDArray[np.float32]
Layer = tuple[Float32, Float32]
"""Weight [out, in] and bias [out] of an affine layer."""


def mlp_forward(layers: Sequence[Layer], inputs: Float32, activation: str) -> Float32:
    """Outputs [N, out] of a multi-layer perceptron for inputs [N, in]; the last layer is affine."""
    hidden = inputs
    for weight, bias in layers[:-1]:
        hidden = hidden @ weight.T
        hidden += bias
        if activation == "tanh":
            np.tanh(hidden, out=hidden)
        else:
            np.maximum(hidden, 0.0, out=hidden)
    weight, bias = layers[-1]
    outputs: Float32 = hidden @ weight.T
    outputs += bias
    return outputs


def sample_categorical(logits: Float32, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one index per row of logits [N, K] by inverting the cumulative distribution."""
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
    thresholds = rng.random(len(logits)) * cumulative[:, -1]
    # the last column is left out: rounding must not produce an index past the end
    indices: NDArray[np.int64] = (cumulative[:, :-1] <= thresholds[:, None]).sum(axis=1)
    return indices


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A frozen policy: its networks as arrays, its observation moments and what it was made for."""

    spec: PolicySpec
    actor: tuple[Layer, ...]
    log_std: Float32 | None
    """State-independent log sigma [A] of a Gaussian policy; None for a categorical one."""
    critic: tuple[Layer, ...]
    moments: ObservationMoments | None

    def __post_init__(self) -> None:
        # derived once: acting must not build spaces at every step
        object.__setattr__(self, "_encoder", ObservationEncoder(self.spec.observation_space))
        object.__setattr__(self, "_decoder", ActionDecoder(self.spec.action_space))

    @property
    def encoder(self) -> ObservationEncoder:
        """How this policy's observations become rows."""
        encoder: ObservationEncoder = self.__dict__["_encoder"]
        return encoder

    @property
    def decoder(self) -> ActionDecoder:
        """How this policy's raw actions become the environment's."""
        decoder: ActionDecoder = self.__dict__["_decoder"]
        return decoder

    def network_inputs(self, observations: NDArray[Any]) -> Float32:
        """Encode and normalise a batch of the environment's observations into rows [N, D]."""
        rows = self.encoder.encode(observations)
        return rows if self.moments is None else self.moments.normalize(rows)

    def action_parameters(self, inputs: Float32) -> Float32:
        """Logits [N, A], or Gaussian means and log sigmas side by side [N, 2A], of rows [N, D]."""
        outputs = mlp_forward(self.actor, inputs, self.spec.activation)
        if self.log_std is None:
            return outputs
        log_std = np.clip(self.log_std, LOG_STD_MIN, LOG_STD_MAX)
        return np.concatenate([outputs, np.broadcast_to(log_std, outputs.shape)], axis=1)

    def raw_actions(self, inputs: Float32, rng: np.random.Generator | None) -> NDArray[Any]:
        """Raw actions [N] or [N, A] of rows [N, D]: the mode, or a sample when `rng` is given."""
        outputs = mlp_forward(self.actor, inputs, self.spec.activation)
        if self.log_std is None:
            return outputs.argmax(axis=1) if rng is None else sample_categorical(outputs, rng)
        if rng is None:
            return outputs
        std = np.exp(np.clip(self.log_std, LOG_STD_MIN, LOG_STD_MAX))
        return outputs + std * rng.standard_normal(outputs.shape, dtype=np.float32)

    def act(self, observations: NDArray[Any], rng: np.random.Generator | None) -> NDArray[Any]:
        """Environment actions [N, ...] for its observations [N, ...]; greedy without `rng`."""
        return self.decoder.decode(self.raw_actions(self.network_inputs(observations), rng))

    def values(self, observations: NDArray[Any]) -> Float32:
        """The critic's estimates [N] of the discounted (scaled) return."""
        inputs = self.network_inputs(observations)
        return mlp_forward(self.critic, inputs, self.spec.activation)[:, 0]

    def copy(self) -> Policy:
        """The same policy in memory of its own."""

        def copied(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return tuple((weight.copy(), bias.copy()) for weight, bias in layers)

        return Policy(
            spec=self.spec,
            actor=copied(self.actor),
            log_std=None if self.log_std is None else self.log_std.copy(),
            critic=copied(self.critic),
            moments=self.moments,  # immutable
        )

    def to_bytes(self) -> bytes:
        """Serialise for another process of this program, which reads it without torch."""
        header = {
            "environment_id": self.spec.environment_id,
            "environment_kwargs": dict(self.spec.environment_kwargs),
            "observation_space": describe_space(self.spec.observation_space),
            "action_space": describe_space(self.spec.action_space),
            "hidden_sizes": list(self.spec.hidden_sizes),
            "activation": self.spec.activation,
            "layers": len(self.actor),
            "clip": None if self.moments is None else self.moments.clip,
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        }
        for name, layers in (("actor", self.actor), ("critic", self.critic)):
            for index, (weight, bias) in enumerate(layers):
                arrays[f"{name}.{index}.weight"] = weight
                arrays[f"{name}.{index}.bias"] = bias
        if self.log_std is not None:
            arrays["log_std"] = self.log_std
        if self.moments is not None:
            arrays["mean"] = self.moments.mean
            arrays["variance"] = self.moments.variance
            arrays["count"] = np.array(self.moments.count)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Policy:
        """The inverse of `to_bytes`, for data from this program only (it is not checked)."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            header = json.loads(arrays["header"].tobytes())
            moments = None
            if header["clip"] is not None:
                moments = ObservationMoments(
                    mean=arrays["mean"],
                    variance=arrays["variance"],
                    count=float(arrays["count"]),
                    clip=header["clip"],
                )

            def layers(name: str) -> tuple[Layer, ...]:
                return tuple(
                    (arrays[f"{name}.{index}.weight"], arrays[f"{name}.{index}.bias"])
                    for index in range(header["layers"])
                )

            spec = PolicySpec(
                environment_id=header["environment_id"],
                environment_kwargs=header["environment_kwargs"],
                observation_space=space_from_description(header["observation_space"]),
                action_space=space_from_description(header["action_space"]),
                hidden_sizes=tuple(header["hidden_sizes"]),
                activation=header["activation"],
            )
            return cls(
                spec=spec,
                actor=layers("actor"),
                log_std=arrays.get("log_std"),
                critic=layers("critic"),
                moments=moments,
            )


@dataclass(frozen=True, kw_only=True)
class Score:
    """Returns of evaluation episodes in one line."""

    episodes: int
    mean: float
    std: float
    """Population standard deviation."""

    @property
    def standard_error(self) -> float:
        """Of the mean."""
        return self.std / math.sqrt(self.episodes)


@dataclass(frozen=True, kw_only=True)
class SavedPolicy:
    """A policy together with where it came from: the content of a policy file."""

    policy: Policy
    algorithm: str
    config: Mapping[str, Any]
    """The run's configuration as plain data (`trpotui.config.RunConfig` as a dictionary)."""
    seed: int
    steps: int
    """Environment steps that the policy was trained for."""
    updates: int
    score: Score | None
    """Its last evaluation before it was saved; None when there was none."""
    versions: Mapping[str, str]
    """Versions of trpotui, python, torch, numpy and gymnasium that made it."""
    created: str
    """UTC time of saving, ISO 8601."""
