"""Every hyperparameter in a form: of a run that is being set up, or of the one that goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import DescendantFocus
from textual.widgets import Button, Footer, Input, Static

from trpotui.errors import RequestError
from trpotui.tui.form import Form, text_of
from trpotui.tui.screens.dialog import Dialog
from trpotui.tui.widgets.fields import FieldRow
from trpotui.tui.widgets.text_field import TextField

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

LOADING = "loading torch; the hyperparameters are here in a moment …"


class HyperparameterDialog(Dialog[dict[str, object] | None]):
    """A form; answers the values that differ from its base, or None when it was left.

    Args:
        make_form: what to ask for, called once the core is loaded; a RequestError is shown.
        search: whether the person is likely to look for a field first.
    """

    app: TrpotuiApp
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+s", "apply", "apply"),
        Binding("ctrl+r", "reset", "reset field"),
        Binding("ctrl+t", "reset_all", "reset all"),
        Binding("up", "app.focus_previous", "field above", show=False),
        Binding("down", "app.focus_next", "field below", show=False),
    ]

    def __init__(self, make_form: Callable[[], Form], *, search: bool = True) -> None:
        super().__init__()
        self._make_form = make_form
        self._form: Form | None = None
        self._fields: list[FieldRow] = []
        self._search = search
        self._filter = TextField(placeholder="filter by name or meaning", compact=True, id="filter")
        self._count = Static("", id="changed-count", markup=False)
        self._loading = Static(LOADING, id="loading")
        self._rows = VerticalScroll(self._loading, id="rows", can_focus=False)
        self._help = Static("", id="field-help", markup=False)

    def compose(self) -> ComposeResult:
        """A filter, the scrolling rows, the meaning of the field that is filled in."""
        with Vertical(classes="dialog form"):
            with Horizontal(id="form-head"):
                yield self._filter
                yield self._count
            yield self._rows
            yield self._help
            with Horizontal(classes="buttons"):
                yield Button("Apply", id="apply", variant="primary", compact=True)
                yield Button("Reset all", id="reset", compact=True)
                yield Button("Cancel", id="cancel", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        """Wait for the algorithms."""
        self._loading.display = not self.app.core_loaded
        self.watch(self.app, "core_loaded", self._on_core_loaded)

    async def _on_core_loaded(self, loaded: bool) -> None:
        if not loaded or self._form is not None:
            return
        dialog = self.query_one(".dialog")
        try:
            form = self._form = self._make_form()
        except RequestError as error:
            self._loading.update(f"✗ {error}")
            self._loading.display = True
            return
        dialog.border_title = form.title
        dialog.border_subtitle = "↑↓ move   enter apply   esc cancel"
        rows: list[Static | FieldRow] = []
        for group in form.groups:
            rows.append(Static(group.title, classes="form-heading", markup=False))
            for name in group.names:
                text = text_of(form.values.get(name, form.base[name]))
                self._fields.append(FieldRow(form, name, text))
                rows.append(self._fields[-1])
        async with self.batch():
            await self._rows.remove_children()
            await self._rows.mount_all(rows)
        self._show_count()
        (self._filter if self._search else self._fields[0].control).focus()

    # what the person does

    def action_apply(self) -> None:
        """Answer, unless a field is wrong: then go there."""
        for row in self._fields:
            if row.problem:
                row.display = True
                row.control.focus()
                self.app.notify(f"{row.field}: {row.problem}", severity="error", markup=False)
                return
        if self._form is not None:
            self.dismiss({row.field: row.value() for row in self._fields if row.is_changed})

    def action_leave(self) -> None:
        """Answer that nothing is to be changed."""
        self.dismiss(None)

    def action_reset(self) -> None:
        """Put the base's value back into the field that is filled in."""
        row = self._focused_row()
        if row is not None:
            row.reset()

    def action_reset_all(self) -> None:
        """Put all of the base's values back."""
        for row in self._fields:
            row.reset()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Do by mouse what the keys do."""
        event.stop()
        {
            "apply": self.action_apply,
            "reset": self.action_reset_all,
            "cancel": self.action_leave,
        }[str(event.button.id)]()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the form as it stands; from the filter, go on to the first field that it leaves."""
        event.stop()
        if event.input is not self._filter:
            self.action_apply()
            return
        for row in self._fields:
            if row.display:
                row.control.focus()
                return

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the rows that the filter leaves, and the headings above any."""
        event.stop()
        words = event.value.lower().split()
        heading: Static | None = None
        for child in self._rows.children:
            if isinstance(child, FieldRow):
                child.display = child.matches(words)
                if heading is not None:
                    heading.display = heading.display or child.display
            elif isinstance(child, Static):
                heading = child
                heading.display = False

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Say what the field is for."""
        del event
        row = self._focused_row()
        self._help.update("" if row is None else row.help, layout=False)

    def on_field_row_changed(self) -> None:
        """Count what differs."""
        self._show_count()

    def _show_count(self) -> None:
        changed = sum(row.is_changed for row in self._fields)
        wrong = sum(bool(row.problem) for row in self._fields)
        text = f"• {changed} changed" if changed else "nothing changed"
        self._count.update(f"✗ {wrong} wrong   {text}" if wrong else text)
        self._count.set_class(bool(wrong), "-wrong")

    def _focused_row(self) -> FieldRow | None:
        if self.focused is None:
            return None
        return next((node for node in self.focused.ancestors if isinstance(node, FieldRow)), None)
