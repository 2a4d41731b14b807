"""What the app costs: the same runs without a screen and in the app, in turn.

    python benchmarks/screen_cost.py

The app runs in a pseudo-terminal of 120 x 40. Speed is the steps per second that a run wrote into
its metrics, start-up left out. Latency is the time from a key being sent until the terminal has got
what it does, at random moments of a run. The first frame is there when every character of the
screen stands where it stays.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from app_terminal import AppTerminal, Condition, alike, resident, shows, unlike, worked
from figures import spread

Row = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """A run that is measured."""

    name: str
    n_envs: int
    rollout_steps: int
    updates: int
    hidden_sizes: str = "64,64"

    def arguments(self, updates: int) -> list[str]:
        """Of `trpotui train`."""
        steps = updates * self.n_envs * self.rollout_steps
        run = ["--preset", "default", "--n-envs", str(self.n_envs), "--steps", str(steps)]
        chosen = {
            "rollout_steps": self.rollout_steps,
            "hidden_sizes": self.hidden_sizes,
            "eval_every": 0,
        }
        for name, value in chosen.items():
            run += ["--set", f"{name}={value}"]
        return [*run, "--no-stop-when-solved"]


SMALL = Setting("CartPole-v1, 64 envs x 16, 64-64", 64, 16, updates=250)
LARGE = Setting("CartPole-v1, 64 envs x 32, 256-256", 64, 32, 40, hidden_sizes="256,256")
LONG = Setting("CartPole-v1, 16 envs x 8, 64-64", 16, 8, updates=10_000)
FOR_EVER = 1_000_000
"""Updates of a run that is ended before."""
ENV_FIELD, SEED_FIELD = (3, 14), (5, 14)
"""Cells of two fields of the setup, which stand on the same ground unless one has the focus."""
KEYS: list[tuple[str, str, Condition]] = [
    ("a screen opens", "?", shows("start a run")),
    ("a screen closes", "?", unlike(shows("start a run"))),
    ("the focus moves", "\x1b[B", unlike(alike(ENV_FIELD, SEED_FIELD))),
    ("the focus moves", "\x1b[A", alike(ENV_FIELD, SEED_FIELD)),
]
"""What a key does, the key, and how it is seen; the first two and the last two undo each other."""


class Sample(NamedTuple):
    """A look at the process of a run."""

    updates: int
    at: float
    memory: int
    """Bytes."""
    worked: float
    """Seconds of work of its first thread, which is the app's own."""


@dataclass
class Run:
    """What a run left, and its process as it went."""

    rows: list[Row] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def speed(self, first: int = 0, last: int | None = None) -> float:
        """Steps per second from one update to another."""
        end = self.rows[-1 if last is None else last - 1]
        start = self.rows[first - 1] if first else {"steps": 0, "seconds": 0}
        return (end["steps"] - start["steps"]) / (end["seconds"] - start["seconds"])

    def megabytes(self, update: int) -> float:
        """Memory when so many updates had been made."""
        return self._sample(update).memory / 1e6

    def share(self, first: int, last: int) -> float:
        """Of the time from one update to another that the first thread worked, in percent."""
        start, end = self._sample(first), self._sample(last)
        return 100 * (end.worked - start.worked) / (end.at - start.at)

    def _sample(self, update: int) -> Sample:
        return next(sample for sample in self.samples if sample.updates >= update)


class Watch:
    """Follows a run through its metrics while it is made."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.run = Run()
        self._folder, self._pid = folder, pid
        self._rest = ""
        self._offset = 0

    def look(self) -> int:
        """Read what was added; the updates so far."""
        for path in self._folder.glob("runs/*/*/metrics.jsonl"):
            with path.open() as file:
                file.seek(self._offset)
                added = file.read()
                self._offset = file.tell()
            *lines, self._rest = (self._rest + added).split("\n")
            self.run.rows += map(json.loads, lines)
            self.run.samples.append(
                Sample(
                    len(self.run.rows),
                    time.perf_counter(),
                    resident(self._pid),
                    worked(self._pid),
                )
            )
        return len(self.run.rows)


def headless(setting: Setting) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trpotui", "train", "--no-ui", "--quiet"]
        process = subprocess.Popen([*command, *setting.arguments(setting.updates)], cwd=folder)
        watch = Watch(Path(folder), process.pid)
        while process.poll() is None and watch.look() < setting.updates:
            time.sleep(0.1)
        if process.wait():
            raise RuntimeError("the run without a screen has failed")
        return watch.run


@contextmanager
def app(setting: Setting, updates: int) -> Iterator[tuple[AppTerminal, Watch]]:
    """The app, as soon as it trains."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [sys.executable, "-m", "trpotui", "train", *setting.arguments(updates)]
        terminal = AppTerminal(command, folder)
        watch = Watch(folder, terminal.pid)
        try:
            terminal.read_for(1.0)
            terminal.send("s")  # it starts when torch is there
            terminal.read_until(lambda: watch.look() > 0, 60)
            yield terminal, watch
        finally:
            terminal.end()


