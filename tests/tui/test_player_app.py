"""`trpotui play` in the terminal: its keys, what it plays, and how it ends."""

from __future__ import annotations

import asyncio
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from textual.widgets import Static

from tests.tui.play_helpers import cartpole, until
from tests.viewer.viewer_policies import random_policy
from trpotui import pacing
from trpotui.episodes import EpisodePlayer, PlayOptions, play_without_window
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.policy_file import read_policy
from trpotui.rl.evaluation import CONFIRMATION_SEED, EVALUATION_SEED
from trpotui.tui.player_app import PlayerApp, check_terminal
from trpotui.tui.playing import Playing, Tempo
from trpotui.tui.policy_sources import GivenSource, NamedPolicy, named
from trpotui.tui.screens.help import HelpScreen
from trpotui.tui.widgets.frame_view import FrameView
from trpotui.viewing.returns import RewardUnits

QUICK = Tempo(0.01, 1.0)
SAVED = sorted((Path(__file__).parents[2] / "saved_policies").glob("*.pt"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test plays in an empty folder and without rests between the episodes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pacing, "HOLD_SECONDS", 0.0)
    return tmp_path


def drive(test, policy=None, *, size=(80, 24), **options):
    """Run `test` on an app that plays; the app afterwards."""
    app = PlayerApp(policy or cartpole(), PlayOptions(**options), tempo=QUICK)

    async def main():
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: stage_of(pilot).scene or app.error)
            await test(pilot)

    asyncio.run(main())
    return app


def stage_of(pilot):
    return pilot.app.screen_stack[0].stage


def swinging():
    """Episodes of 200 steps, so that none ends before it is looked at."""
    return NamedPolicy(random_policy("Pendulum-v1"), "swing")


async def paused(pilot, stage):
    """Hold what plays; the scene is then that of the step which it is held at."""
    await pilot.press("space")
    await until(pilot, lambda: stage.playing.pace.paused)
    at_rest = threading.Event()
    stage.playing._ask_for(lambda _: bool(at_rest.set()))  # done before the steps of a look
    await until(pilot, at_rest.is_set)
    await pilot.pause()


async def step_to(pilot, stage, key, step):
    await pilot.press(key)
    await until(pilot, lambda: stage.scene.facts.step == step)


def test_it_ends_by_itself_after_the_episodes_that_were_asked_for():
    async def test(pilot):
        await until(pilot, lambda: not pilot.app.is_running)

    app = drive(test, episodes=4, seed=3, speed=16.0)
    expected = tuple(play_without_window(cartpole().policy, PlayOptions(episodes=4, seed=3)))
    assert app.playing.played == expected
    assert (app.return_code, app.error) == (0, None)


def test_every_step_forward_and_back_shows_the_same_moment_again():
    async def test(pilot):
        stage = stage_of(pilot)
        await paused(pilot, stage)
        await pilot.press("r")
        await until(pilot, lambda: stage.scene.facts.step == 0)
        seen = [stage.scene]
        for step in range(1, 7):
            await step_to(pilot, stage, ".", step)
            seen.append(stage.scene)
        assert len({scene.facts.observation for scene in seen}) == 7
        for step in (5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6):
            forward = step > stage.scene.facts.step
            await step_to(pilot, stage, "." if forward else ",", step)
            again, before = stage.scene, seen[step]
            assert again.facts == before.facts
            assert np.array_equal(again.frame, before.frame)

    drive(test, swinging(), seed=5)


def test_the_episode_goes_on_after_stepping_back_as_it_would_have():
    async def test(pilot):
        stage = stage_of(pilot)
        await paused(pilot, stage)
        for step in range(stage.scene.facts.step + 1, stage.scene.facts.step + 6):
            await step_to(pilot, stage, ".", step)
        for _ in range(3):
            await step_to(pilot, stage, ",", stage.scene.facts.step - 1)
        await pilot.press("space")
        await until(pilot, lambda: not pilot.app.is_running)

    app = drive(test, swinging(), episodes=1, speed=16.0)
    (expected,) = play_without_window(swinging().policy, PlayOptions(episodes=1))
    assert app.playing.played == (expected,)


