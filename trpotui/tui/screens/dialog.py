"""What all dialogs have in common."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from trpotui.tui.screens.latest_size import LatestSize

Answer = TypeVar("Answer")


class Dialog(LatestSize, ModalScreen[Answer]):
    """A screen over another one, which keeps the app's keys away but for Ctrl-C: that quits."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "app.quit", "quit", show=False)]
