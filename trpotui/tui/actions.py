"""What can be done on a screen, made from its bindings: what the palette and `?` list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input

COMMON_ACTIONS = ("app.focus_next", "app.focus_previous", "screen.copy_text")
"""Of every Textual app; among our own they would be in the way."""


@dataclasses.dataclass(frozen=True)
class Action:
    """Something that keys do."""

    name: str
    """As Textual calls it."""
    node: DOMNode
    """Whose action it is."""
    word: str
    """As it stands in the footer."""
    meaning: str
    """In a few words."""
    keys: tuple[str, ...]
    """As a person knows them."""

    @property
    def title(self) -> str:
        """Its meaning, behind the word from the footer if that is not a part of it."""
        title = self.meaning if self.word in self.meaning else f"{self.word}: {self.meaning}"
        return title[0].upper() + title[1:]


def actions_of(screen: Screen[Any]) -> list[Action]:
    """Everything that can be done now, each once; also what a field keeps the key of for itself."""
    actions: dict[str, Action] = {}
    for node, binding in _bindings(screen):
        key = screen.app.get_key_display(binding)
        meaning = binding.tooltip or binding.description
        meaning = meaning[0].lower() + meaning[1:]  # Textual's own begin with a capital
        known = actions.get(meaning)
        if known is None:
            word = binding.description
            actions[meaning] = Action(binding.action, node, word, meaning, (key,))
        elif key not in known.keys:
            keys = sorted((*known.keys, key), key=len)  # the simplest first
            actions[meaning] = dataclasses.replace(known, keys=tuple(keys))
    return list(actions.values())


def is_listed(binding: Binding) -> bool:
    """Whether it does more than move about, and is not one that every app has."""
    return bool(
        binding.description
        and not binding.system
        and binding.action not in COMMON_ACTIONS
        and binding.key != "ctrl+q"
    )


def _bindings(screen: Screen[Any]) -> Iterator[tuple[DOMNode, Binding]]:
    """As `Screen.active_bindings`, which leaves out the keys that a field would take as text."""
    focused, app = screen.focused, screen.app
    taken: set[str] = set()
    for node in [screen, app] if focused is None else focused.ancestors_with_self:
        if not isinstance(node, Input) and not type(node).__module__.startswith("textual."):
            for key, binding in node._bindings:
                enabled = app._check_action_state(binding.action, node) is not False
                if enabled and key not in taken and binding.action not in COMMON_ACTIONS:
                    taken.add(key)
                    if is_listed(binding):
                        yield node, binding
        if node.is_modal:
            return
