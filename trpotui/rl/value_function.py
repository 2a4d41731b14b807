"""Fitting the critic to its targets: one damped Gauss-Newton step, or Adam.

Legend: B samples, D inputs, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from trpotui.rl.natural_gradient import all_finite, conjugate_gradient
from trpotui.rl.networks import Critic
from trpotui.rl.optimizers import Adam, has_overflowed, shortened
from trpotui.rl.sequences import Inputs, split

HALVINGS = 10


def fit_gauss_newton(
    critic: Critic,
    inputs: Inputs,
    targets: Tensor,
    *,
    iterations: int,
    damping: float,
    curvature_inputs: Inputs | None = None,
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
        curvature_inputs: the part of the inputs that J^T J / B is made of, as curvature varies
            less from sample to sample than the gradient does (Byrd et al. 2011); None uses all.
        interrupt: called between products; what it raises leaves the critic as it was.

    Returns:
        Mean squared error after the fit; NaN if the step was not finite and the critic stayed.

    Raises:
        ValueError: `targets` is not [B].
    """
    if targets.shape != (len(inputs),):
        raise ValueError(f"targets must be [{len(inputs)}], got {list(targets.shape)}")
    linear = critic.linearize(inputs)
    part = linear
    if curvature_inputs is not None and curvature_inputs is not inputs:
        part = critic.linearize(curvature_inputs)
    errors = targets - linear.outputs[:, 0]

    def curvature_product(vector: Tensor) -> Tensor:
        interrupt()
        moved = part.jvp(vector)
        return part.vjp(moved.div_(moved.shape[0])).add_(vector, alpha=damping)

    downhill = linear.vjp(errors.div(len(errors))[:, None])
    step = conjugate_gradient(curvature_product, downhill, iterations=iterations).x
    if not all_finite(step):
        return math.nan
    old, old_loss = critic.parameters.clone(), float(errors.square().mean())
    fraction = 1.0
    for _ in range(HALVINGS + 1):
        torch.add(old, step, alpha=fraction, out=critic.parameters)
        loss = float((targets - critic(inputs)[:, 0]).square().mean())
        if loss < old_loss and all_finite(critic.parameters):  # false for NaN too
            return loss
        fraction /= 2
    critic.parameters.copy_(old)
    return old_loss


def fit_adam(
    critic: Critic,
    optimizer: Adam,
    inputs: Inputs,
    targets: Tensor,
    *,
    learning_rate: float,
    minibatches: int,
    orders: Iterable[Tensor],
    interrupt: Callable[[], None] = lambda: None,
    max_grad_norm: float = 0.0,
    value_clip: float = 0.0,
    old_values: Tensor | None = None,
) -> float:
    """Move the critic towards its targets by minibatch Adam on the mean of (V - target)^2 / 2.

    Args:
        critic: written in place.
        optimizer: Adam over `critic.parameters`; its moments live on between fits.
        inputs: [B, D].
        targets: [B].
        learning_rate: of Adam.
        minibatches: per pass, of nearly equal size.
        orders: of each pass over the batch, as `sequences.shuffled` draws them.
        interrupt: called before each pass.
        max_grad_norm: a longer gradient is shortened to this norm; 0 leaves all as they are.
        value_clip: how far values may go from `old_values` before `clipped_errors` stops them; 0
            lets them go.
        old_values: [B]; None of them are needed without `value_clip`.

    Returns:
        Mean squared error after the fit; NaN if that, the critic or what Adam remembers is not
        finite: critic and optimiser are put back then.

    Raises:
        ValueError: `targets` is not [B].
    """
    if targets.shape != (len(inputs),):
        raise ValueError(f"targets must be [{len(inputs)}], got {list(targets.shape)}")
    old, state = critic.parameters.clone(), optimizer.state()
    for order in orders:
        interrupt()
        for part, rows in split(inputs, minibatches, order):
            linear = critic.linearize(part)
            values, aims = linear.outputs[:, 0], targets.index_select(0, rows)
            errors = values - aims
            if value_clip and old_values is not None:
                errors = clipped_errors(values, aims, old_values[rows], value_clip)
            gradient = linear.vjp(errors.div_(len(rows))[:, None])
            optimizer.step(shortened(gradient, max_grad_norm), learning_rate=learning_rate)
    loss = float((targets - critic(inputs)[:, 0]).square().mean())
    if math.isfinite(loss) and all_finite(critic.parameters) and not has_overflowed(optimizer):
        return loss
    critic.parameters.copy_(old)
    optimizer.restore(state)
    return math.nan


def clipped_errors(
    values: Tensor, targets: Tensor, old_values: Tensor, value_clip: float
) -> Tensor:
    """Gradient [b] of max((V - target)^2, (V_clipped - target)^2) / 2 in each V.

    V_clipped is V within `value_clip` of the old value. The gradient is the error V - target,
    or 0 where V is outside and the clipped one is the worse of the two.
    """
    clipped = old_values + (values - old_values).clamp(-value_clip, value_clip)
    errors = values - targets
    return torch.where(errors.abs() >= (clipped - targets).abs(), errors, 0.0)
