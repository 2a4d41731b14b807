"""Twenty minutes of training while things go wrong: signals, resumes, a full disk, being stopped.

Run by hand, for as many seconds as TRPOTUI_SOAK_SECONDS says (1200 unless told otherwise):

    TRPOTUI_SOAK_SECONDS=120 python -m pytest -m soak -n 0 -s tests/faults/test_soak.py
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from trpotui.policy_file import read_policy
from trpotui.rl.checkpoint import Progress
from trpotui.run_directory import RunDirectory

SECONDS = float(os.environ.get("TRPOTUI_SOAK_SECONDS", "1200"))
FIRST_LIFE = 0.4
"""Share of the time for which the first process lives, so that what grows has time to."""
WARM = 10.0
"""Seconds of a process before its size counts."""
PATIENCE = 120.0
MOST_GROWTH = 32 * 2**20
"""Bytes by which a process may be larger at its end than when it was warm: the allocator's."""
TRAIN = [sys.executable, "-m", "trpotui", "train", "--no-ui", "--json"]
ENDLESS = ["--steps", "1000000000000", "--no-stop-when-solved", "--set", "checkpoint_seconds=3"]
ENDS = {
    "SIGINT": (130, signal.SIGINT),
    "SIGTERM": (143, signal.SIGTERM),
    "SIGHUP": (129, signal.SIGHUP),
    "SIGKILL": (-9, signal.SIGKILL),
}


@dataclass
class Life:
    """What was seen of one process, twice a second."""

    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, process: int) -> None:
        """Add what /proc says now."""
        status = Path(f"/proc/{process}/status").read_text()
        values = dict(line.split(":", 1) for line in status.splitlines())
        self.memory.append(int(values["VmRSS"].split()[0]) * 1024)
        self.threads.append(int(values["Threads"]))
        self.files.append(len(list(Path(f"/proc/{process}/fd").iterdir())))

    def growth(self, values: list[int]) -> int:
        """The smallest of the last ten less the smallest of the first ten once it was warm."""
        warm = values[int(2 * WARM) :]
        return min(warm[-10:]) - min(warm[:10]) if len(warm) >= 20 else 0


class FullDisk:
    """Lets the disk of a run be full: a small file system, or a limit on the run's files."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self._ballast = folder / "ballast" if mounted else None
        self.process = 0
        self.is_full = False

    def fill(self) -> None:
        """No room from now on."""
        self.is_full = True
        if self._ballast is None:
            self._limit(0)
            return
        with self._ballast.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                while _written(file, size):
                    pass

    def clear(self) -> None:
        """Room again."""
        self.is_full = False
        if self._ballast is not None:
            self._ballast.unlink(missing_ok=True)
        else:
            self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        limits = (size, resource.RLIM_INFINITY)
        if self.process:
            resource.prlimit(self.process, resource.RLIMIT_FSIZE, limits)


def _written(file, size: int) -> bool:
    try:
        return file.write(bytes(size)) == size
    except OSError:
        return False


@pytest.fixture
def place(tmp_path) -> Iterator[tuple[Path, bool]]:
    """A folder for the run, if possible on a small file system of its own, and whether it is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={16 + int(SECONDS / 8)}m"
    options = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    mounted = os.getuid() == 0 and subprocess.run(options, check=False).returncode == 0
    yield folder, mounted
    if mounted:
        subprocess.run(["umount", folder], check=True)


