"""The program where little can be relied on: environments that hang, terminals that go away, and
locales that know nothing but ASCII."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.end_to_end.conftest import TRPOTUI
from tests.end_to_end.terminal import Terminal
from trpotui.policy_file import read_policy
from trpotui.run_directory import RunDirectory

PATIENCE = 60.0
HANGING = """
import time
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Hanging(CartPoleEnv):
    steps = 0

    def step(self, action):
        Hanging.steps += 1
        if Hanging.steps > 40:
            Path("hanging").touch()
            time.sleep(3600)
        return super().step(action)

gymnasium.register("Hanging-v0", entry_point=Hanging)
"""
SMALL = ["--n-envs", "2", "--set", "rollout_steps=16", "--set", "hidden_sizes=8"]
ENDLESS = ["--steps", "100000000", "--no-stop-when-solved", "--set", "eval_every=0"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_second_signal_ends_a_run_whose_environment_hangs(trpotui):
    (trpotui.folder / "hangs.py").write_text(HANGING)
    process = trpotui.start(
        "train", "--no-ui", "--env", "Hanging-v0", "--import", "hangs", *SMALL, "--run-dir", "r"
    )
    wait_until((trpotui.folder / "hanging").exists)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):  # it is waited for
        process.wait(timeout=1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in err
    with RunDirectory.open(trpotui.folder / "r"):  # its lock is free
        pass


def test_a_run_without_the_app_is_saved_when_its_terminal_goes_away(tmp_path):
    child = pexpect.spawn(
        TRPOTUI[0],
        [*TRPOTUI[1:], "train", "--no-ui", *SMALL, *ENDLESS, "--run-dir", "r"],
        cwd=str(tmp_path),
        timeout=PATIENCE,
    )
    metrics = tmp_path / "r" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.stat().st_size > 0)
    os.close(child.child_fd)  # as a lost connection does: the kernel sends SIGHUP
    _, status = os.waitpid(child.pid, 0)
    child.closed, child.terminated = True, True
    assert os.waitstatus_to_exitcode(status) == 129
    rows = len(metrics.read_text().splitlines())
    assert read_policy(tmp_path / "r" / "policy.pt").updates == rows
    assert not (tmp_path / "r" / "crash.log").exists()


EVERY_LINE = """
import sys
from trpotui.__main__ import main

for line in sys.stdin:
    sys.argv = ["trpotui", *line.split()]
    try:
        main()
    except SystemExit as end:
        print("exit", end.code, flush=True)
"""
"""Commands one after the other, in a process that imports torch once."""

SURROUNDINGS = {
    "nothing but ASCII": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "no colour, no cursor": {"NO_COLOR": "1", "TERM": "dumb"},
}
each_surroundings = pytest.mark.parametrize(
    "surroundings",
    [
        "nothing but ASCII",
        pytest.param("no colour, no cursor", marks=pytest.mark.slow),
    ],
)


@each_surroundings
def test_commands_work_in_poor_surroundings_and_unusual_folders(tmp_path, surroundings):
    folder = tmp_path / "läufe ☃ [b]"
    folder.mkdir()
    environment = os.environ | SURROUNDINGS[surroundings]
    script = folder / "all.py"
    script.write_text(EVERY_LINE)
    commands = [
        f"train --no-ui --steps 64 {' '.join(SMALL)} --run-dir r -o π.pt",
        "train --no-ui --resume r --steps 128",
        "inspect π.pt",
        "eval π.pt --episodes 3",
        "play π.pt --view none --episodes 1",
        "plot r",
        "export π.pt --numpy ☃.npz",
        "--help",
        "train --help",
        "inspect ☃.npz",
    ]
    done = subprocess.run(
        [sys.executable, str(script)],
        input="\n".join(commands).encode(),
        cwd=folder,
        env=environment,
        capture_output=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    printed, complaints = done.stdout.decode("utf-8", "replace"), done.stderr.decode()
    codes = [line for line in printed.splitlines() if line.startswith("exit ")]
    assert codes == ["exit 0"] * (len(commands) - 1) + ["exit 2"], printed + complaints
    assert "Traceback" not in complaints
    assert "unexpected" not in complaints
    assert "\x1b" not in printed
    assert read_policy(folder / "π.pt").policy.spec.environment_id == "CartPole-v1"
    assert Path(folder / "☃.npz").exists()


@pytest.mark.slow
@each_surroundings
def test_the_app_opens_and_trains_in_poor_surroundings(tmp_path, surroundings):
    variables = SURROUNDINGS[surroundings]
    program = (
        "import os, sys; os.execve(sys.executable, [sys.executable, '-m', 'trpotui', "
        f"*sys.argv[1:]], os.environ | {variables})"
    )
    with Terminal(tmp_path, "train", *SMALL, *ENDLESS, program=("-c", program)) as terminal:
        terminal.wait_for("trpotui", "idle")
        terminal.press("s")
        terminal.wait_for("● training", "update")
        terminal.press("q")
        terminal.wait_for("Stop the run")
        terminal.press("y")
        assert terminal.wait_for_end() == 0
        assert terminal.left_behind() == []
