"""Environment steps per second while training, beside stable-baselines3 and sb3-contrib.

    python benchmarks/throughput.py --peer .peers/sb3/bin/python

The same environment, network, batch and numbers of iterations or passes on both sides, one torch
thread each. Every figure is a process of its own, the two programs take turns, and the first update
of each is left out. sb3-contrib's TRPO fits its critic with 10 passes of Adam in minibatches; ours
is fitted by its own default, Gauss-Newton, and for PPO by Adam in the same minibatches as theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from figures import spread

from trpotui.events import UpdateFinished
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

PEER = Path(__file__).parent / "peers" / "sb3_throughput.py"
WARM = 1
"""Updates before the clock starts."""
CG_ITERATIONS, EPOCHS, MINIBATCHES = 10, 4, 4
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    algorithm: str
    n_envs: int
    aim: float
    """Times faster."""
    environment: str = "CartPole-v1"
    batch: int = 2048

    @property
    def arguments(self) -> list[str]:
        """Of either side's script."""
        return [
            *("--environment", self.environment, "--algorithm", self.algorithm),
            *("--n-envs", str(self.n_envs), "--batch", str(self.batch)),
            *("--cg-iterations", str(CG_ITERATIONS), "--epochs", str(EPOCHS)),
            *("--minibatches", str(MINIBATCHES)),
        ]


SETTINGS = [
    *(Setting("trpo", n_envs, aim) for n_envs, aim in ((1, 8.0), (8, 8.0), (64, 10.0))),
    *(Setting("ppo", n_envs, aim) for n_envs, aim in ((1, 6.0), (8, 4.0), (64, 3.0))),
]


def own(o: argparse.Namespace) -> float:
    """Steps per second of trpotui, in this process."""
    settings = {"rollout_steps": o.batch // o.n_envs, "eval_every": 0, "torch_threads": 1}
    if o.algorithm == "trpo":
        settings["cg_iterations"] = o.cg_iterations
    else:
        settings |= {
            "epochs": o.epochs,
            "minibatches": o.minibatches,
            "critic": "adam",
            "critic_epochs": o.epochs,
            "critic_minibatches": o.minibatches,
        }
    request = RunRequest(
        algorithm=o.algorithm,
        environment_id=o.environment,
        preset="default",
        n_envs=o.n_envs,
        total_steps=(o.updates + WARM) * o.batch,
        stop_when_solved=False,
        settings={name: str(value) for name, value in settings.items()},
    )
    updates = [one for one in train(make_config(request)) if isinstance(one, UpdateFinished)]
    first, last = updates[WARM - 1], updates[-1]
    return (last.steps - first.steps) / (last.seconds - first.seconds)


def measured(command: list[str]) -> float:
    """Steps per second that a process prints."""
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, **THREADS}
    )
    return float(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])


def compare(peer: str, pairs: int, wanted: list[str]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    print("| what | trpotui steps/s | peer steps/s | times faster | aim |\n|---|---|---|---|---|")
    for setting in SETTINGS:
        if setting.algorithm not in wanted:
            continue
        ours, theirs = [], []
        for _ in range(pairs):
            command = [sys.executable, __file__, "--ours", "--updates", "40", *setting.arguments]
            ours.append(measured(command))
            theirs.append(measured([peer, str(PEER), "--updates", "6", *setting.arguments]))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        name = f"{setting.algorithm.upper()}, {setting.n_envs} envs, batch {setting.batch}"
        print(
            f"| {name} | {spread(ours, ',.0f')} | {spread(theirs, ',.0f')} "
            f"| {spread(ratios, '.1f')} | {setting.aim:.0f} |",
            flush=True,
        )
        rows.append({"what": name, "trpotui": ours, "peer": theirs, "aim": setting.aim})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="python of an environment with sb3-contrib")
    parser.add_argument("--pairs", type=int, default=5, help="of processes for each figure")
    parser.add_argument("--algorithms", nargs="+", default=["trpo", "ppo"])
    parser.add_argument("--json", type=Path, help="also write every figure here")
    parser.add_argument("--ours", action="store_true", help=argparse.SUPPRESS)
    for name in ("--n-envs", "--batch", "--updates", "--cg-iterations", "--epochs"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--minibatches", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--environment", help=argparse.SUPPRESS)
    parser.add_argument("--algorithm", help=argparse.SUPPRESS)
    o = parser.parse_args()
    if o.ours:
        print(json.dumps({"steps_per_second": own(o)}))
        return
    if not o.peer:
        parser.error("--peer is needed")
    rows = compare(o.peer, o.pairs, o.algorithms)
    if o.json:
        o.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
