"""From an empty process to a solved and saved policy, beside peers that others have tuned.

    python benchmarks/time_to_solve.py --peer .peers/sb3/bin/python --jax .peers/jax/bin/python
    python benchmarks/time_to_solve.py --environment Pendulum-v1 --peer .peers/sb3/bin/python

The programs run in turn, seed by seed, so that a machine that slows down slows all. Each is a
process of its own; the whole-process time runs from its start until its policy is on disk. Every
saved policy is then scored on 100 fresh greedy episodes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from figures import spread
from processes import (
    HERE,
    PEERS,
    Measurement,
    MeasurementError,
    in_turn,
    measured,
    setting_options,
    values,
)
from rows import Row, finish

OURS = "trpotui"
SB3 = {"sb3-contrib TRPO (rl-zoo)": "trpo", "sb3 PPO (rl-zoo)": "ppo"}
THRESHOLDS = {"CartPole-v1": 475.0, "Pendulum-v1": -200.0}
STEPS = {"CartPole-v1": 100_000, "Pendulum-v1": 100_000}
"""At most, for all of them but those that XLA compiles: what rl-zoo trains for."""
OUR_OPTIONS = {
    "CartPole-v1": [],
    # Gymnasium has no threshold for it; peers evaluate every 4,096 steps, this is every 4,800
    "Pendulum-v1": ["--import", "pendulum_threshold", "--set", "eval_every=3"],
}
AIMS: dict[str, dict[str, float | None]] = {
    "CartPole-v1": {"learning_seconds": 5.0, "process_seconds": 2.5},
    "Pendulum-v1": {"learning_seconds": 4.0, "process_seconds": None},
}
TIMES = {
    "learning_seconds": "learning time",
    "with_evaluation_seconds": "learning time with evaluations",
    "process_seconds": "whole process",
}
COLUMNS = {
    "steps": ("steps", ",.0f"),
    "learning_seconds": ("learning s", ".2f"),
    "with_evaluation_seconds": ("with evaluations s", ".2f"),
    "process_seconds": ("whole process s", ".2f"),
    "score": ("score", ".1f"),
}


def run_ours(environment: str, seed: int, more: Sequence[str]) -> dict[str, float]:
    """Train by the command line with the tuned preset, and score what it saved."""
    steps = STEPS[environment]
    variables = {**os.environ, "PYTHONPATH": str(HERE)}
    with tempfile.TemporaryDirectory() as folder:
        policy, run = Path(folder) / "policy.pt", Path(folder) / "run"
        command = [
            *(sys.executable, "-m", "trpotui", "train", "--no-ui", "--quiet", "--algo", "trpo"),
            *("--env", environment, "--seed", str(seed), "--steps", str(steps)),
            *("--run-dir", str(run), "--output", str(policy), "--set", "torch_threads=1"),
            *(*OUR_OPTIONS[environment], *more),
        ]
        began = time.time()
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=variables)
        process_seconds = time.time() - began
        if done.returncode:
            raise MeasurementError(done.stderr.strip()[-200:])
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        score = measured([sys.executable, "-m", "trpotui", "eval", str(policy), "--json"])
    learning, before = 0.0, 0
    for row in rows:
        learning += (row["steps"] - before) / row["steps_per_second"]
        before = row["steps"]
    return {
        "steps": rows[-1]["steps"],
        "learning_seconds": learning,
        "with_evaluation_seconds": rows[-1]["seconds"],
        "process_seconds": process_seconds,
        "score": score["mean"],
    }


def run_peer(command: Sequence[str], seed: int, *, threads: int = 1) -> dict[str, float]:
    """Train by a script of `peers`, which scores what it saved."""
    with tempfile.TemporaryDirectory() as folder:
        save = str(Path(folder) / "policy")
        began = time.time()
        result = measured([*command, "--seed", str(seed), "--save", save], threads=threads)
    result["process_seconds"] = result["saved_at"] - began
    return result


def programs(o: argparse.Namespace) -> dict[str, Callable[[int], Measurement]]:
    """What is run for each seed, by name."""
    chosen = setting_options(o.set)
    found: dict[str, Callable[[int], Measurement]] = {
        OURS: lambda seed: run_ours(o.environment, seed, chosen)
    }

    def peer(command: list[str], threads: int) -> Callable[[int], Measurement]:
        return lambda seed: run_peer(command, seed, threads=threads)

    if o.peer:
        for name, algorithm in SB3.items():
            command = [
                *(o.peer, str(PEERS / "sb3_solve.py"), "--algorithm", algorithm),
                *("--environment", o.environment, "--steps", str(STEPS[o.environment])),
                f"--threshold={THRESHOLDS[o.environment]}",
            ]
            found[name] = peer(command, 1)
    if o.jax and o.environment == "CartPole-v1":
        command = [o.jax, str(PEERS / "jax_ppo.py"), "solve"]
        found["rejax PPO"] = peer(command, 0)
        if o.purejaxrl:
            found["PureJaxRL PPO"] = peer([*command, "--purejaxrl", str(o.purejaxrl)], 0)
    return found


def seed_table(results: Mapping[str, Sequence[Measurement]], threshold: float) -> str:
    """Median and spread (smallest to largest) over the seeds, one line a program."""
    heads = ["program", "solved", *(head for head, _ in COLUMNS.values())]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for program, rows in results.items():
        cells = [program, solved(rows, threshold)]
        for key, (_, form) in COLUMNS.items():
            cells.append(spread([row[key] for row in rows], form))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def solved(rows: Sequence[Measurement], threshold: float) -> str:
    """How many of the saved policies score the threshold on fresh episodes."""
    return f"{sum(row['score'] >= threshold for row in rows)} of {len(rows)}"


def make_row(
    environment: str,
    key: str,
    results: Mapping[str, list[Measurement]],
    failed: Mapping[str, str],
) -> Row:
    """The row of one of the times. A run that was not solved counts with all that it took."""

    def counts(name: str) -> bool:
        # the learning time of what XLA compiles leaves its compiling out: there it is no peer
        return name in {OURS, *SB3} or key == "process_seconds"

    measured_ones = {name: rows for name, rows in results.items() if counts(name)}
    short = [
        f"{name}: {count} solved"
        for name, rows in measured_ones.items()
        if not (count := solved(rows, THRESHOLDS[environment])).startswith(f"{len(rows)} ")
    ]
    medians = {name: statistics.median(values(results, name, key)) for name in measured_ones}
    return Row(
        what=f"{environment} to {THRESHOLDS[environment]:g}, {TIMES[key]}",
        unit="s",
        ours=values(results, OURS, key),
        peers={
            name: values(results, name, key)
            for name in sorted(medians, key=lambda name: medians[name])
            if name != OURS
        },
        aim=AIMS[environment].get(key),
        notes=", ".join(short) or "all solved" if measured_ones else "",
        failed={name: why for name, why in failed.items() if counts(name)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environment", choices=list(STEPS), default="CartPole-v1")
    parser.add_argument("--seeds", "--pairs", type=int, default=10)
    parser.add_argument("--peer", help="python of an environment with sb3-contrib")
    parser.add_argument("--jax", help="python of an environment with jax and rejax")
    parser.add_argument("--purejaxrl", type=Path, help="folder of a clone of PureJaxRL")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    results, failed = in_turn(programs(o), o.seeds)
    expected = [*SB3, *(["rejax PPO"] if o.environment == "CartPole-v1" else [])]
    failed |= {name: "not run" for name in expected if name not in {*results, *failed}}
    print(seed_table(results, THRESHOLDS[o.environment]) + "\n")
    rows = [make_row(o.environment, key, results, failed) for key in TIMES]
    finish(rows, o.json, measurements=results)


if __name__ == "__main__":
    main()
