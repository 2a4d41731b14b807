"""The keys at the bottom of a screen."""

from __future__ import annotations

from textual.events import Resize
from textual.widgets import Footer

NARROW = 100
"""Columns below which the keys stand close together, and the palette is left to `ctrl+p`."""


class KeyFooter(Footer):
    """A footer in which every key of the screen is seen down to 80 columns."""

    def on_resize(self, event: Resize) -> None:
        """Close up on a narrow terminal."""
        narrow = event.size.width < NARROW
        self.compact = narrow
        self.show_command_palette = not narrow
