"""`trpotui play` in a terminal: what is seen at each size and depth of colour, and how it ends."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.end_to_end.terminal import Terminal
from trpotui.episodes import PlayOptions, play_without_window
from trpotui.policy_file import read_policy
from trpotui.tui import player_app

CARTPOLE = Path(__file__).parents[2] / "saved_policies" / "cartpole.pt"
CTRL_C = "\x03"
HERE = ("play", str(CARTPOLE), "--view", "terminal")
ENDLESS = ("--episodes", "10000")
TRUE_COLOUR = re.compile(rb"[34]8;2;(\d+);(\d+);(\d+)")
COLOUR_OF_256 = re.compile(rb"[34]8;5;(\d+)")
SHADES = set("░▒▓█")

SIZES = [(80, 24), (120, 40), (200, 60)]
DEPTHS: list[dict[str, str]] = [{"COLORTERM": "truecolor"}, {}, {"NO_COLOR": "1"}]
SLOW = pytest.mark.slow
ALL = [
    pytest.param(size, depth, id=f"{size[0]}x{size[1]}-{' '.join(depth) or '256'}",
                 marks=() if SIZES.index(size) == DEPTHS.index(depth) < 1 else SLOW)
    for size in SIZES
    for depth in DEPTHS
]  # fmt: skip

MAIN = "from trpotui.__main__ import main; main()"
POLE_SNAPS = (
    """
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

def step(self, action, real=CartPoleEnv.step, left=[60]):
    left[0] -= 1
    if not left[0]:
        raise RuntimeError("the pole has snapped")
    return real(self, action)

CartPoleEnv.step = step
"""
    + MAIN
)
HANGS = (
    """
import time
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

def step(self, action, real=CartPoleEnv.step, left=[20]):
    left[0] -= 1
    if not left[0]:
        time.sleep(1000)
    return real(self, action)

CartPoleEnv.step = step
"""
    + MAIN
)
DRAWING_FAILS = (
    """
from trpotui.tui.widgets.policy_facts import PolicyFacts

def show(self, scene, mode):
    raise RuntimeError("the pen is broken")

