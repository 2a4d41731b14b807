"""Networks whose parameters are views of one flat vector, and their linearisations.

Legend: B samples, D inputs, K outputs, P parameters.

An update asks three things of a network at a batch: its outputs, the product of its Jacobian with a
parameter vector (`jvp`), and of the Jacobian's transpose with a vector of output cotangents
(`vjp`). `Linearization` answers them from activations that are computed once, so the twenty or so
products of an update cost two passes each and no graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Protocol

import torch
from torch import Tensor

from trpotui.rl.distributions import Categorical, DiagGaussian, Distribution
from trpotui.rl.policy import LOG_STD_MAX, LOG_STD_MIN, Layer

Activation = Literal["tanh", "relu"]


class Linearization(Protocol):
    """A network at a batch, to first order in its parameters."""

    outputs: Tensor
    """[B, K]."""

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""


class Network(Protocol):
    """A function of a batch with one flat parameter vector."""

    parameters: Tensor
    """[P]; written in place, and every weight is a view of it."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of inputs [B, D]."""

    def linearize(self, inputs: Tensor) -> Linearization:
        """The network at inputs [B, D], ready for Jacobian products."""


class MLP:
    """A multi-layer perceptron on a flat vector: weight [out, in] then bias [out], layer by layer.

    Orthogonal weights of gain sqrt(2) inside and `output_gain` at the last layer, zero biases.

    Args:
        sizes: layer widths, inputs first, outputs last.
        activation: nonlinearity between the layers.
        output_gain: gain of the last layer.
        generator: source of the initial weights.
        parameters: the zeroed vector [P] to live in; its device is the network's.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation,
        *,
        output_gain: float,
        generator: torch.Generator,
        parameters: Tensor,
    ) -> None:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must name at least inputs and outputs, got {sizes}")
        self.sizes = tuple(sizes)
        self.activation = activation
        self.parameters = parameters
        self.layers = self.split(parameters)
        for index, (weight, _) in enumerate(self.layers):
            last = index == len(self.layers) - 1
            _orthogonal_(weight, output_gain if last else math.sqrt(2), generator)

    def split(self, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of every layer as views of a vector [P]."""
        if vector.shape != (parameter_count(self.sizes),):
            raise ValueError(
                f"expected a vector of {parameter_count(self.sizes)}, got {list(vector.shape)}"
            )
        layers, start = [], 0
        for fan_in, fan_out in pairwise(self.sizes):
            end = start + fan_out * fan_in
            layers.append((vector[start:end].view(fan_out, fan_in), vector[end : end + fan_out]))
            start = end + fan_out
        return layers

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of inputs [B, D]."""
        return self._hidden_and_outputs(inputs)[1]

    def linearize(self, inputs: Tensor) -> MLPLinearization:
        """The network at inputs [B, D], its activations kept."""
        hidden, outputs = self._hidden_and_outputs(inputs)
        return MLPLinearization(self, hidden, outputs)

    def _hidden_and_outputs(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """Inputs of every layer, [B, D] first, and the outputs."""
        if inputs.ndim != 2 or inputs.shape[1] != self.sizes[0]:
            raise ValueError(f"inputs must be [B, {self.sizes[0]}], got {list(inputs.shape)}")
        hidden = [inputs]
        for weight, bias in self.layers[:-1]:
            pre_activation = torch.addmm(bias, hidden[-1], weight.T)
            if self.activation == "tanh":
                hidden.append(pre_activation.tanh_())
            else:
                hidden.append(pre_activation.relu_())
        weight, bias = self.layers[-1]
        return hidden, torch.addmm(bias, hidden[-1], weight.T)


class MLPLinearization:
    """Jacobian products of an MLP by hand: forward and reverse passes over kept layers."""

    def __init__(self, network: MLP, hidden: list[Tensor], outputs: Tensor) -> None:
        self._network = network
        self._hidden = hidden
        self.outputs = outputs
        # derivative of each activation from its own value: tanh' = 1 - tanh^2, relu' = [h > 0]
        self._slopes = [
            1.0 - h.square() if network.activation == "tanh" else (h > 0).to(h.dtype)
            for h in hidden[1:]
        ]

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        change: Tensor | None = None
        layers = zip(self._network.layers, self._network.split(tangent), self._hidden, strict=True)
        for index, ((weight, _), (weight_tangent, bias_tangent), hidden) in enumerate(layers):
            moved = torch.addmm(bias_tangent, hidden, weight_tangent.T)
            if change is not None:
                moved.addmm_(change, weight.T)
            change = moved.mul_(self._slopes[index]) if index < len(self._slopes) else moved
        assert change is not None
        return change

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        gradient = torch.empty_like(self._network.parameters)
        pieces = self._network.split(gradient)
        flowing = cotangents
        for index in range(len(pieces) - 1, -1, -1):
            weight_gradient, bias_gradient = pieces[index]
            torch.mm(flowing.T, self._hidden[index], out=weight_gradient)
            torch.sum(flowing, dim=0, out=bias_gradient)
            if index:
                flowing = (flowing @ self._network.layers[index][0]).mul_(self._slopes[index - 1])
        return gradient


class Actor:
    """A policy network: inputs [B, D] to the distribution parameters [B, K] of its actions.

    A Gaussian actor's vector ends with a state-independent log sigma [A]; it is part of
    `parameters` like any weight, so gradients, Fisher products and steps include it.

    Args:
        sizes: layer widths, outputs the number of actions or of action dimensions.
        activation: nonlinearity between the layers.
        gaussian: a diagonal Gaussian when true, otherwise a categorical distribution.
        initial_log_std: log sigma at the start.
        generator: source of the initial weights, on the CPU.
        device: where the parameters live.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation,
        *,
        gaussian: bool,
        initial_log_std: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        weights = parameter_count(sizes)
        self.parameters = torch.zeros(weights + (sizes[-1] if gaussian else 0), device=device)
        self.network = MLP(
            sizes,
            activation,
            output_gain=0.01,
            generator=generator,
            parameters=self.parameters[:weights],
        )
        self.log_std: Tensor | None = None
        self.distribution: Distribution = Categorical(sizes[-1])
        if gaussian:
            self.log_std = self.parameters[weights:]
            self.log_std.fill_(initial_log_std)
            self.distribution = DiagGaussian(sizes[-1])

    def __call__(self, inputs: Tensor) -> Tensor:
        """Distribution parameters [B, K] of inputs [B, D]."""
        return self._with_log_std(self.network(inputs))

    def confine(self) -> None:
        """Bring log sigma back into its range: the policy stays the same, and can move again."""
        if self.log_std is not None:
            self.log_std.clamp_(LOG_STD_MIN, LOG_STD_MAX)

    def linearize(self, inputs: Tensor) -> ActorLinearization:
        """The actor at inputs [B, D], ready for Jacobian products."""
        network = self.network.linearize(inputs)
        return ActorLinearization(self, network, self._with_log_std(network.outputs))

    def _with_log_std(self, outputs: Tensor) -> Tensor:
        if self.log_std is None:
            return outputs
        log_std = self.log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        return torch.cat([outputs, log_std.expand_as(outputs)], dim=1)


