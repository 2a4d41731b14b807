"""One process writes to a run's directory, however many start, and however the last one ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.faults import children
from trpotui.config import RunConfig
from trpotui.errors import RequestError
from trpotui.run_directory import RunDirectory, lock

CONFIG = RunConfig(algorithm="trpo", environment_id="CartPole-v1", seed=3)
STARTS = 20


def start(path: Path, gun: int, results: int, over: int) -> int:
    """Wait for the start, try to make the directory, and keep it until the race is over."""
    os.read(gun, 1)
    try:
        directory = RunDirectory.create(path, CONFIG)
    except RequestError as error:
        os.write(results, f"{error}\n".encode())
        return 2
    os.write(results, f"{os.getpid()} has it\n".encode())
    os.read(over, 1)
    directory.close()
    return 0


def test_of_twenty_processes_that_start_at_once_one_runs_and_the_others_name_it(tmp_path):
    path = tmp_path / "a" / "run"
    (gun, fire), (over, finish), (read, results) = os.pipe(), os.pipe(), os.pipe()

    def contend() -> int:
        os.close(fire)  # the start is the end of this pipe, which nobody else may hold open
        os.close(finish)
        return start(path, gun, results, over)

    started = [children.start(contend) for _ in range(STARTS)]
    os.close(fire)
    os.close(results)
    lines, rest = [], b""
    while len(lines) < STARTS and (part := os.read(read, 65536)):
        *whole, rest = (rest + part).split(b"\n")
        lines += [line.decode() for line in whole]
    os.close(finish)
    codes = {child: children.end(child) for child in started}
    for descriptor in (gun, over, read):
        os.close(descriptor)
    (winner,) = [child for child, code in codes.items() if code == 0]
    assert sorted(codes.values()) == [0] + [2] * (STARTS - 1)
    assert sorted(lines) == sorted(
        [f"{winner} has it"]
        + [f"{path} is being written by process {winner}: stop it or choose another --run-dir"]
        * (STARTS - 1)
    )
    RunDirectory.open(path).close()


@pytest.mark.parametrize("survivor", [False, True], ids=["alone", "with a worker that lives on"])
def test_directory_of_a_killed_process_is_free_at_once(tmp_path, survivor):
    """The lock is the operating system's, and workers do not inherit it."""
    path = tmp_path / "run"
    ready, told = os.pipe()
    over, finish = os.pipe()

    def worker() -> int:
        os.close(finish)
        os.read(over, 1)
        return 0

    def write() -> int:
        with RunDirectory.create(path, CONFIG):
            child = children.start(worker) if survivor else 0
            os.write(told, f"{child}\n".encode())
            os.close(finish)
            os.read(over, 1)
        return 0

    writer = children.start(write)
    try:
        worker_number = int(os.read(ready, 100))
        with pytest.raises(RequestError, match=f"is being written by process {writer}: "):
            RunDirectory.open(path)
        os.kill(writer, signal.SIGKILL)
        assert children.end(writer) == -signal.SIGKILL
        if survivor:
            os.kill(worker_number, 0)  # it is there
        with RunDirectory.open(path):
            assert (path / ".writer").read_text() == f"{os.getpid()}\n"
    finally:
        for descriptor in (ready, told, over, finish):
            os.close(descriptor)


@pytest.mark.parametrize("content", ["", "no number", "1\n", "-1\n", "9" * 5000, "0\n"])
def test_what_is_left_of_a_writer_keeps_nobody_out(tmp_path, monkeypatch, content):
    """A number that another process has by now does not count; the lock does."""
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    RunDirectory.create(tmp_path, CONFIG).close()
    (tmp_path / ".writer").write_text(content)
    with RunDirectory.open(tmp_path) as directory:
        (tmp_path / ".writer").write_text(content)
        with pytest.raises(RequestError, match=r"is being written by (another )?process"):
            RunDirectory.open(tmp_path)
        assert directory.config()["seed"] == 3
