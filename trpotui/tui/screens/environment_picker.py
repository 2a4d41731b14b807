"""Choosing an environment: those that are registered, searched as one types, or any other id."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.fuzzy import Matcher
from textual.message import Message
from textual.style import Style
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from trpotui.tui.environment_list import Listed, find_unsupported, listed_environments
from trpotui.tui.screens.dialog import Dialog
from trpotui.tui.widgets.text_field import TextField

if TYPE_CHECKING:
    from trpotui.tui.app import TrpotuiApp

ID_WIDTH, GROUP_WIDTH, NUMBER_WIDTH = 28, 16, 10
LOOKING_SECONDS = 1.5
"""For finding out which environments are supported, each time that the dialog is opened."""
TYPED = "typed:"
"""Before the id of the option that stands for what was typed."""
HEADINGS = (
    f"{'environment':<{ID_WIDTH}}{'from':<{GROUP_WIDTH}}{'solved at':>{NUMBER_WIDTH}}"
    f"{'step limit':>{NUMBER_WIDTH + 2}}"
)


class Looked(Message):
    """An environment was made, to see whether it is supported."""

    def __init__(self, environment_id: str, reason: str) -> None:
        super().__init__()
        self.environment_id = environment_id
        self.reason = reason


class EnvironmentPicker(Dialog[str | None]):
    """A search field above a list; answers the id of an environment, or None when it was left.

    Args:
        current: the one that is chosen now.
    """

    app: TrpotuiApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "cancel"),
        Binding("enter", "take", "take"),
        Binding("up", "move(-1)", "up", show=False),
        Binding("down", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
    ]
    unsupported: ClassVar[dict[str, str]] = {}
    """By id, what is against each environment that was looked at in this sitting, or nothing."""

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current
        self._listed: list[Listed] = []
        self._search = TextField(
            placeholder=f"search, or type any id (now {current})", compact=True
        )
        self._list = OptionList(compact=True, markup=False)
        self._list.can_focus = False
        self._detail = Static("", id="environment-detail", markup=False)

    def compose(self) -> ComposeResult:
        """The search field, the list, and what is to be said of the highlighted one."""
        with Vertical(classes="dialog picker") as dialog:
            dialog.border_title = "Environment"
            dialog.border_subtitle = "↑↓ move   enter take   esc cancel"
            yield self._search
            yield Static(HEADINGS, id="environment-headings", markup=False)
            yield self._list
            yield self._detail
        yield Footer()

    def on_mount(self) -> None:
        """Wait for gymnasium."""
        self._search.focus()
        self.watch(self.app, "core_loaded", self._on_core_loaded)

    def _on_core_loaded(self, loaded: bool) -> None:
        if not loaded:
            self._detail.update("loading the list …")
            return
        self._listed = listed_environments()
        self._fill()
        self._look()

    def _fill(self) -> None:
        """List what the search leaves, best first, and what was typed if it is not there."""
        query = self._search.value.strip()
        matcher = Matcher(query, match_style=Style(bold=True, underline=True))
        before = self._highlighted()
        found = self._found(matcher)
        options = [Option(self._line(one, matcher), id=one.id) for one in found]
        if query and query not in {one.id for one in found}:
            options.append(Option(f'take "{query}" as it is typed', id=TYPED + query))
        self._list.clear_options()
        self._list.add_options(options)
        ids = [option.id for option in options]
        wanted = before if query == "" or before is None else None
        wanted = wanted or (self._current if not query else None)
        if options:
            self._list.highlighted = ids.index(wanted) if wanted in ids else 0
        self._show_detail()

    def _found(self, matcher: Matcher) -> list[Listed]:
        """What can be made and matches; all of that, the latest versions first, for no query."""
        here = [one for one in self._listed if not one.missing]
        if not matcher.query:
            # what is known to be refused goes to the end
            return sorted(here, key=lambda one: bool(self.unsupported.get(one.id)))
        scores = {one.id: matcher.match(one.id) for one in here}
        for one in here:  # a group that is named in so many words comes after
            if not scores[one.id] and matcher.query.lower() in one.group.lower():
                scores[one.id] = 1e-9
        return sorted(
            (one for one in here if scores[one.id] > 0),
            key=lambda one: (bool(self.unsupported.get(one.id)), not one.latest, -scores[one.id]),
        )

    def _line(self, one: Listed, matcher: Matcher) -> Content:
        """A row of the table; one that is refused bears a sign."""
        refused = bool(self.unsupported.get(one.id))
        name = matcher.highlight(one.id) if matcher.query else Content(one.id)
        name = Content("✗ ") + name if refused else name
        name = name.pad_right(max(ID_WIDTH - name.cell_length, 1))
        solved = "–" if one.solved_at is None else f"{one.solved_at:,g}"
        steps = "–" if one.most_steps is None else f"{one.most_steps:,}"
        rest = f"{one.group:<{GROUP_WIDTH}}{solved:>{NUMBER_WIDTH}}{steps:>{NUMBER_WIDTH + 2}}"
        return name + Content.styled(rest, "dim" if refused else "")

    def _highlighted(self) -> str | None:
        index = self._list.highlighted
        return None if index is None else self._list.get_option_at_index(index).id

    def _show_detail(self) -> None:
        """Why the highlighted one is refused; else what is not listed for lack of its package."""
        environment_id = self._highlighted()
        reason = self.unsupported.get(environment_id or "", "")
        if reason:
            self._detail.update(f"✗ {reason}")
        else:
            missing = Counter(one.missing for one in self._listed if one.missing)
            parts = [f"{count} for {package}" for package, count in sorted(missing.items())]
            text = f"not listed, for lack of a package: {', '.join(parts)}" if parts else ""
            self._detail.update(text)
        self._detail.set_class(bool(reason), "-wrong")

    # which ones are supported

    @work(thread=True, exit_on_error=False, exclusive=True)
    def _look(self) -> None:
        """Make those that nobody has looked at, for a moment, in a thread."""
        worker = get_current_worker()
        ids = [
            one.id
            for one in self._listed
            if one.latest and not one.missing and one.id not in self.unsupported
        ]
        for environment_id, reason in find_unsupported(
            ids, seconds=LOOKING_SECONDS, stop=lambda: worker.is_cancelled
        ):
            self.post_message(Looked(environment_id, reason))

    def on_looked(self, event: Looked) -> None:
        """Mark what is refused, and remember what is not."""
        self.unsupported[event.environment_id] = event.reason
        if event.reason:
            self._fill()

    # what the person does

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as one types."""
        event.stop()
        if self._listed:
            self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take by key."""
        event.stop()
        self.action_take()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take by mouse."""
        event.stop()
        self._list.highlighted = event.option_index
        self.action_take()

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say what is known of another one."""
        event.stop()
        self._show_detail()

    def action_take(self) -> None:
        """Answer the highlighted one; before there is a list, what was typed."""
        chosen = self._highlighted() or TYPED + self._search.value.strip()
        chosen = chosen.removeprefix(TYPED)
        if chosen:
            self.dismiss(chosen)

    def action_leave(self) -> None:
        """Answer that nothing is to be changed."""
        self.dismiss(None)

    def action_move(self, step: int) -> None:
        """Move through the list while the search field has the keys."""
        if step < 0:
            self._list.action_cursor_up()
        else:
            self._list.action_cursor_down()

    def action_page(self, step: int) -> None:
        """Move by a page."""
        last = self._list.option_count - 1
        if last >= 0:
            target = (self._list.highlighted or 0) + step * max(self._list.size.height - 1, 1)
            self._list.highlighted = min(max(target, 0), last)
