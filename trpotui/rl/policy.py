"""A frozen policy: what players show, evaluations score and files keep.

Legend: N environments, D observation features.

No torch is needed to act with the networks that are nothing but affine layers or recurrent cells.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trpotui.rl.acting import ActorArrays, ArrayNetwork, Arrays, Float32, Session
from trpotui.rl.architecture import PolicySpec
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.spaces import (
    ActionDecoder,
    ObservationEncoder,
    describe_space,
    space_from_description,
)

ACTION_STREAM = 1
"""Second word of the seed of action noise: gymnasium seeds environments with the first alone, and
the same stream in both would tie the actions to what the environment draws."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A frozen policy: its networks as arrays, its observation moments and what it was made for."""

    spec: PolicySpec
    actor: Arrays
    """By name, as `spec.actor_shapes` says."""
    critic: Arrays
    """By name, as `spec.critic_shapes` says."""
    moments: ObservationMoments | None

    def __post_init__(self) -> None:
        # derived once: acting must not build spaces at every step
        object.__setattr__(self, "_encoder", ObservationEncoder(self.spec.observation_space))
        object.__setattr__(self, "_decoder", ActionDecoder(self.spec.action_space))
        object.__setattr__(self, "_actor", ActorArrays(self.spec, self.actor))
        object.__setattr__(self, "_critic", ArrayNetwork(self.spec, self.critic))

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

    @property
    def actor_network(self) -> ActorArrays:
        """The actor's forward pass."""
        actor: ActorArrays = self.__dict__["_actor"]
        return actor

    @property
    def critic_network(self) -> ArrayNetwork:
        """The critic's forward pass."""
        critic: ArrayNetwork = self.__dict__["_critic"]
        return critic

    def network_inputs(self, observations: Any) -> Float32:
        """Encode and normalise a batch of the environment's observations into rows [N, D]."""
        rows = self.encoder.encode(observations)
        return rows if self.moments is None else self.moments.normalize(rows)

    def session(self, n_envs: int, rng: np.random.Generator | None = None) -> Session:
        """This policy in N environments; greedy unless `rng` is given."""
        return Session(self.actor_network, self.critic_network, n_envs=n_envs, rng=rng)

    def copy(self) -> Policy:
        """The same policy in memory of its own."""
        return Policy(
            spec=self.spec,
            actor={name: array.copy() for name, array in self.actor.items()},
            critic={name: array.copy() for name, array in self.critic.items()},
            moments=self.moments,  # immutable
        )

    def to_bytes(self) -> bytes:
        """Serialise for another process of this program, which reads it without torch."""
        header = {
            **{name: getattr(self.spec, name) for name in SPEC_FIELDS},
            "environment_kwargs": dict(self.spec.environment_kwargs),
            "observation_space": describe_space(self.spec.observation_space),
            "action_space": describe_space(self.spec.action_space),
            "clip": None if self.moments is None else self.moments.clip,
        }
        arrays: dict[str, NDArray[Any]] = {
            "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        }
        for network, named in (("actor", self.actor), ("critic", self.critic)):
            arrays |= {f"{network}.{name}": array for name, array in named.items()}
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
            clip = header.pop("clip")
            moments = None
            if clip is not None:
                moments = ObservationMoments(
                    mean=arrays["mean"],
                    variance=arrays["variance"],
                    count=float(arrays["count"]),
                    clip=clip,
                )
            header["hidden_sizes"] = tuple(header["hidden_sizes"])
            for name in ("observation_space", "action_space"):
                header[name] = space_from_description(header[name])
            spec = PolicySpec(**header)
            return cls(
                spec=spec,
                actor={name: arrays[f"actor.{name}"] for name in spec.actor_shapes},
                critic={name: arrays[f"critic.{name}"] for name in spec.critic_shapes},
                moments=moments,
            )


SPEC_FIELDS = tuple(field.name for field in dataclasses.fields(PolicySpec))


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
