"""Choosing a policy and seeing it play: on the Play screen, in windows, and beside the charts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from textual.widgets import Static

from tests.tui.play_helpers import drive, random_policy, save, until
from trpotui import pacing
from trpotui.episodes import EpisodePlayed, PlayOptions
from trpotui.errors import NoDisplayError, RunError
from trpotui.tui import app as app_module
from trpotui.tui import playing as playing_module
from trpotui.tui.app import Status
from trpotui.tui.messages import PlayRequested
from trpotui.tui.screens import play as play_module
from trpotui.tui.screens.play import PlayScreen
from trpotui.tui.screens.train import TrainScreen
from trpotui.tui.widgets.policy_table import PolicyTable
from trpotui.tui.widgets.watch_pane import WatchPane
from trpotui.tui.windows import EPISODES, MOST_WINDOWS
from trpotui.viewing.contenders import Contender

SIZES = [(80, 24), (200, 60)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test begins in an empty folder, which is looked at often, and plays without rests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(play_module, "SCAN_SECONDS", 0.2)
    monkeypatch.setattr(app_module, "PULL_SECONDS", 0.02)
    monkeypatch.setattr(playing_module, "FRAME_SECONDS", 0.1)
    monkeypatch.setattr(pacing, "HOLD_SECONDS", 0.0)
    return tmp_path


class FakeWindows:
    """Windows that play what they are told to, until the test closes them."""

    def __init__(self, *returns: float, error: Exception | None = None) -> None:
        self.returns = returns
        self.error = error
        self.opened: list[tuple[Contender, PlayOptions]] = []
        self.closed = 0

    @contextlib.asynccontextmanager
    async def __call__(self, shown: Contender, options: PlayOptions) -> AsyncIterator[FakeWindows]:
        if self.error is not None:
            raise self.error
        self.opened.append((shown, options))
        try:
            yield self
        finally:
            self.closed += 1

    async def events(self) -> AsyncIterator[object]:
        for number, value in enumerate(self.returns, 1):
            yield EpisodePlayed(episode=number, seed=number - 1, episode_return=value, length=9)
        yield "something else that happened"


class StayingWindows(FakeWindows):
    """Windows that stay open until the app is left."""

    async def events(self) -> AsyncIterator[object]:
        async for event in super().events():
            yield event
        await asyncio.Event().wait()


def table_of(app):
    return app.screen.query_one(PolicyTable)


def rows(app):
    table = table_of(app)
    return [[str(cell) for cell in table.get_row_at(i)] for i in range(table.row_count)]


def about(app):
    return str(app.screen.query_one("#about", Static).render())


def toasts(app):
    return [notification.message for notification in app._notifications]


def facts(view):
    return view.query_one("PolicyFacts").render().plain


def picture(view):
    frame_view = view.query_one("FrameView")
    return "".join(frame_view.render_line(y).text for y in range(frame_view.size.height))


async def listed(pilot, app, count):
    await until(pilot, lambda: table_of(app).row_count == count)


def three_policies():
    now = datetime.now(UTC)
    for hours, name in ((30, "old"), (1, "new"), (5, "middle")):
        made = (now - timedelta(hours=hours, minutes=1)).isoformat()
        save_path = play_module.SAVED / f"{name}.pt"
        save(save_path, created=made, steps=20_480 * hours)


# the list


@pytest.mark.parametrize("size", SIZES)
def test_policies_are_listed_with_what_is_known_of_them_the_newest_first(size):
    three_policies()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        assert rows(app) == [
            ["new", "CartPole-v1", "trpo", "487.5 ± 12.2 (20)", "20k", "1 h"],
            ["middle", "CartPole-v1", "trpo", "487.5 ± 12.2 (20)", "102k", "5 h"],
            ["old", "CartPole-v1", "trpo", "487.5 ± 12.2 (20)", "614k", "1 d"],
        ]
        assert about(app) == "saved_policies/new.pt"

    drive(test, size=size)


def test_an_empty_list_says_what_to_do():
    async def test(pilot, app):
        await until(pilot, lambda: "no policies yet" in about(app))
        await pilot.press("enter", "v")
        await pilot.pause()
        assert app.screen.stage.playing is None

    drive(test)


def test_a_file_that_is_no_policy_is_shown_as_such_with_the_reason_and_not_played():
    play_module.SAVED.mkdir()
    (play_module.SAVED / "text.pt").write_bytes(b"hello")
    windows = FakeWindows()

    async def test(pilot, app):
        await listed(pilot, app, 1)
        assert rows(app)[0][:2] == ["text", "✗ unreadable"]
        assert "✗ saved_policies/text.pt is not a policy file" in about(app)
        await pilot.press("enter")
        await until(pilot, lambda: any("not a policy file" in text for text in toasts(app)))
        assert windows.opened == []

    drive(test, open_window=windows)


def test_the_list_follows_the_disk_and_the_cursor_stays_on_its_policy():
    three_policies()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("down")
        assert table_of(app).selected.name == "middle"
        save(
            app.runs / "CartPole-v1" / "trpo-s0" / "best.pt", created=datetime.now(UTC).isoformat()
        )
        await until(pilot, lambda: table_of(app).row_count == 4)
        assert rows(app)[0][0] == "best of trpo-s0"
        assert table_of(app).selected.name == "middle"
        (play_module.SAVED / "new.pt").unlink()
        await until(pilot, lambda: table_of(app).row_count == 3)
        assert table_of(app).selected.name == "middle"

    drive(test)


def test_the_disk_is_left_alone_while_the_list_is_not_shown(monkeypatch):
    three_policies()
    monkeypatch.setattr(play_module, "SCAN_SECONDS", 0.05)
    scans = []
    scan = play_module.PolicyList.scan
    monkeypatch.setattr(play_module.PolicyList, "scan", lambda self: scans.append(1) or scan(self))

    async def test(pilot, app):
        await listed(pilot, app, 3)
        screen = app.screen
        await until(pilot, lambda: len(scans) >= 3)
        await pilot.press("t")
        assert isinstance(app.screen, TrainScreen)
        await until(pilot, lambda: not screen._scanning)
        before = len(scans)
        for _ in range(30):
            await pilot.pause(0.01)  # six times SCAN_SECONDS
        assert len(scans) == before

    drive(test)


def test_runs_can_be_told_apart_on_a_narrow_terminal():
    for second in (1, 2):
        save(Path("runs") / "CartPole-v1" / f"trpo-s0-20261120T10000{second}Z" / "best.pt")

    async def test(pilot, app):
        await listed(pilot, app, 2)
        assert {row[0] for row in rows(app)} == {"best of …T100001Z", "best of …T100002Z"}
        await pilot.resize_terminal(120, 30)
        await until(pilot, lambda: "best of trpo-s0-20261120T100001Z" in {r[0] for r in rows(app)})
        assert table_of(app).selected is not None

    drive(test, size=(80, 24))


# in the terminal


def test_at_80_by_24_the_list_and_the_picture_both_have_room():
    three_policies()
    Path("saved_policies/broken.pt").write_text("none")

    async def test(pilot, app):
        await listed(pilot, app, 4)
        table = table_of(app)
        assert len(rows(app)[0]) == 6
        await pilot.press("down", "v")
        stage = app.screen.stage
        await until(pilot, lambda: stage.scene and stage.scene.returns)
        await until(pilot, lambda: len(rows(app)[0]) == 2)
        assert table.size.height - 1 >= 15, "rows below the heading"
        picture_of = stage.query_one("FrameView").size
        assert picture_of.height >= 12
        assert picture_of.width >= 40
        assert {tuple(row) for row in rows(app)} == {
            ("new", "488"),
            ("middle", "488"),
            ("old", "488"),
            ("broken", "✗"),
        }
        assert "return" in facts(stage)
        assert f" of {len(stage.scene.returns)}" in facts(stage)
        before = table.selected
        await pilot.press("down")
        assert table.selected != before, "another policy can be chosen while one plays"
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app)[0]) == 6)
        assert table.selected.name != before.name

    drive(test, size=(80, 24))


@pytest.mark.parametrize("size", [(80, 24), (30, 8)])
def test_v_plays_the_policy_in_the_terminal(size):
    three_policies()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("down", "v")
        stage = app.screen.stage
        await until(pilot, lambda: stage.scene and stage.scene.returns)
        assert stage.display
        assert stage.border_title == "Policy · CartPole-v1 · middle"
        if size[1] >= 24:
            assert f" of {len(stage.scene.returns)}" in facts(stage)
        await pilot.press("escape")
        assert stage.playing is None
        assert not stage.display
        assert isinstance(app.screen, PlayScreen)
        await pilot.press("escape")
        assert isinstance(app.screen, TrainScreen)

    drive(test, size=size)


def test_the_keys_of_what_plays_work_and_are_there_only_while_it_plays():
    save(play_module.SAVED / "swing.pt", random_policy("Pendulum-v1"))

    def shown_keys(app):
        return {key for key, active in app.screen.active_bindings.items() if active.enabled}

    async def test(pilot, app):
        await listed(pilot, app, 1)
        keys = {"space", "full_stop", "comma", "n", "r", "right", "plus", "minus", "g", "o", "s"}
        assert not keys & shown_keys(app)
        await pilot.press("v")
        stage = app.screen.stage
        await until(pilot, lambda: stage.scene)
        assert keys <= shown_keys(app)
        playing = stage.playing
        await pilot.press("space", "plus", "plus", "minus")
        assert (playing.pace.paused, playing.pace.speed) == (True, 2.0)
        await pilot.press("n")
        await until(pilot, lambda: stage.scene.facts.episode == 2)
        await pilot.press("full_stop", "full_stop", "full_stop", "comma")
        await until(pilot, lambda: stage.scene.facts.step == 2)
        await pilot.press("r")
        await until(pilot, lambda: stage.scene.facts.step == 0)
        assert stage.scene.facts.episode == 2
        await pilot.press("g")
        await until(pilot, lambda: stage.scene.facts.mode == "sampled")
        assert "sampled · 2× · ‖ paused" in facts(stage)

    drive(test)


def test_a_file_s_name_is_shown_as_it_is_and_obeyed_by_nothing():
    save(play_module.SAVED / "[red]x[/b] \x1b[2J.pt")

    async def test(pilot, app):
        await listed(pilot, app, 1)
        assert rows(app)[0][0] == "[red]x[/b] [2J"
        assert about(app) == "saved_policies/[red]x[/b] [2J.pt"
        await pilot.press("v")
        stage = app.screen.stage
        await until(pilot, lambda: stage.scene)
        assert stage._border_title.plain == "Policy · CartPole-v1 · [red]x[/b] [2J"

    drive(test)


def test_a_policy_for_an_environment_that_is_not_here_says_so():
    policy = random_policy("CartPole-v1")
    object.__setattr__(policy.spec, "environment_id", "NoSuchEnv-v0")
    save(play_module.SAVED / "strange.pt", policy)

    async def test(pilot, app):
        await listed(pilot, app, 1)
        await pilot.press("v")
        await until(pilot, lambda: "is not registered" in picture(app.screen.stage))
        assert app.screen.stage.playing is None

    drive(test, size=(160, 40))


# in windows


def test_the_policy_plays_in_a_window_and_its_returns_are_listed():
    three_policies()
    windows = StayingWindows(500.0, 400.0)

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("down", "p")
        stage = app.screen.stage
        await until(pilot, lambda: "450.0 ± 50.0 of 2" in facts(stage))
        ((shown, options),) = windows.opened
        assert shown.policy.spec.environment_id == "CartPole-v1"
        assert shown.title == "middle"
        assert options == PlayOptions(episodes=EPISODES)
        assert stage.playing is None
        await pilot.press("escape", "up", "v")  # the app goes on
        await until(pilot, lambda: stage.scene)
        assert windows.closed == 0

    drive(test, open_window=windows)
    assert windows.closed == 1  # leaving the app closes it


def test_a_window_that_is_closed_leaves_the_app_as_it_was():
    three_policies()
    windows = FakeWindows(500.0, 400.0, 300.0)

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("enter")
        await until(pilot, lambda: toasts(app))
        assert windows.closed == 1
        assert toasts(app) == ["new: return 400.0 ± 81.6 of 3"]
        assert "new has played in a window" in picture(app.screen.stage)

    drive(test, open_window=windows)


@pytest.mark.parametrize("windows", [None, FakeWindows(error=NoDisplayError("none"))])
def test_without_a_display_the_policy_plays_in_the_terminal(windows):
    three_policies()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.stage.scene)
        assert toasts(app) == ["There is no display for a window: playing in the terminal."]

    drive(test, open_window=windows)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RunError("the environment [b]raised[/b]"), "the environment [b]raised[/b]"),
        (ValueError("what"), "The window failed: ValueError: what"),
    ],
)
def test_a_window_that_fails_is_told_of_and_harms_nothing(error, told):
    three_policies()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        await pilot.press("enter")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == [told]
        assert app.is_running

    drive(test, open_window=FakeWindows(error=error))


def test_there_is_an_end_to_the_number_of_windows():
    three_policies()
    windows = StayingWindows()

    async def test(pilot, app):
        await listed(pilot, app, 3)
        for number in range(1, MOST_WINDOWS + 1):
            await pilot.press("enter")
            await until(pilot, lambda number=number: len(windows.opened) == number)
        await pilot.press("enter")
        await until(pilot, lambda: toasts(app))
        assert toasts(app) == ["Close one of the windows first."]

    drive(test, open_window=windows)


def test_another_screen_can_ask_for_a_file_to_be_played(folder):
    path = save(folder / "elsewhere" / "trpo-s0" / "best.pt")

    async def test(pilot, app):
        app.screen.post_message(PlayRequested(path, in_terminal=True))
        await until(pilot, lambda: isinstance(app.screen, PlayScreen) and app.screen.stage.scene)
        assert app.screen.stage.border_title == "Policy · CartPole-v1 · best"

    drive(test, mode="train")


# the run that goes on


async def train(pilot, app):
    await pilot.press("s")
    await until(pilot, lambda: app.state.update and app.state.update.update == 5)


@pytest.mark.parametrize("size", [(80, 24), pytest.param((200, 60), marks=pytest.mark.slow)])
def test_v_watches_the_policy_that_is_learning_and_hides_it_again(size):
    async def test(pilot, app):
        await train(pilot, app)
        pane = app.screen.query_one(WatchPane)
        assert not pane.display
        await pilot.press("v")
        await until(pilot, lambda: pane.scene and pane.scene.returns)
        assert pane.border_title == "Policy · CartPole-v1 · update 5"
        assert pane.size.area > 200
        assert app.busy
        await pilot.press("v")
        assert not pane.display
        assert pane.playing is None

    drive(test, size=size, mode="train")


def test_the_keys_of_a_player_belong_to_the_pane_only_while_it_has_the_focus():
    async def test(pilot, app):
        await train(pilot, app)
        pane = app.screen.query_one(WatchPane)
        await pilot.press("v")
        await until(pilot, lambda: pane.scene)
        playing = pane.playing
        await pilot.press("space")
        assert not playing.pace.paused
        assert app.status is Status.PAUSED
        await pilot.click(WatchPane)
        assert app.focused is pane
        await pilot.press("space", "r")
        await until(pilot, lambda: pane.scene.facts.step == 0)
        await pilot.press(".", ".", ",")
        await until(pilot, lambda: pane.scene.facts.step == 1)
        assert playing.pace.paused
        assert app.status is Status.PAUSED
        await pilot.press("escape", "space")
        assert playing.pace.paused
        assert app.status is Status.TRAINING

    drive(test, mode="train")


def test_the_pane_waits_for_a_run_and_follows_it_to_its_best_policy(folder):
    save(folder / "kept" / "best.pt", updates=3)

    async def test(pilot, app):
        await until(pilot, lambda: app.screen.query(WatchPane))
        pane = app.screen.query_one(WatchPane)
        await pilot.press("v")
        assert pane.playing is None  # there is no run
        await train(pilot, app)
        app.session.directory = folder / "kept"
        await until(pilot, lambda: pane.scene and pane.scene.name == "update 5")
        await pilot.press("s")
        await until(pilot, lambda: pane.scene.name == "best of the run, update 3")
        await until(pilot, lambda: not app.busy)

    drive(test, mode="train")


def test_the_policy_of_the_run_is_the_first_to_play_while_the_run_goes_on():
    three_policies()
    windows = StayingWindows(9.0)

    async def test(pilot, app):
        await train(pilot, app)
        pane = app.screen.query_one(WatchPane)
        await pilot.press("v")
        await until(pilot, lambda: pane.scene)
        assert pane.is_seen
        await pilot.press("p")
        assert not pane.is_seen  # it stands still meanwhile
        await listed(pilot, app, 4)
        assert rows(app)[0][0] == "● the run that goes on"
        assert rows(app)[0][4:] == ["5,120", "now"]
        await pilot.press("p")
        await until(pilot, lambda: windows.opened)
        await pilot.press("v")
        stage = app.screen.stage
        await until(pilot, lambda: stage.scene)
        assert stage.scene.name == "update 5"
        app.stop_run()
        await until(pilot, lambda: table_of(app).row_count == 3)
        await pilot.press("t")
        assert pane.is_seen

    drive(test, open_window=windows, mode="train")


def test_w_opens_a_window_on_the_run_or_without_a_display_the_pane():
    windows = StayingWindows()

    async def test(pilot, app):
        await pilot.press("w")
        await until(pilot, lambda: toasts(app) == ["There is no run yet: start one first."])
        await train(pilot, app)
        await pilot.press("w")
        await until(pilot, lambda: windows.opened)
        windows.error = NoDisplayError("gone")
        await pilot.press("w")
        pane = app.screen.query_one(WatchPane)
        await until(pilot, lambda: pane.scene)
        assert pane.display
        assert app.busy

    drive(test, open_window=windows, mode="train")
