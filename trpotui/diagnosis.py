"""What is wrong with a run, in plain words, and what to try.

Every check looks at the updates since hyperparameters were last changed by hand, says nothing
before it has seen enough of them (the numbers are below), and rests on medians or on the spread of
what it compares, so that no single update and no particular environment decides.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from statistics import fmean, median, variance

from trpotui.events import RejectReason, RunStarted, TrustRegionStep, UpdateFinished
from trpotui.run_log import return_text
from trpotui.telemetry import RunState

WINDOW = 20
"""Updates that a median is taken over, and the fewest that most checks need."""
REFUSALS = 3
"""Steps refused in a row that are worth a word; a third of a line search's trials may be noise."""
MANY_REFUSALS = 8
SMALL_KL = 0.2
"""Share of max_kl below which the trust region is as good as unused. Healthy runs use 0.5 to 0.9 of
it, because the damping shortens the step."""
COLLAPSED_ENTROPY = 0.1
"""Share of the first entropy that a discrete policy's entropy is to fall below."""
SHRUNK_DEVIATION = 0.05
"""Share of its first value that a Gaussian policy's mean sigma is to fall below."""
STEEP_FALL = 1.0
"""Nats that a Gaussian policy's entropy is to fall within a window, for each action dimension."""
POOR_CRITIC = -0.05
"""Explained variance; what lies nearer to 0 is noise of a critic that is merely useless."""
STILL_UPDATES = 100
"""Updates with finished episodes that the returns must stand still for."""
SAME_UPDATES = 30
"""Likewise, if every single episode returned the same."""
LARGE_RESIDUAL = 0.5
"""Share of the gradient that conjugate gradient leaves unexplained."""
SMALL_GAIN = 0.25
"""Share of the expected gain that steps reach."""
SMALL_WORK = 5e6
"""Samples times actor parameters of an update. One update is about a thousand operations; below
this a CPU core does the arithmetic of all of them in the time that a GPU takes to start them."""
GAUSSIAN_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
"""Of one action dimension with sigma 1, in nats."""
MOST_ACTIONS = 18
"""Discrete actions up to which an entropy tells a discrete policy from a Gaussian one."""


class Severity(IntEnum):
    """How much it matters; the greater, the worse."""

    HINT = 1
    """The run could do better."""
    WARNING = 2
    """The run is unlikely to get where it should."""
    SERIOUS = 3
    """Nothing is being learned, or soon nothing will be."""


