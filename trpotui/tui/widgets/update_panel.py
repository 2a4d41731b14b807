"""The trust-region step that was just taken, in the paper's symbols with this update's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from trpotui.diagnosis import Severity, diagnose
from trpotui.events import LineSearchTry, RejectReason, TrustRegionStep
from trpotui.telemetry import RunState

BARS = "▁▂▃▄▅▆▇█"
MOST_TRIES = 6
"""Tries of a line search that are listed; of a longer one the first and the last ones."""
SMALLEST_RESIDUAL = 1e-12

REASONS = {
    RejectReason.KL_TOO_LARGE: "> δ",
    RejectReason.NO_GAIN: "no gain",
    RejectReason.NOT_FINITE: "not finite",
    RejectReason.ZERO_GRADIENT: "the gradient is zero",
    RejectReason.NOT_POSITIVE_CURVATURE: "xᵀHx is not positive",
}


class UpdatePanel(VerticalScroll):
    """The step, every try of its line search, and what is wrong with the run if anything is."""

    def __init__(self) -> None:
        super().__init__()
        self.border_title = "This update"
        self._text = Static(Text("no update yet", style="dim"), id="update-text")

    def compose(self) -> Iterator[Static]:
        """One text, that scrolls where it does not fit."""
        yield self._text

    def show(self, state: RunState) -> None:
        """Draw the last update of a state."""
        if state.update is None:
            self._text.update(Text("no update yet", style="dim"))
            self.border_title = "This update"
            return
        self.border_title = f"Update {state.update.update:,}"
        text = Text()
        for finding in diagnose(state)[:2]:
            style = "bold red" if finding.severity is Severity.SERIOUS else "bold yellow"
            text.append(f"⚠ {finding.title}", style=style)
            text.append(f": {finding.advice}\n")
        if state.update.trust_region is not None:
            text.append_text(step_text(state.update.trust_region))
        text.append(f"entropy {state.update.entropy:.3f}  ")
        text.append(f"expl. var. {state.update.explained_variance:.2f}")
        self._text.update(text)


def step_text(step: TrustRegionStep) -> Text:
    """A trust-region step, line by line as in the paper's appendix C."""
    text = Text()
    text.append(f"gᵀx {_number(step.g_dot_x)}  xᵀHx {_number(step.x_h_x)}\n")
    text.append(f"β = √(2δ/xᵀHx) = {_number(step.step_scale)}\n")
    for index, one in _shown(step.tries):
        if one is None:
            text.append("      …\n", style="dim")
        else:
            text.append_text(_try(one, first=index == 0))
    if not step.accepted and step.reject_reason is not None:
        text.append(f"✗ refused: {REASONS[step.reject_reason]}\n", style="bold red")
    if step.cg_residuals:
        text.append(
            f"CG {sparkline(step.cg_residuals)} {step.cg_residuals[-1]:.0e}"
            f" in {len(step.cg_residuals) - 1}\n"
        )
    text.append(f"gain {_number(step.surrogate_gain)} of {_number(step.expected_gain)} expected\n")
    share = step.kl / step.max_kl
    filled = min(round(10 * share), 10)
    text.append(f"KL {'▰' * filled}{'▱' * (10 - filled)} {_number(step.kl)} of {step.max_kl:g}\n")
    return text


def sparkline(residuals: tuple[float, ...]) -> str:
    """Residuals on a logarithmic scale, one bar an iteration; the first is the highest."""
    logs = [
        math.log10(max(residual, SMALLEST_RESIDUAL)) if math.isfinite(residual) else 0.0
        for residual in residuals
    ]
    low, high = min(logs), max(logs)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in logs)


def _shown(tries: tuple[LineSearchTry, ...]) -> Iterator[tuple[int, LineSearchTry | None]]:
    """The tries to list; None stands for those left out."""
    if len(tries) <= MOST_TRIES:
        yield from enumerate(tries)
        return
    head = MOST_TRIES // 2
    yield from enumerate(tries[:head])
    yield head, None
    yield from enumerate(tries[-head:], len(tries) - head)


def _try(one: LineSearchTry, *, first: bool) -> Text:
    taken = one.reject_reason is None
    text = Text("tried " if first else "      ")
    text.append(f"{one.fraction:.2f} ")
    text.append("✓" if taken else "✗", style="bold green" if taken else "bold red")
    if one.reject_reason is RejectReason.NO_GAIN:
        text.append(f" gain {_number(one.gain)}\n")
    else:
        text.append(f" KL {_number(one.kl)}")
        text.append("\n" if one.reject_reason is None else f" {REASONS[one.reject_reason]}\n")
    return text


def _number(value: float) -> str:
    """Three significant digits in at most eight characters."""
    return f"{value:.3g}"
