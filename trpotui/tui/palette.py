"""The command palette: every action of the screen in front, and the themes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen
from textual.theme import ThemeProvider

from trpotui.tui.actions import actions_of
from trpotui.tui.screens.latest_size import LatestSize

OF_TEXTUAL = ("Theme", "Screenshot")
"""What we have no key for."""


class Palette(LatestSize, CommandPalette):
    """Textual's palette, safe from storms of resizes, and left for good by Ctrl-C."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "app.quit", "quit", show=False)]


class PaletteApp(App[int]):
    """An app whose palette lists what its bindings do."""

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that can be done on the screen below, with its key."""
        for command in super().get_system_commands(screen):
            if command.title in OF_TEXTUAL:
                yield command
        for action in actions_of(screen):
            if action.name != "command_palette":
                yield SystemCommand(
                    action.title,
                    " ".join(action.keys),
                    partial(self.run_action, action.name, action.node),
                )

    def action_command_palette(self) -> None:
        """Open the palette."""
        if self.use_command_palette and not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        """Let the person choose a theme."""
        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))
