"""Networks whose parameters are views of one flat vector.

Legend: B samples, D inputs, F features, L width of the last hidden layer, K outputs, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN, PolicySpec, Shapes
from trpotui.rl.convolution import convolve
from trpotui.rl.distributions import distribution_for
from trpotui.rl.first_weights import initialize
from trpotui.rl.images import image_layout
from trpotui.rl.linearization import (
    ActorLinearization,
    FunctionLinearization,
    Linearization,
    SdeLinearization,
    UnrolledLinearization,
    joined,
    sde_variance,
)
from trpotui.rl.mlp import MLP, MLPLinearization
from trpotui.rl.sequences import Inputs, Sequences
from trpotui.rl.spaces import ActionDecoder
from trpotui.rl.unrolling import Unrolled, unroll

Arrays = Mapping[str, Tensor]


class Actor:
    """A policy network: inputs to the distribution parameters [B, K] of its actions.

    A Gaussian actor's state-independent log sigma [A] is the end of `parameters`, like any weight,
    so gradients, Fisher products and steps include it; so is gSDE's [L, A].

    Args:
        spec: what the policy is made of.
        initial_log_std: log sigma of a Gaussian policy at the start.
        orthogonal: initial weights; False takes uniform ones, bounded by 1 / sqrt(inputs).
        generator: source of the initial weights, on the CPU.
        device: where the parameters live.
    """

    def __init__(
        self,
        spec: PolicySpec,
        *,
        initial_log_std: float,
        orthogonal: bool = True,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.spec = spec
        self.shapes = spec.actor_shapes
        self.parameters = torch.zeros(parameter_count(self.shapes), device=device)
        self.named = split_vector(self.parameters, self.shapes)
        initialize(self.named, orthogonal=orthogonal, output_gain=0.01, generator=generator)
        self.distribution = distribution_for(ActionDecoder(spec.action_space))
        self._exploration = spec.exploration if spec.distribution == "gaussian" else None
        self.log_std = self.named.get("log_std")
        if self._exploration == "state_dependent":
            last = f"{len(spec.hidden_sizes)}.bias"
            self.named[last][spec.output_size // 2 :] = initial_log_std
        elif self.log_std is not None:
            # gSDE adds L terms: the sum of them is to have the deviation that was asked for
            latent = self.log_std.shape[0] if self._exploration == "gsde" else 1
            self.log_std.fill_(initial_log_std - 0.5 * math.log(latent))
            self.confine()
        self._bounds = None
        if spec.output_bounds is not None:
            low, high = (torch.from_numpy(bound).to(device) for bound in spec.output_bounds)
            self._bounds = low, high
        self._mlp = MLP(self.named, spec)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Distribution parameters [B, K]."""
        if self.spec.network != "mlp":
            return self._function(self.parameters, inputs)
        parts = map(self._mlp.hidden_and_outputs, self._mlp.in_cache(rows_of(inputs)))
        return torch.cat(
            [self._of_outputs(outputs, hidden[-1], self.log_std) for hidden, outputs in parts]
        )

    def linearize(self, inputs: Inputs) -> Linearization:
        """The actor at a batch, ready for Jacobian products."""
        if isinstance(inputs, Sequences):
            unrolled = unrolled_cell(self.named, self.spec, inputs, "actor")
            return UnrolledLinearization(unrolled, inputs.valid, self._head, self.parameters)
        if self.spec.network != "mlp":
            return FunctionLinearization(lambda p: self._function(p, inputs), self.parameters)
        return joined(map(self._linearization, self._mlp.linearize(rows_of(inputs))))

    def _linearization(self, network: MLPLinearization) -> Linearization:
        if self._exploration == "gsde" and self.log_std is not None:
            return SdeLinearization(network, self.log_std)
        passes = None
        if self._bounds is not None:
            free = (network.outputs >= self._bounds[0]) & (network.outputs <= self._bounds[1])
            passes = free.to(network.outputs.dtype)
        elif self.log_std is None:
            return network
        outputs = self._of_outputs(network.outputs, network.latent, self.log_std)
        return ActorLinearization(network, outputs, passes=passes, log_std=self.log_std)

    def confine(self) -> None:
        """Bring log sigma back into its range: the policy stays the same, and can move again."""
        if self.log_std is not None:
            self.log_std.clamp_(LOG_STD_MIN, LOG_STD_MAX)

    def _function(self, parameters: Tensor, inputs: Inputs) -> Tensor:
        """Distribution parameters [B, K] as a function of the vector [P], for differentiation."""
        named = split_vector(parameters, self.shapes)
        return self._of_features(named, features(named, self.spec, inputs, "actor"))

    def _head(self, parameters: Tensor, features: Tensor) -> Tensor:
        """The same of features [B, F], and of the parameters behind the feature stage's."""
        return self._of_features(
            split_vector(parameters, head_shapes(self.spec, self.shapes)), features
        )

    def _of_features(self, named: Arrays, features: Tensor) -> Tensor:
        """Distribution parameters [B, K] for features [B, F]."""
        latent = affine_layers(named, self.spec, features)
        depth = len(self.spec.hidden_sizes)
        outputs = torch.addmm(named[f"{depth}.bias"], latent, named[f"{depth}.weight"].T)
        return self._of_outputs(outputs, latent, named.get("log_std"))

    def _of_outputs(self, outputs: Tensor, latent: Tensor, log_std: Tensor | None) -> Tensor:
        """Distribution parameters [B, K] for outputs of the last layer, and what it saw [B, L]."""
        if self._bounds is not None:
            outputs = outputs.clamp(*self._bounds)
        if log_std is None:
            return outputs
        if self._exploration == "gsde":
            log_stds = 0.5 * sde_variance(latent, log_std).log()
        else:
            log_stds = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).expand_as(outputs)
        return torch.cat([outputs, log_stds], dim=1)