def test_what_the_critic_expected_is_held_against_what_came():
    async def test(pilot):
        stage = stage_of(pilot)
        await until(pilot, lambda: stage.scene.facts.ended and stage.playing.pace.paused)
        assert "→ came" in stage.query_one("PolicyFacts").render().plain
        last = stage.scene.facts.step
        await step_to(pilot, stage, ",", last - 1)
        assert stage.scene.facts.followed.total == pytest.approx(1.0)
        assert not stage.scene.facts.ended

    policy = cartpole()._replace(units=RewardUnits(gamma=0.9))
    with pytest.MonkeyPatch.context() as patch:
        end = Playing._end

        def end_and_hold(self, player):
            end(self, player)
            self.pace.paused = True

        patch.setattr(Playing, "_end", end_and_hold)
        # steps that are due at once do not ask whether it is paused
        patch.setattr(pacing, "HOLD_SECONDS", 10.0)
        drive(test, policy, episodes=1)


def test_the_first_moment_has_none_before_it_and_says_so():
    async def test(pilot):
        stage = stage_of(pilot)
        await paused(pilot, stage)
        await pilot.press("r", ",")
        await until(pilot, lambda: stage._border_subtitle is not None and stage.scene.notice)
        assert "first moment" in stage._border_subtitle.plain
        await step_to(pilot, stage, ".", 1)
        assert not stage._border_subtitle.plain

    drive(test, swinging())


def test_the_keys_of_the_window_do_here_what_they_do_there():
    async def test(pilot):
        stage = stage_of(pilot)
        playing = stage.playing
        await paused(pilot, stage)
        for key, speed in (
            ("+", 2.0), ("right", 4.0), ("up", 8.0), ("minus", 4.0), ("left", 2.0), ("down", 1.0),
        ):  # fmt: skip
            await pilot.press(key)
            assert playing.pace.speed == speed, key
        await pilot.press(*["-"] * 9)
        assert playing.pace.speed == 0.1
        await pilot.press(*["="] * 9)
        assert playing.pace.speed == 16.0
        await pilot.press("n")
        await until(pilot, lambda: stage.scene.facts.episode == 2)
        assert stage.scene.facts.seed == 12
        await step_to(pilot, stage, ".", 1)
        await pilot.press("r")
        await until(pilot, lambda: stage.scene.facts.step == 0)
        assert stage.scene.facts.seed == 12
        await pilot.press("g")
        await until(pilot, lambda: stage.scene.facts.mode == "sampled")
        room = stage.query_one(FrameView).size.width
        await pilot.press("o")
        await until(pilot, lambda: stage.query_one(FrameView).size.width > room)
        await pilot.press("o")
        await until(pilot, lambda: stage.query_one(FrameView).size.width == room)

    drive(test, swinging(), seed=11)


def test_n_after_the_last_episode_ends_it_and_reports_only_what_ran_to_its_end():
    async def test(pilot):
        await pilot.press("n", "n")
        await until(pilot, lambda: not pilot.app.is_running)

    app = drive(test, swinging(), episodes=2)
    assert app.playing.played == ()
    assert app.return_code == 0


def test_help_lists_every_key_that_works():
    async def test(pilot):
        await paused(pilot, stage_of(pilot))
        await pilot.press("?")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        table = pilot.app.screen.query(Static)[1].visual._renderable
        keys, _ = ([cell.plain for cell in column._cells] for column in table.columns)
        assert {key for cell in keys for key in cell.split()} == {
            *("space", "q", "esc", "^p"),
            *".,nrg+→↑-←↓os?",
        }
        await pilot.press("escape")
        assert pilot.app.is_running
        assert pilot.app.screen is pilot.app.screen_stack[0]

    drive(test, swinging())


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("escape", 0), ("ctrl+c", 130)])
def test_leaving(key, code):
    async def test(pilot):
        await pilot.press(key)
        await until(pilot, lambda: not pilot.app.is_running)

    assert drive(test, swinging()).return_code == code


