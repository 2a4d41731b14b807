"""What happens in a run as plain sentences, without times: whoever shows them knows the clock."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from trpotui.events import (
    CheckpointSaved,
    EvaluationFinished,
    Event,
    HyperparametersChanged,
    Notice,
    RejectReason,
    RunFinished,
    RunStarted,
    StopReason,
    TrustRegionStep,
    UpdateFinished,
)

REASONS = {
    RejectReason.KL_TOO_LARGE: "KL too large",
    RejectReason.NO_GAIN: "no gain",
    RejectReason.NOT_FINITE: "not finite",
    RejectReason.ZERO_GRADIENT: "gradient is zero",
    RejectReason.NOT_POSITIVE_CURVATURE: "curvature not positive",
}
"""Why a step was refused, in words."""


class Tone(StrEnum):
    """What a line is about."""

    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


class LogLine(NamedTuple):
    """One line of a run's log."""

    text: str
    tone: Tone


def log_line(event: Event) -> LogLine | None:
    """What an event has to say; None for those that only bring numbers."""
    match event:
        case UpdateFinished():
            return _update(event)
        case RunStarted():
            return LogLine(_started(event), Tone.PLAIN)
        case EvaluationFinished():
            return _evaluation(event)
        case HyperparametersChanged():
            return LogLine(f"after update {event.update}: {changes(event)}", Tone.PLAIN)
        case CheckpointSaved():
            return LogLine(f"checkpoint saved after update {event.update}", Tone.PLAIN)
        case Notice():
            return LogLine(event.message, Tone.WARNING)
        case RunFinished():
            return _finished(event)
        case _:
            return None


def changes(event: HyperparametersChanged) -> str:
    """The new values, e.g. `max_kl = 0.02, gamma = 0.98`."""
    return ", ".join(f"{name} = {value}" for name, value in event.values.items())


def kl_text(kl: float) -> str:
    """A divergence in nats, to four places or, where those would be zeros, to two digits."""
    return f"{kl:.4f}" if kl >= 0.0005 or kl == 0.0 else f"{kl:.1e}"


def return_text(value: float) -> str:
    """A return with about as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _update(event: UpdateFinished) -> LogLine:
    step = event.trust_region
    if event.reject_reason is not None:
        refused = _refused(step, REASONS[event.reject_reason])
        return LogLine(f"update {event.update}: {refused}, parameters kept", Tone.WARNING)
    parts = [f"update {event.update}: KL {kl_text(event.kl)}"]
    if event.max_kl is not None:
        parts[0] += f" of {kl_text(event.max_kl)}"
    if step is not None:
        parts.append(_taken(step))
    if event.return_mean is not None:
        parts.append(f"return {return_text(event.return_mean)}")
    return LogLine(", ".join(parts), Tone.PLAIN)


def _taken(step: TrustRegionStep) -> str:
    if step.step_fraction == 1.0:
        return "full step accepted"
    return f"{step.step_fraction:.2g} of the step at try {len(step.tries)}"


def _refused(step: TrustRegionStep | None, reason: str) -> str:
    if step is None:
        return f"refused ({reason})"
    if not step.tries:
        return f"no step tried ({reason})"
    tries = "try" if len(step.tries) == 1 else "tries"
    return f"step refused after {len(step.tries)} {tries} ({reason})"


def _started(event: RunStarted) -> str:
    length = f"{event.total_steps:,} steps"
    if event.total_episodes:
        length = f"{event.total_episodes:,} episodes (or {length})"
    text = (
        f"training {event.algorithm} on {event.environment_id}: {length}, "
        f"{event.n_envs} environments, seed {event.seed}, {event.device}"
    )
    return f"{text}, going on after update {event.first_update}" if event.first_update else text


def _evaluation(event: EvaluationFinished) -> LogLine:
    score = f"{event.mean:,.1f} ± {event.std:,.1f} over {event.episodes} episodes"
    if event.solved:
        score += ", solved"
    if event.is_best:
        return LogLine(f"new best: {score}", Tone.GOOD)
    return LogLine(f"evaluation: {score}", Tone.PLAIN)


def _finished(event: RunFinished) -> LogLine:
    verbs = {
        StopReason.SOLVED: "solved",
        StopReason.STOPPED: "stopped",
        StopReason.STEPS_REACHED: "finished",
        StopReason.EPISODES_REACHED: "finished",
    }
    text = f"{verbs[event.reason]} after {event.steps:,} steps and {event.seconds:.1f} s"
    if event.best_mean is not None:
        text += f", best {event.best_mean:,.1f} over {event.best_episodes} episodes"
    return LogLine(text, Tone.GOOD if event.reason is StopReason.SOLVED else Tone.PLAIN)
