"""The rows that forms are made of: a label, what is filled in, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Click
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Select, Static

from trpotui.errors import RequestError
from trpotui.tui.form import Form, choices, class_of, differs, meaning, parse, range_text, text_of
from trpotui.tui.widgets.text_field import TextField


class Choice(Select[str], inherit_bindings=False):
    """One of a few texts; one that is none of them is shown, too, for the form to complain of.

    Up and down leave it, as they leave every other field; left and right go through the texts.

    Args:
        texts: to choose from.
        value: the one that is chosen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "show_overlay", "choose", show=False),
        Binding("left", "step(-1)", "one before", show=False),
        Binding("right", "step(1)", "next one", show=False),
    ]

    def __init__(self, texts: Iterable[str], value: str) -> None:
        self._texts = tuple(dict.fromkeys((*texts, value)))
        super().__init__(
            [(text, text) for text in self._texts], value=value, allow_blank=False, compact=True
        )

    def show(self, texts: Iterable[str], value: str) -> None:
        """Offer other texts and choose one, without telling anyone."""
        texts = tuple(dict.fromkeys((*texts, value)))
        with self.prevent(Select.Changed):
            if texts != self._texts:
                self._texts = texts
                self.set_options((text, text) for text in texts)
            self.value = value

    def action_step(self, distance: int) -> None:
        """Choose the one before or after."""
        place = self._texts.index(str(self.value)) + distance
        self.value = self._texts[min(max(place, 0), len(self._texts) - 1)]


class PickerField(Widget, can_focus=True):
    """A value that is chosen in a dialog."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "open", "choose", show=False)]

    value: reactive[str] = reactive("")

    class Opened(Message):
        """The person wants to choose another value."""

    def render(self) -> Text:
        """The value, and the sign of something to open."""
        width = self.content_size.width
        text = Text(self.value, no_wrap=True, overflow="ellipsis")
        text.truncate(max(width - 3, 0), overflow="ellipsis", pad=True)
        text.append(" ▼ ", style="dim")
        text.truncate(width)
        return text

    def on_click(self) -> None:
        """Open by mouse."""
        self.action_open()

    def action_open(self) -> None:
        """Open by key."""
        self.post_message(self.Opened())


UP_AND_DOWN: list[BindingType] = [
    Binding("up", "app.focus_previous", "field above", show=False),
    Binding("down", "app.focus_next", "field below", show=False),
]


class FormRow(Vertical):
    """A label beside a control, and below them the reason why what it holds is wrong.

    Args:
        field: name of the field that is filled in.
        label: what the person reads; empty where the control says it.
        control: a compact widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = UP_AND_DOWN

    def __init__(self, field: str, label: str, control: Widget) -> None:
        super().__init__(classes="form-row")
        self.field = field
        self.label = label
        self.control = control
        self.problem = ""
        self._reason = Static("", classes="form-reason", markup=False)
        control.add_class("form-control")

    def compose(self) -> ComposeResult:
        """One line, and a second one when there is something wrong."""
        with Horizontal(classes="form-line"):
            if self.label:
                yield Static(self.label, classes="form-label", markup=False)
            yield self.control
        yield self._reason

    def show_problem(self, reason: str) -> None:
        """Mark the row as wrong, by a sign, a border and the reason; as right when it is empty."""
        if reason != self.problem:
            self.problem = reason
            self._reason.update(f"✗ {reason}")
            self.set_class(bool(reason), "-wrong")


class FieldName(Static):
    """The name of a field behind the sign of a changed one; a click takes the change back."""

    class Clicked(Message):
        """The person wants the value as it was."""

    def on_click(self, event: Click) -> None:
        """Take back by mouse."""
        event.stop()
        self.post_message(self.Clicked())


class FieldRow(Horizontal):
    """A field of a configuration: name, value and, beside it, what there is to say of that: why it
    is wrong, else what it was before it was changed, else its range.

    Args:
        form: where it stands.
        field: its name.
        text: what stands in it.
    """

    BINDINGS: ClassVar[list[BindingType]] = UP_AND_DOWN

    class Changed(Message):
        """Another text stands in the field."""

    def __init__(self, form: Form, field: str, text: str) -> None:
        super().__init__(classes="field-row")
        self.field = field
        self.text = text
        self.cls = class_of(form, field)
        options = choices(self.cls, field)
        self.control: Choice | TextField = Choice(options, text) if options else TextField(text)
        self.control.compact = True
        self.control.add_class("form-control")
        self.problem = ""
        self.is_changed = False
        self._form = form
        self._title = FieldName("", classes="field-name", markup=False)
        self._remark = Static("", classes="field-remark", markup=False)
        self._check()

    def compose(self) -> ComposeResult:
        """Name, value and remark."""
        yield self._title
        yield self.control
        yield self._remark

    @property
    def help(self) -> str:
        """What the field is for, and its range."""
        limits = range_text(self.cls, self.field)
        return f"{self.field} · {meaning(self.cls, self.field)}" + (
            f" ({limits})" if limits else ""
        )

    def value(self) -> object:
        """What stands in the field, as a value of its type.

        Raises:
            RequestError: it is wrong.
        """
        return parse(self.cls, self.field, self.text)

    def reset(self) -> None:
        """Put the base's value back."""
        self.control.value = text_of(self._form.base[self.field])

    def matches(self, words: Iterable[str]) -> bool:
        """Whether all words are part of its name or its meaning."""
        about = f"{self.field} {meaning(self.cls, self.field)}".lower()
        return all(word in about for word in words)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check what is typed, letter by letter."""
        event.stop()
        self._tell()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Check what is chosen."""
        event.stop()
        self._tell()

    def on_field_name_clicked(self, event: FieldName.Clicked) -> None:
        """Take a change back."""
        event.stop()
        self.reset()

    def _tell(self) -> None:
        self.text = str(self.control.value)
        before = self.problem, self.is_changed
        self._check()
        if (self.problem, self.is_changed) != before:
            self.post_message(self.Changed())

    def _check(self) -> None:
        try:
            self.value()
        except RequestError as error:
            self.problem = str(error)
        else:
            self.problem = ""
        self.is_changed = differs(self._form, self.field, self.text)
        self.set_class(bool(self.problem), "-wrong")
        self.set_class(self.is_changed, "-changed")
        self._title.update(f"• {self.field}" if self.is_changed else self.field)
        if self.problem:
            self._remark.update(f"✗ {self.problem}")
        elif self.is_changed:
            base = text_of(self._form.base[self.field]) or "none"
            self._remark.update(f"{self._form.base_name}: {base}")
        else:
            self._remark.update(range_text(self.cls, self.field))
