"""What a policy is made for and of: enough to rebuild its networks from their named arrays.

Legend: D observation features, F features, A action dimensions, K distribution parameters, L width
of the last hidden layer, S state features.

A network is a feature stage (none, a convolutional network, or a recurrent cell), then affine
layers named `0.weight`, `0.bias`, `1.weight` ..., then what its distribution needs beside their
outputs (`log_std`). Names, shapes and order are the same in the flat vector that learns, in the
arrays that act and in a policy file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.rl.images import UNITS, image_layout
from trpotui.rl.recurrent import cell_shapes, state_size
from trpotui.rl.spaces import ActionDecoder, DistributionName, ObservationEncoder

LOG_STD_MIN, LOG_STD_MAX = -10.0, 2.0
"""log sigma is clamped to this range alike when sampling and when evaluating a density."""

NetworkKind = Literal["mlp", "cnn", "gru", "lstm"]
Exploration = Literal["independent", "state_dependent", "gsde"]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What a policy is made for and of."""

    environment_id: str
    environment_kwargs: Mapping[str, Any]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    hidden_sizes: tuple[int, ...]
    activation: Literal["tanh", "relu"]
    network: NetworkKind = "mlp"
    memory_size: int = 64
    """Cells of a recurrent network."""
    exploration: Exploration = "independent"
    """Where a Gaussian policy's log sigma comes from."""
    sde_interval: int = 1
    """Steps for which gSDE keeps its noise."""
    logit_clip: float = 0.0
    """Bound on the logits of a discrete policy; 0 for none."""

    @property
    def observation_size(self) -> int:
        """D: features of an encoded observation."""
        return ObservationEncoder(self.observation_space).size

    @property
    def row_dtype(self) -> type[np.float32] | type[np.uint8]:
        """Of observations that are kept in memory: images take a quarter of what floats do."""
        return np.uint8 if self.network == "cnn" else np.float32

    @property
    def distribution(self) -> DistributionName:
        """The action distribution that the action space calls for."""
        return ActionDecoder(self.action_space).distribution

    @property
    def action_size(self) -> int:
        """Choices of a discrete policy, or action dimensions A of a Gaussian one."""
        return ActionDecoder(self.action_space).size

    @property
    def has_memory(self) -> bool:
        """Whether the policy carries a state from step to step."""
        return self.network in {"gru", "lstm"}

    @property
    def state_size(self) -> int:
        """S: features of that state; 0 without memory."""
        return state_size(self.network, self.memory_size) if self.has_memory else 0

    @property
    def output_size(self) -> int:
        """Outputs of the actor's last affine layer."""
        size = self.action_size
        return 2 * size if self._is_gaussian("state_dependent") else size

    @property
    def feature_shapes(self) -> Shapes:
        """Arrays of the feature stage."""
        if self.network == "cnn":
            return image_layout(self.observation_space).shapes
        if self.has_memory:
            return cell_shapes(self.network, self.observation_size, self.memory_size)
        return {}

    @property
    def feature_size(self) -> int:
        """F: what the first affine layer sees."""
        if self.network == "cnn":
            return UNITS
        if self.has_memory:
            return self.memory_size
        return self.observation_size

    @property
    def actor_shapes(self) -> Shapes:
        """Shape of every array of the actor, in their order."""
        shapes = {**self.feature_shapes, **self._affine_shapes(self.output_size)}
        if self._is_gaussian("independent"):
            shapes["log_std"] = (self.action_size,)
        elif self._is_gaussian("gsde"):
            shapes["log_std"] = (self.latent_size, self.action_size)
        return shapes

    @property
    def critic_shapes(self) -> Shapes:
        """Shape of every array of the critic, in their order."""
        return {**self.feature_shapes, **self._affine_shapes(1)}

    @property
    def latent_size(self) -> int:
        """L: width of what the last affine layer sees."""
        return (self.feature_size, *self.hidden_sizes)[-1]

    @property
    def output_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Lowest and highest outputs of the actor; None where they are free."""
        size = self.output_size
        if self._is_gaussian("state_dependent"):
            means = size // 2
            low = [-np.inf] * means + [LOG_STD_MIN] * means
            high = [np.inf] * means + [LOG_STD_MAX] * means
        elif self.logit_clip and self.distribution != "gaussian":
            low, high = [-self.logit_clip] * size, [self.logit_clip] * size
        else:
            return None
        return np.array(low, np.float32), np.array(high, np.float32)

    def _affine_shapes(self, outputs: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        sizes = (self.feature_size, *self.hidden_sizes, outputs)
        for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            shapes[f"{index}.weight"] = (fan_out, fan_in)
            shapes[f"{index}.bias"] = (fan_out,)
        return shapes

    def _is_gaussian(self, exploration: Exploration) -> bool:
        return self.distribution == "gaussian" and self.exploration == exploration
