"""The app as a person uses it: real processes in a terminal, by keys alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.end_to_end.terminal import ENTER, ESCAPE, TAB, Terminal

CTRL_C, DOWN, CLEAR = "\x03", "\x1b[B", "\x15"

ENDLESS = ("--steps", "100000000", "--no-stop-when-solved")
BREAKS_SOON = """
import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

class Breaks(CartPoleEnv):
    steps = 0

    def step(self, action):
        Breaks.steps += 1
        if Breaks.steps == 5000:
            raise RuntimeError("the pole has snapped")
        return super().step(action)

gymnasium.register("Breaks-v0", entry_point=Breaks, max_episode_steps=500)
from trpotui.__main__ import main
main()
"""
"""The command, in an installation that has one more environment."""

DRAWING_FAILS = """
from trpotui.tui.widgets.log_pane import LogPane

def show(self, state):
    if state.update is not None:
        raise RuntimeError("the pen is broken")

LogPane.show = show
from trpotui.__main__ import main
main()
"""
"""The command, with a widget that fails as soon as there is something to draw."""


def only_run(folder: Path) -> Path:
    """The directory of the only run."""
    (config,) = (folder / "runs").glob("*/*/config.json")
    return config.parent


def saved(run: Path) -> None:
    """Assert that a run can be gone on with, and played as far as it came."""
    for name in ("checkpoint.pt", "policy.pt", "metrics.jsonl"):
        assert (run / name).stat().st_size > 0, name
    assert not (run / "crash.log").exists()


def rows_of(run: Path) -> list[dict[str, object]]:
    """The metrics of a run, without what depends on the time."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    times = ("seconds", "steps_per_second")
    return [{key: value for key, value in row.items() if key not in times} for row in rows]


def start_training(terminal: Terminal) -> None:
    """Start what is set up, by keys, and wait for its first update."""
    terminal.wait_for("trpotui", "idle")
    terminal.press("s")
    terminal.wait_for("● training", "ETA")


def quit_and_save(terminal: Terminal) -> None:
    """Quit amid a run, and say yes."""
    terminal.press("q")
    terminal.wait_for("Stop the run, save it and quit?")
    terminal.press("y")


