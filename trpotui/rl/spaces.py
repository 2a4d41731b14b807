"""How observations become network inputs, and network outputs become actions.

Legend: N environments, D observation features, A action dimensions.

Inside the program an observation is a float32 row [D], and an action is *raw*: an index counted
from 0 (Discrete), or a vector [A] of float32 as the Gaussian drew it (Box). The raw action is what
is stored and what has a density; `ActionDecoder.decode` makes of it what the environment accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.errors import RequestError

SUPPORTED = "observations may be Box or Discrete, actions Discrete or Box"

DistributionName = Literal["categorical", "gaussian"]


class ObservationEncoder:
    """Flattens Box observations and one-hot encodes Discrete ones into float32 rows [N, D].

    Raises:
        RequestError: the space is of another kind, or has no elements.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        if isinstance(space, spaces.Box) and np.prod(space.shape) > 0:
            self.size = int(np.prod(space.shape))
        elif isinstance(space, spaces.Discrete):
            self.size = int(space.n)
        else:
            raise RequestError(f"observation space {space} is not supported: {SUPPORTED}")

    def encode(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Encode a batch of observations [N, *space.shape] as float32 rows [N, D]."""
        count = len(observations)
        if isinstance(self.space, spaces.Discrete):
            rows = np.zeros((count, self.size), dtype=np.float32)
            rows[np.arange(count), np.asarray(observations) - self.space.start] = 1.0
            return rows
        return np.asarray(observations, dtype=np.float32).reshape(count, self.size)


class ActionDecoder:
    """Turns raw actions into the environment's own.

    Discrete(n, start): index + start. Box: where both bounds are finite a raw 0 is the middle and
    a raw -1 or +1 the bounds, so that a policy starts with the same exploration whatever the unit
    of the action; the result is clipped to the bounds.

    Raises:
        RequestError: the space is of another kind, or has no elements.
    """

    distribution: DistributionName

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        if isinstance(space, spaces.Discrete):
            self.distribution = "categorical"
            self.size = int(space.n)
        elif isinstance(space, spaces.Box) and np.prod(space.shape) > 0:
            if not np.issubdtype(space.dtype, np.floating):
                raise RequestError(f"action space {space} is not supported: {SUPPORTED} of floats")
            self.distribution = "gaussian"
            self.size = int(np.prod(space.shape))
            self._shape = space.shape
            self._low = space.low.reshape(-1).astype(np.float64)
            self._high = space.high.reshape(-1).astype(np.float64)
            bounded = np.isfinite(self._low) & np.isfinite(self._high)
            with np.errstate(invalid="ignore", over="ignore"):
                half_width = (self._high - self._low) / 2
                middle = self._low + half_width
            bounded &= np.isfinite(half_width) & (half_width > 0)
            self._scale = np.where(bounded, half_width, 1.0)
            self._offset = np.where(bounded, middle, 0.0)
        else:
            raise RequestError(f"action space {space} is not supported: {SUPPORTED}")

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape of one raw action: () for an index, (A,) for a vector."""
        return () if self.distribution == "categorical" else (self.size,)

    def decode(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Decode raw actions [N] or [N, A] into environment actions [N, *space.shape]."""
        if isinstance(self.space, spaces.Discrete):
            indices: NDArray[Any] = raw + self.space.start if self.space.start else raw
            return indices
        actions = np.clip(raw * self._scale + self._offset, self._low, self._high)
        decoded: NDArray[Any] = actions.astype(self.space.dtype).reshape(-1, *self._shape)
        return decoded  # [N, A] -> [N, *shape]


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What a policy is made for and of: enough to rebuild its networks from their weights."""

    environment_id: str
    environment_kwargs: Mapping[str, Any]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    hidden_sizes: tuple[int, ...]
    activation: Literal["tanh", "relu"]

    @property
    def observation_size(self) -> int:
        """D: features of an encoded observation."""
        return ObservationEncoder(self.observation_space).size

    @property
    def actor_sizes(self) -> tuple[int, ...]:
        """Layer widths of the actor, from D to the number of logits or action dimensions."""
        return (self.observation_size, *self.hidden_sizes, ActionDecoder(self.action_space).size)

    @property
    def critic_sizes(self) -> tuple[int, ...]:
        """Layer widths of the critic, from D to 1."""
        return (self.observation_size, *self.hidden_sizes, 1)

    @property
    def distribution(self) -> DistributionName:
        """The action distribution that the action space calls for."""
        return ActionDecoder(self.action_space).distribution


def describe_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A supported space as plain data; `space_from_description` is the inverse.

    Raises:
        RequestError: the space is not supported.
    """
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Box):
        return {
            "type": "Box",
            "shape": [int(side) for side in space.shape],
            "dtype": str(space.dtype),
            "low": space.low.reshape(-1).tolist(),
            "high": space.high.reshape(-1).tolist(),
        }
    raise RequestError(f"space {space} is not supported: {SUPPORTED}")


def space_from_description(description: Mapping[str, Any]) -> spaces.Space[Any]:
    """Rebuild a space from `describe_space`'s output, whose form the caller has checked."""
    if description["type"] == "Discrete":
        return spaces.Discrete(description["n"], start=description["start"])
    dtype = np.dtype(description["dtype"])
    shape = tuple(description["shape"])
    low = np.array(description["low"], dtype=dtype).reshape(shape)
    high = np.array(description["high"], dtype=dtype).reshape(shape)
    return spaces.Box(low, high, shape=shape, dtype=dtype.type)
