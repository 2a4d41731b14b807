"""The question before a run is deleted."""

from __future__ import annotations

from trpotui.past_runs import PastRun
from trpotui.tui.screens.dialogs import ConfirmDialog
from trpotui.tui.widgets.run_table import name_of, standing


class DeleteDialog(ConfirmDialog):
    """Asks whether to delete a run; a stray enter does not answer with yes."""

    AUTO_FOCUS = "#cancel"

    def __init__(self, run: PastRun) -> None:
        question = "Delete this run for good, with its policies, metrics and log?"
        super().__init__(f"{question}\n\n{name_of(run)}\n{standing(run)}", agree="Delete")
