"""Small dialogs: a question, and an error."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Collapsible, Static

from trpotui.tui.screens.dialog import Dialog


class ConfirmDialog(Dialog[bool]):
    """A question; answers True when the person agrees.

    Args:
        question: one sentence.
        agree: what the button of agreement says.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "cancel"),
        Binding("y", "answer(True)", "agree"),
    ]

    def __init__(self, question: str, *, agree: str) -> None:
        super().__init__()
        self._question = question
        self._agree = agree

    def compose(self) -> ComposeResult:
        """The question above its two answers."""
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False)
            with Horizontal(classes="buttons"):
                yield Button(f"{self._agree} (y)", id="agree", variant="primary")
                yield Button("Cancel (esc)", id="cancel")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer by mouse."""
        self.dismiss(event.button.id == "agree")

    def action_answer(self, agreed: bool) -> None:
        """Answer by key."""
        self.dismiss(agreed)


class QuitDialog(ConfirmDialog):
    """The question before a run is ended by quitting; whoever insists on Ctrl-C agrees."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "answer(True)", "agree", show=False)]

    def __init__(self) -> None:
        super().__init__("Stop the run, save it and quit?", agree="Stop and quit")


class ErrorDialog(Dialog[None]):
    """A sentence about what went wrong, with the traceback for whoever wants it.

    Args:
        message: one sentence.
        details: many lines.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter", "app.pop_screen", "close")]

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__()
        self._message = message
        self._details = details

    def compose(self) -> ComposeResult:
        """The sentence, the folded details, one button."""
        with Vertical(classes="dialog error"):
            yield Static(self._message, markup=False)
            if self._details:
                with Collapsible(title="details"), VerticalScroll():
                    yield Static(self._details, markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Close (esc)", id="close", variant="primary")

    def on_button_pressed(self) -> None:
        """Close by mouse."""
        self.dismiss()
