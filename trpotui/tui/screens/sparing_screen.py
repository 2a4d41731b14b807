"""A screen that is styled and drawn no more often than somebody could see."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import App
from textual.events import ScreenResume
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget


class SparingScreen(Screen[None]):
    """The screen that an app starts with, whose first frame comes as a whole and early.

    Textual styles every widget of it when that is mounted, again when the screen is resumed, and
    again when the screen has a size and so classes for it; it draws everything while nothing
    may be shown yet, and shows what it then draws piece by piece. It also draws the whole screen
    for every move of the focus, beside the widgets that look different for it.
    """

    app: App[Any]
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)
    _resumed = False

    def __init__(self) -> None:
        super().__init__()
        # what it is mounted with are the app's present styles: they need not be read once more
        self._css_update_count = self.app._css_update_count

    def on_compose(self) -> None:
        """Take the classes of the terminal's size while there is nothing else to style by them."""
        width, height = self.app.size
        for size, own, shared in (
            (width, self.HORIZONTAL_BREAKPOINTS, self.app.HORIZONTAL_BREAKPOINTS),
            (height, self.VERTICAL_BREAKPOINTS, self.app.VERTICAL_BREAKPOINTS),
        ):
            chosen = shared if own is None else own
            self.add_class(*self._get_breakpoint_classes(size, chosen or []))

    @on(ScreenResume)
    def keep_styles(self, event: ScreenResume) -> None:
        """Keep the styles that every widget has got when it was mounted just now."""
        if not self._resumed:
            event.refresh_styles = False
        self._resumed = True

    def _compositor_refresh(self) -> None:
        """Draw, unless a batch goes on: nothing of it would be shown, nor be drawn again."""
        if not self.app._batch_count:
            super()._compositor_refresh()
