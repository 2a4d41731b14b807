"""Optimisers on one flat vector: a few tensor operations, and no import of torch's compiler."""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

OptimizerName = Literal["adam", "rmsprop", "sgd"]


class Optimizer(Protocol):
    """Minimises a function of a vector [P], which it writes in place."""

    parameters: Tensor

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Move the parameters against a gradient [P]."""

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on identically."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) for minimising a function of `parameters` [P]."""

    def __init__(
        self, parameters: Tensor, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-5
    ) -> None:
        self.parameters = parameters
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._mean = torch.zeros_like(parameters)
        self._square = torch.zeros_like(parameters)
        self._steps = 0

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Move the parameters against a gradient [P]."""
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - self._beta1)
        self._square.mul_(self._beta2).addcmul_(gradient, gradient, value=1.0 - self._beta2)
        mean_correction = 1.0 - self._beta1**self._steps
        square_correction = 1.0 - self._beta2**self._steps
        denominator = (self._square.sqrt() / math.sqrt(square_correction)).add_(self._epsilon)
        self.parameters.addcdiv_(self._mean, denominator, value=-learning_rate / mean_correction)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on identically."""
        return {
            "mean": self._mean.cpu().clone(),
            "square": self._square.cpu().clone(),
            "steps": self._steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps = state["steps"]


class RmsProp:
    """RMSprop (Tieleman and Hinton 2012), without momentum and not centred.

    epsilon is added to the root; Mnih et al. 2016 add it to the square.
    """

    def __init__(self, parameters: Tensor, *, decay: float = 0.99, epsilon: float = 1e-5) -> None:
        self.parameters = parameters
        self._decay, self._epsilon = decay, epsilon
        self._square = torch.zeros_like(parameters)

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Move the parameters against a gradient [P]."""
        self._square.mul_(self._decay).addcmul_(gradient, gradient, value=1.0 - self._decay)
        denominator = self._square.sqrt().add_(self._epsilon)
        self.parameters.addcdiv_(gradient, denominator, value=-learning_rate)

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on identically."""
        return {"square": self._square.cpu().clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._square.copy_(state["square"])


class Sgd:
    """Plain gradient descent, which remembers nothing."""

    def __init__(self, parameters: Tensor) -> None:
        self.parameters = parameters

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Move the parameters against a gradient [P]."""
        self.parameters.add_(gradient, alpha=-learning_rate)

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


def make_optimizer(name: OptimizerName, parameters: Tensor) -> Optimizer:
    """An optimiser by name, with its usual constants."""
    if name == "adam":
        return Adam(parameters)
    return RmsProp(parameters) if name == "rmsprop" else Sgd(parameters)


def shortened(vector: Tensor, longest: float) -> Tensor:
    """A vector [P], scaled down to the norm `longest` if it is longer; 0 leaves it as it is."""
    norm = float(torch.linalg.vector_norm(vector)) if longest else 0.0
    return vector * (longest / norm) if norm > longest > 0.0 else vector


def has_overflowed(optimizer: Optimizer) -> bool:
    """Whether what an optimiser remembers is no longer finite, which would spoil every later step.

    An infinite second moment, say, makes all of Adam's steps zero and is not seen otherwise.
    """
    tensors = (value for value in optimizer.state().values() if isinstance(value, Tensor))
    return not all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
