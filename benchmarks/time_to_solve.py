"""From an empty process to a solved and saved policy: trpotui beside sb3-contrib's TRPO.

    python benchmarks/time_to_solve.py --peer .peers/sb3/bin/python --seeds 10

The two run in turn, seed by seed, so that a machine that slows down slows both. Each is a process
of its own; the whole-process time runs from its start until its policy is on disk. Every saved
policy is then scored on 100 fresh episodes.
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
from pathlib import Path

from figures import spread

PEER = Path(__file__).parent / "peers" / "sb3_trpo.py"
ENVIRONMENT, THRESHOLD = "CartPole-v1", 475.0
COLUMNS = {
    "steps": ("steps", ",.0f"),
    "learning_seconds": ("learning s", ".2f"),
    "with_evaluation_seconds": ("with evaluations s", ".2f"),
    "process_seconds": ("whole process s", ".2f"),
    "score": ("score", ".1f"),
}


def run_ours(environment: str, seed: int, steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        policy, run = Path(folder) / "policy.pt", Path(folder) / "run"
        command = [
            *(sys.executable, "-m", "trpotui", "train", "--no-ui", "--quiet", "--algo", "trpo"),
            *("--env", environment, "--seed", str(seed), "--steps", str(steps)),
            *("--run-dir", str(run), "--output", str(policy)),
        ]
        began = time.time()
        subprocess.run(command, check=True)
        process_seconds = time.time() - began
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        learning, before = 0.0, 0
        for row in rows:
            learning += (row["steps"] - before) / row["steps_per_second"]
            before = row["steps"]
        scoring = [sys.executable, "-m", "trpotui", "eval", str(policy), "--json"]
        score = json.loads(subprocess.run(scoring, check=True, capture_output=True).stdout)
    return {
        "steps": rows[-1]["steps"],
        "learning_seconds": learning,
        "with_evaluation_seconds": rows[-1]["seconds"],
        "process_seconds": process_seconds,
        "score": score["mean"],
    }


def run_peer(python: str, environment: str, seed: int, steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(python, str(PEER), "--environment", environment, "--seed", str(seed)),
            *("--steps", str(steps), "--save", str(Path(folder) / "policy")),
        ]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        began = time.time()
        output = subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, **threads}
        ).stdout
    result = json.loads(output.splitlines()[-1])
    return {
        "steps": result["steps"],
        "learning_seconds": result["learning_seconds"],
        "with_evaluation_seconds": result["learning_seconds"] + result["evaluation_seconds"],
        "process_seconds": result["saved_at"] - began,
        "score": result["score"],
    }


def table(results: dict[str, list[dict[str, float]]], threshold: float) -> str:
    """Median and spread (smallest to largest) over the seeds, one line a program."""
    heads = ["program", "solved", *(head for head, _ in COLUMNS.values())]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for program, rows in results.items():
        solved = sum(row["score"] >= threshold for row in rows)
        cells = [program, f"{solved} of {len(rows)}"]
        for key, (_, form) in COLUMNS.items():
            cells.append(spread([row[key] for row in rows], form))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(ours: list[dict[str, float]], peer: list[dict[str, float]]) -> str:
    """How many times faster the median of ours is."""
    parts = []
    for key in ("learning_seconds", "with_evaluation_seconds", "process_seconds"):
        factor = statistics.median(row[key] for row in peer) / statistics.median(
            row[key] for row in ours
        )
        parts.append(f"{COLUMNS[key][0]} {factor:.1f}")
    return "times faster (ratio of medians): " + ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100_000, help="at most, for either")
    parser.add_argument("--peer", help="python of an environment with sb3-contrib")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    arguments = parser.parse_args()
    ours: list[dict[str, float]] = []
    peer: list[dict[str, float]] = []
    for seed in range(arguments.seeds):
        ours.append(run_ours(ENVIRONMENT, seed, arguments.steps))
        print(f"seed {seed}: trpotui {ours[-1]}", file=sys.stderr)
        if arguments.peer:
            peer.append(run_peer(arguments.peer, ENVIRONMENT, seed, arguments.steps))
            print(f"seed {seed}: sb3-contrib {peer[-1]}", file=sys.stderr)
    results = {"trpotui": ours} | ({"sb3-contrib TRPO (rl-zoo)": peer} if peer else {})
    print(table(results, THRESHOLD))
    if peer:
        print("\n" + ratios(ours, peer))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
