"""The last lines of the run's log."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import RichLog

from trpotui.run_log import Tone
from trpotui.telemetry import RunState

STYLES = {Tone.PLAIN: "", Tone.GOOD: "green", Tone.WARNING: "yellow", Tone.ERROR: "bold red"}
"""What a line says is in its words; the colour only helps to find it."""


class LogPane(RichLog):
    """Lines as they come; it follows them unless the person has scrolled up."""

    def __init__(self) -> None:
        super().__init__(wrap=True, max_lines=500, min_width=1, markup=False, highlight=False)
        self.border_title = "Log"
        self._written = 0

    def show(self, state: RunState) -> None:
        """Add what the log of `state` has and this pane has not."""
        if state.log.total < self._written:  # another run
            self.clear()
            self._written = 0
        new = state.log.total - self._written
        if new:
            for line in state.log[-min(new, len(state.log)) :]:
                text = Text(line.text, style=STYLES[line.tone])
                self.write(text, scroll_end=self.is_vertical_scroll_end)
            self._written = state.log.total
