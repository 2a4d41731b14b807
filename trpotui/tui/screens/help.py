"""The keys of the screen below, made from its bindings."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from trpotui.tui.actions import actions_of
from trpotui.tui.screens.dialog import Dialog


class HelpScreen(Dialog[None]):
    """Every key that works on the screen below, with what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "app.pop_screen", "close", key_display="esc")
    ]

    def compose(self) -> ComposeResult:
        """A scrolling list of keys."""
        with VerticalScroll(classes="dialog"):
            yield Static("Keys", classes="title")
            yield Static(self._keys())

    def _keys(self) -> Table:
        below = self.app.screen_stack[-2] if len(self.app.screen_stack) > 1 else self.app.screen
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", min_width=8)
        table.add_column()
        for action in actions_of(below):
            table.add_row(Text(" ".join(action.keys)), Text(action.meaning))
        return table
