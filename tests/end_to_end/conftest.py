"""Running the command: as a process of its own where that matters, else in this one."""

import contextlib
import io
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from trpotui.cli import run

TRPOTUI = [sys.executable, "-m", "trpotui"]


@dataclass
class Result:
    """What a command left on the screen."""

    returncode: int
    stdout: str
    stderr: str


class Command:
    """`trpotui` with arguments, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str | Path) -> Result:
        """Run in this process, which has torch imported already."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run([str(argument) for argument in arguments])
        return Result(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str | Path) -> "subprocess.Popen[str]":
        """Start a process."""
        return subprocess.Popen(
            [*TRPOTUI, *map(str, arguments)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )


@pytest.fixture
def trpotui(tmp_path):
    return Command(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A short CartPole run by a process: its folder, with `policy.pt` and the directory `run`.

    Its steps are so small that the policy stays poor: the episodes differ.
    """
    folder = tmp_path_factory.mktemp("trained")
    short = ["--steps", "4096", "--set", "max_kl=0.0001"]
    process = Command(folder).start(
        "train", "--no-ui", *short, "--run-dir", "run", "-o", "policy.pt"
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return folder
