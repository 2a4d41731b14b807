"""The policies that can be played, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from trpotui.run_log import return_text
from trpotui.tui.policy_list import PolicyEntry, age, amount

if TYPE_CHECKING:
    from trpotui.rl.policy import Score

LEAST = {"policy": 14, "environment": 14, "algo": 5, "score": 18, "steps": 6, "age": 6}
"""Widths of the columns on a narrow terminal."""
BESIDE = {"policy": 10, "score": 7}
"""Those of a table that is a list beside something else."""
GROWING = (("policy", 32), ("score", 21), ("environment", 26), ("algo", 8), ("policy", 10_000))
"""What takes the room there is beyond that, up to which width, in this order."""
LIVE = "live"
"""Key of the row of the run that goes on."""


@dataclass(frozen=True)
class LiveEntry:
    """The policy of the run that goes on."""

    environment_id: str
    algorithm: str
    score: tuple[float, float, int] | None
    """Mean, standard deviation and number of its latest evaluation."""
    steps: int


Entry = PolicyEntry | LiveEntry


class Row(NamedTuple):
    """What the table shows of an entry."""

    key: str
    cells: tuple[Text, ...]


class PolicyTable(DataTable[Text], inherit_bindings=False):
    """Rows to choose from, that stay where they are while others come and go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "play", tooltip="play the policy in a window"),
        Binding("up", "cursor_up", "up", show=False, system=True),
        Binding("down", "cursor_down", "down", show=False, system=True),
        Binding("pageup", "page_up", "page up", show=False, system=True),
        Binding("pagedown", "page_down", "page down", show=False, system=True),
        Binding("home,ctrl+home", "scroll_top", "first policy", show=False, system=True),
        Binding("end,ctrl+end", "scroll_bottom", "last policy", show=False, system=True),
    ]

    class Chosen(Message):
        """The person wants to see a policy play."""

        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

    class Highlighted(Message):
        """The cursor has come to a policy."""

        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

    def __init__(self) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True)
        self.border_title = "Policies"
        self._entries: dict[str, Entry] = {}
        self._rows: list[Row] = []
        self._now = 0.0

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor."""
        if not 0 <= self.cursor_row < len(self._rows):
            return None
        return self._entries[self._rows[self.cursor_row].key]

    def show(self, entries: Sequence[Entry], now: float) -> None:
        """Show other entries; `now` in seconds since 1970."""
        self._entries, self._now = {_key(entry): entry for entry in entries}, now
        before, self._rows = self._rows, self._made()
        if self.row_count != len(before) or [r.key for r in before] != [r.key for r in self._rows]:
            self._fill(self._cursor_key(before))
            return
        for index, (old, new) in enumerate(zip(before, self._rows, strict=True)):
            for column, (was, cell) in enumerate(zip(old.cells, new.cells, strict=True)):
                if was != cell:
                    self.update_cell_at(Coordinate(index, column), cell)

    def on_resize(self) -> None:
        """Give the name what the other columns leave."""
        room = self.outer_size.width - self.gutter.width - self.scrollbar_size_vertical
        widths = column_widths(room, padding=2 * self.cell_padding)
        if [column.width for column in self.ordered_columns] == list(widths.values()):
            return
        cursor = self._cursor_key(self._rows)
        self.clear(columns=True)
        for name, width in widths.items():
            self.add_column(name, width=width, key=name)
        self._rows = self._made()
        self._fill(cursor)

    def _made(self) -> list[Row]:
        """The rows of the entries at the present width."""
        widths = [column.width for column in self.ordered_columns] or [*LEAST.values()]
        cells = list_cells_of if len(widths) == len(BESIDE) else cells_of
        return [
            Row(key, cells(entry, self._now, name_width=widths[0]))
            for key, entry in self._entries.items()
        ]

    def _cursor_key(self, rows: list[Row]) -> str | None:
        return rows[self.cursor_row].key if 0 <= self.cursor_row < len(rows) else None

    def _fill(self, cursor: str | None) -> None:
        """Put in every row anew, with the cursor on the entry that it was on."""
        if not self.columns:
            return  # not laid out yet
        self.clear()
        for row in self._rows:
            self.add_row(*row.cells, key=row.key)
        keys = [row.key for row in self._rows]
        if cursor in keys:
            self.move_cursor(row=keys.index(cursor), animate=False)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Tell the screen in its own words."""
        event.stop()
        if event.row_key.value in self._entries:
            self.post_message(self.Chosen(self._entries[event.row_key.value]))

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Tell the screen in its own words."""
        event.stop()
        if event.row_key.value in self._entries:
            self.post_message(self.Highlighted(self._entries[event.row_key.value]))


def column_widths(room: int, *, padding: int) -> dict[str, int]:
    """Widths of the columns in so many cells, which their padding is taken from.

    Where there is no room for all of them, those of a list.
    """
    widths = dict(LEAST if room >= sum(LEAST.values()) + padding * len(LEAST) else BESIDE)
    room -= padding * len(widths)
    for column, most in GROWING:
        if column not in widths or (widths.keys() == BESIDE.keys() and column != "policy"):
            continue
        extra = max(room - sum(widths.values()), 0)
        widths[column] += min(extra, most - widths[column])
    return widths


def cells_of(entry: Entry, now: float, *, name_width: int) -> tuple[Text, ...]:
    """The cells of an entry's row."""
    if isinstance(entry, LiveEntry):
        score = "" if entry.score is None else _score(*entry.score)
        texts = [entry.environment_id, entry.algorithm, score, amount(entry.steps), "now"]
        name = "● the run that goes on" if name_width >= 22 else "● this run"
        return (Text(name, style="bold"), *map(_cell, texts))
    name, written = shortened(entry.name, name_width), age(max(now - entry.time, 0.0))
    if entry.problem is not None:
        bad = (Text(name, style="dim"), Text("✗ unreadable", style="bold red"))
        return (*bad, *map(_cell, ("", "", "", written)))
    texts = [entry.environment_id, entry.algorithm, _of(entry.score), amount(entry.steps), written]
    return tuple(map(_cell, (name, *texts)))


def list_cells_of(entry: Entry, now: float, *, name_width: int) -> tuple[Text, ...]:
    """The cells of an entry's row in a list."""
    del now
    if isinstance(entry, LiveEntry):
        name, score = Text("● this run", style="bold"), entry.score and entry.score[0]
    elif entry.problem is not None:
        return (Text(shortened(entry.name, name_width), style="dim"), Text("✗", style="bold red"))
    else:
        name = _cell(shortened(entry.name, name_width))
        score = None if entry.score is None else entry.score.mean
    return (name, Text("" if score is None else return_text(score), justify="right"))


def shortened(name: str, width: int) -> str:
    """A name without its middle where it is too long: runs differ at their ends."""
    if len(name) <= width:
        return name
    end = max(width // 2, 1)
    return f"{name[: max(width - end - 1, 0)]}…{name[-end:]}"


def _cell(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def _of(score: Score | None) -> str:
    return "" if score is None else _score(score.mean, score.std, score.episodes)


def _score(mean: float, std: float, episodes: int) -> str:
    return f"{mean:.1f} ± {std:.1f} ({episodes})"


def _key(entry: Entry) -> str:
    return LIVE if isinstance(entry, LiveEntry) else str(entry.path)
