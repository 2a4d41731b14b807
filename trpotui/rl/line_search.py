"""How much of a step is taken: line searches, and taking it as it is.

Like `natural_gradient`, this knows no policy: it moves a vector [P] and asks a function what came
of it. Whatever is refused or raises, the old vector is copied back, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trpotui.events import LineSearchTry, RejectReason, TrustRegionStep
from trpotui.rl.natural_gradient import NaturalStep, all_finite


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
            if not all_finite(parameters):  # what is never looked at shows in neither
                reason = RejectReason.NOT_FINITE
            tries.append(LineSearchTry(fraction=fraction, kl=kl, gain=gain, reject_reason=reason))
            if reason is None:
                taken = True
                return LineSearch(tuple(tries), True, fraction, kl, gain, None)
        last_reason = tries[-1].reject_reason if tries else None
        return LineSearch(tuple(tries), False, 0.0, 0.0, 0.0, last_reason)
    finally:
        if not taken:
            parameters.copy_(old)


def whole_step(
    step: NaturalStep, parameters: Tensor, evaluate: Callable[[], tuple[float, float]]
) -> LineSearch:
    """Take a step as it is, unless what comes of it is not finite: no line search.

    Args:
        step: if it was refused, nothing is tried.
        parameters: [P], written in place; put back bit for bit when refused.
        evaluate: KL to the old policy (nats) and surrogate gain, at what `parameters` hold.
    """
    return line_search(
        parameters,
        step.full_step,
        evaluate,
        max_kl=math.inf,
        backtrack_factor=1.0,
        max_backtracks=0 if step.reject_reason is None else -1,
        least_gain=lambda _: -math.inf,
    )


def maximize_along(
    parameters: Tensor,
    full_step: Tensor,
    objective: Callable[[], float],
    *,
    backtrack_factor: float,
    max_backtracks: int,
) -> float:
    """Move to the largest of an objective at fractions 1, c, c^2, ... of a step.

    The search ends when the objective falls again. If no fraction makes it positive, or anything
    raises, the old parameters are copied back, bit for bit.

    Args:
        parameters: [P], written in place.
        full_step: [P].
        objective: its value, at what `parameters` hold, less that at the old ones.
        backtrack_factor: c, in (0, 1).
        max_backtracks: tries after the full step; a negative number tries nothing.

    Returns:
        The fraction that was taken; 0 for none.
    """
    old = parameters.clone()
    best, best_fraction, taken = 0.0, 0.0, False
    try:
        for exponent in range(max_backtracks + 1):
            fraction = backtrack_factor**exponent
            torch.add(old, full_step, alpha=fraction, out=parameters)
            value = objective()
            if value > best and all_finite(parameters):  # false for NaN
                best, best_fraction = value, fraction
            elif best_fraction:
                break
        torch.add(old, full_step, alpha=best_fraction, out=parameters)
        taken = best_fraction > 0.0
        return best_fraction
    finally:
        if not taken:
            parameters.copy_(old)


def trust_region_step(step: NaturalStep, search: LineSearch, *, max_kl: float) -> TrustRegionStep:
    """What a step and its line search have to tell."""
    return TrustRegionStep(
        max_kl=max_kl,
        grad_norm=step.grad_norm,
        g_dot_x=step.g_dot_x,
        x_h_x=step.x_h_x,
        step_scale=step.step_scale,
        expected_gain=search.fraction * step.full_gain,
        cg_residuals=step.cg_residuals,
        tries=search.tries,
        accepted=search.accepted,
        step_fraction=search.fraction,
        kl=search.kl,
        surrogate_gain=search.gain,
        reject_reason=step.reject_reason or search.reject_reason,
    )


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