class Soak:
    """Starts a run, lets things happen to it, ends it, and goes on with it."""

    def __init__(self, folder: Path, errors: Path, disk: FullDisk) -> None:
        self.run = folder / "run"
        self._errors, self._disk = errors, disk
        self._random = Random(int(time.time()))
        self.happened: Counter[str] = Counter()
        self.lives: list[Life] = []

    def live(self, seconds: float) -> None:
        """One process from its start to its end."""
        resumed = (self.run / "checkpoint.pt").exists()
        what = ["--resume", str(self.run)] if resumed else ["--run-dir", str(self.run), *ENDLESS]
        with self._errors.open("ab") as errors:
            process = subprocess.Popen([*TRAIN, *what], stdout=subprocess.DEVNULL, stderr=errors)
        self._disk.process = process.pid
        try:
            before = self._size()
            self._wait(lambda: self._size() != before, process, "the run goes on")
            life = Life()
            self.lives.append(life)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self._something_happens(process)
                life.look(process.pid)
                time.sleep(0.5)
            self._end(process)
        finally:
            process.kill()
            process.wait()
            self._disk.clear()
            self._disk.process = 0

    def _size(self) -> int:
        metrics = self.run / "metrics.jsonl"
        return metrics.stat().st_size if metrics.exists() else 0

    def _wait(self, done: Callable[[], bool], process: subprocess.Popen[bytes], what: str) -> None:
        give_up = time.monotonic() + PATIENCE
        while not done():
            assert process.poll() is None, f"it ended with {process.returncode}: {self._said()}"
            assert time.monotonic() < give_up, f"never: {what}: {self._said()}"
            time.sleep(0.05)

    def _said(self) -> str:
        return self._errors.read_text()[-2000:]

    def _something_happens(self, process: subprocess.Popen[bytes]) -> None:
        chance = self._random.random()
        if chance < 0.03:
            self.happened["disk full"] += 1
            self._disk.fill()
        elif chance < 0.10:
            self._disk.clear()
        elif chance < 0.12:
            self.happened["stopped and continued"] += 1
            process.send_signal(signal.SIGSTOP)
            time.sleep(self._random.uniform(0.1, 1.0))
            process.send_signal(signal.SIGCONT)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """A signal, which in most cases leaves everything saved."""
        name = self._random.choice(list(ENDS))
        code, number = ENDS[name]
        if self._random.random() < 0.2:
            self._disk.fill()
        self.happened[name + (" on a full disk" if self._disk.is_full else "")] += 1
        process.send_signal(number)
        if name != "SIGKILL" and self._random.random() < 0.2:
            self.happened["second signal"] += 1
            process.send_signal(number)
            codes = {code, 1, -number}
        else:
            codes = {code, 1} if self._disk.is_full else {code}
        assert process.wait(PATIENCE) in codes, (name, process.returncode, self._said())

    def start_on_full_disk(self) -> None:
        """A run that cannot write is refused before it trains."""
        self.happened["start on a full disk"] += 1
        self._disk.fill()
        command = [*TRAIN, "--run-dir", str(self.run.with_name("other")), *ENDLESS]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self._disk.clear()
        assert result.returncode == 2, result.stderr
        assert "cannot be used as a run directory: No space left" in result.stderr


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_soak(place, tmp_path):
    folder, mounted = place
    soak = Soak(folder, tmp_path / "errors", FullDisk(folder, mounted=mounted))
    over = time.monotonic() + SECONDS
    soak.live(FIRST_LIFE * SECONDS)
    random = Random(1)
    while time.monotonic() < over:
        if mounted and random.random() < 0.3:
            soak.start_on_full_disk()
        soak.live(random.uniform(0.5, max(2.0, SECONDS / 20)))
    updates = check_run(soak.run)
    grown = [life.growth(life.memory) for life in soak.lives]
    levels = [statistics.median(life.memory[-4:]) for life in soak.lives if life.memory]
    drift = min(levels[-3:]) - min(levels[1:4] or levels)
    files = [life.growth(life.files) for life in soak.lives]
    threads = [life.growth(life.threads) for life in soak.lives]
    print(
        f"\n{SECONDS:g} s, {len(soak.lives)} processes, {updates} updates, "
        f"{'a small disk' if mounted else 'limited files'}: {dict(soak.happened)}; "
        f"most growth of one process {max(grown) / 2**20:.1f} MiB, from the first to the last "
        f"{drift / 2**20:.1f} MiB, {max(files)} files, {max(threads)} threads"
    )
    assert len(soak.lives) >= 2
    assert max(grown) < MOST_GROWTH
    assert drift < MOST_GROWTH
    assert max(files) <= 0
    assert max(threads) <= 0


def check_run(run: Path) -> int:
    """Rows without gap or repeat, and whole files that fit together; the number of updates."""
    whole = (run / "metrics.jsonl").read_bytes().rpartition(b"\n")[0]
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["update"] for row in rows] == list(range(1, len(rows) + 1))
    steps = [row["steps"] for row in rows]
    assert steps == sorted(set(steps))
    with RunDirectory.open(run) as directory:
        state, notice = directory.load_checkpoint()
        progress = Progress.of(state)
        # a run that is stopped while it evaluates completes the row when it goes on
        owed = 1 if progress.owed_metrics is not None else 0
        assert notice is None
        assert directory.truncate_metrics(progress.update - owed) is None
    assert len(rows) >= progress.update - owed
    for name in ("policy.pt", "best.pt"):
        assert read_policy(run / name).updates >= 1
    assert not list(run.glob(".writing-*"))
    return len(rows)
