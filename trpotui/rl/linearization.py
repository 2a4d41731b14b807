"""What an update asks of a network at a batch: its outputs, and products with its Jacobian.

Legend: B samples, D inputs, F features, L width of the last hidden layer, A action dimensions, K
outputs, P parameters; T steps, N environments of sequences.

`jvp` is the product of the Jacobian with a parameter vector, `vjp` that of its transpose with a
vector of output cotangents. Multi-layer perceptrons are differentiated by hand, from activations
that are computed once, so the twenty or so products of an update cost two passes each and no graph;
`FunctionLinearization` serves any network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from trpotui.rl.acting import SDE_VARIANCE_FLOOR
from trpotui.rl.architecture import LOG_STD_MAX, LOG_STD_MIN, PolicySpec
from trpotui.rl.unrolling import Unrolled

Arrays = Mapping[str, Tensor]


class Linearization(Protocol):
    """A network at a batch, to first order in its parameters."""

    outputs: Tensor
    """[B, K]."""

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""


class MLP:
    """The affine layers of a network without a feature stage, differentiated by hand.

    Args:
        named: its arrays, views of one flat vector in which they come first.
        spec: widths and activation.
    """

    def __init__(self, named: Arrays, spec: PolicySpec) -> None:
        self.activation = spec.activation
        names = [str(index) for index in range(len(spec.hidden_sizes) + 1)]
        self.layers = [(named[f"{name}.weight"], named[f"{name}.bias"]) for name in names]

    def split(self, vector: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of every layer as views of a vector [P]."""
        layers, start = [], 0
        for weight, bias in self.layers:
            end = start + weight.numel()
            layers.append((vector[start:end].view_as(weight), vector[end : end + len(bias)]))
            start = end + len(bias)
        if vector.shape != (start,):
            raise ValueError(f"expected a vector of {start}, got {list(vector.shape)}")
        return layers

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of inputs [B, D]."""
        return self.hidden_and_outputs(inputs)[1]

    def linearize(self, inputs: Tensor) -> MLPLinearization:
        """The network at inputs [B, D], its activations kept."""
        hidden, outputs = self.hidden_and_outputs(inputs)
        return MLPLinearization(self, hidden, outputs)

    def hidden_and_outputs(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """Inputs of every layer, [B, D] first, and the outputs."""
        width = self.layers[0][0].shape[1]
        if inputs.ndim != 2 or inputs.shape[1] != width:
            raise ValueError(f"inputs must be [B, {width}], got {list(inputs.shape)}")
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
        self._size = sum(weight.numel() + len(bias) for weight, bias in network.layers)
        self.latent = hidden[-1]
        """What the last affine layer sees [B, L]."""
        self.outputs = outputs
        # derivative of each activation from its own value: tanh' = 1 - tanh^2, relu' = [h > 0]
        self._slopes = [
            1.0 - h.square() if network.activation == "tanh" else (h > 0).to(h.dtype)
            for h in hidden[1:]
        ]

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        return self.latent_and_outputs_jvp(tangent)[1]

    def latent_and_outputs_jvp(self, tangent: Tensor) -> tuple[Tensor | None, Tensor]:
        """The same, behind the change of the latent [B, L]; None where that is the inputs."""
        change: Tensor | None = None
        latent: Tensor | None = None
        layers = zip(self._network.layers, self._network.split(tangent), self._hidden, strict=True)
        for index, ((weight, _), (weight_tangent, bias_tangent), hidden) in enumerate(layers):
            moved = torch.addmm(bias_tangent, hidden, weight_tangent.T)
            if change is not None:
                moved.addmm_(change, weight.T)
            latent = change
            change = moved.mul_(self._slopes[index]) if index < len(self._slopes) else moved
        assert change is not None
        return latent, change

    def vjp(self, cotangents: Tensor, latent_cotangents: Tensor | None = None) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K].

        Args:
            cotangents: [B, K].
            latent_cotangents: [B, L]; adds the gradient of sum(latent * latent_cotangents).
        """
        gradient = cotangents.new_empty(self._size)
        pieces = self._network.split(gradient)
        flowing = cotangents
        for index in range(len(pieces) - 1, -1, -1):
            weight_gradient, bias_gradient = pieces[index]
            torch.mm(flowing.T, self._hidden[index], out=weight_gradient)
            torch.sum(flowing, dim=0, out=bias_gradient)
            if index:
                flowing = flowing @ self._network.layers[index][0]
                if latent_cotangents is not None and index == len(pieces) - 1:
                    flowing += latent_cotangents
                flowing.mul_(self._slopes[index - 1])
        return gradient


