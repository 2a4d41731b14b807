"""Adam on one flat vector: a few tensor operations, and no import of torch's compiler."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


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
