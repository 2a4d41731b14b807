"""What is wrong with a run, in plain words, and what to try.

Every check looks at the updates since hyperparameters were last changed by hand, says nothing
before it has seen enough of them, and rests on medians or on the spread of what it compares, so
that no single update and no particular environment decides.
"""

from __future__ import annotations

from trpotui.diagnosis.finding import WINDOW, Evidence, Finding, Kind, Severity
from trpotui.diagnosis.learning import collapsed_entropy, poor_critic, slow_device, still_returns
from trpotui.diagnosis.steps import (
    large_residual,
    not_finite,
    refused_steps,
    small_gain,
    small_kl,
)
from trpotui.telemetry import RunState

__all__ = ["Finding", "Kind", "Severity", "diagnose"]

CHECKS = (
    not_finite,
    refused_steps,
    collapsed_entropy,
    poor_critic,
    still_returns,
    small_gain,
    large_residual,
    small_kl,
    slow_device,
)


def diagnose(state: RunState) -> tuple[Finding, ...]:
    """What is wrong with a run, worst first; nothing where there is too little to go by."""
    if state.started is None:
        return ()
    changed_at = state.marks[-1].steps if state.marks else -1
    updates = [update for update in state.recent_updates if update.steps > changed_at]
    steps = [update.trust_region for update in updates if update.trust_region is not None]
    evidence = Evidence(
        state=state,
        started=state.started,
        updates=updates,
        recent=updates[-WINDOW:],
        steps=steps[-WINDOW:],
        kept=[step for step in steps[-2 * WINDOW :] if step.accepted][-WINDOW:],
        solved=_is_solved(state),
    )
    findings = [finding for check in CHECKS if (finding := check(evidence)) is not None]
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def _is_solved(state: RunState) -> bool:
    """Whether the returns are where the environment says they should be, or an evaluation was."""
    solved_at = None if state.started is None else state.started.solved_at
    if solved_at is None:
        return False
    recent, best = state.recent_mean, state.best
    return (recent is not None and recent >= solved_at) or (
        best is not None and (best.solved or best.mean >= solved_at)
    )
