"""Multi-layer perceptrons, differentiated by hand.

Legend: B samples, b of them in a part, D inputs, L width of the last hidden layer, K outputs, R
combinations of them, P parameters.

An update asks a network at a batch for some twenty products with its Jacobian. Activations are
computed once, so each costs two passes and no graph. Where outputs are few, each product costs one
pass only, with the derivatives of each output by each unit (`unit_derivatives`), which are computed
once as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trpotui.rl.architecture import PolicySpec
from trpotui.rl.matrix_products import affine, outer, times
from trpotui.rl.unit_derivatives import UnitDerivatives

aten = torch.ops.aten

Layer = tuple[Tensor, Tensor]
"""Weight and bias."""
WIDTH_PER_OUTPUT = 32
"""Units of the last hidden layer for each output, from which on derivatives by unit pay: in a wide
layer they cost two elementwise passes an output, and save two matrix products."""
IN_CACHE = 2**18
"""Numbers of a layer that one core keeps at hand from one operation to the next: 1 MiB."""
MOST_DERIVATIVES = 2**26
"""Numbers that they may take for a batch: 256 MiB."""


class MLP:
    """The affine layers of a network without a feature stage.

    Args:
        named: its arrays, views of one flat vector in which they come first.
        spec: widths and activation.
    """

    def __init__(self, named: Mapping[str, Tensor], spec: PolicySpec) -> None:
        self.activation = spec.activation
        names = [str(index) for index in range(len(spec.hidden_sizes) + 1)]
        self.layers = [(named[f"{name}.weight"], named[f"{name}.bias"]) for name in names]
        self._shapes = [weight.shape for weight, _ in self.layers]
        self._sizes = [part.numel() for layer in self.layers for part in layer]
        self.size = sum(self._sizes)
        """P: elements of the layers."""
        self._width = max(weight.shape[0] for weight, _ in self.layers)

    def split(self, vector: Tensor) -> list[Layer]:
        """Weight and bias of every layer as views of a vector [P]."""
        if vector.shape != (self.size,):
            raise ValueError(f"expected a vector of {self.size}, got {list(vector.shape)}")
        pieces = torch.split_with_sizes(vector, self._sizes)
        weights = map(Tensor.view, pieces[::2], self._shapes)
        return list(zip(weights, pieces[1::2], strict=True))

    def in_cache(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Rows [B, D] in parts that stay in a core's cache: wide layers take a third less time.

        Raises:
            ValueError: they are not [B, D].
        """
        features = self.layers[0][0].shape[1]
        if inputs.ndim != 2 or inputs.shape[1] != features:
            raise ValueError(f"inputs must be [B, {features}], got {list(inputs.shape)}")
        if not inputs.is_cpu:
            return (inputs,)
        return torch.split(inputs, max(IN_CACHE * torch.get_num_threads() // self._width, 1))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs [B, K] of inputs [B, D]."""
        return torch.cat([self.hidden_and_outputs(rows)[1] for rows in self.in_cache(inputs)])

    def linearize(self, inputs: Tensor) -> list[MLPLinearization]:
        """The network at parts of the inputs [B, D], its activations kept."""
        parts = map(self.hidden_and_outputs, self.in_cache(inputs))
        return [MLPLinearization(self, *part, batch=len(inputs)) for part in parts]

    def hidden_and_outputs(self, inputs: Tensor) -> tuple[list[Tensor], Tensor]:
        """Inputs of every layer, [B, D] first, and the outputs."""
        hidden = [inputs]
        for weight, bias in self.layers[:-1]:
            pre_activation = affine(hidden[-1], weight, bias)
            if self.activation == "tanh":
                hidden.append(tanh_(pre_activation))
            else:
                hidden.append(pre_activation.relu_())
        weight, bias = self.layers[-1]
        return hidden, torch.addmm(bias, hidden[-1], weight.T)


def tanh_(values: Tensor) -> Tensor:
    """tanh in place; on a CPU by numpy, whose takes a tenth of the time of torch's."""
    if values.is_cpu:
        array = values.numpy()
        np.tanh(array, out=array)
        return values
    return values.tanh_()


class MLPLinearization:
    """A network at some rows of a batch, to first order in its parameters.

    Args:
        network: whose layers are read again for products that are not by unit.
        hidden: inputs of every layer [b, ...].
        outputs: [b, K].
        batch: B, rows of the whole batch.
    """

    def __init__(self, network: MLP, hidden: list[Tensor], outputs: Tensor, *, batch: int) -> None:
        self._network = network
        self._batch = batch
        self._hidden = hidden
        self.latent = hidden[-1]
        """What the last affine layer sees [b, L]."""
        self.outputs = outputs
        self._by_unit: UnitDerivatives | None = None

    def combined(self, combinations: Tensor) -> UnitDerivatives | None:
        """Products of the network that puts out C o for outputs o; None if they cost no less.

        Args:
            combinations: C [R, K].
        """
        if not self._pays_by_unit(len(combinations)):
            return None
        weight, _ = self._network.layers[-1]
        return UnitDerivatives(
            self._derivatives_by_unit(combinations @ weight),
            self._hidden,
            self.outputs @ combinations.T,
            combinations,
        )

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P]."""
        if self._by_unit is None and self._pays_by_unit(self.outputs.shape[1]):
            weight, _ = self._network.layers[-1]
            derivatives = self._derivatives_by_unit(weight)
            self._by_unit = UnitDerivatives(derivatives, self._hidden, self.outputs)
        if self._by_unit is None:
            return self.latent_and_outputs_jvp(tangent)[1]
        return self._by_unit.jvp(tangent)

    def latent_and_outputs_jvp(self, tangent: Tensor) -> tuple[Tensor | None, Tensor]:
        """The same, behind the change of the latent [B, L]; None where that is the inputs."""
        change: Tensor | None = None
        latent: Tensor | None = None
        layers = zip(self._network.layers, self._network.split(tangent), self._hidden, strict=True)
        for index, ((weight, _), (weight_tangent, bias_tangent), hidden) in enumerate(layers):
            moved = affine(hidden, weight_tangent, bias_tangent)
            if change is not None:
                moved += times(change, weight.T)
            latent = change
            last = index + 1 == len(self._hidden)
            change = moved if last else self._through(moved, self._hidden[index + 1])
        assert change is not None
        return latent, change

    def vjp(self, cotangents: Tensor, latent_cotangents: Tensor | None = None) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K].

        Args:
            cotangents: [B, K].
            latent_cotangents: [B, L]; adds the gradient of sum(latent * latent_cotangents).
        """
        if self._by_unit is not None and latent_cotangents is None:
            return self._by_unit.vjp(cotangents)
        gradient = cotangents.new_empty(self._network.size)
        *pieces, last = self._network.split(gradient)
        _weigh(cotangents, self.latent, last)
        flowing = cotangents
        for index in range(len(pieces) - 1, -1, -1):
            flowing = times(flowing, self._network.layers[index + 1][0])
            if latent_cotangents is not None and index == len(pieces) - 1:
                flowing += latent_cotangents
            self._through(flowing, self._hidden[index + 1])
            _weigh(flowing, self._hidden[index], pieces[index])
        return gradient

    def _pays_by_unit(self, outputs: int) -> bool:
        """Whether products by unit, which are made on a CPU only, cost less for so many outputs."""
        if not self.outputs.is_cpu or len(self._hidden) < 3:
            return False
        if outputs * WIDTH_PER_OUTPUT > self.latent.shape[1]:
            return False
        units = sum(hidden.shape[1] for hidden in self._hidden[1:])
        return outputs * units * self._batch <= MOST_DERIVATIVES

    def _derivatives_by_unit(self, last: Tensor) -> list[Tensor]:
        """Of each output in what enters each hidden layer [K, B, width], layer by layer.

        Args:
            last: weights [K, L] of the last layer.
        """
        at_latent = last[:, None].repeat(1, len(self.latent), 1)  # [K, B, L]
        derivatives = [self._through(at_latent, self.latent)]
        weights = [weight for weight, _ in self._network.layers[1:-1]]
        for weight, hidden in zip(reversed(weights), self._hidden[-2:0:-1], strict=True):
            derivatives.append(self._through(times(derivatives[-1], weight), hidden))
        return derivatives[::-1]

    def _through(self, flowing: Tensor, hidden: Tensor) -> Tensor:
        """Numbers [..., n] times the slopes of the activations whose values are `hidden` [B, n].

        In place, in one pass and with nothing kept: tanh' = 1 - tanh^2, relu' = [h > 0].
        """
        if self._network.activation == "tanh":
            aten.tanh_backward.grad_input(flowing, hidden, grad_input=flowing)
        else:
            aten.threshold_backward.grad_input(flowing, hidden, 0, grad_input=flowing)
        return flowing


def _weigh(flowing: Tensor, hidden: Tensor, layer: Layer) -> None:
    """Write the gradient of a layer with cotangents [B, n] of its outputs and inputs [B, m]."""
    weight, bias = layer
    torch.sum(flowing, dim=0, out=bias)
    outer(flowing, hidden, out=weight)
