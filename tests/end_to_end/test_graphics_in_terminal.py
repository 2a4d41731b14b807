"""`trpotui play` in a terminal with graphics: what it is shown, and what it is left with."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.graphics_terminal import LEFT, GraphicsTerminal
from tests.end_to_end.terminal import Terminal
from trpotui.episodes import EpisodePlayer, PlayOptions
from trpotui.policy_file import read_policy
from trpotui.tui.graphics import FAR_SECONDS, NEARBY_SECONDS

CARTPOLE = Path(__file__).parents[2] / "saved_policies" / "cartpole.pt"
HERE = ("play", str(CARTPOLE), "--view", "terminal", "--seed", "3", "--episodes", "10000")
SLOW = pytest.mark.slow
BOTH = pytest.mark.parametrize("has", ["sixel", "kitty"])
WITHOUT_PACKAGE = (
    "-c",
    "import sys; sys.modules['textual_image'] = None\nfrom trpotui.__main__ import main; main()",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "SSH_CONNECTION", "SSH_TTY", "TMUX", "STY", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLORTERM", "truecolor")


def shown(terminal):
    return bool(terminal.sixels or terminal.kitty.placed)


def pause_at_first_step(terminal):
    """Begin the episode again and hold it there; the picture of that is the latest."""
    terminal.press(" ")
    terminal.wait_for("‖ paused")
    terminal.press("r")
    terminal.wait_for("step 0 ")


def first_frame(seed=3):
    player = EpisodePlayer(
        read_policy(CARTPOLE).policy, PlayOptions(seed=seed), render_mode="rgb_array"
    )
    player.start(1)
    frame = player.frame()
    player.close()
    return frame


def error(picture, frame):
    """The mean difference of a picture and the frame at its size, of 255."""
    rows = np.arange(picture.shape[0]) * frame.shape[0] // picture.shape[0]
    columns = np.arange(picture.shape[1]) * frame.shape[1] // picture.shape[1]
    expected = frame[rows][:, columns]
    return np.abs(picture.astype(int) - expected).mean()


def wait_for_frame(terminal, frame, what, *, fits=lambda _: True):
    """Wait for the frame in a place (x, y, columns, rows) that fits; the place and the picture."""

    def is_there():
        if not shown(terminal):
            return False
        place, picture = terminal.latest
        return fits(place) and error(picture, frame) < 3.0

    terminal.wait_until(is_there, what)
    return terminal.latest


@pytest.mark.parametrize("has", ["sixel", pytest.param("kitty", marks=SLOW)])
def test_a_terminal_with_graphics_shows_the_very_frame(tmp_path, has):
    with GraphicsTerminal(tmp_path, *HERE, answers=has) as terminal:
        terminal.wait_for("cart position", "episode 1", "seed 3")
        terminal.wait_until(lambda: shown(terminal), "a picture")
        pause_at_first_step(terminal)
        frame = first_frame()
        (x, y, columns, rows), picture = wait_for_frame(terminal, frame, "the frame of step 0")
        # 82 x 37 cells are free left of the numbers, for a frame of 600 x 400 pixels
        assert (columns, rows) == ((82, 28) if has == "sixel" else (82, 27))
        assert picture.shape[:2] == ((546, 820) if has == "sixel" else (400, 600))
        assert (x, y) == (1, 1 + (37 - rows) // 2)

        def text_under_it():
            lines = terminal.text.splitlines()[y : y + rows]
            return "".join(line[x : x + columns] for line in lines).strip()

        terminal.wait_until(lambda: not text_under_it(), "nothing under the picture")
        assert error(picture, np.roll(frame, 60, axis=1)) > 3.0
        # smaller, and the picture follows
        terminal.resize(80, 24)
        terminal.process.send_signal(signal.SIGWINCH)

        def fits(place):
            x, y, columns, rows = place
            return columns < 50 and x + columns < 80 - 36 and y + rows <= 22

        wait_for_frame(terminal, frame, "the frame, smaller", fits=fits)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
        assert not terminal.kitty.placed
        after = terminal.printed.rpartition(LEFT)[2]
        assert b"\x1bP" not in after
        assert b"\x1b_" not in after
        assert "no episode was finished" in terminal.text


@SLOW
@BOTH
def test_what_lies_over_the_picture_is_seen_and_it_comes_back(tmp_path, has):
    with GraphicsTerminal(tmp_path, *HERE, answers=has) as terminal:
        terminal.wait_until(lambda: shown(terminal), "a picture")
        pause_at_first_step(terminal)
        frame = first_frame()
        wait_for_frame(terminal, frame, "the frame")
        for key, seen, back in [("?", "Keys", "?"), ("\x10", "Search for commands", "\x1b")]:
            terminal.press(key)
            terminal.wait_for(seen, "▀")
            terminal.wait_until(lambda: not terminal.kitty.placed, "no picture over the dialog")
            before = terminal.pictures
            terminal.press(".")  # would be drawn if it were drawn
            assert terminal.pictures == before
            terminal.press(back)
            terminal.wait_until(lambda before=before: terminal.pictures > before, "it again")
            terminal.wait_until(lambda: "▀" not in terminal.text, "no half blocks under it")
        terminal.press("s")
        terminal.wait_for("Saved CartPole", "▀")
        terminal.wait_until(lambda: not terminal.kitty.placed, "no picture over the notice")
        before = terminal.pictures
        terminal.wait_until(lambda: "Saved" not in terminal.text, "the notice has gone")
        terminal.wait_until(lambda: terminal.pictures > before, "the picture again")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


@SLOW
@BOTH
@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "SIGHUP", "ctrl+c", "fails", "over"])
def test_no_way_out_leaves_a_picture(tmp_path, has, way):
    fails = (
        "from trpotui.tui.widgets.policy_facts import PolicyFacts\n"
        "def show(self, scene, mode, real=PolicyFacts.show):\n"
        "    if scene.facts.step > 30: raise RuntimeError('the pen is broken')\n"
        "    real(self, scene, mode)\n"
        "PolicyFacts.show = show\n"
        if way == "fails"
        else ""
    )
    program = ("-c", fails + "from trpotui.__main__ import main; main()")
    options = (*HERE[:-1], "1", "--speed", "16") if way == "over" else HERE
    with GraphicsTerminal(tmp_path, *options, answers=has, program=program) as terminal:
        terminal.wait_until(lambda: terminal.pictures, "a picture")
        code = {"fails": 1, "over": 0, "ctrl+c": 130}.get(way)
        if way == "ctrl+c":
            terminal.press("\x03")
        elif code is None:
            number = getattr(signal, way)
            terminal.process.send_signal(number)
            code = 128 + number
        assert terminal.wait_for_end() == code
        assert terminal.left_behind() == []
        assert not terminal.kitty.placed
        after = terminal.printed.rpartition(LEFT)[2]
        assert b"\x1bP" not in after
        assert b"\x1b_" not in after


def is_stopped(pid):
    """Whether a process has been stopped; what continues it before that is lost."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@SLOW
