"""Keys that come faster than they are dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.events import Key, Paste
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.setup_app import until
from trpotui.tui.widgets.text_field import TextField

PASTED = "pasted:"


class OneField(App[None]):
    """A field in boxes, and what was submitted."""

    submitted: tuple[str, ...] = ()
    last = ""

    def compose(self) -> ComposeResult:
        with Vertical(), Vertical(), Vertical():
            yield TextField("0.02")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.submitted += (event.value,)

    def on_key(self, event: Key) -> None:
        """What the field leaves comes up to here."""
        self.last = event.key

    @property
    def value(self) -> str:
        return self.query_one(TextField).value


def events(typed: list[str]) -> Iterator[Key | Paste]:
    """What a terminal hands over: letters, names of keys, and what is pasted."""
    for each in typed:
        if each.startswith(PASTED):
            yield Paste(each.removeprefix(PASTED))
        else:
            yield Key({".": "full_stop"}.get(each, each), each if len(each) == 1 else None)


async def send(app: OneField, pilot: Pilot[None], typed: list[str]) -> None:
    """Hand over all of it in one piece, and wait until a key behind it has come up to the app."""
    app.last = ""
    for event in (*events(typed), Key("f1", None)):
        app.post_message(event)
    await until(pilot, lambda: app.last == "f1")


@pytest.mark.parametrize(
    ("typed", "value", "submitted"),
    [
        (["end", "backspace", "5"], "0.05", ()),
        (["ctrl+u", "7"], "7", ()),
        (["ctrl+u", "1", ".", "backspace", "backspace", "2", "left", "9"], "92", ()),
        (["home", "delete", "3", "right", "1"], "3.102", ()),
        (["ctrl+u", "a", "backspace", "enter", "b", "enter"], "b", ("", "b")),
        (["ctrl+u", PASTED + "1e-3", "home", PASTED + "-"], "-1e-3", ()),
        (["ctrl+u", "a", "b", "ctrl+w", "c"], "c", ()),
    ],
)
def test_keys_that_come_at_once_do_what_they_do_one_by_one(typed, value, submitted):
    async def main(pieces: list[list[str]]) -> None:
        app = OneField()
        async with app.run_test() as pilot:
            for piece in pieces:
                await send(app, pilot, piece)
            await until(pilot, lambda: len(app.submitted) == len(submitted))
            assert (app.value, app.submitted) == (value, submitted)

    asyncio.run(main([typed]))
    asyncio.run(main([[each] for each in typed]))


def test_keys_that_are_not_the_fields_go_on_and_no_letter_does():
    async def main() -> None:
        app = OneField()
        async with app.run_test() as pilot:
            await send(app, pilot, ["x", "f2", "y"])
            app.last = ""
            await pilot.press("z", "backspace", "home")
            assert app.last == ""
            await pilot.press("f2")
            assert app.last == "f2"

    asyncio.run(main())
