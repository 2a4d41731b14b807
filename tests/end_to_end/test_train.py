"""`trpotui train --no-ui` as a person and as a script use it."""

import io
import json
import os
import signal
import subprocess
import time

import gymnasium
import pexpect
import pytest

from tests.end_to_end.conftest import TRPOTUI

KEYS = {
    *("update", "steps", "episodes", "seconds", "steps_per_second"),
    *("return_mean", "return_min", "return_max", "length_mean"),
    *("kl", "max_kl", "surrogate_gain", "expected_gain", "step_fraction", "backtracks"),
    *("accepted", "cg_residual", "grad_norm", "entropy", "value_loss", "explained_variance"),
}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_its_directory_and_its_policy(trained):
    run = trained / "run"
    for name in ("config.json", "metrics.jsonl", "policy.pt", "best.pt", "checkpoint.pt"):
        assert (run / name).stat().st_size > 0, name
    assert "training trpo on CartPole-v1" in (run / "run.log").read_text()
    assert (trained / "policy.pt").read_bytes() == (run / "best.pt").read_bytes()
    assert not (run / "crash.log").exists()


def test_metrics_hold_one_line_for_every_update_with_the_promised_keys(trained):
    rows = rows_of(trained / "run")
    assert [row["update"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["steps"] <= 4096
    assert set(rows[0]) >= KEYS
    assert any("eval_return" in row for row in rows)
    for row in rows:
        assert row["kl"] <= row["max_kl"] * (1 + 1e-5)


def test_the_last_line_says_what_was_reached_and_how_to_play_it(trpotui):
    result = trpotui("train", "--no-ui", "--steps", "2048", "-o", "mine.pt")
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert "CartPole-v1" in last
    assert "over 20 episodes" in last or "over 100 episodes" in last
    assert last.endswith("play it: trpotui play mine.pt")


def test_json_is_the_metrics_and_nothing_else(trpotui):
    result = trpotui("train", "--no-ui", "--json", "--steps", "2048", "--run-dir", "r")
    assert result.returncode == 0, result.stderr
    assert [json.loads(line) for line in result.stdout.splitlines()] == rows_of(
        trpotui.folder / "r"
    )


def test_quiet_prints_nothing(trpotui):
    result = trpotui("train", "--no-ui", "--quiet", "--steps", "1024")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_plain_lines_come_as_often_as_asked(trpotui):
    result = trpotui("train", "--no-ui", "--steps", "4096", "--log-every", "2")
    lines = [line for line in result.stderr.splitlines() if line.startswith("update ")]
    assert [line.split()[1] for line in lines] == ["2", "4"]
    assert "steps/s" in lines[0]
    assert "KL 0.0" in lines[0]


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_harm_the_run(trpotui):
    command = " ".join([*TRPOTUI, "train", "--no-ui", "--json", "--steps", "8192"])
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} --run-dir r | head -1"],
        cwd=trpotui.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert len(rows_of(trpotui.folder / "r")) > 1
    assert (trpotui.folder / "r" / "policy.pt").exists()


def wait_for_update(folder, seconds=60.0):
    """Wait until the run has written metrics."""
    deadline = time.monotonic() + seconds
    metrics = folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert time.monotonic() < deadline, "the run wrote no metrics"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "name",
    ["SIGINT", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGTERM", "SIGHUP"))],
)
def test_a_signal_saves_the_run_and_is_its_exit_code(trpotui, name):
    number = getattr(signal, name)
    endless = ["--steps", "100000000", "--no-stop-when-solved"]
    process = trpotui.start("train", "--no-ui", *endless, "--run-dir", "r", "-o", "out.pt")
    wait_for_update(trpotui.folder / "r")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "stopped on CartPole-v1" in out
    assert (trpotui.folder / "out.pt").exists()
    assert trpotui("eval", "out.pt", "--episodes", "2").returncode == 0


def test_a_resumed_run_goes_on_counting(trpotui):
    first = trpotui("train", "--no-ui", "--quiet", "--steps", "3000", "--run-dir", "r")
    assert first.returncode == 0, first.stderr
    before = rows_of(trpotui.folder / "r")
    second = trpotui("train", "--no-ui", "--resume", "r", "--steps", "6000")
    assert second.returncode == 0, second.stderr
    after = rows_of(trpotui.folder / "r")
    assert after[: len(before)] == before
    assert [row["update"] for row in after] == list(range(1, len(after) + 1))
    assert after[-1]["steps"] > before[-1]["steps"]
    saved = json.loads((trpotui.folder / "r" / "config.json").read_text())
    assert saved["total_steps"] == 6000


class Poetry(gymnasium.Env):
    """Observes texts, which no policy here does."""

    observation_space = gymnasium.spaces.Text(9)
    action_space = gymnasium.spaces.Discrete(2)


@pytest.fixture
def _poetry(monkeypatch):
    spec = gymnasium.envs.registration.EnvSpec("Poetry-v0", entry_point=Poetry)
    monkeypatch.setitem(gymnasium.registry, "Poetry-v0", spec)


@pytest.mark.usefixtures("_poetry")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "CartPol-v1"], "unknown environment 'CartPol-v1'; did you mean 'CartPole-v1'"),
        (["--env", "os:CartPole-v1"], "unknown environment 'os:CartPole-v1'"),
        (["--env", "Poetry-v0"], "is not supported: observations may be Box, Discrete,"),
        (["--env", "phys2d/CartPole-v1"], "cannot be made"),
        (["--algo", "tpro"], "unknown algorithm 'tpro'; did you mean 'trpo'"),
        (["--preset", "tuend"], "unknown preset 'tuend'"),
        (["--set", "max_kl=0"], "max_kl=0 is not valid: should be greater than 0"),
        (["--set", "maxkl=0.1"], "unknown hyperparameter 'maxkl' of trpo; did you mean 'max_kl'"),
        (["--set", "max_kl"], "--set takes KEY=VALUE, not 'max_kl'"),
        (["--env-set", "gravitation=3"], "cannot be made"),
        (["--device", "cuda"], "device cuda is not available here"),
        (["--device", "cuda:7"], "device cuda:7 is not available here"),
        (["--device", "gpu"], "device=gpu is not valid"),
        (["--steps", "0"], "total_steps=0 is not valid"),
        (["--steps", "many"], "Invalid value for '--steps'"),
        (["--sed", "1"], "No such option"),
        (["--run-dir", "/proc/nothing/here"], "/proc/nothing/here"),
        (["--output", "no/such/place.pt"], "no/such"),
        (["--resume", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_leaves_nothing(trpotui, arguments, said):
    result = trpotui("train", "--no-ui", *arguments)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("trpotui: ")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert said in result.stderr
    assert list(trpotui.folder.iterdir()) == []


def test_debug_shows_where_it_failed(trpotui):
    result = trpotui("train", "--no-ui", "--env", "Nope-v1", "--debug")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_a_second_run_into_one_directory_is_refused(trpotui):
    first = trpotui("train", "--no-ui", "--quiet", "--steps", "1024", "--run-dir", "r")
    assert first.returncode == 0, first.stderr
    before = {path.name: path.read_bytes() for path in (trpotui.folder / "r").iterdir()}
    second = trpotui("train", "--no-ui", "--steps", "1024", "--run-dir", "r")
    assert second.returncode == 2
    assert "--resume" in second.stderr
    after = {path.name: path.read_bytes() for path in (trpotui.folder / "r").iterdir()}
    assert after == before


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar_and_its_cursor_back(tmp_path):
    child = pexpect.spawn(
        TRPOTUI[0],
        [*TRPOTUI[1:], "train", "--no-ui", "--steps", "100000000", "--no-stop-when-solved"],
        cwd=str(tmp_path),
        dimensions=(24, 100),
        timeout=60,
        env={**os.environ, "TERM": "xterm-256color"},
        encoding="utf-8",
    )
    screen = child.logfile_read = io.StringIO()
    child.expect("CartPole-v1 ")
    child.expect(r"KL 0\.0")
    child.expect("steps/s")
    child.expect("left")
    child.sendcontrol("c")
    child.expect("stopped on CartPole-v1")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert screen.getvalue().rfind(shown) > screen.getvalue().rfind(hidden) >= 0


def test_without_a_terminal_train_says_to_add_no_ui(trpotui):
    result = trpotui("train")
    assert result.returncode == 2
    assert "add --no-ui" in result.stderr
    assert list(trpotui.folder.iterdir()) == []
