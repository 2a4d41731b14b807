"""A policy playing in the terminal: the episodes, the picture and the numbers beside it."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from rich.cells import cell_len
from textual.app import App
from textual.screen import Screen

from tests.scripted_run import update_finished
from tests.tui.play_helpers import ScriptedSource, cartpole, save, scene_of, until
from tests.viewer.viewer_policies import random_policy
from trpotui.episodes import EpisodePlayer, PlayOptions, play_without_window
from trpotui.errors import RequestError, RunError
from trpotui.events import UpdateFinished
from trpotui.rl.control import Control
from trpotui.tui import playing as playing_module
from trpotui.tui.playing import Playing
from trpotui.tui.policy_sources import FileSource, NamedPolicy, RunSource
from trpotui.tui.scenes import Trouble
from trpotui.tui.session import TrainingSession
from trpotui.tui.widgets import frame_view as view_module
from trpotui.tui.widgets.frame_view import FrameView
from trpotui.tui.widgets.policy_view import PolicyView
from trpotui.viewing.choices import Normal

TICK = 0.1


def played(playing, seconds=TICK, *, most=2000):
    """The scenes of `playing` as if so much time passed between them, without waiting for it."""
    for _ in range(most):
        if scene := playing.advance(seconds):
            yield scene


# episodes


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_terminal_plays_the_same_episodes_as_every_other_view(stochastic):
    policy = cartpole()
    options = PlayOptions(episodes=4, seed=3, stochastic=stochastic)
    expected = [episode.episode_return for episode in play_without_window(policy.policy, options)]
    playing = Playing(ScriptedSource(policy), seed=3, stochastic=stochastic)
    try:
        last = next(scene for scene in played(playing) if len(scene.returns) == 4)
    finally:
        playing.close()
    assert list(last.returns) == expected


def test_speed_is_that_of_the_environment_times_the_chosen_one(monkeypatch):
    monkeypatch.setattr(playing_module, "STEPPING_SECONDS", 60.0)  # of a machine without load
    steps = {}
    for speed in (0.5, 1.0, 2.0):
        playing = Playing(ScriptedSource(cartpole()))
        playing.pace.speed = speed
        playing.advance(0.0)
        scene = playing.advance(TICK)  # CartPole has 50 frames a second
        steps[speed] = scene.facts.step
        playing.close()
    assert steps == {0.5: 2, 1.0: 5, 2.0: 10}


def test_a_stall_is_not_made_up_for():
    playing = Playing(ScriptedSource(NamedPolicy(random_policy("Pendulum-v1"), "swing")))
    playing.advance(0.0)
    scene = playing.advance(60.0)
    playing.close()
    assert scene.facts.step <= 0.25 * 30


def test_a_paused_policy_stands_still_and_can_still_be_sent_to_the_next_episode():
    playing = Playing(ScriptedSource(cartpole()))
    playing.pace.paused = True
    assert playing.advance(TICK).facts.step == 0  # the picture to begin with
    assert playing.advance(TICK) is None
    playing.next_episode()
    scene = playing.advance(TICK)
    playing.close()
    assert (scene.facts.episode, scene.facts.step) == (2, 0)


def test_sampling_goes_on_amid_the_episode_and_ends_the_mean():
    playing = Playing(ScriptedSource(cartpole()))
    first = next(scene for scene in played(playing) if scene.returns)
    assert (first.facts.mode, first.same_policy) == ("greedy", True)
    playing.toggle_stochastic()
    scene = next(played(playing))
    playing.close()
    assert (scene.facts.mode, scene.same_policy) == ("sampled", False)
    assert scene.facts.episode >= first.facts.episode
    assert scene.returns[:1] == first.returns


def test_a_newer_policy_takes_over_amid_the_episode_and_ends_the_mean():
    old, new = cartpole("update 1"), cartpole("update 2")
    source = ScriptedSource(old)
    playing = Playing(source)
    first = next(scene for scene in played(playing) if scene.returns)
    assert first.same_policy
    source.waiting.append(new)
    second = next(played(playing))
    playing.close()
    assert second.name == "update 2"
    assert second.facts.episode >= first.facts.episode  # the episode was not given up
    assert second.returns[: len(first.returns)] == first.returns
    assert not second.same_policy


def test_a_newer_policy_acts_from_the_next_step_on():
    left, right = cartpole("left"), cartpole("right")
    for (policy, *_), preferred in ((left, 0), (right, 1)):
        for array in policy.actor.values():
            array[:] = 0.0
        policy.actor["1.bias"][preferred] = 100.0
    source = ScriptedSource(left)
    playing = Playing(source)
    playing.pace.paused = True
    playing.advance(TICK)
    for policy, word in ((None, "left"), (right, "right")):
        source.waiting += [policy] if policy else []
        playing.step()
        scene = playing.advance(TICK)
        assert scene.facts.last_action == word
        assert scene.facts.choice.values[0] == pytest.approx(float(word == "left"))
    playing.close()


def test_a_fresh_policy_is_asked_for_at_first_and_after_every_episode():
    source = ScriptedSource(cartpole())
    playing = Playing(source)
    playing.advance(TICK)
    assert source.asked == 1
    next(scene for scene in played(playing) if len(scene.returns) == 2)
    playing.close()
    assert source.asked == 3


def test_a_fresh_policy_is_asked_for_again_in_a_long_episode(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(playing_module, "monotonic", lambda: now[0])
    source = ScriptedSource(NamedPolicy(random_policy("Pendulum-v1"), "swing"))
    playing = Playing(source)
    playing.advance(TICK)
    playing.advance(TICK)
    assert source.asked == 1
    now[0] += 6.0
    playing.advance(TICK)
    playing.close()
    assert source.asked == 2


def test_a_policy_for_another_environment_gets_its_own():
    source = ScriptedSource(cartpole())
    playing = Playing(source)
    playing.advance(TICK)
    source.waiting.append(NamedPolicy(random_policy("Pendulum-v1"), "swing"))
    scene = playing.advance(TICK)
    playing.close()
    assert scene.facts.environment_id == "Pendulum-v1"
    assert isinstance(scene.facts.choice, Normal)


def test_an_environment_without_a_picture_is_played_all_the_same(monkeypatch):
    def no_picture(_):
        raise RequestError("no picture")

    monkeypatch.setattr(EpisodePlayer, "frame", no_picture)
    playing = Playing(ScriptedSource(cartpole()))
    scene = next(scene for scene in played(playing) if scene.returns)
    playing.close()
    assert scene.frame is None


def test_what_cannot_be_played_ends_the_thread_with_a_sentence():
    class Empty(ScriptedSource):
        def take(self):
            raise RunError("the run has ended and kept no policy")

    published = []
    Playing(Empty()).run(seen=lambda: True, publish=published.append)
    (trouble,) = published
    assert trouble.message == "the run has ended and kept no policy"
    assert isinstance(trouble.error, RunError)


def test_nothing_is_stepped_while_nobody_sees_it(monkeypatch):
    monkeypatch.setattr(playing_module, "UNSEEN_SECONDS", 0.001)
    playing, looks, published = Playing(ScriptedSource(cartpole())), [], []

    def seen():
        looks.append(1)
        if len(looks) == 20:
            playing.stop()
        return False

    playing.run(seen=seen, publish=published.append)
    assert len(looks) == 20
    assert published == []


# where policies come from


def session_with(control=None):
    return TrainingSession(None, control or Control(), lambda _: iter(()))


def answer(session, policy):
    """What the trainer does between two updates."""
    for request in session.control.take_snapshot_requests():
        request.set_result(policy)


def test_a_copy_of_a_run_bears_the_number_of_its_update():
    policy = random_policy("CartPole-v1")

    def events(session):
        yield update_finished(1234)
        answer(session, policy)

    session = TrainingSession(None, Control(), events)
    source = RunSource(session, lambda: True)
    source.ask()
    assert source.take() is None
    session.run()
    assert source.take() == NamedPolicy(policy, "update 1,234")
    assert source.take() is None
    assert isinstance(session.take()[0], UpdateFinished)


def test_only_one_copy_is_asked_for_at_a_time():
    session = session_with()
    source = RunSource(session, lambda: True)
    source.ask()
    source.ask()
    requests = session.control.take_snapshot_requests()
    assert len(requests) == 1
    requests[0].cancel()
    source.ask()
    assert len(session.control.take_snapshot_requests()) == 1


def test_after_the_run_its_best_policy_plays_once(tmp_path):
    session = session_with()
    session.directory = tmp_path
    save(tmp_path / "best.pt", updates=40)
    save(tmp_path / "policy.pt", updates=50)
    source = RunSource(session, lambda: False)
    source.ask()
    assert session.control.take_snapshot_requests() == []
    assert source.take().name == "best of the run, update 40"
    assert source.take() is None


def test_a_run_that_was_never_evaluated_has_a_last_policy(tmp_path):
    session = session_with()
    session.directory = tmp_path
    save(tmp_path / "policy.pt", updates=50)
    assert RunSource(session, lambda: False).take().name == "last of the run, update 50"


def test_a_run_that_kept_no_policy_says_so():
    with pytest.raises(RunError, match="kept no policy"):
        RunSource(session_with(), lambda: False).take()


def test_a_file_is_checked_before_it_is_played(tmp_path):
    spec_of_another = random_policy("CartPole-v1")
    object.__setattr__(spec_of_another.spec, "environment_id", "NoSuchEnv-v0")
    path = save(tmp_path / "a.pt", spec_of_another)
    with pytest.raises(Exception, match="not registered"):
        FileSource(path, "a").take()


# the widget


class ViewApp(App[None]):
    CSS = "PolicyFacts { width: 36; }"

    def compose(self):
        yield PolicyView()


def drive(test, *, size=(100, 30)):
    async def main():
        app = ViewApp()
        async with app.run_test(size=size) as pilot:
            await test(pilot, app.query_one(PolicyView))

    before = set(threading.enumerate())
    asyncio.run(main())
    # leaving the app has ended what played
    ours = [t for t in threading.enumerate() if not t.daemon or t.name == "playing"]
    assert not set(ours) - before


def shown(widget):
    return [widget.render_line(y).text for y in range(widget.size.height)]


def test_frames_are_drawn_and_numbers_told_while_it_plays():
    async def test(pilot, view):
        view.play(ScriptedSource(cartpole("best of all")))
        await until(pilot, lambda: view.scene and view.scene.returns)
        assert view.border_title == "Policy · CartPole-v1 · best of all"
        assert any("▀" in line for line in shown(view.query_one(FrameView)))
        assert view.playing is not None

    drive(test)


def test_no_picture_is_drawn_in_colours_where_there_are_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def test(pilot, view):
        view.play(ScriptedSource(cartpole()))
        await until(pilot, lambda: view.scene)
        frame_view = view.query_one(FrameView)
        strips = [frame_view.render_line(y) for y in range(frame_view.size.height)]
        assert any(set("░▒▓█▀▄") & set(strip.text) for strip in strips)
        assert len({segment.style for strip in strips for segment in strip}) == 1

    drive(test)


def test_a_picture_keeps_its_aspect_in_the_middle():
    async def test(pilot, view):
        frame_view = view.query_one(FrameView)
        view.stop()
        frame_view.show(np.zeros((100, 100, 3), dtype=np.uint8))
        width, height = frame_view.size
        strips = [frame_view.render_line(y) for y in range(height)]
        assert all(strip.cell_length == width for strip in strips)
        black = [
            sum(len(s.text) for s in strip if s.style and s.style == view_module.colours(0, 0))
            for strip in strips
        ]
        assert black == [2 * height] * height
        await pilot.pause()

    drive(test, size=(120, 20))


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (40, 2), (10, 5), (200, 60)])
def test_it_can_be_of_any_size_and_change_it(size):
    async def test(pilot, view):
        view.play(ScriptedSource(cartpole()))
        await pilot.resize_terminal(*size)
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: view.scene)
        await pilot.resize_terminal(*size)
        await pilot.pause()
        for line in shown(view.query_one(FrameView)):
            assert cell_len(line) == view.query_one(FrameView).size.width

    drive(test)


def test_a_covered_view_does_not_go_on():
    async def test(pilot, view):
        swinging = ScriptedSource(NamedPolicy(random_policy("Pendulum-v1"), "swing"))
        view.play(swinging)
        await until(pilot, lambda: view.scene)
        assert view.is_seen
        other = Screen()
        other.styles.background = "black"
        await pilot.app.push_screen(other)
        assert not view.is_seen
        await pilot.app.pop_screen()
        assert view.is_seen

    drive(test)


def test_the_view_can_be_paused_and_sped_up_and_says_so():
    async def test(pilot, view):
        view.play(ScriptedSource(NamedPolicy(random_policy("Pendulum-v1"), "swing")))
        await until(pilot, lambda: view.scene)
        playing = view.playing
        view.ask(Playing.toggle_pause)
        view.ask(lambda playing: playing.pace.faster())
        view.ask(Playing.toggle_stochastic)
        assert (playing.pace.paused, playing.pace.speed, playing.stochastic) == (True, 2.0, True)
        assert "sampled · 2× · ‖ paused" in view.query_one("PolicyFacts").render().plain

    drive(test)


def test_trouble_is_a_sentence_in_place_of_the_picture():
    class Bad(ScriptedSource):
        def take(self):
            raise RunError("the run has ended and kept no policy")

    async def test(pilot, view):
        view.play(Bad())
        await until(pilot, lambda: view.playing is None)
        assert "kept no policy" in "".join(shown(view.query_one(FrameView)))

    drive(test)


@pytest.mark.parametrize("width", [1, 7, 30, 100])
def test_a_sentence_is_wrapped_to_the_width(width):
    sentence = "the run has ended and kept no policy"

    async def test(pilot, view):
        frame_view = view.query_one(FrameView)
        frame_view.styles.width = width
        view.say(sentence)
        await pilot.pause()
        lines = shown(frame_view)
        assert {cell_len(line) for line in lines} == {width}
        assert "".join("".join(lines).split()).startswith(sentence.replace(" ", "")[:20])

    drive(test)


def test_what_a_thread_says_that_was_replaced_is_not_shown():
    async def test(pilot, view):
        view.play(ScriptedSource(cartpole("first")))
        replaced = view.playing
        view.play(ScriptedSource(cartpole("second")))
        view.post_message(PolicyView.Played(replaced, scene_of(name="first")))
        await until(pilot, lambda: view.scene)
        assert view.scene.name == "second"

    drive(test)


def test_a_scene_that_waits_gives_way_to_a_newer_one_and_the_end_never_does():
    playing, other = Playing(ScriptedSource()), Playing(ScriptedSource())
    scene = PolicyView.Played(playing, scene_of())
    end = PolicyView.Played(playing, Trouble("it is over"))
    assert scene.can_replace(scene)
    assert scene.can_replace(end)
    assert not end.can_replace(scene)
    assert not scene.can_replace(PolicyView.Played(other, scene_of()))
