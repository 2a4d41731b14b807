"""Products with a network's Jacobian, from the derivatives of its few outputs by each unit.

Legend: B samples, K outputs, L width of the last hidden layer, n units and m inputs of a layer, P
parameters; A_k [B, n] the derivative of output k in what enters the units, h [B, m] the inputs.

    dy_k = sum over layers of A_k . (dW h + db)
    dW   = sum over k and samples of c_k A_k h^T,  db = sum over k and samples of c_k A_k

That is one large matrix product each for a wide layer, and a thin one for a layer with few inputs.
What is left is done in numpy where it can be, on the memory of the tensors: its calls cost less
than torch's, which took more time than the arithmetic of a thousand samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trpotui.rl.matrix_products import affine, outer

Floats = NDArray[np.floating]
UNITS_PER_INPUT = 4
"""From so many on a layer is narrow: a thin product costs less than the passes over all units that
it saves."""


class UnitDerivatives:
    """Jacobian products of a network of affine layers, on a CPU; one product at a time.

    Args:
        derivatives: [K, B, n] of every hidden layer.
        inputs: [B, m] of every layer, the last one's [B, L] too.
        outputs: [B, K].
        combinations: [K, O] of the O numbers that the last layer puts out, if the outputs are such.
    """

    def __init__(
        self,
        derivatives: Sequence[Tensor],
        inputs: Sequence[Tensor],
        outputs: Tensor,
        combinations: Tensor | None = None,
    ) -> None:
        self.outputs = outputs
        *of_layers, latent = inputs
        self._latent = latent.numpy()
        self._combinations = None if combinations is None else combinations.numpy()
        self._layers: list[_Wide | _Narrow] = []
        begin = 0
        for by_output, layer_inputs in zip(derivatives, of_layers, strict=True):
            units, features = by_output.shape[2], layer_inputs.shape[1]
            if UNITS_PER_INPUT * features <= units:
                self._layers.append(_Narrow(begin, by_output.numpy(), layer_inputs.numpy()))
            else:
                self._layers.append(_Wide(begin, by_output, layer_inputs))
            begin = self._layers[-1].end
        self._last = begin
        numbers = outputs.shape[1] if combinations is None else combinations.shape[1]
        self._bias = begin + numbers * self._latent.shape[1]
        self._size = self._bias + numbers

    def jvp(self, tangent: Tensor) -> Tensor:
        """Change of the outputs [B, K] per unit of a parameter vector [P].

        Raises:
            ValueError: it is not [P].
        """
        if tangent.shape != (self._size,):
            raise ValueError(f"expected a vector of {self._size}, got {list(tangent.shape)}")
        vector = tangent.numpy()
        bias = vector[self._bias :]
        weight = vector[self._last : self._bias].reshape(len(bias), -1)
        if self._combinations is not None:
            weight, bias = self._combinations @ weight, self._combinations @ bias
        changes = weight @ self._latent.T  # [K, B]
        changes += bias[:, None]
        for one in self._layers:
            one.push(tangent, changes)
        return torch.from_numpy(changes).T

    def vjp(self, cotangents: Tensor) -> Tensor:
        """Gradient [P] of sum(outputs * cotangents), for cotangents [B, K]."""
        flowing = np.ascontiguousarray(cotangents.numpy().T)  # [K, B]
        weight, bias = flowing @ self._latent, flowing.sum(axis=1)
        if self._combinations is not None:
            weight, bias = self._combinations.T @ weight, self._combinations.T @ bias
        gradient = cotangents.new_empty(self._size)
        vector = gradient.numpy()
        vector[self._last : self._bias], vector[self._bias :] = weight.ravel(), bias
        for one in self._layers:
            one.pull(flowing, gradient)
        return gradient


class _Layer:
    """Of a layer that begins at a place in vectors [P], with its weight, then its bias."""

    def __init__(self, begin: int, units: int, features: int) -> None:
        self._weight = slice(begin, begin + units * features)
        self._bias = slice(self._weight.stop, self._weight.stop + units)
        self.end = self._bias.stop


class _Wide(_Layer):
    """With about as many inputs as units, or more."""

    def __init__(self, begin: int, derivatives: Tensor, inputs: Tensor) -> None:
        self._shape = derivatives.shape[2], inputs.shape[1]
        super().__init__(begin, *self._shape)
        self._derivatives = derivatives
        self._inputs = inputs

    def _weight_of(self, vector: Tensor) -> Tensor:
        return vector[self._weight].view(self._shape)

    def push(self, tangent: Tensor, changes: Floats) -> None:
        """Add to changes of the outputs [K, B] what a change of this layer adds."""
        moved = affine(self._inputs, self._weight_of(tangent), tangent[self._bias]).numpy()
        for k, derivatives in enumerate(self._derivatives.numpy()):
            changes[k] += np.einsum("ij,ij->i", derivatives, moved)

    def pull(self, flowing: Floats, gradient: Tensor) -> None:
        """Write this layer's gradient, for cotangents [K, B]."""
        first, *others = zip(self._derivatives, torch.from_numpy(flowing)[:, :, None], strict=True)
        weighted = torch.mul(*first)
        for derivatives, weights in others:
            weighted.addcmul_(derivatives, weights)
        outer(weighted, self._inputs, out=self._weight_of(gradient))
        gradient.numpy()[self._bias] = sum(map(np.matmul, flowing, self._derivatives.numpy()))


class _Narrow(_Layer):
    """With few inputs."""

    def __init__(self, begin: int, derivatives: Floats, inputs: Floats) -> None:
        samples, features = inputs.shape
        units = derivatives.shape[2]
        super().__init__(begin, units, features)
        self._derivatives = derivatives
        self._inputs = np.ones((samples, features + 1), inputs.dtype)  # the bias has one as well
        self._inputs[:, :-1] = inputs
        self._layer = np.empty((units, features + 1), inputs.dtype)
        self._products = np.empty_like(self._inputs)

    def push(self, tangent: Tensor, changes: Floats) -> None:
        """As the wide one's."""
        vector = tangent.numpy()
        self._layer[:, :-1] = vector[self._weight].reshape(len(self._layer), -1)
        self._layer[:, -1] = vector[self._bias]
        for k, derivatives in enumerate(self._derivatives):
            np.matmul(derivatives, self._layer, out=self._products)
            changes[k] += np.einsum("ij,ij->i", self._products, self._inputs)

    def pull(self, flowing: Floats, gradient: Tensor) -> None:
        """As the wide one's."""
        vector, whole = gradient.numpy(), np.zeros_like(self._layer.T)  # [m + 1, n]
        for weights, derivatives in zip(flowing, self._derivatives, strict=True):
            np.multiply(self._inputs, weights[:, None], out=self._products)
            whole += self._products.T @ derivatives
        vector[self._weight], vector[self._bias] = whole[:-1].T.ravel(), whole[-1]
