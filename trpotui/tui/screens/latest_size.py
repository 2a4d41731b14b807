"""Screens that a storm of resizes cannot trap."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.events import Resize


class LatestSize:
    """Of the sizes that wait for a screen, only the terminal's present one is laid out.

    Textual lays a screen out for each, tells the screen of the size that it has got by that, and
    lays it out for that size again: two sizes that wait at the same time would so follow each other
    for ever, and nothing else would come to its turn. Stands before `Screen` among the bases.
    """

    app: App[Any]

    def on_resize(self, event: Resize) -> None:
        """Leave out what is no longer true."""
        if event.size != self.app.size:
            event.stop()
            event.prevent_default()
