"""The keys of the screen below, made from its bindings."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from trpotui.tui.screens.latest_size import LatestSize

COMMON_ACTIONS = ("app.focus_next", "app.focus_previous", "screen.copy_text")


class HelpScreen(LatestSize, ModalScreen[None]):
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
        lines = []
        for active in below.active_bindings.values():
            binding = active.binding
            if binding.description and not binding.system and not _is_common(binding):
                key = self.app.get_key_display(binding)
                lines.append((key, binding.tooltip or binding.description))
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", min_width=8)
        table.add_column()
        for key, meaning in dict.fromkeys(lines):
            table.add_row(Text(key), Text(meaning))
        return table


def _is_common(binding: Binding) -> bool:
    """Whether it is one of the keys that every Textual app has, which would bury our own."""
    return binding.action in COMMON_ACTIONS or binding.key == "ctrl+q"