def in_app(setting: Setting) -> Run:
    with app(setting, setting.updates) as (terminal, watch):
        terminal.read_until(lambda: watch.look() >= setting.updates, 600)
        return watch.run


def first_frame() -> float:
    """Seconds from the start of the process until the screen is as it stays."""
    with tempfile.TemporaryDirectory() as folder:
        terminal = AppTerminal([sys.executable, "-m", "trpotui", "train"], Path(folder))
        terminal.read_for(1.0)
        settled = terminal.text()
        assert "This update" in settled
        assert "quit" in settled
        (seconds,) = terminal.first_times(
            [(terminal.started, lambda screen: "\n".join(screen.display) == settled)]
        )
        terminal.end()
        assert seconds is not None
        return seconds


def latencies(setting: Setting, count: int) -> dict[str, list[float]]:
    """Seconds from a key until it is answered, by what it does."""
    pressed: list[tuple[str, float, Condition]] = []
    dice = random.Random(0)
    with app(setting, FOR_EVER) as (terminal, _):
        terminal.send("n")  # into the form
        terminal.read_for(2.0)
        while len(pressed) < count:
            for what, key, condition in KEYS:
                pressed.append((what, terminal.send(key), condition))
                terminal.read_for(dice.uniform(0.2, 0.4))
        if "● training" not in terminal.text():
            raise RuntimeError("the run has ended before the last key")
    found = terminal.first_times([(at, condition) for _, at, condition in pressed])
    answered: dict[str, list[float]] = {what: [] for what, _, _ in KEYS}
    for (what, _, _), seconds in zip(pressed, found, strict=True):
        answered[what].append(float("inf") if seconds is None else seconds)
    return answered


# the tables


def print_speed(pairs: int) -> None:
    print("| run | headless steps/s | app steps/s | app / headless |\n|---|---|---|---|")
    for setting in (SMALL, LARGE):
        made = [(headless(setting).speed(), in_app(setting).speed()) for _ in range(pairs)]
        alone, within = ([pair[place] for pair in made] for place in (0, 1))
        ratios = [pair[1] / pair[0] for pair in made]
        print(
            f"| {setting.name} | {statistics.median(alone):,.0f} | {statistics.median(within):,.0f}"
            f" | {spread(ratios, '.3f')} |",
            flush=True,
        )


def print_latency(count: int) -> None:
    print("\n| key pressed while training | keys | p50 ms | p99 ms | slowest ms |")
    print("|---|---|---|---|---|")
    for setting in (SMALL, LARGE):
        answered = latencies(setting, count)
        answered["all"] = [seconds for one in answered.values() for seconds in one]
        for what, values in answered.items():
            ordered = sorted(1000 * value for value in values)
            p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
            print(
                f"| {setting.hidden_sizes.replace(',', '-')}: {what} | {len(ordered)} "
                f"| {statistics.median(ordered):.0f} | {p99:.0f} | {ordered[-1]:.0f} |",
                flush=True,
            )


def print_length(pairs: int) -> None:
    print("\n| run of 10,000 updates | headless | app |\n|---|---|---|")
    made = [(headless(LONG), in_app(LONG)) for _ in range(pairs)]
    for name, first, last in (("100 to 1,000", 100, 1000), ("9,000 to 10,000", 9000, 10_000)):
        both = [[run.speed(first, last) for run in pair] for pair in made]
        alone, within = (statistics.median(speeds) for speeds in zip(*both, strict=True))
        print(f"| steps/s, updates {name} | {alone:,.0f} | {within:,.0f} |")
        print(f"| of headless | | {spread([app / alone for alone, app in both], '.3f')} |")
        shares = [app.share(first, min(last, 9900)) for _, app in made]
        print(f"| work of the app's own thread, % | | {spread(shares, '.1f')} |")
    for update in (1000, 9000):
        both = [[run.megabytes(update) for run in pair] for pair in made]
        alone, within = (statistics.median(sizes) for sizes in zip(*both, strict=True))
        print(f"| MB after {update:,} updates | {alone:,.0f} | {within:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {
        "speed": lambda: print_speed(options.pairs),
        "latency": lambda: print_latency(options.keys),
        "length": lambda: print_length(options.long_pairs),
        "first-frame": lambda: print(
            f"\nfirst frame, {options.starts} starts: "
            f"{spread([first_frame() for _ in range(options.starts)], '.2f')} s"
        ),
    }
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--pairs", type=int, default=4, help="runs of each kind, in turn")
    parser.add_argument("--long-pairs", type=int, default=1, help="of 10,000 updates")
    parser.add_argument("--keys", type=int, default=100, help="in each run")
    parser.add_argument("--starts", type=int, default=10, help="for the first frame")
    options = parser.parse_args()
    for part in options.parts:
        parts[part]()


if __name__ == "__main__":
    main()