@BOTH
def test_a_suspended_player_leaves_no_picture_and_comes_back_with_one(tmp_path, has):
    with GraphicsTerminal(tmp_path, *HERE, answers=has) as terminal:
        terminal.wait_until(lambda: shown(terminal), "a picture")
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_until(lambda: LEFT in terminal.printed, "the screen given back")
        terminal.wait_until(lambda: is_stopped(terminal.process.pid), "the process at rest")
        assert not terminal.kitty.placed
        before = terminal.pictures
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_until(lambda: terminal.pictures > before, "the picture again")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
        assert not terminal.kitty.placed


@SLOW
@BOTH
def test_no_size_of_the_terminal_draws_beyond_it(tmp_path, has):
    with GraphicsTerminal(tmp_path, *HERE, answers=has) as terminal:
        terminal.wait_until(lambda: shown(terminal), "a picture")
        pause_at_first_step(terminal)
        for size in [(200, 60), (2, 3), (20, 6), (300, 4), (5, 80), (100, 30), (60, 60)]:
            terminal.resize(*size)
            terminal.process.send_signal(signal.SIGWINCH)
            terminal.press("o", "o", ".")
        terminal.wait_for("CartPole-v1", "‖ paused", "cart position")
        terminal.press("r")

        def fits(place):
            x, y, columns, rows = place
            return x < 10 and columns > 40 and x + columns <= 59 and y + rows <= 58

        wait_for_frame(terminal, first_frame(), "the frame at the last size", fits=fits)
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


