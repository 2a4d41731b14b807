"""The player window as a process: what it says, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from viewer_environments import FAULTY, FAULTY_STEP
from viewer_policies import random_policy
from window_processes import FAST, LONG, PATIENCE, bare_window, collect, next_line, request_of, run

from trpotui.episodes import PlayOptions, play_without_window
from trpotui.errors import EnvironmentFaultError, NoDisplayError, RequestError, RunError
from trpotui.rl.policy import Policy
from trpotui.viewer import PlayerWindow, WindowClosed
from trpotui.viewer.protocol import encode_request


@pytest.mark.usefixtures("dummy_display")
@pytest.mark.parametrize("stochastic", [False, True])
def test_the_window_plays_what_is_played_without_it(stochastic: bool) -> None:
    policy = random_policy("CartPole-v1")
    options = PlayOptions(episodes=3, seed=11, speed=16.0, stochastic=stochastic)
    *played, end = run(collect(policy, options))
    assert played == list(play_without_window(policy, options))
    assert len(played) == 3
    assert end == WindowClosed(by="finished")


@pytest.mark.usefixtures("dummy_display")
def test_the_lines_are_plain_json_and_torch_is_never_imported(cartpole: Policy) -> None:
    script = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('imported', *sys.modules, file=sys.stderr))\n"
        "runpy.run_module('trpotui.viewer', run_name='__main__')"
    )
    with bare_window(cartpole, FAST, "-c", script) as process:
        assert next_line(process) == {"event": "ready", "driver": "dummy"}
        [first, *_] = play_without_window(cartpole, FAST)
        assert next_line(process) == {
            "event": "episode",
            "episode": 1,
            "seed": 11,
            "return": first.episode_return,
            "length": first.length,
            "finished": True,
            "place": 0,
        }
        assert [next_line(process)["episode"] for _ in range(2)] == [2, 3]
        assert next_line(process) == {"event": "closed", "by": "finished"}
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    imported = errors.decode().partition("imported ")[2].split()
    assert "pygame" in imported
    for name in ("torch", "textual", "typer", "trpotui.cli"):
        assert name not in imported


def test_the_parent_needs_neither_pygame_nor_torch() -> None:
    script = "import sys; from trpotui.viewer import PlayerWindow; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "trpotui.viewer.process" in output
    for name in ("pygame", "torch", "textual", "typer"):
        assert name not in output


@pytest.mark.usefixtures("dummy_display")
def test_what_an_environment_prints_is_not_taken_for_an_event() -> None:
    policy = random_policy(FAULTY, fault="talks")
    *played, end = run(collect(policy, FAST))
    assert [event.length for event in played] == [2 * FAULTY_STEP] * 3
    assert end == WindowClosed(by="finished")


# Displays and failures


@pytest.mark.usefixtures("no_display")
def test_without_a_display_nothing_is_played(cartpole: Policy) -> None:
    with pytest.raises(NoDisplayError, match=r"no display to open a window on.*--view none"):
        run(collect(cartpole, FAST))


@pytest.mark.usefixtures("dead_display")
def test_a_dead_display_is_not_replaced_by_an_invisible_one(cartpole: Policy) -> None:
    with pytest.raises(NoDisplayError, match=r"DISPLAY=:64999 does not answer.*--view none"):
        run(collect(cartpole, FAST))
    with bare_window(cartpole, FAST) as process:
        record = next_line(process)
        assert (record["event"], record["code"]) == ("error", "no_display")
        assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize("driver", ["offscreen", "no-such-driver"])
def test_sdl_drivers_without_a_screen_are_refused(
    cartpole: Policy, no_display: None, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    assert no_display is None
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    with pytest.raises(NoDisplayError, match=driver):
        run(collect(cartpole, FAST))


@pytest.mark.usefixtures("dummy_display")
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("raises in reset", EnvironmentFaultError, "raised ValueError in the reset of episode 1"),
        ("raises in step", EnvironmentFaultError, "raised ZeroDivisionError in step 3"),
        ("nan observation", EnvironmentFaultError, "observation that is not finite in step 3"),
        ("no picture", RequestError, "has no picture to show: use --view none"),
    ],
)
def test_a_failure_in_the_window_is_raised_in_the_parent(
    fault: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        run(collect(random_policy(FAULTY, fault=fault), FAST))
    assert type(caught.value) is kind
    assert "Traceback" in caught.value.__notes__[0]


@pytest.mark.usefixtures("dummy_display")
def test_a_killed_window_is_named_with_its_signal(cartpole: Policy) -> None:
    async def play() -> None:
        async with await PlayerWindow.open(cartpole, LONG) as window:
            os.kill(window.pid, signal.SIGKILL)
            async for _ in window.events():
                pass

    with pytest.raises(RunError, match=r"ended unexpectedly \(signal SIGKILL\)"):
        run(play())


def test_a_request_that_is_cut_short_is_refused(cartpole: Policy) -> None:
    request = encode_request(request_of(cartpole, FAST))[:-1]
    done = subprocess.run(
        [sys.executable, "-m", "trpotui.viewer"],
        input=request,
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "request"
