"""One live chart."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content as Label
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from trpotui.telemetry import RunState
from trpotui.tui.widgets.chart_subjects import NAME, Subject
from trpotui.tui.widgets.drawing import ON_DARK, ON_LIGHT, Colours, draw
from trpotui.tui.widgets.plotting import Content, picture

Scales = dict[str, bool]
"""Whether the axis of a subject is logarithmic, by its name; where it is not said, as it began."""
AROUND_TITLE = 6
"""Cells of the border that no title gets."""
LEAST_FOR_HINT = 24


class Chart(Widget, can_focus=True):
    """The curves of one subject, kept as drawn until there is something else to draw.

    A chart that nobody sees draws nothing: it remembers the state, and draws when it is seen. One
    behind a dialog follows the terminal's size and the theme, but not the run.

    Args:
        subject: what it shows.
        scales: the axes that were chosen, shared by charts that may show the same.
        switchable: whether its title offers other subjects.
        enlarged: whether it is as large as it gets.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "toggle_scale", "log axis", False, tooltip="logarithmic or linear axis"),
        Binding("enter", "enlarge", "enlarge", False, tooltip="let a chart fill the screen"),
    ]

    class EnlargeRequested(Message):
        """The person wants a chart to fill the screen."""

        def __init__(self, subject: Subject) -> None:
            super().__init__()
            self.subject = subject

    class SubjectRequested(Message):
        """The person wants another subject on this chart: the one so many places further."""

        def __init__(self, chart: Chart, distance: int) -> None:
            super().__init__()
            self.chart = chart
            self.distance = distance

    def __init__(
        self,
        subject: Subject,
        scales: Scales,
        *,
        switchable: bool = False,
        enlarged: bool = False,
    ) -> None:
        super().__init__()
        self._subject = subject
        self._scales = scales
        self._switchable = switchable
        self._enlarged = enlarged
        self._state = RunState()
        self._drawn: tuple[Subject, bool, Size, Colours] | None = None
        self._content: Content | None = None
        self._strips: list[Strip] = []
        self.draws = 0
        """Times that something was drawn anew."""

    def on_mount(self) -> None:
        """Follow the theme, and see when what covers the chart goes away."""
        self.app.theme_changed_signal.subscribe(self, lambda _theme: self._update())
        self.app.screen_change_signal.subscribe(
            self, lambda _screen: self.call_after_refresh(self._update)
        )

    # what it shows

    @property
    def subject(self) -> Subject:
        """What it shows."""
        return self._subject

    @property
    def logarithmic(self) -> bool:
        """Whether its vertical axis is."""
        return self._scales.get(self._subject.name, self._subject.logarithmic)

    def show(self, state: RunState) -> None:
        """Draw the curves of a state, if they are seen and are others than before."""
        self._state = state
        if self.is_attached and self.screen.is_active and self.is_on_screen:
            self._update()

    def turn_to(self, subject: Subject, *, switchable: bool) -> None:
        """Show another subject."""
        self._subject = subject
        self._switchable = switchable
        self._update()

    def _update(self) -> None:
        if not (self.is_attached and self.screen.is_current and self.display and self.size):
            return
        self._write_titles()
        if self._draw():
            self.refresh()

    def _draw(self) -> bool:
        """Draw what is not drawn yet; whether there was anything."""
        colours = ON_DARK if self.app.current_theme.dark else ON_LIGHT
        drawn = (self._subject, self.logarithmic, self.size, colours)
        content = self._subject.content(self._state)
        if drawn == self._drawn and content.same_as(self._content):
            return False
        self._drawn, self._content = drawn, content
        self.draws += 1
        width, height = self.size
        found = picture(content, width, height, logarithmic=self.logarithmic)
        if isinstance(found, str):
            self._strips = _centred(found, width, height)
        else:
            self._strips = draw(found, width, height, colours)
        return True

    def _write_titles(self) -> None:
        colours = ON_DARK if self.app.current_theme.dark else ON_LIGHT
        arrows = 4 if self._switchable else 0
        room = self.outer_size.width - AROUND_TITLE - arrows
        label = Label()
        names = Label()
        pieces = self._subject.title(self._state, room, logarithmic=self.logarithmic)
        for piece, separator in pieces:
            sign = (piece.sign, "" if piece.role is None else f"rgb{colours[piece.role]}")
            text = Label.assemble(separator, sign, piece.text)
            if piece.group is NAME:
                names += text
            else:
                label += text
        if self._switchable:
            names = Label.assemble("‹ ", names, " ›")
        _set_label(self, "border_title", names + label)
        hint = ""
        if (self.has_focus or self.mouse_hover) and room >= LEAST_FOR_HINT:
            axis = "linear axis" if self.logarithmic else "log axis"
            hint = f"[@click=toggle_scale]{axis}[/]"
            if not self._enlarged:
                hint += " · [@click=enlarge]enlarge[/]"
        _set_label(self, "border_subtitle", Label.from_markup(hint))

    # Textual

    def render_line(self, y: int) -> Strip:
        """A line as it was drawn last; what was drawn for another size is not shown."""
        if self._drawn is not None and self._drawn[2] != self.size:
            self._draw()
        style = self.rich_style
        if y < len(self._strips):
            return self._strips[y].apply_style(style)
        return Strip.blank(self.size.width, style)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """An enlarged chart cannot be enlarged."""
        return super().check_action(action, parameters) and not (
            action == "enlarge" and self._enlarged
        )

    def on_show(self) -> None:
        """Draw what came while it was hidden."""
        self._update()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._update()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Offer what can be done."""
        super().watch_has_focus(has_focus)
        self._update()

    def watch_mouse_hover(self, _over: bool) -> None:
        """Offer what can be done with the mouse."""
        self._update()

    def on_click(self, event: events.Click) -> None:
        """The title turns to other subjects, and two clicks elsewhere enlarge."""
        if event.y == 0 and self._switchable:
            self.post_message(self.SubjectRequested(self, -1 if event.x <= 3 else 1))
        elif event.chain == 2:
            self.action_enlarge()

    def action_toggle_scale(self) -> None:
        """Change between a logarithmic and a linear axis."""
        self._scales[self._subject.name] = not self.logarithmic
        self._update()

    def action_enlarge(self) -> None:
        """Ask to fill the screen."""
        self.post_message(self.EnlargeRequested(self._subject))


def _set_label(chart: Chart, name: str, label: Label) -> None:
    """Set a title if it is another one: every setting draws the widget again."""
    if getattr(chart, name) != label.markup:
        setattr(chart, name, label)


def _centred(text: str, width: int, height: int) -> list[Strip]:
    line = text[:width].center(width)
    blank = Strip.blank(width)
    strips = [blank] * height
    strips[(height - 1) // 2] = Strip([Segment(line)], width)
    return strips
