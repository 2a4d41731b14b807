"""Fitting the critic to its targets: one damped Gauss-Newton step, or Adam.

Legend: B samples, D inputs, P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trpotui.config import SharedHyperparameters
from trpotui.rl.natural_gradient import conjugate_gradient
from trpotui.rl.networks import Critic
from trpotui.rl.optimizers import Adam

HALVINGS = 10


def fit_gauss_newton(
    critic: Critic,
    inputs: Tensor,
    targets: Tensor,
    *,
    iterations: int,
    damping: float,
    interrupt: Callable[[], None] = lambda: None,
) -> float:
    """Move the critic by one Gauss-Newton step towards its targets.

    Minimises the mean of (V - target)^2 / 2 in the linear model of V: (J^T J / B + damping I) x =
    -gradient by conjugate gradient. The step is halved until the loss falls; if it never does the
    critic stays as it was. There is no learning rate, because J does not depend on the unit of the
    targets. The GAE paper (section 5) fits its value function the same way, in a trust region.

    Args:
        critic: written in place.
        inputs: [B, D].
        targets: [B].
        iterations: of conjugate gradient.
        damping: added to the diagonal of J^T J / B.
        interrupt: called between products; what it raises leaves the critic as it was.

    Returns:
        Mean squared error after the fit.

    Raises:
        ValueError: `targets` is not [B].
    """
    if targets.shape != (len(inputs),):
        raise ValueError(f"targets must be [{len(inputs)}], got {list(targets.shape)}")
    batch = len(inputs)
    linear = critic.linearize(inputs)
    errors = targets - linear.outputs[:, 0]

    def curvature_product(vector: Tensor) -> Tensor:
        interrupt()
        return linear.vjp(linear.jvp(vector)).div_(batch).add_(vector, alpha=damping)

    downhill = linear.vjp(errors[:, None]).div_(batch)
    step = conjugate_gradient(curvature_product, downhill, iterations=iterations).x
    old, old_loss = critic.parameters.clone(), float(errors.square().mean())
    fraction = 1.0
    for _ in range(HALVINGS + 1):
        torch.add(old, step, alpha=fraction, out=critic.parameters)
        loss = float((targets - critic(inputs)[:, 0]).square().mean())
        if loss < old_loss:  # false for NaN too
            return loss
        fraction /= 2
    critic.parameters.copy_(old)
    return old_loss


def fit_adam(
    critic: Critic,
    optimizer: Adam,
    inputs: Tensor,
    targets: Tensor,
    *,
    learning_rate: float,
    epochs: int,
    minibatches: int,
    generator: torch.Generator,
    interrupt: Callable[[], None] = lambda: None,
) -> float:
    """Move the critic towards its targets by minibatch Adam on the mean of (V - target)^2 / 2.

    Args:
        critic: written in place.
        optimizer: Adam over `critic.parameters`; its moments live on between fits.
        inputs: [B, D].
        targets: [B].
        learning_rate: of Adam.
        epochs: passes over the batch.
        minibatches: per pass, of nearly equal size.
        generator: shuffles the samples, on the CPU.
        interrupt: called before each pass.

    Returns:
        Mean squared error after the fit.

    Raises:
        ValueError: `targets` is not [B].
    """
    if targets.shape != (len(inputs),):
        raise ValueError(f"targets must be [{len(inputs)}], got {list(targets.shape)}")
    for _ in range(epochs):
        interrupt()
        order = torch.randperm(len(inputs), generator=generator).to(inputs.device)
        for rows in order.chunk(minibatches):
            linear = critic.linearize(inputs[rows])
            errors = linear.outputs - targets[rows, None]  # [b, 1]
            optimizer.step(linear.vjp(errors.div_(len(rows))), learning_rate=learning_rate)
    return float((targets - critic(inputs)[:, 0]).square().mean())


class CriticFit:
    """The critic's regression as the hyperparameters ask for it; Adam's moments live here.

    Args:
        critic: written in place.
        generator: shuffles the samples when the critic is adam, on the CPU.
    """

    def __init__(self, critic: Critic, generator: torch.Generator) -> None:
        self._critic = critic
        self._generator = generator
        self._optimizer = Adam(critic.parameters)

    def __call__(
        self,
        inputs: Tensor,
        targets: Tensor,
        hyperparameters: SharedHyperparameters,
        interrupt: Callable[[], None],
    ) -> float:
        """Fit to targets [B] of inputs [B, D]; the mean squared error afterwards."""
        h = hyperparameters
        if h.critic == "gauss_newton":
            return fit_gauss_newton(
                self._critic,
                inputs,
                targets,
                iterations=h.critic_iterations,
                damping=h.critic_damping,
                interrupt=interrupt,
            )
        return fit_adam(
            self._critic,
            self._optimizer,
            inputs,
            targets,
            learning_rate=h.critic_learning_rate,
            epochs=h.critic_epochs,
            minibatches=h.critic_minibatches,
            generator=self._generator,
            interrupt=interrupt,
        )

    def state(self) -> dict[str, Any]:
        """Adam's moments."""
        return self._optimizer.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._optimizer.restore(state)