@pytest.mark.slow
def test_train_to_solved_play_it_and_quit_by_keys_alone(tmp_path):
    with Terminal(tmp_path, "train") as terminal:
        terminal.wait_for("trpotui", "CartPole-v1", "Start", "no update yet")
        terminal.press("s")
        terminal.wait_for("✓ finished", "solved after", "Start")
        terminal.press("p")
        terminal.wait_for("Policies", "best of", " ± ")
        terminal.press(ENTER)  # there is no display: it plays here in place of a window
        terminal.wait_for("▀", "return")
        terminal.press(ESCAPE)
        terminal.wait_until(lambda: "▀" not in terminal.text, "the policy gone")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
    assert (only_run(tmp_path) / "best.pt").stat().st_size > 0
    saved(only_run(tmp_path))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param("SIGINT", (20, 6), marks=pytest.mark.slow),
        pytest.param("SIGTERM", (80, 24), marks=pytest.mark.slow),
        pytest.param("SIGHUP", (120, 40), marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_the_run_and_gives_the_terminal_back(tmp_path, name, size):
    number = getattr(signal, name)
    with Terminal(tmp_path, "train", *ENDLESS, size=size) as terminal:
        terminal.wait_for("trpotui")
        terminal.press("s")
        terminal.wait_until(lambda: list(tmp_path.glob("runs/*/*/policy.pt")), "a policy saved")
        terminal.process.send_signal(number)
        assert terminal.wait_for_end() == 128 + number
        assert terminal.left_behind() == []
    saved(only_run(tmp_path))


def test_quitting_amid_a_run_asks_and_saves(tmp_path):
    with Terminal(tmp_path, "train", *ENDLESS, size=(80, 24)) as terminal:
        start_training(terminal)
        terminal.press("q")
        terminal.wait_for("Stop the run, save it and quit?")
        terminal.press(ESCAPE)
        terminal.wait_until(lambda: "Stop the run" not in terminal.text, "the question gone")
        metrics = only_run(tmp_path) / "metrics.jsonl"
        terminal.wait_until(metrics.exists, "metrics")
        before = metrics.stat().st_size
        terminal.wait_until(lambda: metrics.stat().st_size > before, "the run going on")
        quit_and_save(terminal)
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
    saved(only_run(tmp_path))


@pytest.mark.slow
def test_ctrl_c_asks_and_a_second_one_agrees(tmp_path):
    with Terminal(tmp_path, "train", *ENDLESS) as terminal:
        start_training(terminal)
        terminal.press(CTRL_C)
        terminal.wait_for("Stop the run, save it and quit?")
        terminal.press(CTRL_C)
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
    saved(only_run(tmp_path))


@pytest.mark.slow
def test_a_run_is_repeated_with_its_edits_from_the_command_line(tmp_path):
    with Terminal(tmp_path, "train", "--steps", "40960", "--no-stop-when-solved") as terminal:
        terminal.wait_for("trpotui", "idle")
        terminal.press("s")
        terminal.wait_for("● training")
        terminal.press(".")  # one more update, and held, long before the last one
        terminal.wait_for("paused")
        terminal.press("e")
        terminal.wait_for("Change the run that goes on", "total_steps · ")  # which has the focus
        terminal.press(DOWN)
        terminal.wait_for("max_kl · ")
        terminal.press(CLEAR + "0.001" + ENTER)  # in one piece, as slow connections bring it
        terminal.wait_until(lambda: "Change the run" not in terminal.text, "the form closed")
        terminal.wait_for("max_kl = 0.001")
        terminal.press(" ")
        terminal.wait_for("✓ finished", "finished after")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    first = only_run(tmp_path)
    with Terminal(tmp_path, "train", "--repeat", str(first)) as terminal:
        terminal.wait_for("✓ finished", "finished after")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    (again,) = set((tmp_path / "runs" / "CartPole-v1").iterdir()) - {first}
    assert f"this repeats {first}; it will be changed" in (again / "run.log").read_text()
    assert rows_of(again) == rows_of(first)
    assert {row["max_kl"] for row in rows_of(again)} > {0.001}


@pytest.mark.slow
def test_a_run_that_fails_is_told_of_and_the_app_goes_on(tmp_path):
    program = ("-c", BREAKS_SOON)
    with Terminal(tmp_path, "train", "--env", "Breaks-v0", program=program) as terminal:
        terminal.wait_for("trpotui", "Breaks-v0")
        terminal.press("s")
        terminal.wait_for("✗ failed", "RuntimeError", "snapped", "Close")
        terminal.press(ESCAPE)
        terminal.wait_until(lambda: "Close" not in terminal.text, "the dialog closed")
        terminal.wait_for("failed: ", "snapped", "crash.log")  # what is left of it on the screen
        terminal.press("r")  # the app goes on: the run is among the past ones
        terminal.wait_for("Breaks-v0", "failed", "4,096")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
    run = only_run(tmp_path)
    assert "the pole has snapped" in (run / "crash.log").read_text()
    assert (run / "checkpoint.pt").stat().st_size > 0


def test_a_terminal_that_goes_away_ends_the_app_which_saves_the_run(tmp_path):
    with Terminal(tmp_path, "train", *ENDLESS) as terminal:
        start_training(terminal)
        terminal.hang_up()
        assert terminal.wait_for_end() == 128 + signal.SIGHUP
    saved(only_run(tmp_path))


@pytest.mark.slow
def test_no_size_of_the_terminal_ends_the_app(tmp_path):
    sizes = [(1, 1), (200, 60), (2, 3), (20, 6), (300, 4), (5, 80), (80, 24), (1, 1), (100, 30)]
    with Terminal(tmp_path, "train", *ENDLESS, size=(1, 1)) as terminal:
        terminal.wait_until(lambda: terminal.printed.count(b"\x1b[?1049h"), "drawn")
        terminal.press("s")
        terminal.wait_until(lambda: list(tmp_path.glob("runs/*/*/policy.pt")), "a policy saved")
        for screen in ("t", "p", "r", "?"):
            terminal.press(ESCAPE, screen)
            for size in sizes:
                terminal.resize(*size)
                terminal.press(TAB)
        terminal.resize(120, 40)
        terminal.press(ESCAPE, ESCAPE)
        terminal.wait_for("● training", "Update")
        quit_and_save(terminal)
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []


@pytest.mark.slow
def test_an_error_of_the_app_itself_loses_neither_the_run_nor_the_terminal(tmp_path):
    with Terminal(tmp_path, "train", *ENDLESS, program=("-c", DRAWING_FAILS)) as terminal:
        terminal.wait_for("trpotui", "idle")
        terminal.press("s")
        assert terminal.wait_for_end() == 1
        assert terminal.left_behind() == []
        assert b"the pen is broken" in terminal.printed
    saved(only_run(tmp_path))