class Critic:
    """A value network: inputs to estimates of the discounted return, outputs [B, 1].

    Args:
        spec: what the policy is made of; its critic has a network of its own of the same kind.
        orthogonal: initial weights; False takes uniform ones, bounded by 1 / sqrt(inputs).
        generator: source of the initial weights, on the CPU.
        device: where the parameters live.
    """

    def __init__(
        self,
        spec: PolicySpec,
        *,
        orthogonal: bool = True,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.spec = spec
        self.shapes = spec.critic_shapes
        self.parameters = torch.zeros(parameter_count(self.shapes), device=device)
        self.named = split_vector(self.parameters, self.shapes)
        initialize(self.named, orthogonal=orthogonal, output_gain=1.0, generator=generator)
        self._mlp = MLP(self.named, spec)

    def __call__(self, inputs: Inputs) -> Tensor:
        """Values [B, 1]."""
        if self.spec.network == "mlp":
            return self._mlp(rows_of(inputs))
        return self._function(self.parameters, inputs)

    def linearize(self, inputs: Inputs) -> Linearization:
        """The critic at a batch, ready for Jacobian products."""
        if isinstance(inputs, Sequences):
            unrolled = unrolled_cell(self.named, self.spec, inputs, "critic")
            return UnrolledLinearization(unrolled, inputs.valid, self._head, self.parameters)
        if self.spec.network == "mlp":
            return joined(self._mlp.linearize(rows_of(inputs)))
        return FunctionLinearization(lambda p: self._function(p, inputs), self.parameters)

    def along(self, rows: Tensor, starts: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """What a critic with memory says of every row, and what it remembers after it.

        Args:
            rows: [T, N, D].
            starts: [T, N]; where an episode begins.
            state: [N, S] before the first row.

        Returns:
            Values [T, N] and states [T, N, S].
        """
        unrolled = unroll(self.spec.network, self.named, rows, starts, state)
        values = self._of_features(self.named, unrolled.outputs.flatten(0, 1))
        return values.view(starts.shape), unrolled.states

    def _function(self, parameters: Tensor, inputs: Inputs) -> Tensor:
        named = split_vector(parameters, self.shapes)
        return self._of_features(named, features(named, self.spec, inputs, "critic"))

    def _head(self, parameters: Tensor, features: Tensor) -> Tensor:
        """The same of features [B, F], and of the parameters behind the feature stage's."""
        return self._of_features(
            split_vector(parameters, head_shapes(self.spec, self.shapes)), features
        )

    def _of_features(self, named: Arrays, features: Tensor) -> Tensor:
        """Values [B, 1] for features [B, F]."""
        latent = affine_layers(named, self.spec, features)
        depth = len(self.spec.hidden_sizes)
        return torch.addmm(named[f"{depth}.bias"], latent, named[f"{depth}.weight"].T)


def features(named: Arrays, spec: PolicySpec, inputs: Inputs, network: str) -> Tensor:
    """What the first affine layer sees [B, F]; differentiable in the arrays.

    Args:
        named: the arrays of a network.
        spec: of the policy.
        inputs: of a batch.
        network: `actor` or `critic`, whose memory is meant.
    """
    if spec.has_memory:
        if not isinstance(inputs, Sequences):
            raise TypeError("a network with memory takes sequences, not rows")
        return unrolled_cell(named, spec, inputs, network).outputs[inputs.valid]
    if spec.network == "cnn":
        return convolve(named, image_layout(spec.observation_space), rows_of(inputs))
    return rows_of(inputs)


def unrolled_cell(named: Arrays, spec: PolicySpec, inputs: Sequences, network: str) -> Unrolled:
    """The cell of a network with memory along sequences; arguments as `features` has them."""
    return unroll(spec.network, named, inputs.rows, inputs.starts, inputs.states[network])


def affine_layers(named: Arrays, spec: PolicySpec, features: Tensor) -> Tensor:
    """What the last affine layer sees [B, L], for features [B, F]; differentiable."""
    hidden = features
    for index in range(len(spec.hidden_sizes)):
        hidden = torch.addmm(named[f"{index}.bias"], hidden, named[f"{index}.weight"].T)
        hidden = hidden.tanh() if spec.activation == "tanh" else hidden.relu()
    return hidden


def rows_of(inputs: Inputs) -> Tensor:
    """Inputs of a network without memory: rows [B, D]."""
    if not isinstance(inputs, Tensor):
        raise TypeError("a network without memory takes rows, not sequences")
    return inputs


def parameter_count(shapes: Shapes) -> int:
    """P: elements of arrays with these shapes."""
    return sum(math.prod(shape) for shape in shapes.values())


def head_shapes(spec: PolicySpec, shapes: Shapes) -> Shapes:
    """Those of a network's shapes that lie behind its feature stage's."""
    return {name: shape for name, shape in shapes.items() if name not in spec.feature_shapes}


def split_vector(vector: Tensor, shapes: Shapes) -> dict[str, Tensor]:
    """Named arrays as views of a vector [P], in the order of their shapes."""
    count = parameter_count(shapes)
    if vector.shape != (count,):
        raise ValueError(f"expected a vector of {count}, got {list(vector.shape)}")
    sizes = [math.prod(shape) for shape in shapes.values()]
    pieces = torch.split(vector, sizes)
    return {
        name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
    }


def numpy_arrays(named: Arrays) -> dict[str, NDArray[np.float32]]:
    """The arrays in numpy; on a CPU they share the memory of the parameters."""
    return {name: array.cpu().numpy() for name, array in named.items()}
