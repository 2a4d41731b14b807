"""The runs of the past as a table, updated in place while they go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from trpotui.past_runs import Condition, PastRun
from trpotui.past_runs.files import shown
from trpotui.run_log import return_text
from trpotui.series import Series
from trpotui.tui.policy_list import age, amount

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 12
COLUMNS = ("", "environment", "algo", "seed", "steps", "best", "curve", "age", "state")
SIGNS = {
    Condition.WRITTEN: ("●", "bold green"),
    Condition.FINISHED: ("✓", "green"),
    Condition.RESUMABLE: ("‖", "yellow"),
    Condition.UNFINISHED: ("○", "dim"),
    Condition.DAMAGED: ("!", "bold red"),
}
"""A sign and a style for each condition: never colour alone."""
WORDS = {
    Condition.WRITTEN: "training",
    Condition.FINISHED: "finished",
    Condition.RESUMABLE: "stopped",
    Condition.UNFINISHED: "cut off",
    Condition.DAMAGED: "damaged",
}


class RunTable(DataTable[Text], inherit_bindings=False):
    """One row a run; the keys that act on the row under the cursor are the screen's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.open", "open", tooltip="the run in full: settings and log"),
        Binding("space", "screen.mark", "mark", tooltip="mark up to four runs to compare them"),
        Binding("up", "cursor_up", "up", show=False, system=True),
        Binding("down", "cursor_down", "down", show=False, system=True),
        Binding("left", "cursor_left", "left", show=False, system=True),
        Binding("right", "cursor_right", "right", show=False, system=True),
        Binding("pageup", "page_up", "page up", show=False, system=True),
        Binding("pagedown", "page_down", "page down", show=False, system=True),
        Binding("home,ctrl+home", "scroll_top", "first run", show=False, system=True),
        Binding("end,ctrl+end", "scroll_bottom", "last run", show=False, system=True),
    ]

    class MarkRequested(Message):
        """The person has clicked where the mark of a run is or would be."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False)
        self._rows: dict[str, tuple[Text, ...]] = {}

    def on_mount(self) -> None:
        """Make the columns."""
        for label in COLUMNS:
            self.add_column(label, key=label)

    def show(self, runs: Sequence[PastRun], marks: Mapping[Path, Text], now: float) -> None:
        """Draw runs, in their order.

        Args:
            runs: all of them.
            marks: the sign of each marked run.
            now: seconds since 1970.
        """
        rows = {str(run.path): _cells(run, marks.get(run.path, Text(" ")), now) for run in runs}
        if [*rows] != [*self._rows]:
            self._replace(rows)
        else:
            for key, cells in rows.items():
                for column, cell, before in zip(COLUMNS, cells, self._rows[key], strict=True):
                    if cell != before:
                        self.update_cell(key, column, cell, update_width=True)
        self._rows = rows

    def _replace(self, rows: Mapping[str, tuple[Text, ...]]) -> None:
        """Other runs, or another order: the cursor stays on its run, or where that was."""
        key, place = self.cursor_key, self.cursor_row
        self.clear()
        for path, cells in rows.items():
            self.add_row(*cells, key=path)
        keys = [*rows]
        place = keys.index(key) if key is not None and key in rows else min(place, len(keys) - 1)
        self.move_cursor(row=max(place, 0), animate=False)

    @property
    def cursor_key(self) -> str | None:
        """The path of the run under the cursor."""
        keys = [*self._rows]
        return keys[self.cursor_row] if 0 <= self.cursor_row < len(keys) else None

    def on_click(self, event: events.Click) -> None:
        """A click on the first column marks the run."""
        row, column = event.style.meta.get("row", -1), event.style.meta.get("column", -1)
        if column == 0 and 0 <= row < len(self._rows):
            event.prevent_default()
            self.move_cursor(row=row)
            self.post_message(self.MarkRequested(Path([*self._rows][row])))


def _cells(run: PastRun, mark: Text, now: float) -> tuple[Text, ...]:
    best = "–" if run.metrics.best is None else return_text(run.metrics.best.mean)
    return (
        mark,
        Text(run.environment_id),
        Text(run.algorithm),
        Text("–" if run.seed is None else str(run.seed), justify="right"),
        Text(amount(run.metrics.steps), justify="right"),
        Text(best, justify="right"),
        Text(sparkline(run.metrics.returns)),
        Text(age(max(now - run.started, 0.0)), justify="right"),
        state_text(run),
    )


def state_text(run: PastRun) -> Text:
    """The condition of a run in a sign and a word."""
    if run.metrics.share_read < 1.0:
        return Text(f"… {run.metrics.share_read:.0%} read", style="dim")
    sign, style = SIGNS[run.condition]
    word = WORDS[run.condition]
    if run.failed and run.condition in (Condition.RESUMABLE, Condition.UNFINISHED):
        sign, style, word = "✗", "bold red", "failed"
    elif run.condition is Condition.FINISHED and run.note == "solved":
        word = "solved"
    return Text.assemble((sign, style), " ", word)


def name_of(run: PastRun) -> str:
    """The run's directory, without where all runs are."""
    return shown(f"{run.path.parent.name}/{run.path.name}", most=100)


def standing(run: PastRun) -> str:
    """How a run stands, on one line."""
    metrics = run.metrics
    steps = amount(metrics.steps)
    total = "" if run.total_steps is None else f" of {amount(run.total_steps)}"
    parts = [f"{run.condition} ({run.note})", f"{steps}{total} steps"]
    if run.metrics.best is not None:
        spread = "" if run.metrics.best.std is None else f" ± {return_text(run.metrics.best.std)}"
        parts.append(
            f"best {return_text(run.metrics.best.mean)}{spread} at {amount(run.metrics.best.steps)}"
        )
    if metrics.wrong_rows:
        parts.append(f"{metrics.wrong_rows:,} damaged rows left out")
    return " · ".join(parts)


def sparkline(series: Series, width: int = CURVE_WIDTH) -> str:
    """A curve as one line of bars, from its least to its greatest mean."""
    means = [column.mean for column in series.columns(width)]
    if not means:
        return ""
    low, high = min(means), max(means)
    span = high / 2 - low / 2  # the difference of two huge values might overflow
    if span <= 0:
        return BARS[len(BARS) // 2] * len(means)
    top = len(BARS) - 1
    return "".join(BARS[round((mean / 2 - low / 2) / span * top)] for mean in means)
