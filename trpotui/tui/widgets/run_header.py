"""The first line: what is trained, how far it is, how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widget import Widget

from trpotui.telemetry import RunState

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

SYMBOLS = {
    "idle": ("○", "dim"),
    "training": ("●", "bold green"),
    "paused": ("‖", "bold yellow"),
    "stopping": ("◌", "bold yellow"),
    "finished": ("✓", "bold green"),
    "failed": ("✗", "bold red"),
}
"""A sign and a style for each status: never colour alone."""

WIDEST_BAR = 40


class RunHeader(Widget):
    """One line, shortened from its least important end on a narrow terminal."""

    app: TrpotuiApp
    DEFAULT_CSS = "RunHeader { height: 1; dock: top; background: $panel; color: $foreground; }"

    def __init__(self) -> None:
        super().__init__()
        self._state = RunState()

    def on_mount(self) -> None:
        """Follow the app's status."""
        self.watch(self.app, "status", self._follow_status, init=False)

    def _follow_status(self) -> None:
        self.refresh()

    def show(self, state: RunState) -> None:
        """Draw another state."""
        self._state = state
        self.refresh()

    def render(self) -> Text:
        """The line for the present width."""
        state, width = self._state, self.size.width
        left = Text(" trpotui", style="bold")
        if state.started is not None:
            started = state.started
            left.append(
                f"  {started.environment_id} · {started.algorithm.upper()} · {started.device}"
                f" · seed {started.seed}",
                style="not bold",
            )
        symbol, style = SYMBOLS[self.app.status]
        status = Text.assemble("   ", (symbol, style), f" {self.app.status}   ")
        line = left + status
        for part in self._numbers(width - line.cell_len):
            if line.cell_len + len(part) + 2 <= width:
                line.append(part + "  ")
        return line

    def _numbers(self, room: int) -> list[str]:
        """Progress, time left, speed: the most important first."""
        state = self._state
        if state.started is None or not state.total_steps:
            return []
        share = min(state.steps / state.total_steps, 1.0)
        bar = max(0, min(WIDEST_BAR, room - 44))
        filled = round(bar * share)
        parts = []
        if bar >= 8:
            parts.append("━" * filled + "─" * (bar - filled))
        parts.append(f"{share:.0%}")
        if state.seconds_left is not None and self.app.busy:
            parts.append(f"ETA {_clock(state.seconds_left)}")
        if state.steps_per_second is not None:
            parts.append(_speed(state.steps_per_second))
        if state.update is not None:
            parts.append(f"update {state.update.update:,}")
        return parts


def _speed(steps_per_second: float) -> str:
    if steps_per_second >= 10_000:
        return f"{steps_per_second / 1000:.0f}k steps/s"
    return f"{steps_per_second:,.0f} steps/s"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as many of them as are needed."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
