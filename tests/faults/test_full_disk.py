"""Whole runs on a disk that is full, for a while or for good, and where nothing may be written."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import children
from tests.faults.disk import Disk
from trpotui.cli import run as run_command
from trpotui.config import RunConfig
from trpotui.errors import RunError
from trpotui.headless import Reporting, run_headless
from trpotui.policy_file import read_policy
from trpotui.run_directory import RunDirectory
from trpotui.run_request import RunRequest, make_config

UPDATES = 4
SETTINGS = {"rollout_steps": "16", "hidden_sizes": "2"}
COMMAND = ["train", "--no-ui", "--steps", "128", "--n-envs", "2", "--preset", "default"]
for setting in SETTINGS.items():
    COMMAND += ["--set", "=".join(setting)]
CALLS_AT_THE_END = 6
"""Of a run that has saved everything: two more lines for its log, which it can do without."""


@pytest.fixture(scope="module")
def config() -> RunConfig:
    """Four updates with a checkpoint after each and an evaluation after every second one."""
    request = RunRequest(total_steps=128, n_envs=2, preset="default", settings=SETTINGS)
    made = make_config(request)
    return dataclasses.replace(
        made, checkpoint_updates=1, eval_every=2, eval_episodes=1, stop_when_solved=False
    )


def updates(run: Path) -> list[int]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["update"] for line in lines]


def train(config: RunConfig, path: Path, disk: Disk) -> tuple[int | str, str]:
    """Exit code, or the sentence of the failure, and what was printed."""
    printed = io.StringIO()
    with RunDirectory.create(path, config) as directory, contextlib.redirect_stderr(printed), disk:
        try:
            code = run_headless(
                config, directory, output=None, reporting=Reporting(json=True, log_every=100)
            )
        except RunError as error:
            return str(error), printed.getvalue()
    return code, printed.getvalue()


def calls_of(config: RunConfig, folder: Path, capsys) -> int:
    """How often a run asks something of the disk."""
    disk = Disk(folder, 0, "once")
    assert train(config, folder / "whole", disk)[0] == 0
    capsys.readouterr()
    return len(disk.calls)


def test_one_failure_is_told_and_costs_nothing(folder, config, capsys):
    count = calls_of(config, folder, capsys)
    told = 0
    for number in range(1, count + 1, 17):
        path = folder / str(number)
        code, printed = train(config, path, Disk(folder, number, "once"))
        assert updates(path) == [1, 2, 3, 4]
        told += "could not be saved" in printed
        if code == 0:
            assert read_policy(path / "policy.pt").updates == UPDATES
            assert ("could not be saved" in printed) == ("can be saved again" in printed)
        else:  # the last save failed
            assert "the last policy could not be saved" in code
        with RunDirectory.open(path) as run:
            assert run.load_checkpoint()[0]["update"] in ((4,) if code == 0 else (3, 4))
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["update"] == UPDATES
    assert told > 3


def test_disk_that_stays_full_ends_a_run_with_what_was_saved_last(folder, config, capsys):
    count = calls_of(config, folder, capsys)
    for number in range(1, count + 1 - CALLS_AT_THE_END, 17):
        path = folder / str(number)
        code, printed = train(config, path, Disk(folder, number, "for good"))
        assert "the last policy could not be saved" in code
        assert "could not be saved: [Errno" in printed
        assert len(capsys.readouterr().out.splitlines()) == UPDATES  # the run went on
        with RunDirectory.open(path) as run:
            if (path / "checkpoint.pt").exists():
                newest = run.load_checkpoint()[0]["update"]
                assert run.truncate_metrics(newest) is None
                assert updates(path) == list(range(1, newest + 1))
                assert read_policy(path / "policy.pt").updates >= newest


def in_a_child(action: Callable[[], int]) -> int:
    """What `action` returns in a child that may give up rights for good."""
    return children.end(children.start(action))


def commanded(folder: Path, *arguments: str, printed: Path) -> int:
    """The command with its output in a file."""
    with (
        contextlib.chdir(folder),
        printed.open("w") as file,
        contextlib.redirect_stderr(file),
        contextlib.redirect_stdout(file),
    ):
        return run_command(list(arguments))


def test_quota_ends_in_exit_code_1_and_the_run_goes_on_elsewhere(folder):
    """A file may not grow beyond what the configuration takes: no policy fits."""

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        return commanded(folder, *COMMAND, "--run-dir", "r", printed=folder / "printed")

    assert in_a_child(limited) == 1
    printed = (folder / "printed").read_text()
    assert "the policy could not be saved: [Errno 27] File too large; the run goes on" in printed
    assert "trpotui: the last policy could not be saved" in printed
    assert not list((folder / "r").glob("*.pt"))
    assert (folder / "r" / "crash.log").exists()
    assert commanded(folder, *COMMAND, "--run-dir", "s", printed=folder / "printed") == 0


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A file system of its own that holds 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0777", "tmpfs", place]
    if os.getuid() or subprocess.run(options, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


def test_small_file_system_that_fills_up_and_is_cleared_again(small, config):
    ballast = small / "ballast"
    with RunDirectory.create(small / "r", config):
        pass
    free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
    ballast.write_bytes(bytes(free - 8192))
    code = commanded(
        small.parent, *COMMAND, "--run-dir", str(small / "full"), printed=small.parent / "printed"
    )
    assert code == 1
    assert "No space left on device" in (small.parent / "printed").read_text()
    ballast.unlink()
    arguments = [*COMMAND, "--run-dir", str(small / "again")]
    assert commanded(small.parent, *arguments, printed=small.parent / "printed") == 0
    assert read_policy(small / "again" / "policy.pt").updates == UPDATES


def without_rights() -> None:
    """Give up root's, to which no directory is read-only."""
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


def test_directory_that_may_not_be_written_is_refused_before_training(folder):
    folder.chmod(0o755)
    held, printed = folder / "held", folder / "printed"
    held.mkdir()
    assert commanded(held, *COMMAND, "--run-dir", "r", printed=printed) == 0
    (held / "r").chmod(0o555)
    held.chmod(0o555)
    printed.chmod(0o666)
    before = {path.name: path.read_bytes() for path in (held / "r").iterdir()}

    def refused(*arguments: str) -> str:
        def action() -> int:
            os.chdir(held)  # from here to here, as the way back may be closed without rights
            without_rights()
            return commanded(Path(), *arguments, printed=printed)

        assert in_a_child(action) == 2
        (sentence,) = printed.read_text().splitlines()
        return sentence

    said = "cannot be used as a run directory: Permission denied"
    assert f"s {said}; choose another --run-dir" in refused(*COMMAND, "--run-dir", "s")
    assert f"r {said}" in refused("train", "--no-ui", "--resume", "r", "--steps", "999")
    assert {path.name: path.read_bytes() for path in (held / "r").iterdir()} == before
    for path in (held, held / "r"):
        path.chmod(0o755)
