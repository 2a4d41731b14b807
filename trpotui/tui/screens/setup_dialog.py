"""The setup as a dialog, where the terminal is too narrow to have it at the side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer

from trpotui.tui.draft import Draft
from trpotui.tui.messages import RunRequested, StopRequested
from trpotui.tui.screens.dialog import Dialog
from trpotui.tui.widgets.setup import SetupPane

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp


@dataclass(frozen=True)
class SetupAnswer:
    """What the dialog was left with."""

    draft: Draft
    start: bool
    """Whether a run is to be started with it."""


class SetupDialog(Dialog[SetupAnswer]):
    """The same form as at the side of a wide terminal; what is filled in is kept either way.

    Args:
        draft: what stands in it at first.
    """

    app: TrpotuiApp
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "close"),
        Binding("ctrl+s", "start", "start"),
        Binding("ctrl+r", "hyperparameters", "hyperparameters"),
    ]

    def __init__(self, draft: Draft) -> None:
        super().__init__()
        self._pane = SetupPane(draft)

    def compose(self) -> ComposeResult:
        """The form, scrolling where it is too tall."""
        with VerticalScroll(classes="dialog setup", can_focus=False):
            yield self._pane
        yield Footer()

    def on_mount(self) -> None:
        """Begin with the first field."""
        self._pane.focus_form()

    def on_run_requested(self, event: RunRequested) -> None:
        """Answer that a run is to be started; the form has found nothing wrong."""
        event.stop()
        self.dismiss(SetupAnswer(self._pane.draft, start=True))

    def on_stop_requested(self, event: StopRequested) -> None:
        """End the run that goes on; the form is about the next one."""
        event.stop()
        self.app.stop_run()

    def action_leave(self) -> None:
        """Answer with what stands in the form."""
        self.dismiss(SetupAnswer(self._pane.draft, start=False))

    def action_start(self) -> None:
        """Start with what stands in the form."""
        if not self.app.busy:
            self._pane.request_run()

    def action_hyperparameters(self) -> None:
        """Open the form of the hyperparameters."""
        self._pane.edit_hyperparameters()