class ActorLinearization:
    """Jacobian products of an actor: its network's, and log sigma's, which are plain copies."""

    def __init__(self, actor: Actor, network: MLPLinearization, outputs: Tensor) -> None:
        self._actor = actor
        self._network = network
        self.outputs = outputs

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the distribution parameters [B, K] per unit of a parameter vector [P]."""
        log_std = self._actor.log_std
        if log_std is None:
            return self._network.jvp(tangent)
        means = self._network.jvp(tangent[: -len(log_std)])
        moved = tangent[-len(log_std) :] * _inside_range(log_std)
        return torch.cat([means, moved.expand_as(means)], dim=1)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        log_std = self._actor.log_std
        if log_std is None:
            return self._network.vjp(cotangents)
        means, log_stds = cotangents.chunk(2, dim=1)
        gradient = log_stds.sum(dim=0) * _inside_range(log_std)
        return torch.cat([self._network.vjp(means), gradient])


class Critic:
    """A value network: inputs [B, D] to estimates of the discounted return, outputs [B, 1]."""

    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation,
        *,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.parameters = torch.zeros(parameter_count(sizes), device=device)
        self.network = MLP(
            sizes, activation, output_gain=1.0, generator=generator, parameters=self.parameters
        )

    def __call__(self, inputs: Tensor) -> Tensor:
        """Values [B, 1] of inputs [B, D]."""
        return self.network(inputs)

    def linearize(self, inputs: Tensor) -> MLPLinearization:
        """The critic at inputs [B, D], ready for Jacobian products."""
        return self.network.linearize(inputs)


def parameter_count(sizes: Sequence[int]) -> int:
    """Weights and biases of a multi-layer perceptron with these layer widths."""
    return sum((fan_in + 1) * out for fan_in, out in pairwise(sizes))


def numpy_layers(network: MLP) -> tuple[Layer, ...]:
    """The layers as numpy arrays; on a CPU they share the memory of the parameters."""
    return tuple((weight.cpu().numpy(), bias.cpu().numpy()) for weight, bias in network.layers)


def _inside_range(log_std: Tensor) -> Tensor:
    """1 where the clamp of log sigma passes changes through, 0 where it holds them back."""
    return ((log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)).to(log_std.dtype)


def _orthogonal_(weight: Tensor, gain: float, generator: torch.Generator) -> None:
    """Fill a weight [out, in] with gain times orthonormal rows or columns (Saxe et al. 2014)."""
    rows, columns = weight.shape
    noise = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    q, r = torch.linalg.qr(noise)
    q *= r.diagonal().sign()  # makes the distribution uniform over orthogonal matrices
    weight.copy_(gain * (q if rows >= columns else q.T))
