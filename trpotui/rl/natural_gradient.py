"""Natural-gradient steps: conjugate gradient, and the step of a trust region.

Nothing here knows a policy or an environment: everything works on vectors [P] and on functions of
them, so each piece can be read beside appendix C of the TRPO paper and tested on plain matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trpotui.events import RejectReason

MatVec = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """What conjugate gradient found."""

    x: Tensor
    residual: Tensor
    """b - A x."""
    residuals: tuple[float, ...]
    """||b - A x_k|| / ||b|| after k = 0, 1, 2, ... iterations."""
    iterations: int


def conjugate_gradient(
    matvec: MatVec, b: Tensor, *, iterations: int, tolerance: float = 1e-10
) -> Solution:
    """Solve A x = b for a symmetric positive definite A (Hestenes and Stiefel 1952).

    Args:
        matvec: v [P] to A v [P].
        b: right-hand side [P].
        iterations: at most this many products with A.
        tolerance: stop when the residual is this share of ||b||.

    Returns:
        The x of the last iteration that could be made. Where a direction shows no positive
        curvature beyond rounding, or a number stops being finite, the x of before is kept.
    """
    x = torch.zeros_like(b)
    residual, direction = b.clone(), b.clone()
    squared = float(residual.dot(residual))
    norm = math.sqrt(squared)
    residuals = [1.0]
    largest = 0.0  # curvature of a unit direction so far: the scale of what is rounding
    length = squared  # d^T d: each direction adds a residual that is orthogonal to the last one
    rounding = torch.finfo(b.dtype).eps
    if norm == 0.0 or not math.isfinite(norm):
        return Solution(x, residual, (0.0,) if norm == 0.0 else (math.inf,), 0)
    for _ in range(iterations):
        product = matvec(direction)
        curvature = float(direction.dot(product))
        per_unit = curvature / length
        if not (per_unit > rounding * largest and math.isfinite(per_unit)):
            break
        largest = max(largest, per_unit)
        step = squared / curvature
        x.add_(direction, alpha=step)
        residual.sub_(product, alpha=step)
        previous, squared = squared, float(residual.dot(residual))
        residuals.append(math.sqrt(squared) / norm)
        if residuals[-1] <= tolerance:
            break
        ratio = squared / previous
        direction = torch.add(residual, direction, alpha=ratio)
        length = squared + ratio * ratio * length
    return Solution(x, residual, tuple(residuals), len(residuals) - 1)


@dataclass(frozen=True)
class NaturalDirection:
    """x = H^-1 g, or why there is none."""

    x: Tensor
    """[P]; zero when refused."""
    grad_norm: float
    g_dot_x: float
    x_h_x: float
    cg_residuals: tuple[float, ...]
    reject_reason: RejectReason | None


def natural_direction(
    gradient: Tensor, fisher_product: MatVec, *, iterations: int, damping: float
) -> NaturalDirection:
    """The natural gradient (Kakade 2001): H x = g with H = F + damping I, by conjugate gradient.

    Args:
        gradient: g [P] of the surrogate.
        fisher_product: v [P] to F v [P], F the mean Hessian of the KL divergence.
        iterations: of conjugate gradient.
        damping: added to F's diagonal.

    Returns:
        x, or zero with the reason: a gradient that is zero or not finite, or a curvature x^T H x
        that is not positive.
    """
    grad_norm = float(torch.linalg.vector_norm(gradient))
    nothing = torch.zeros_like(gradient)
    if not math.isfinite(grad_norm):
        return NaturalDirection(nothing, grad_norm, 0.0, 0.0, (), RejectReason.NOT_FINITE)
    if grad_norm == 0.0:
        return NaturalDirection(nothing, 0.0, 0.0, 0.0, (), RejectReason.ZERO_GRADIENT)
    solution = conjugate_gradient(
        lambda v: fisher_product(v).add(v, alpha=damping), gradient, iterations=iterations
    )
    x = solution.x
    g_dot_x = float(gradient.dot(x))
    x_h_x = float(x.dot(gradient - solution.residual))  # H x = g - residual, without a product
    if not (x_h_x > 0.0 and math.isfinite(x_h_x)):
        reason = RejectReason.NOT_POSITIVE_CURVATURE
        if not math.isfinite(x_h_x):
            reason = RejectReason.NOT_FINITE
        return NaturalDirection(nothing, grad_norm, g_dot_x, x_h_x, solution.residuals, reason)
    return NaturalDirection(x, grad_norm, g_dot_x, x_h_x, solution.residuals, None)


@dataclass(frozen=True)
class NaturalStep(NaturalDirection):
    """The step that maximises g^T s subject to s^T H s / 2 <= delta, or why there is none."""

    full_step: Tensor
    """beta x [P]; zero when refused."""
    step_scale: float
    """beta = sqrt(2 delta / x^T H x)."""

    @property
    def full_gain(self) -> float:
        """g^T (beta x): what the linear model of the surrogate promises for the full step."""
        return self.step_scale * self.g_dot_x


def natural_step(
    gradient: Tensor, fisher_product: MatVec, *, max_kl: float, iterations: int, damping: float
) -> NaturalStep:
    """The full trust-region step (TRPO, appendix C).

        x    = H^-1 g, H = F + damping I, by conjugate gradient
        beta = sqrt(2 delta / x^T H x)

    Args:
        gradient: g [P] of the surrogate.
        fisher_product: v [P] to F v [P], F the mean Hessian of the KL divergence.
        max_kl: delta, in nats.
        iterations: of conjugate gradient.
        damping: added to F's diagonal.

    Returns:
        The step, or a zero step with the reason why `natural_direction` found none: of a curvature
        that is not positive no root is taken.
    """
    direction = natural_direction(gradient, fisher_product, iterations=iterations, damping=damping)
    step_scale = 0.0
    if direction.reject_reason is None:
        step_scale = math.sqrt(2.0 * max_kl / direction.x_h_x)
    return NaturalStep(**vars(direction), full_step=step_scale * direction.x, step_scale=step_scale)


def all_finite(vector: Tensor) -> bool:
    """Whether a vector [P] holds neither NaN nor infinity."""
    return bool(torch.isfinite(vector).all())