class FunctionLinearization:
    """Jacobian products of any network by automatic differentiation: the general path.

    `torch.func.jvp` computes the activations again for each product. Tracing them once with
    `torch.func.linearize` pays only when the same graph is used far longer than one update lasts.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], parameters: Tensor) -> None:
        self._function = function
        self._parameters = parameters
        self.outputs, self._vjp = torch.func.vjp(function, parameters)[:2]

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        moved = torch.func.jvp(self._function, (self._parameters,), (tangent,))[1]
        assert isinstance(moved, Tensor)
        return moved

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        (gradient,) = self._vjp(cotangents)
        assert isinstance(gradient, Tensor)
        return gradient


class ActorLinearization:
    """Jacobian products of an actor: its network's, and log sigma's, which are plain copies.

    Args:
        network: of the affine layers.
        outputs: distribution parameters [B, K].
        passes: 1 where the outputs' bounds let changes through, else 0 [B, ...]; None without any.
        log_std: state-independent [A], when there is one.
    """

    def __init__(
        self,
        network: MLPLinearization,
        outputs: Tensor,
        *,
        passes: Tensor | None,
        log_std: Tensor | None,
    ) -> None:
        self._network = network
        self.outputs = outputs
        self._passes = passes
        self._log_std = log_std

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the distribution parameters [B, K] per unit of a parameter vector [P]."""
        if self._log_std is None:
            moved = self._network.jvp(tangent)
            return moved if self._passes is None else moved.mul_(self._passes)
        means = self._network.jvp(tangent[: -len(self._log_std)])
        moved = tangent[-len(self._log_std) :] * _inside_range(self._log_std)
        return torch.cat([means, moved.expand_as(means)], dim=1)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        if self._log_std is None:
            flowing = cotangents if self._passes is None else cotangents * self._passes
            return self._network.vjp(flowing)
        means, log_stds = cotangents.chunk(2, dim=1)
        gradient = log_stds.sum(dim=0) * _inside_range(self._log_std)
        return torch.cat([self._network.vjp(means), gradient])


class SdeLinearization:
    """Jacobian products of an actor with gSDE, whose deviations depend on weights and latent alike.

        2 log sigma(s) = log(z(s)^2 S + floor),  z the latent [L], S = exp(2 log_std) [L, A]

    Args:
        network: of the affine layers.
        log_std: [L, A].
    """

    def __init__(self, network: MLPLinearization, log_std: Tensor) -> None:
        self._network = network
        self._size = log_std.numel()
        self._latent = network.latent
        self._squares = network.latent.square()
        self._variances = torch.exp(2 * log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))
        self._slopes = self._variances * _inside_range(log_std)
        self._sums = sde_variance(network.latent, log_std)  # [B, A]
        self.outputs = torch.cat([network.outputs, 0.5 * self._sums.log()], dim=1)

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the distribution parameters [B, K] per unit of a parameter vector [P]."""
        latent, means = self._network.latent_and_outputs_jvp(tangent[: -self._size])
        moved = self._squares @ (self._slopes * tangent[-self._size :].view_as(self._slopes))
        if latent is not None:
            moved.addmm_(self._latent * latent, self._variances)
        return torch.cat([means, moved.div_(self._sums)], dim=1)

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        means, log_stds = cotangents.chunk(2, dim=1)
        at_sums = log_stds / self._sums
        at_latent = (at_sums @ self._variances.T).mul_(self._latent)
        gradient = (self._squares.T @ at_sums).mul_(self._slopes)
        return torch.cat([self._network.vjp(means, at_latent), gradient.flatten()])


def sde_variance(latent: Tensor, log_std: Tensor) -> Tensor:
    """Variances [B, A] of gSDE's actions for what the last affine layer sees [B, L]."""
    variances = torch.exp(2 * log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))
    return latent.square() @ variances + SDE_VARIANCE_FLOOR


def _inside_range(log_std: Tensor) -> Tensor:
    """1 where the clamp of log sigma passes changes through, 0 where it holds them back."""
    return ((log_std >= LOG_STD_MIN) & (log_std <= LOG_STD_MAX)).to(log_std.dtype)


class UnrolledLinearization:
    """Jacobian products of a network that begins with a cell: its steps by hand, the rest not.

    Args:
        unrolled: the cell along all rows.
        valid: [T, N]; of which rows there are outputs.
        head: the other parameters, and features [B, F], to outputs [B, K].
        parameters: of the whole network, the cell's first.
    """

    def __init__(
        self,
        unrolled: Unrolled,
        valid: Tensor,
        head: Callable[[Tensor, Tensor], Tensor],
        parameters: Tensor,
    ) -> None:
        self._unrolled = unrolled
        self._valid = valid
        self._head = head
        self._at = parameters[unrolled.size :], unrolled.outputs[valid]
        self.outputs, self._head_vjp = torch.func.vjp(head, *self._at)[:2]

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        size = self._unrolled.size
        features = self._unrolled.jvp(tangent[:size])[self._valid]
        moved = torch.func.jvp(self._head, self._at, (tangent[size:], features))[1]
        assert isinstance(moved, Tensor)
        return moved

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        gradient, features = self._head_vjp(cotangents)
        flowing = torch.zeros_like(self._unrolled.outputs)
        flowing[self._valid] = features
        return torch.cat([self._unrolled.vjp(flowing), gradient])
