"""What can be wrong with trust-region steps."""

from __future__ import annotations

import math
from collections import Counter
from statistics import median

from trpotui.diagnosis.finding import WINDOW, Evidence, Finding, Kind, Severity
from trpotui.events import RejectReason, TrustRegionStep, UpdateFinished

REFUSALS = 3
"""Steps refused in a row that are worth a word."""
MANY_REFUSALS = 8
SMALL_KL = 0.2
"""Share of max_kl below which the trust region is as good as unused. Healthy runs use 0.5 to 0.9 of
it, because the damping shortens the step."""
LARGE_RESIDUAL = 0.5
"""Share of the gradient that conjugate gradient leaves unexplained."""
SMALL_GAIN = 0.25
"""Share of the expected gain that steps reach; 0.5 to 1.1 is healthy."""

_REFUSAL_ADVICE = {
    RejectReason.KL_TOO_LARGE: (
        "even the shortest try went beyond max_kl",
        "raise cg_damping or lower max_kl; a greater max_backtracks lets the search go shorter",
        ("cg_damping", "max_kl", "max_backtracks"),
    ),
    RejectReason.NO_GAIN: (
        "no try gained enough",
        "the gradient may be mostly noise: raise rollout_steps for more samples, or raise "
        "cg_damping; if acceptance_ratio is above 0, lower it. A policy that is as good as it gets "
        "ends like this, too",
        ("rollout_steps", "cg_damping", "acceptance_ratio"),
    ),
    RejectReason.ZERO_GRADIENT: (
        "the gradient is zero",
        "no action did better than another, probably because all rewards were alike: raise "
        "rollout_steps, so that some episode meets a different one; with continuous actions a "
        "greater initial_log_std explores more",
        ("rollout_steps", "initial_log_std"),
    ),
    RejectReason.NOT_POSITIVE_CURVATURE: (
        "the curvature along the step was not positive",
        "raise cg_damping",
        ("cg_damping",),
    ),
}
_PENALTY_ADVICE = {
    RejectReason.NO_GAIN: (
        "no try gained more than its penalty",
        "the gradient may be mostly noise: raise rollout_steps for more samples, or raise "
        "max_backtracks. A policy that is as good as it gets ends like this, too",
        ("rollout_steps", "max_backtracks"),
    ),
}
"""Of algorithms that are bounded by a penalty, where it differs."""


def not_finite(evidence: Evidence) -> Finding | None:
    """One update is enough: a number that is not finite is never noise."""
    count = sum(map(_has_bad_number, evidence.recent))
    if not count:
        return None
    size = evidence.step_size
    updates = "update" if len(evidence.recent) == 1 else f"{len(evidence.recent)} updates"
    return Finding(
        kind=Kind.NOT_FINITE,
        severity=Severity.SERIOUS if count >= REFUSALS else Severity.WARNING,
        title=f"{count} of the last {updates} met numbers that are not finite",
        advice=(
            f"something overflows: {size.shorten}; in a new run switch normalize_observations on "
            "and, if rewards are in the thousands, lower reward_scale"
        ),
        settings=(size.setting, "normalize_observations", "reward_scale"),
    )


def _has_bad_number(update: UpdateFinished) -> bool:
    if update.reject_reason is RejectReason.NOT_FINITE:
        return True
    numbers = (update.kl, update.entropy, update.value_loss or 0.0, update.grad_norm)
    return not all(map(math.isfinite, numbers))


def refused_steps(evidence: Evidence) -> Finding | None:
    """A streak of at least `REFUSALS`, or half of a full window."""
    streak = evidence.state.refused_in_a_row
    if len(evidence.updates) < len(evidence.state.recent_updates):  # changed by hand in between
        streak = min(streak, len(evidence.updates))
    refused = [update for update in evidence.recent if not update.accepted]
    if streak >= REFUSALS:
        seen = f"{streak} steps refused in a row"
    elif len(evidence.recent) >= WINDOW and 2 * len(refused) >= len(evidence.recent):
        seen = f"{len(refused)} of the last {len(evidence.recent)} steps refused"
    else:
        return None
    ((reason, _),) = Counter(update.reject_reason for update in refused).most_common(1)
    advised = _PENALTY_ADVICE if evidence.updates[-1].max_kl is None else {}
    known = _REFUSAL_ADVICE | advised
    if reason not in known:  # numbers that are not finite are a finding of their own
        return None
    cause, advice, settings = known[reason]
    return Finding(
        kind=Kind.REFUSED,
        severity=Severity.SERIOUS if streak >= MANY_REFUSALS else Severity.WARNING,
        title=f"{seen} because {cause}",
        advice=advice,
        settings=settings,
    )