PolicyFacts.show = show
"""
    + MAIN
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("COLORTERM", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)


def picture(terminal):
    """The cells left of the numbers, without what surrounds them."""
    lines = terminal.text.splitlines()[1:-2]
    return "".join(line[1 : len(line) - 38] for line in lines)


@pytest.mark.parametrize(("size", "depth"), ALL)
def test_it_plays_at_every_size_and_depth_of_colour(tmp_path, monkeypatch, size, depth):
    for name, value in depth.items():
        monkeypatch.setenv(name, value)
    with Terminal(tmp_path, *HERE, "--seed", "3", *ENDLESS, size=size) as terminal:
        terminal.wait_for("CartPole-v1 · cartpole", "cart position", "episode 1", "seed 3")
        terminal.press(" ")
        terminal.wait_for("‖ paused")
        terminal.press("r")  # which step it was held at, the screen may yet have to say
        terminal.wait_for("step 0 ")
        terminal.press(".", ".")
        terminal.wait_for("step 2 ")
        terminal.press(",")
        terminal.wait_for("step 1 ")
        terminal.wait_until(lambda: (SHADES | {"▀"}) & set(picture(terminal)), "a picture")
        true = {tuple(map(int, found)) for found in TRUE_COLOUR.findall(terminal.printed)}
        if "NO_COLOR" in depth:
            assert SHADES & set(picture(terminal))
            assert not true
            colours = {int(found) for found in COLOUR_OF_256.findall(terminal.printed)}
            assert all(c in (16, 59, 102, 145, 188, 231) or c >= 232 for c in colours), colours
        else:
            assert "▀" in picture(terminal)
            assert not SHADES & set(picture(terminal))
            # the cart's black on white, and the pole's brown
            assert bool(true) == ("COLORTERM" in depth)
            assert bool(COLOUR_OF_256.search(terminal.printed)) != bool(true)
        terminal.press("n")
        terminal.wait_for("episode 2 ", "seed 4", "step 0 ")
        if size == (120, 40):
            terminal.process.send_signal(signal.SIGTERM)
        else:
            terminal.press("q")
        assert terminal.wait_for_end() == (128 + signal.SIGTERM if size == (120, 40) else 0)
        assert terminal.left_behind() == []
        assert "no episode was finished" in terminal.text


@SLOW
def test_without_a_display_it_plays_here_to_the_end_and_prints_what_was_scored(tmp_path):
    options = ("--episodes", "2", "--seed", "5", "--speed", "16")
    with Terminal(tmp_path, "play", str(CARTPOLE), *options) as terminal:
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
        text = terminal.text
        assert "▀".encode() in terminal.printed
        assert b"there is no display for a window: playing in the terminal" in terminal.printed
    policy = read_policy(CARTPOLE).policy
    for played in play_without_window(policy, PlayOptions(episodes=2, seed=5)):
        assert (
            f"episode {played.episode} of 2: return {played.episode_return:.4g}, "
            f"{played.length} steps (seed {played.seed})"
        ) in text
    assert "mean 500 over 2 episodes" in text


@SLOW
@pytest.mark.parametrize(
    ("name", "size"), [("SIGTERM", (20, 6)), ("SIGINT", (80, 24)), ("SIGHUP", (120, 40))]
)
def test_a_signal_gives_the_terminal_back(tmp_path, name, size):
    number = getattr(signal, name)
    with Terminal(tmp_path, *HERE, *ENDLESS, size=size) as terminal:
        terminal.wait_for("▀")
        terminal.process.send_signal(number)
        assert terminal.wait_for_end() == 128 + number
        assert terminal.left_behind() == []


@SLOW
def test_a_terminal_without_colours_gets_characters(tmp_path):
    program = ("-c", "import os; os.environ['TERM'] = 'vt100'\n" + MAIN)
    with Terminal(tmp_path, *HERE, *ENDLESS, program=program) as terminal:
        terminal.wait_for("episode 1", "cart position")
        terminal.wait_until(lambda: SHADES & set(picture(terminal)), "a picture of characters")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@SLOW
def test_ctrl_c_ends_it_and_what_was_played_is_printed(tmp_path):
    with Terminal(tmp_path, *HERE, *ENDLESS, "--speed", "16") as terminal:
        terminal.wait_for("returns 500")
        terminal.press(CTRL_C)
        assert terminal.wait_for_end() == 128 + signal.SIGINT
        assert terminal.left_behind() == []
        assert b"episode 1 of 10000: return 500" in terminal.printed


@SLOW
def test_a_terminal_that_goes_away_ends_it(tmp_path):
    with Terminal(tmp_path, *HERE, *ENDLESS) as terminal:
        terminal.wait_for("▀")
        terminal.hang_up()
        assert terminal.wait_for_end() == 128 + signal.SIGHUP


@SLOW
def test_no_size_of_the_terminal_ends_it(tmp_path):
    with Terminal(tmp_path, *HERE, *ENDLESS, size=(1, 1)) as terminal:
        terminal.wait_until(lambda: terminal.printed.count(b"\x1b[?1049h"), "drawn")
        for size in [(200, 60), (2, 3), (20, 6), (300, 4), (5, 80), (1, 1), (100, 30)]:
            terminal.resize(*size)
            terminal.press("o", "?", "?")
        terminal.wait_for("CartPole-v1 · cartpole")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


@SLOW
@pytest.mark.parametrize(
    ("program", "told"),
    [
        (POLE_SNAPS, "trpotui: the environment CartPole-v1 raised RuntimeError in step 60 of"),
        (DRAWING_FAILS, "trpotui: unexpected RuntimeError: the pen is broken"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_the_terminal_is_given_back(tmp_path, program, told):
    with Terminal(tmp_path, *HERE, program=("-c", program)) as terminal:
        assert terminal.wait_for_end() == 1
        assert terminal.left_behind() == []
        assert told in terminal.text
        assert b"Traceback" not in terminal.printed


@SLOW
def test_an_environment_that_hangs_does_not_keep_the_terminal(tmp_path):
    with Terminal(tmp_path, *HERE, program=("-c", HANGS)) as terminal:
        terminal.wait_for("▀", "step 1")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


def test_where_there_is_no_terminal_it_says_what_to_do(trpotui):
    result = trpotui("play", CARTPOLE, "--view", "terminal")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "trpotui: there is no terminal to draw on: use --view none to print the returns alone\n"
    )


@pytest.mark.parametrize("code", [0, 130])
def test_what_was_played_is_printed_whichever_way_it_ended(trpotui, monkeypatch, code):
    def played(saved, name, options, graphics):
        assert (name, graphics, options.episodes, saved.policy.spec.environment_id) == (
            "cartpole",
            "auto",
            2,
            "CartPole-v1",
        )
        return tuple(play_without_window(saved.policy, options)), code

    monkeypatch.setattr(player_app, "play_in_terminal", played)
    result = trpotui("play", CARTPOLE, "--view", "terminal", "--episodes", "2", "--seed", "8")
    assert result.returncode == code
    assert result.stdout == (
        "episode 1 of 2: return 500, 500 steps (seed 8)\n"
        "episode 2 of 2: return 500, 500 steps (seed 9)\n"
        "mean 500 over 2 episodes\n"
    )