def decoded(data):
    """The pixels of a PNG file that has one chunk of data and no filters."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack("!2I", data[16:24])
    (length,) = struct.unpack("!I", data[33:37])
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + length]), np.uint8)
    lines = lines.reshape(height, 1 + 3 * width)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, 3)


def test_s_saves_the_picture_as_the_environment_drew_it(folder):
    async def test(pilot):
        stage = stage_of(pilot)
        await paused(pilot, stage)
        await step_to(pilot, stage, ".", stage.scene.facts.step + 1)
        await pilot.press("s")
        step = stage.scene.facts.step
        (path,) = folder.iterdir()
        assert path.name == f"Pendulum-v1-seed7-step{step}.png"
        assert np.array_equal(decoded(path.read_bytes()), stage.scene.frame)
        await pilot.press("s")
        assert {other.stem for other in folder.iterdir()} == {path.stem, f"{path.stem}-2"}

    drive(test, swinging(), seed=7)


def test_a_picture_that_cannot_be_saved_is_told_of_and_harms_nothing(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trpotui.tui.widgets.policy_view.write_bytes", full)

    async def test(pilot):
        await pilot.press("s")
        (toast,) = [notification.message for notification in pilot.app._notifications]
        assert "could not be written: No space left on device" in toast
        assert pilot.app.is_running

    drive(test, swinging())


def test_an_environment_without_a_picture_is_played_and_there_is_none_to_save(monkeypatch):
    def no_picture(_):
        raise RequestError("no picture")

    monkeypatch.setattr(EpisodePlayer, "frame", no_picture)

    async def test(pilot):
        stage = stage_of(pilot)
        view = stage.query_one(FrameView)
        assert "no picture" in "".join(view.render_line(y).text for y in range(view.size.height))
        await pilot.press("s")
        (toast,) = [notification.message for notification in pilot.app._notifications]
        assert toast == "There is no picture to save."

    drive(test, swinging())


def test_an_environment_that_fails_ends_it_with_its_error(monkeypatch):
    def broken(*_):
        raise EnvironmentFaultError("the pole has snapped")

    monkeypatch.setattr(EpisodePlayer, "step", broken)

    async def test(pilot):
        await until(pilot, lambda: not pilot.app.is_running)

    app = drive(test)
    assert isinstance(app.error, EnvironmentFaultError)
    assert app.playing.played == ()


def test_it_can_be_of_any_size_and_change_it():
    async def test(pilot):
        stage = stage_of(pilot)
        for size in ((1, 1), (200, 60), (4, 2), (20, 6), (2, 60)):
            await pilot.resize_terminal(*size)
            before = stage.scene
            if size[1] > 3:  # else there is no room for a picture, and nothing plays
                await until(pilot, lambda before=before: stage.scene is not before)
        assert pilot.app.is_running

    drive(test, swinging())


def played_here(path, *, episodes, seed):
    """What the body of the app's thread plays when it goes as fast as it can."""
    playing = Playing(
        GivenSource(named(read_policy(path), path.stem)), seed=seed, episodes=episodes, speed=16.0
    )
    while not playing._is_over:
        playing.advance(0.25)
    playing.close()
    return playing.played


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_policies_score_in_the_terminal_what_they_score_without_it(path, monkeypatch):
    monkeypatch.setattr(EpisodePlayer, "frame", lambda _: None)
    options = PlayOptions(episodes=2, seed=17)
    expected = tuple(play_without_window(read_policy(path).policy, options))
    assert played_here(path, episodes=2, seed=17) == expected


def test_all_episodes_that_were_asked_for_are_counted(monkeypatch):
    monkeypatch.setattr(EpisodePlayer, "frame", lambda _: None)
    monkeypatch.setattr("trpotui.tui.playing.MOST_RETURNS", 1)
    assert len(played_here(SAVED[0], episodes=3, seed=0)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_policies_score_in_the_terminal_what_was_stored_with_them(path, monkeypatch):
    """On the seeds of that evaluation, of which each environment takes its own."""
    monkeypatch.setattr(EpisodePlayer, "frame", lambda _: None)
    saved = read_policy(path)
    score = saved.score
    # those that reached their threshold were scored again on other episodes
    confirmed = score.episodes == saved.config["confirm_episodes"]
    seed = CONFIRMATION_SEED if confirmed else EVALUATION_SEED
    played = played_here(path, episodes=score.episodes, seed=seed)
    returns = [episode.episode_return for episode in played]
    found = float(np.mean(returns)), float(np.std(returns))
    if saved.policy.decoder.distribution == "categorical":
        assert found == (score.mean, score.std)
    else:  # networks round otherwise when 100 environments ask at once, and actions are real
        assert found == pytest.approx((score.mean, score.std), abs=1e-6)


@pytest.mark.parametrize(
    ("terminal", "term", "told"),
    [(False, "xterm", "no terminal to draw on"), (True, "dumb", "TERM=dumb")],
)
def test_what_is_no_screen_is_refused_with_the_way_out(monkeypatch, terminal, term, told):
    monkeypatch.setenv("TERM", term)
    for name in ("stdin", "stdout", "stderr"):
        stream = type("Stream", (), {"isatty": lambda _: terminal, "write": lambda *_: 0})()
        monkeypatch.setattr(f"sys.{name}", stream)
    with pytest.raises(RequestError, match=f"{told}.*--view none"):
        check_terminal()
