"""The update that was just made; a trust-region step in the paper's symbols with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from trpotui.events import LineSearchTry, RejectReason, TrustRegionStep, UpdateFinished
from trpotui.telemetry import RunState
from trpotui.tui.widgets.axes import number

if TYPE_CHECKING:
    from trpotui.diagnosis import Finding

BARS = "▁▂▃▄▅▆▇█"
MOST_TRIES = 6
"""Tries of a line search that are listed; of a longer one the first and the last ones."""
SMALLEST_RESIDUAL = 1e-12
MOST_FINDINGS = 2
TWO_COLUMNS = 60
"""From this width on the direction stands beside the search."""

NO_UPDATE = Text("no update yet", style="dim")
NO_RUN = Text("no update yet: s starts a run, n sets it up", style="dim")

REASONS = {
    RejectReason.KL_TOO_LARGE: "KL > δ",
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
        self._text = Static(NO_RUN, id="update-text")
        self._state = RunState()

    def compose(self) -> Iterator[Static]:
        """One text, that scrolls where it does not fit."""
        yield self._text

    def on_resize(self) -> None:
        """Use the new width."""
        self.show(self._state)

    def show(self, state: RunState) -> None:
        """Draw the last update of a state."""
        self._state = state
        if state.update is None:
            self._text.update(NO_RUN if state.started is None else NO_UPDATE)
            self.border_title = "This update"
            return
        from trpotui.diagnosis import diagnose  # noqa: PLC0415 - after the first frame

        self.border_title = f"Update {state.update.update:,}"
        parts: list[RenderableType] = [finding_text(one) for one in diagnose(state)[:MOST_FINDINGS]]
        numbers = Text(f"entropy {state.update.entropy:.3f}\n")
        numbers.append(f"explained var. {state.update.explained_variance:.2f}")
        step = state.update.trust_region
        if step is None:
            parts += [ascent_text(state.update), numbers]
        elif self.size.width < TWO_COLUMNS:
            parts += [direction_text(step), search_text(step), outcome_text(step), numbers]
        else:
            table = Table.grid(padding=(0, 3))
            table.add_row(
                Group(direction_text(step), outcome_text(step)),
                Group(search_text(step), numbers),
            )
            parts.append(table)
        self._text.update(Group(*parts))


def finding_text(finding: Finding) -> Text:
    """What is wrong, and what to try."""
    from trpotui.diagnosis import Severity  # noqa: PLC0415 - as above

    style = "bold red" if finding.severity is Severity.SERIOUS else "bold yellow"
    return Text.assemble((f"⚠ {finding.title}", style), f": {finding.advice}")


def ascent_text(update: UpdateFinished) -> Text:
    """What an update without a trust-region step has to say; what does not apply is left out."""
    target = "" if update.target_kl is None else f" (target {update.target_kl:g})"
    lines = [f"KL {_number(update.kl)}{target}"]
    if update.largest_kl is not None:
        lines.append(f"largest KL {_number(update.largest_kl)}")
    if update.surrogate_gain is not None:
        lines.append(f"gain {_number(update.surrogate_gain)}")
    if update.penalty is not None:
        lines.append(f"penalty {_number(update.penalty)} per nat")
    if update.clip_range is not None and update.clip_fraction is not None:
        lines.append(f"clip ±{update.clip_range:g}: {update.clip_fraction:.0%} beyond it")
    if update.epochs is not None:
        early = ", stopped early" if update.stopped_early else ""
        lines.append(f"{update.epochs} {'pass' if update.epochs == 1 else 'passes'}{early}")
    if update.learning_rate is not None:
        lines.append(f"learning rate {_number(update.learning_rate)}")
    lines.append(f"gradient norm {_number(update.grad_norm)}")
    text = Text("\n".join(lines))
    if update.reject_reason is not None:
        text.append(f"\n✗ refused: {REASONS[update.reject_reason]}", style="bold red")
    return text


def direction_text(step: TrustRegionStep) -> Text:
    """How the full step was found, as in the paper's appendix C."""
    text = Text(f"gᵀx {_number(step.g_dot_x)}  xᵀHx {_number(step.x_h_x)}\n")
    text.append(f"β = √(2δ/xᵀHx) = {_number(step.step_scale)}")
    if step.cg_residuals:
        text.append(
            f"\nCG {sparkline(step.cg_residuals)} {step.cg_residuals[-1]:.0e}"
            f" in {len(step.cg_residuals) - 1}"
        )
    return text


def search_text(step: TrustRegionStep) -> Text:
    """Every try of the line search, and why it was refused."""
    lines = [
        Text("      …", style="dim") if one is None else _try(one, first=index == 0)
        for index, one in _shown(step.tries)
    ]
    if not step.accepted and step.reject_reason is not None:
        lines.append(Text(f"✗ refused: {REASONS[step.reject_reason]}", style="bold red"))
    return Text("\n").join(lines)


def outcome_text(step: TrustRegionStep) -> Text:
    """What the step that was kept brought, beside what was expected and allowed."""
    text = Text(f"gain {_number(step.surrogate_gain)}, exp. {_number(step.expected_gain)}\n")
    share = step.kl / step.max_kl
    filled = round(6 * min(share, 1.0)) if math.isfinite(share) else 0
    text.append("▰" * filled + "▱" * (6 - filled))
    text.append(f" KL {_number(step.kl)} of δ {step.max_kl:g}")
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
        return text.append(f" gain {_number(one.gain)}")
    text.append(f" KL {_number(one.kl)}")
    if one.reject_reason is RejectReason.KL_TOO_LARGE:
        return text.append(" > δ")
    return text if one.reject_reason is None else text.append(f" {REASONS[one.reject_reason]}")


def _number(value: float) -> str:
    """Three significant digits in at most eight characters, of small numbers as 7.79e-4."""
    return number(value) if abs(value) < 1e-3 else f"{value:.3g}"
