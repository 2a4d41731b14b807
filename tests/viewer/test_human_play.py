"""`trpotui play --human`: what it refuses, and a person who plays to the end."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gymnasium import spaces
from person import PATIENCE, xdotool
from viewer_policies import random_policy
from window_processes import is_alive, wait_until

from trpotui.cli import run
from trpotui.cli.human_play import with_person
from trpotui.errors import RequestError
from trpotui.rl.policy import Policy
from trpotui.viewing.contenders import Contender

SAVED = Path(__file__).parents[2] / "saved_policies"
CARTPOLE = str(SAVED / "cartpole.pt")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a policy to play, or play yourself"),
        (["--human"], "--human needs something to play"),
        (["--env", "CartPole-v1"], "--env goes with --human"),
        (["--env", "CartPoool-v1", "--human"], "CartPoool-v1 is not known to gymnasium"),
        (["--env", "Pendulum-v1", "--human", CARTPOLE], "the policy plays CartPole-v1"),
        (["--env", "CartPole-v1", "--human", "--view", "none"], "leave --view out"),
        (["--human", CARTPOLE, "--film"], "--human goes without --film"),
    ],
)
def test_what_cannot_be_played_by_hand_is_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["play", *arguments]) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""


@pytest.mark.usefixtures("no_display")
def test_without_a_display_a_person_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["play", "--human", "--env", "CartPole-v1"]) == 2
    words = "--human needs a display for its window (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    assert words in capsys.readouterr().err


def test_the_person_stands_on_the_left_and_plays_what_the_policies_play() -> None:
    rival = Contender(policy=random_policy("CartPole-v1", max_episode_steps=9), title="a")
    person, other = with_person([rival], None)
    assert (person.by_hand, person.title, other) == (True, "you", rival)
    assert person.policy.spec.environment_kwargs == {"max_episode_steps": 9}
    [alone] = with_person([], "Pendulum-v1")
    assert alone.by_hand
    with pytest.raises(RequestError, match="cannot be played by hand"):
        with_person([Contender(policy=many_actions(), title="b")], None)


def many_actions() -> Policy:
    policy = random_policy("CartPole-v1")
    spec = dataclasses.replace(policy.spec, action_space=spaces.MultiBinary(2))
    return dataclasses.replace(policy, spec=spec)


def start(display: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trpotui", "play", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "DISPLAY": display, "HOME": "/nonexistent"},
    )


def window_of(process: subprocess.Popen[str]) -> int:
    """The process of the window that a command has opened, which now has the keyboard."""
    lists = f"/proc/{process.pid}/task/{process.pid}/children"
    wait_until(lambda: Path(lists).read_text().split(), "the window's process")
    pid = int(Path(lists).read_text().split()[0])
    found = xdotool("search", "--sync", "--onlyvisible", "--pid", str(pid)).split()[-1]
    xdotool("windowfocus", "--sync", found)
    return pid


def test_a_person_plays_to_the_end(x_display: str) -> None:
    with start(x_display, "--env", "CartPole-v1", "--human", "--episodes", "1") as process:
        try:
            pid = window_of(process)
            xdotool("keydown", "Right")
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            xdotool("keyup", "Right")
            process.kill()
    assert errors == ""
    assert process.returncode == 0
    first, last = output.splitlines()
    assert first.startswith("episode 1 of 1: return ")
    steps = int(first.split(", ")[1].split()[0])
    assert 8 <= steps <= 11, "as long as CartPole stands when it is pushed to the right alone"
    assert last == f"mean {steps} over 1 episode"
    assert not is_alive(pid)


@pytest.mark.slow
def test_a_window_closed_half_way_leaves_nothing_behind(x_display: str) -> None:
    with start(x_display, CARTPOLE, "--human") as process:
        try:
            pid = window_of(process)
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")
    assert "Traceback" not in output
    wait_until(lambda: not is_alive(pid), "the window ends with its command")