def small_kl(evidence: Evidence) -> Finding | None:
    """A full window of kept steps whose median KL is a small share of max_kl.

    Not where steps gain too little: that is the cause then, and asks for the opposite.
    """
    kept = evidence.kept
    if len(kept) < WINDOW or evidence.solved or small_gain(evidence) is not None:
        return None
    share = median(step.kl / step.max_kl for step in kept)
    if share >= SMALL_KL:
        return None
    cause, advice, settings = _why_small(kept)
    shown = "less than 1%" if share < 0.01 else f"{share:.0%}"
    return Finding(
        kind=Kind.SMALL_KL,
        severity=Severity.HINT,
        title=f"KL stays at {shown} of max_kl {cause}",
        advice=advice,
        settings=settings,
    )


def _why_small(kept: list[TrustRegionStep]) -> tuple[str, str, tuple[str, ...]]:
    """Cause, advice and the settings that it names."""
    shortened = [step for step in kept if step.step_fraction < 1.0]
    if 2 * len(shortened) <= len(kept):
        return (
            "though full steps are taken",
            "the damping probably outweighs the curvature: lower cg_damping. A policy that is "
            "almost deterministic does this, too",
            ("cg_damping",),
        )
    reasons = Counter(attempt.reject_reason for step in shortened for attempt in step.tries)
    if reasons[RejectReason.KL_TOO_LARGE] >= reasons[RejectReason.NO_GAIN]:
        return (
            "because the line search shortens steps by more than it has to",
            "raise backtrack_factor, or raise cg_damping for a first try that fits",
            ("backtrack_factor", "cg_damping"),
        )
    return (
        "because the longer tries gain nothing",
        "the region may be wider than the surrogate can be trusted: lower max_kl, or raise "
        "rollout_steps for a less noisy gradient",
        ("max_kl", "rollout_steps"),
    )


def large_residual(evidence: Evidence) -> Finding | None:
    """A full window in which conjugate gradient ended far from the solution."""
    searched = [step for step in evidence.steps if len(step.cg_residuals) > 1]
    if len(searched) < WINDOW:
        return None
    residual = median(step.cg_residuals[-1] for step in searched)
    if not residual > LARGE_RESIDUAL:
        return None
    count = len(searched[-1].cg_residuals) - 1
    iterations = "1 iteration" if count == 1 else f"{count} iterations"
    return Finding(
        kind=Kind.RESIDUAL,
        severity=Severity.HINT,
        title=f"conjugate gradient leaves a residual of {residual:.2g} in {iterations}",
        advice=(
            "the step is not quite the natural gradient: raise cg_iterations; more cg_damping "
            "makes the system easier to solve, at the price of shorter steps"
        ),
        settings=("cg_iterations", "cg_damping"),
    )


def small_gain(evidence: Evidence) -> Finding | None:
    """A full window of kept steps that gain far less than their gradient promised."""
    promised = [step for step in evidence.kept if step.expected_gain > 0]
    if len(promised) < WINDOW or evidence.solved:
        return None
    share = median(step.surrogate_gain / step.expected_gain for step in promised)
    if not share < SMALL_GAIN:
        return None
    return Finding(
        kind=Kind.GAIN,
        severity=Severity.HINT,
        title=f"steps gain {max(share, 0.0):.0%} of what the gradient promises",
        advice=(
            "the surrogate bends within the region, so that a smaller one would be used better: "
            "lower max_kl; raise acceptance_ratio to refuse such steps"
        ),
        settings=("max_kl", "acceptance_ratio"),
    )