class Kind(StrEnum):
    """What was found."""

    NOT_FINITE = "not_finite"
    REFUSED = "refused"
    SMALL_KL = "small_kl"
    ENTROPY = "entropy"
    CRITIC = "critic"
    RETURNS = "returns"
    DEVICE = "device"
    RESIDUAL = "residual"
    GAIN = "gain"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or may be."""

    kind: Kind
    severity: Severity
    title: str
    """What was seen, with its numbers."""
    advice: str
    """What to try."""
    settings: tuple[str, ...] = ()
    """The hyperparameters that the advice names."""


@dataclass(frozen=True)
class _Evidence:
    """The updates that a diagnosis may look at."""

    state: RunState
    updates: list[UpdateFinished]
    """Since the last change by hand."""
    recent: list[UpdateFinished]
    """The last `WINDOW` of them."""
    steps: list[TrustRegionStep]
    """Of those."""
    kept: list[TrustRegionStep]
    solved: bool


def diagnose(state: RunState) -> tuple[Finding, ...]:
    """What is wrong with a run, worst first; nothing where there is too little to go by."""
    if state.started is None:
        return ()
    changed_at = state.marks[-1].steps if state.marks else -1
    updates = [update for update in state.recent_updates if update.steps > changed_at]
    recent = updates[-WINDOW:]
    steps = [update.trust_region for update in recent if update.trust_region is not None]
    evidence = _Evidence(
        state, updates, recent, steps, [step for step in steps if step.accepted], _is_solved(state)
    )
    checks = (
        _not_finite,
        _refused,
        _entropy,
        _critic,
        _small_kl,
        _small_gain,
        _large_residual,
        _still_returns,
    )
    findings = [finding for check in checks if (finding := check(evidence)) is not None]
    device = _slow_device(state.started, len(updates))
    if device is not None:
        findings.append(device)
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _is_solved(state: RunState) -> bool:
    """Whether the returns are where they should be, as far as the environment says where."""
    solved_at = None if state.started is None else state.started.solved_at
    if solved_at is None:
        return False
    recent, evaluation = state.recent_mean, state.evaluation
    return (recent is not None and recent >= solved_at) or (
        evaluation is not None and evaluation.mean >= solved_at
    )


def _not_finite(evidence: _Evidence) -> Finding | None:
    """One update is enough: a number that is not finite is never noise."""

    def is_bad(update: UpdateFinished) -> bool:
        step = update.trust_region
        refused = step is not None and step.reject_reason is RejectReason.NOT_FINITE
        numbers = (update.kl, update.entropy, update.value_loss, update.grad_norm)
        return refused or not all(map(math.isfinite, numbers))

    count = sum(map(is_bad, evidence.recent))
    if not count:
        return None
    return Finding(
        kind=Kind.NOT_FINITE,
        severity=Severity.SERIOUS if count >= REFUSALS else Severity.WARNING,
        title=f"{count} of the last {len(evidence.recent)} updates met numbers that are not finite",
        advice=(
            "something overflows: lower max_kl; in a new run switch normalize_observations on, and "
            "if single rewards are in the thousands lower reward_scale"
        ),
        settings=("max_kl", "normalize_observations", "reward_scale"),
    )


REFUSAL_ADVICE = {
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


def _refused(evidence: _Evidence) -> Finding | None:
    """A streak of at least `REFUSALS`, or half of a full window."""
    streak = evidence.state.refused_in_a_row
    if len(evidence.updates) < len(evidence.state.recent_updates):
        streak = min(streak, len(evidence.updates))
    refused = [step for step in evidence.steps if not step.accepted]
    reasons = Counter(step.reject_reason for step in refused)
    if streak >= REFUSALS:
        what = f"{streak} steps refused in a row"
    elif len(evidence.steps) >= WINDOW and 2 * len(refused) >= WINDOW:
        what = f"{len(refused)} of the last {len(evidence.steps)} steps refused"
    else:
        return None
    reason = reasons.most_common(1)[0][0]
    if reason not in REFUSAL_ADVICE:  # numbers that are not finite have a finding of their own
        return None
    seen, advice, settings = REFUSAL_ADVICE[reason]
    return Finding(
        kind=Kind.REFUSED,
        severity=Severity.SERIOUS if streak >= MANY_REFUSALS else Severity.WARNING,
        title=f"{what}: {seen}",
        advice=advice,
        settings=settings,
    )


def _small_kl(evidence: _Evidence) -> Finding | None:
    """A full window of kept steps whose median KL is a small share of max_kl."""
    kept = evidence.kept
    if len(kept) < WINDOW or evidence.solved:
        return None
    share = median(step.kl / step.max_kl for step in kept)
    if share >= SMALL_KL:
        return None
    title = f"KL stays at {share:.0%} of max_kl"
    shortened = [step for step in kept if step.step_fraction < 1.0]
    if 2 * len(shortened) <= len(kept):
        return Finding(
            kind=Kind.SMALL_KL,
            severity=Severity.HINT,
            title=f"{title} though full steps are taken",
            advice=(
                "the damping probably outweighs the curvature, which makes the step shorter than "
                "the region: lower cg_damping. A policy that is almost deterministic does this, too"
            ),
            settings=("cg_damping",),
        )
    reasons = Counter(attempt.reject_reason for step in shortened for attempt in step.tries)
    if reasons[RejectReason.KL_TOO_LARGE] >= reasons[RejectReason.NO_GAIN]:
        cause, advice, settings = (
            "longer tries go beyond max_kl",
            "the line search leaps past the edge of the region: raise backtrack_factor, or raise "
            "cg_damping for a first try that fits",
            ("backtrack_factor", "cg_damping"),
        )
    else:
        cause, advice, settings = (
            "longer tries gain nothing",
            "the region may be wider than the surrogate can be trusted: lower max_kl, or raise "
            "rollout_steps for a less noisy gradient",
            ("max_kl", "rollout_steps"),
        )
    return Finding(
        kind=Kind.SMALL_KL,
        severity=Severity.HINT,
        title=f"{title} because the line search shortens the steps: {cause}",
        advice=advice,
        settings=settings,
    )


def _entropy(evidence: _Evidence) -> Finding | None:
    """The policy has stopped exploring before it got anywhere; needs a full window."""
    started, first = evidence.state.started, evidence.state.first_entropy
    if started is None or first is None or len(evidence.recent) < WINDOW or evidence.solved:
        return None
    entropies = [update.entropy for update in evidence.recent]
    now = median(entropies[-WINDOW // 2 :])
    dimensions = _gaussian_dimensions(first)
    if dimensions:
        return _shrunk_gaussian(evidence, (now - first) / dimensions, entropies, dimensions)
    if started.first_update or not _looks_discrete(first) or now >= COLLAPSED_ENTROPY * first:
        return None
    return Finding(
        kind=Kind.ENTROPY,
        severity=Severity.WARNING,
        title=f"the policy is almost deterministic: entropy {now:.2f} of {first:.2f} nats at first",
        advice=(
            "it hardly explores any more and seldom recovers by itself. Unless its returns are what "
            "you want, start again with a smaller max_kl or longer rollout_steps, so that it "
            "commits later and on more evidence"
        ),
        settings=("max_kl", "rollout_steps"),
    )
