"""Keys that come faster than they are dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import pytest
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input

from tests.tui.setup_app import until
from trpotui.tui import keys_in_order
from trpotui.tui.keys_in_order import OrderlyApp


class Fields(OrderlyApp):
    """Two fields, one below the other, in a box."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "app.focus_next"),
        Binding("f1", "open"),
        Binding("f2", "clear", priority=True),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(), Vertical():
            yield Input("0.02", id="above")
            yield Input("", id="below")

    def values(self) -> list[str]:
        return [field.value for field in self.screen_stack[0].query(Input)]

    def action_open(self) -> None:
        self.push_screen(Dialog())

    def action_clear(self) -> None:
        self.query_one("#above", Input).value = ""


class Dialog(ModalScreen[None]):
    """A field of its own; Escape leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss")]

    def compose(self) -> ComposeResult:
        yield Input("", id="within")


PASTED = "pasted:"


def at_once(*typed: str) -> list[Key | Paste]:
    """What a terminal hands over in one piece: letters, names of keys, and what is pasted."""
    events: list[Key | Paste] = []
    for each in typed:
        if each.startswith(PASTED):
            events.append(Paste(each.removeprefix(PASTED)))
        elif len(each) == 1:
            events.append(Key({".": "full_stop"}.get(each, each), each))
        else:
            events.append(Key(each, None))
    return events


async def press(app: OrderlyApp, pilot: Pilot[Any], *typed: str) -> None:
    """Hand all of it over in one piece, and wait until it has been dealt with."""
    received = asyncio.Event()
    for event in at_once(*typed):
        app.post_message(event)
    app.call_later(received.set)
    await until(pilot, received.is_set)
    await until(pilot, lambda: app._under_way is None and not app._waiting)


def drive(test: Callable[[Fields, Pilot[Any]], Awaitable[None]]) -> None:
    async def main() -> None:
        app = Fields()
        async with app.run_test() as pilot:
            await test(app, pilot)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        (["end", "backspace", "5"], ["0.05", ""]),
        (["ctrl+u", "7"], ["7", ""]),
        (["ctrl+u", "1", ".", "backspace", "backspace", "2", "left", "9"], ["92", ""]),
        (["down", "8"], ["0.02", "8"]),
        (["ctrl+u", "3", "down", "4", "backspace", "5"], ["3", "5"]),
        (["ctrl+u", PASTED + "1e-3", "home", PASTED + "-"], ["-1e-3", ""]),
        (["down", PASTED + "x"], ["0.02", "x"]),
        (["5", "f2", "6", "f2", "7"], ["7", ""]),
        (["down", "a", "b", "c", "backspace"] * 4, ["ab", "ab"]),
    ],
)
def test_keys_that_come_at_once_do_what_they_do_one_by_one(typed, values):
    async def together(app, pilot):
        await press(app, pilot, *typed)
        assert app.values() == values
        assert app._patience is None

    async def one_by_one(app, pilot):
        for each in typed:
            await press(app, pilot, each)
        assert app.values() == values

    drive(together)
    drive(one_by_one)


def test_a_dialog_takes_what_is_typed_from_the_key_that_opens_it_to_the_one_that_closes_it():
    async def test(app, pilot):
        await press(app, pilot, "f1", "4", "backspace", "ctrl+u")
        assert isinstance(app.screen, Dialog)
        assert app.values() == ["0.02", ""]
        await press(app, pilot, "5", "escape", "ctrl+u", "9")
        assert app.values() == ["9", ""]

    drive(test)


def test_a_key_that_is_never_dealt_with_holds_the_others_up_for_a_while_only(monkeypatch):
    monkeypatch.setattr(keys_in_order, "LONGEST_SECONDS", 0.05)
    # its way up to the app is lost, as it is with a widget that goes away
    monkeypatch.setattr(OrderlyApp, "_leave", lambda *_: None)

    async def test(app, pilot):
        for event in at_once("ctrl+u", "1", "2", "3"):
            app.post_message(event)
        await until(pilot, lambda: app.values()[0] == "123")
        await until(pilot, lambda: not app._waiting)

    drive(test)
