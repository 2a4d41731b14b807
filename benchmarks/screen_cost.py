"""What the app costs: the same runs without a screen and in the app, in turn.

    python benchmarks/screen_cost.py --pairs 5

The app runs in a pseudo-terminal of 120 x 40 whose output is read and thrown away. Speed is the
steps per second that a run wrote into its metrics, start-up left out. Latency is the time from a
key being sent until the screen shows what it does, while training goes on. The first frame is timed
from the start of the process.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

CONFIGURATIONS = {
    "CartPole-v1, 64 envs x 16, 64-64": ("64", ["rollout_steps=16"]),
    "CartPole-v1, 64 envs x 32, 256-256": ("64", ["rollout_steps=32", "hidden_sizes=256,256"]),
}
ROWS, COLUMNS = 40, 120


class Terminal:
    """A process in a pseudo-terminal."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.seen = b""
        self.started = time.perf_counter()
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            environment["TRPOTUI_CONFIG_DIR"] = str(folder)
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def send(self, keys: str) -> float:
        """Press keys; returns when."""
        os.write(self._master, keys.encode())
        return time.perf_counter()

    def read(self, seconds: float) -> bytes:
        """What is written within `seconds`, or as soon as something is."""
        if select.select([self._master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                data = os.read(self._master, 65536)
                self.seen = (self.seen + data)[-200_000:]
                return data
        return b""

    def wait_for(self, text: str, seconds: float) -> float:
        """Wait until `text` is written; returns when."""
        found, deadline = b"", time.perf_counter() + seconds
        while text.encode() not in found:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{text!r} was not shown within {seconds} s")
            found += self.read(0.01)
        return time.perf_counter()

    def end(self) -> None:
        """End the process and take its last words."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        while self.read(2.0):
            pass
        os.waitpid(self.pid, 0)
        os.close(self._master)


def arguments_of(n_envs: str, settings: list[str], steps: int) -> list[str]:
    chosen = [item for setting in [*settings, "eval_every=0"] for item in ("--set", setting)]
    run = ["--preset", "default", "--n-envs", n_envs, "--steps", str(steps)]
    return [*run, "--no-stop-when-solved", *chosen]


def rows_of(folder: Path) -> list[dict[str, float]]:
    (path,) = folder.glob("runs/*/*/metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def speed(rows: list[dict[str, float]]) -> float:
    return rows[-1]["steps"] / rows[-1]["seconds"]


def headless(arguments: list[str]) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trpotui", "train", "--no-ui", "--quiet", *arguments]
        subprocess.run(command, check=True, cwd=folder)
        return rows_of(Path(folder))


def in_app(
    arguments: list[str], *, keys: bool
) -> tuple[list[dict[str, float]], float, list[float]]:
    """Metrics, seconds to the first frame, and latencies if `keys` are to be pressed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        terminal = Terminal([sys.executable, "-m", "trpotui", "train", *arguments], folder)
        first_frame = terminal.wait_for("trpotui", 20) - terminal.started
        deadline = time.perf_counter() + 6
        while time.perf_counter() < deadline:  # until torch is there
            terminal.read(0.1)
        terminal.send("s")
        latencies = []
        terminal.wait_for("training", 20)
        for _ in range(20 if keys else 0):
            pressed = terminal.send("?")
            latencies.append(terminal.wait_for("Keys", 10) - pressed)
            terminal.send("\x1b")
            pause = time.perf_counter() + 0.4
            while time.perf_counter() < pause:
                terminal.read(0.05)
        finished = b"finished"
        while finished not in terminal.seen:
            terminal.read(0.1)
        terminal.end()
        return rows_of(folder), first_frame, latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--updates", type=int, default=600, help="of each run")
    options = parser.parse_args()
    print("| run | headless steps/s | app steps/s | app / headless | first frame s |")
    print("|---|---|---|---|---|")
    all_latencies: list[float] = []
    for name, (n_envs, settings) in CONFIGURATIONS.items():
        steps = options.updates * int(n_envs) * int(settings[0].partition("=")[2])
        arguments = arguments_of(n_envs, settings, steps)
        without, within, frames = [], [], []
        for _ in range(options.pairs):
            without.append(speed(headless(arguments)))
            rows, first_frame, _ = in_app(arguments, keys=False)
            within.append(speed(rows))
            frames.append(first_frame)
        _, _, latencies = in_app(arguments, keys=True)
        all_latencies += latencies
        ratios = [app / alone for app, alone in zip(within, without, strict=True)]
        print(
            f"| {name} | {statistics.median(without):,.0f} | {statistics.median(within):,.0f} "
            f"| {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}) "
            f"| {statistics.median(frames):.2f} |",
            flush=True,
        )
    ordered = sorted(all_latencies)
    print(
        f"\nkey to repaint while training, {len(ordered)} keys: p50 "
        f"{statistics.median(ordered) * 1000:.0f} ms, p99 "
        f"{ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
