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

NARROW = 100
"""Columns below which a run leaves no room for the name of the program."""
NARROWEST_BAR, WIDEST_BAR = 8, 40


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
        name = state.started is None or width >= NARROW
        left = Text(" trpotui" if name else "", style="bold")
        if state.started is not None:
            started = state.started
            left.append(
                f"{'  ' if name else ' '}{started.environment_id} · {started.algorithm.upper()}"
                f" · {started.device} · seed {started.seed}",
                style="not bold",
            )
        symbol, style = SYMBOLS[self.app.status]
        status = Text.assemble("   ", (symbol, style), f" {self.app.status}   ")
        line = left + status
        if state.failure is not None:
            reason = Text(state.failure)
            reason.truncate(max(width - line.cell_len, 0), overflow="ellipsis")
            return line + reason
        return line.append(self._numbers(width - line.cell_len))

    def _numbers(self, room: int) -> str:
        """Progress, times, speed and update, as far as there is room, behind a bar of the rest."""
        state = self._state
        if state.started is None or not state.total_steps:
            return ""
        wanted: list[tuple[str, ...]] = [(f"{state.share:.0%}",)]
        if state.update is not None:
            wanted.append(self._times(state.update.seconds, state.seconds_left))
        if state.steps_per_second is not None:
            speed = _speed(state.steps_per_second)
            wanted.append((f"{speed} steps/s", f"{speed}/s"))
        if state.update is not None:
            wanted.append((f"update {state.update.update:,}",))
        parts = ""
        for alternatives in wanted:
            fitting = (part for part in alternatives if len(parts) + len(part) + 2 <= room)
            part = next(fitting, "")
            parts += part and part + "  "
        bar = min(WIDEST_BAR, room - len(parts) - 2)
        if bar < NARROWEST_BAR:
            return parts
        filled = round(bar * state.share)
        return "━" * filled + "─" * (bar - filled) + "  " + parts

    def _times(self, seconds: float, left: float | None) -> tuple[str, ...]:
        """Of training so far, and until its end while it goes on."""
        if left is None or not self.app.busy:
            return (f"in {_clock(seconds)}",)
        return (f"{_clock(seconds)} · ETA {_clock(left)}", f"ETA {_clock(left)}")


def _speed(steps_per_second: float) -> str:
    if steps_per_second >= 10_000:
        return f"{steps_per_second / 1000:.0f}k"
    return f"{steps_per_second:,.0f}"


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds, as many of them as are needed."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
