"""Natural-gradient steps: conjugate gradient, the trust-region step, and its line search.

Nothing here knows a policy or an environment: everything works on vectors [P] and on functions of
them, so each piece can be read beside appendix C of the TRPO paper and tested on plain matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trpotui.events import LineSearchTry, RejectReason

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
    rounding = torch.finfo(b.dtype).eps
    if norm == 0.0 or not math.isfinite(norm):
        return Solution(x, residual, (0.0,) if norm == 0.0 else (math.inf,), 0)
    for _ in range(iterations):
        product = matvec(direction)
        curvature = float(direction.dot(product))
        per_unit = curvature / float(direction.dot(direction))
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
        direction = residual + (squared / previous) * direction
    return Solution(x, residual, tuple(residuals), len(residuals) - 1)


@dataclass(frozen=True)
class NaturalStep:
    """The step that maximises g^T s subject to s^T H s / 2 <= delta, or why there is none."""

    full_step: Tensor
    """beta x [P]; zero when refused."""
    grad_norm: float
    g_dot_x: float
    x_h_x: float
    step_scale: float
    """beta = sqrt(2 delta / x^T H x)."""
    cg_residuals: tuple[float, ...]
    reject_reason: RejectReason | None


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
        The step, or a zero step with the reason: a gradient that is zero or not finite, or a
        curvature x^T H x that is not positive, of which no root is taken.
    """
    grad_norm = float(torch.linalg.vector_norm(gradient))
    nothing = torch.zeros_like(gradient)
    if not math.isfinite(grad_norm):
        return NaturalStep(nothing, grad_norm, 0.0, 0.0, 0.0, (), RejectReason.NOT_FINITE)
    if grad_norm == 0.0:
        return NaturalStep(nothing, 0.0, 0.0, 0.0, 0.0, (), RejectReason.ZERO_GRADIENT)
    solution = conjugate_gradient(
        lambda v: fisher_product(v).add(v, alpha=damping), gradient, iterations=iterations
    )
    x = solution.x
    g_dot_x = float(gradient.dot(x))
    x_h_x = float(x.dot(gradient - solution.residual))  # H x = g - residual, without a product
    if not (x_h_x > 0.0 and math.isfinite(x_h_x)):
        reason = RejectReason.NOT_POSITIVE_CURVATURE
        return NaturalStep(nothing, grad_norm, g_dot_x, x_h_x, 0.0, solution.residuals, reason)
    step_scale = math.sqrt(2.0 * max_kl / x_h_x)
    return NaturalStep(
        step_scale * x, grad_norm, g_dot_x, x_h_x, step_scale, solution.residuals, None
    )


@dataclass(frozen=True)
class LineSearch:
    """What a line search did."""

    tries: tuple[LineSearchTry, ...]
    accepted: bool
    fraction: float
    """Of the full step; 0 when nothing was accepted."""
    kl: float
    gain: float
    reject_reason: RejectReason | None
    """Of the last try, when nothing was accepted."""


def line_search(
    parameters: Tensor,
    full_step: Tensor,
    evaluate: Callable[[], tuple[float, float]],
    *,
    max_kl: float,
    backtrack_factor: float,
    max_backtracks: int,
    least_gain: Callable[[float], float] = lambda _: 0.0,
) -> LineSearch:
    """Try fractions 1, c, c^2, ... of a step and keep the first that is finite, near and better.

    The constraint is checked, not assumed: a candidate is taken only if its KL over the whole
    batch is at most `max_kl` and its surrogate gain is above `least_gain(fraction)`. If none is, or
    anything raises, the old parameters are copied back, bit for bit.

    Args:
        parameters: [P], written in place.
        full_step: [P].
        evaluate: KL to the old policy (nats) and surrogate gain, at what `parameters` hold.
        max_kl: delta, in nats.
        backtrack_factor: c, in (0, 1).
        max_backtracks: tries after the full step; a negative number tries nothing.
        least_gain: fraction to the gain that is too little.
    """
    old = parameters.clone()
    tries: list[LineSearchTry] = []
    taken = False
    try:
        for exponent in range(max_backtracks + 1):
            fraction = backtrack_factor**exponent
            torch.add(old, full_step, alpha=fraction, out=parameters)
            kl, gain = evaluate()
            reason = _why_refused(kl, gain, max_kl=max_kl, least_gain=least_gain(fraction))
            tries.append(LineSearchTry(fraction=fraction, kl=kl, gain=gain, reject_reason=reason))
            if reason is None:
                taken = True
                return LineSearch(tuple(tries), True, fraction, kl, gain, None)
        last_reason = tries[-1].reject_reason if tries else None
        return LineSearch(tuple(tries), False, 0.0, 0.0, 0.0, last_reason)
    finally:
        if not taken:
            parameters.copy_(old)


def _why_refused(
    kl: float, gain: float, *, max_kl: float, least_gain: float
) -> RejectReason | None:
    if not (math.isfinite(kl) and math.isfinite(gain)):
        return RejectReason.NOT_FINITE
    if kl > max_kl:
        return RejectReason.KL_TOO_LARGE
    if gain <= least_gain:
        return RejectReason.NO_GAIN
    return None
