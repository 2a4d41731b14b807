"""Pictures of pixels in the app: when they are drawn, and when they are taken away."""

from __future__ import annotations

import asyncio
import threading

import pytest
from textual.events import Resize
from textual.geometry import Size
from textual.screen import Screen

from tests.tui.play_helpers import cartpole, until
from trpotui.episodes import PlayOptions
from trpotui.tui.graphics import Graphics, Spot
from trpotui.tui.player_app import PlayerApp
from trpotui.tui.playing import Tempo
from trpotui.tui.widgets import frame_view
from trpotui.tui.widgets.frame_view import FrameView

PATIENCE = 60.0
PICTURE, REMOVAL = "<picture>", "<removal>"


class Marks(Graphics):
    """Writes a word in place of each picture, when it is let."""

    def __init__(self):
        super().__init__()
        self.begun = 0
        self.let = threading.Event()
        self.let.set()

    def spot(self, height, width, *, rows, columns):
        return Spot(0, 0, columns, rows, width, height)

    def draw(self, *_):
        self.begun += 1
        assert self.let.wait(PATIENCE)
        return PICTURE

    @property
    def removal(self):
        return REMOVAL


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # a picture that was held for long is not followed by a rest as long as that
    monkeypatch.setattr(frame_view, "REST", 0.0)


async def poll(condition):
    """Wait without the pilot, which would wait for the picture that is held."""
    async with asyncio.timeout(PATIENCE / 2):
        while not condition():
            await asyncio.sleep(0.005)


def drive(test):
    """Run `test` on an app that has stopped at a picture, with what is written to its terminal."""
    graphics = Marks()
    options = PlayOptions(episodes=1000)
    app = PlayerApp(cartpole(), options, tempo=Tempo(0.01, 1.0), graphics=graphics)
    written = []

    async def main():
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            app._driver.write = written.append
            await until(pilot, lambda: PICTURE in "".join(written))
            await pilot.press("space")
            view = app.screen.query_one(FrameView)
            await until(pilot, lambda: app.playing.pace.paused and view._next_picture is None)
            await test(pilot, graphics, written)
            graphics.let.set()

    asyncio.run(main())
    assert app.error is None


def test_a_screen_laid_over_a_picture_that_stands_still_has_it_taken_away():
    async def test(pilot, _, written):
        written.clear()
        await pilot.app.push_screen(Screen())
        await until(pilot, lambda: REMOVAL in written)
        assert PICTURE not in "".join(written)
        written.clear()
        pilot.app.pop_screen()
        await until(pilot, lambda: PICTURE in "".join(written))
        assert REMOVAL not in written

    drive(test)


@pytest.mark.parametrize("what", ["covered", "resized"])
def test_a_picture_that_was_made_for_another_place_is_not_written(what, monkeypatch):
    # a drawing is held up here, which is no reason to rest from it for as long
    monkeypatch.setattr(frame_view, "REST", -1.0)

    async def test(pilot, graphics, written):
        begun = graphics.begun
        graphics.let.clear()
        pilot.app.playing.step()
        await poll(lambda: graphics.begun > begun)
        if what == "covered":
            await pilot.app.push_screen(Screen())
        else:
            pilot.app._driver._size = Size(120, 40)
            pilot.app.post_message(Resize(Size(120, 40), Size(120, 40)))
            room = pilot.app.screen.query_one(FrameView)._place
            await poll(lambda: room() is not None and room().height > 30)
        written.clear()
        begun = graphics.begun
        graphics.let.set()
        if what == "resized":
            await poll(lambda: graphics.begun > begun and PICTURE in "".join(written))
            assert "".join(written).count(PICTURE) == 1  # the one for the new place
        else:
            view = pilot.app.screen_stack[0].query_one(FrameView)
            await poll(lambda: view._next_picture is None and not view._is_graphic)
            await pilot.pause()
            assert PICTURE not in "".join(written)

    drive(test)


def test_the_same_frame_is_not_drawn_again_for_the_numbers_beside_it():
    async def test(pilot, *_):
        view = pilot.app.screen.query_one(FrameView)
        view.show(view._frame)
        assert view._next_picture is None
        view.show(view._frame.copy())
        assert view._next_picture is not None

    drive(test)
