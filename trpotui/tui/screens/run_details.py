"""One run of the past in full: its settings, the end of its log, and what it crashed of."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from rich.table import Table
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static, TabbedContent, TabPane

from trpotui.past_runs import PastRun
from trpotui.past_runs.files import CRASH, LOG, read_tail, shown
from trpotui.tui.screens.dialog import Dialog
from trpotui.tui.widgets.run_table import standing

MOST_TEXT = 50_000
"""Bytes at the end of a log that are shown."""


class RunDetails(Dialog[None]):
    """A run in full, in three pages.

    Args:
        run: as it was when it was opened.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "close", key_display="esc"),
        Binding("s", "page('settings')", "settings"),
        Binding("l", "page('log')", "log"),
        Binding("c", "page('crash')", "crash"),
    ]

    def __init__(self, run: PastRun) -> None:
        super().__init__()
        self._run = run

    def compose(self) -> ComposeResult:
        """Pages below the condition, above one button."""
        with Vertical(classes="dialog run-details"):
            yield Static(shown(self._run.path, most=200), classes="title", markup=False)
            yield Static(standing(self._run), markup=False)
            with TabbedContent(initial="settings"):
                with TabPane("Settings (s)", id="settings"), VerticalScroll():
                    yield Static(_table(self._run), classes="run-settings", markup=False)
                with TabPane("Log (l)", id="log"), VerticalScroll():
                    yield Static(id="log-text", markup=False)
                with TabPane("Crash (c)", id="crash"), VerticalScroll():
                    yield Static(id="crash-text", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Close (esc)", id="close", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Read the texts."""
        self.query_one(TabbedContent).hide_tab("crash")
        self._read()

    @work(exit_on_error=False)
    async def _read(self) -> None:
        log = await asyncio.to_thread(read_tail, self._run.path / LOG, MOST_TEXT)
        crash = await asyncio.to_thread(read_tail, self._run.path / CRASH, MOST_TEXT)
        self.query_one("#log-text", Static).update(log or "there is no log")
        if crash:
            self.query_one("#crash-text", Static).update(crash)
            self.query_one(TabbedContent).show_tab("crash")

    def action_page(self, page: str) -> None:
        """Turn to a page and make its text the one that the arrow keys scroll."""
        tabs = self.query_one(TabbedContent)
        if tabs.get_tab(page).display:
            tabs.active = page
            self.query_one(f"#{page} VerticalScroll").focus()

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """The end of the log is what it was opened for."""
        if event.pane.id == "log":
            self.query_one("#log VerticalScroll", VerticalScroll).scroll_end(animate=False)

    def on_button_pressed(self) -> None:
        """Close by mouse."""
        self.dismiss()


def _table(run: PastRun) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in run.settings.items():
        table.add_row(name, value)
    if not run.settings:
        table.add_row("they cannot be read")
    return table