@SLOW
@BOTH
def test_pictures_come_ten_times_a_second_at_most(tmp_path, has):
    with GraphicsTerminal(tmp_path, *HERE, answers=has) as terminal:
        terminal.wait_until(lambda: shown(terminal), "a picture")
        terminal.catch_up()
        before, began = terminal.pictures, time.monotonic()
        terminal.wait_until(
            lambda: terminal.pictures >= before + 3 and time.monotonic() - began > 3.0, "pictures"
        )
        assert terminal.pictures - before <= 10 * (time.monotonic() - began) + 3
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@SLOW
@pytest.mark.parametrize(
    ("has", "options", "variables"),
    [
        ("nothing", (), {}),
        ("sixel", ("--graphics", "blocks"), {}),
        ("kitty", (), {"TMUX": "/tmp/x,1,0"}),
        ("sixel", (), {"NO_COLOR": "1"}),
    ],
)
def test_where_there_are_none_or_none_are_wanted_it_plays_without(
    tmp_path, monkeypatch, has, options, variables
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with GraphicsTerminal(tmp_path, *HERE, *options, answers=has) as terminal:
        terminal.wait_for("episode 1", "█" if "NO_COLOR" in variables else "▀")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert not shown(terminal)
        assert terminal.left_behind() == []


@SLOW
def test_a_terminal_that_answers_nothing_gets_half_blocks_in_time(tmp_path):
    assert NEARBY_SECONDS + FAR_SECONDS < 6.0
    for choice in ("blocks", "auto"):
        with Terminal(tmp_path, *HERE, "--graphics", choice) as terminal:
            terminal.wait_for("▀")
            assert (b"\x1b[c" in terminal.printed) == (choice == "auto")
            terminal.press("q")
            assert terminal.wait_for_end() == 0
            assert terminal.left_behind() == []


@SLOW
def test_graphics_that_were_asked_for_are_shown_whatever_the_terminal_says(tmp_path):
    with GraphicsTerminal(tmp_path, *HERE, "--graphics", "sixel", answers="nothing") as terminal:
        terminal.wait_until(lambda: terminal.sixels, "a picture")
        terminal.press("q")
        assert terminal.wait_for_end() == 0


@SLOW
def test_without_the_package_it_plays_in_half_blocks(tmp_path):
    with GraphicsTerminal(tmp_path, *HERE, answers="sixel", program=WITHOUT_PACKAGE) as terminal:
        terminal.wait_for("▀", "episode 1")
        assert b"\x1b[c" not in terminal.printed
        assert not terminal.sixels
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


@SLOW
@pytest.mark.parametrize("choice", ["sixel", "kitty"])
def test_graphics_without_the_package_are_refused_with_what_to_install(tmp_path, choice):
    options = (*HERE, "--graphics", choice)
    with Terminal(tmp_path, *options, program=WITHOUT_PACKAGE) as terminal:
        assert terminal.wait_for_end() == 2
        assert f"trpotui: --graphics {choice} needs a package" in terminal.text
        assert "pip install 'trpotui[graphics]'" in terminal.text.replace("\n", "")
        assert b"\x1b[?1049h" not in terminal.printed


@pytest.mark.parametrize(
    "options", [("--view", "none"), ("--view", "window"), ("--record", "a.gif"), ("--human",)]
)
def test_graphics_are_refused_where_nothing_is_drawn_in_the_terminal(trpotui, options):
    result = trpotui("play", CARTPOLE, *options, "--graphics", "sixel")
    assert result.returncode == 2
    assert result.stderr == (
        "trpotui: --graphics sixel is for the terminal, which shows nothing here: "
        "take --view terminal, or leave --graphics out\n"
    )
