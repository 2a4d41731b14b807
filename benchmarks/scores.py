"""What TRPO and PPO learn with their tuned presets, beside the published scores.

    python benchmarks/scores.py --seeds 5
    python benchmarks/scores.py --algo ppo --env Pendulum-v1 --json scores.json

Every seed is one run of the preset, no longer than the published one took; being solved does not
end it. The policy that it keeps as its best, by evaluations of its own, is then scored on 100 fresh
greedy episodes. A score counts as reached where the median over the seeds is the published mean or
better.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trpotui.events import RunFinished
from trpotui.rl.devices import threads as with_threads
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.policy import SavedPolicy
from trpotui.rl.store import versions
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config
from trpotui.statistics import Interval, bootstrap_interval, interquartile_mean

EPISODES = 100
SEED = 0
"""Of the episodes that score a policy, and of the bootstrap's resamples."""


@dataclass(frozen=True)
class Published:
    """A line of rl-baselines3-zoo's benchmark table: one run, its last policy, greedy."""

    mean: float
    std: float
    """Of episodes, not of runs."""
    steps: int


PUBLISHED = {
    "trpo": {
        "CartPole-v1": Published(500.0, 0.0, 100_000),
        "Acrobot-v1": Published(-83.1, 18.6, 100_000),
        "MountainCar-v0": Published(-107.3, 13.2, 100_000),
        "MountainCarContinuous-v0": Published(92.5, 0.4, 50_000),
        "Pendulum-v1": Published(-174.6, 127.6, 100_000),
    },
    "ppo": {
        "CartPole-v1": Published(500.0, 0.0, 100_000),
        "Acrobot-v1": Published(-73.5, 18.2, 1_000_000),
        "MountainCar-v0": Published(-110.4, 19.5, 1_000_000),
        "MountainCarContinuous-v0": Published(88.3, 2.6, 20_000),
        "Pendulum-v1": Published(-172.2, 104.2, 100_000),
    },
    "a2c": {
        "CartPole-v1": Published(500.0, 0.0, 500_000),
        "Acrobot-v1": Published(-83.4, 17.2, 500_000),
        "MountainCar-v0": Published(-111.3, 24.1, 1_000_000),
        "MountainCarContinuous-v0": Published(91.2, 0.3, 100_000),
        "Pendulum-v1": Published(-163.0, 103.2, 1_000_000),
    },
}


@dataclass(frozen=True)
class Run:
    """One seed."""

    seed: int
    score: float
    """Greedy mean of the best policy over fresh episodes."""
    steps: int
    best_after: int
    """Steps that the best policy had been trained for."""
    seconds: float
    """With evaluations, without the episodes of the score."""


@dataclass(frozen=True)
class Summary:
    """What the seeds of an environment and an algorithm say together."""

    median: float
    interquartile_mean: float
    interval: Interval | None
    """Of the interquartile mean, 95 % bootstrap; None of a single seed."""
    steps: int
    """The most that a seed took."""
    reached: bool


class Best:
    """A store that keeps the best policy only."""

    saved: SavedPolicy | None = None

    def append_metrics(self, row: Mapping[str, float | int | bool | str]) -> None:
        """Not needed."""

    def save_policy(self, saved: SavedPolicy, *, best: bool) -> None:
        """Keep it if it is the best so far."""
        if best:
            self.saved = saved

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Not needed."""


def run(environment: str, algorithm: str, seed: int, threads: int) -> Run:
    request = RunRequest(
        environment_id=environment,
        algorithm=algorithm,
        preset="tuned",
        seed=seed,
        device="cpu",
        stop_when_solved=False,
        settings={"torch_threads": threads},
    )
    config, most = make_config(request), PUBLISHED[algorithm][environment].steps
    if config.total_steps > most:
        raise SystemExit(f"{algorithm} on {environment}: the preset takes more than {most:,} steps")
    store, began = Best(), time.perf_counter()
    finished = list(train(config, store=store))[-1]
    seconds = time.perf_counter() - began
    assert isinstance(finished, RunFinished)
    assert store.saved is not None
    environments = make_environments(environment, {}, n_envs=EPISODES)
    try:
        with with_threads(threads, batch=EPISODES, width=1):
            result = evaluate(store.saved.policy, environments, episodes=EPISODES, seed=SEED)
    finally:
        environments.close()
    return Run(seed, result.score.mean, finished.steps, store.saved.steps, seconds)


def summarize(runs: list[Run], published: Published) -> Summary:
    scores = [one.score for one in runs]
    median = statistics.median(scores)
    interval = None
    if len(scores) > 1:
        rng = np.random.default_rng(SEED)
        interval = bootstrap_interval([scores], interquartile_mean, rng=rng)
    return Summary(
        median=median,
        interquartile_mean=float(interquartile_mean(scores)),
        interval=interval,
        steps=max(one.steps for one in runs),
        reached=median >= published.mean,
    )


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_result(
    environment: str, algorithm: str, runs: list[Run], published: Published, summary: Summary
) -> None:
    middle = f"{summary.interquartile_mean:.1f}"
    if summary.interval is not None:
        middle += f" ({summary.interval.low:.1f} to {summary.interval.high:.1f})"
    print_row(
        environment,
        algorithm,
        f"{published.mean:.1f} ± {published.std:.1f} ({published.steps:,})",
        f"{summary.median:.1f}",
        middle,
        ", ".join(f"{one.score:.1f}" for one in runs),
        f"{summary.steps:,}",
        f"{statistics.median(one.best_after for one in runs):,.0f}",
        "yes" if summary.reached else "no",
        f"{statistics.median(one.seconds for one in runs):.0f}",
    )


def write(path: Path, results: list[dict[str, Any]], threads: int) -> None:
    """Every figure so far, and what it was measured with; anew after each experiment."""
    about = {
        "episodes": EPISODES,
        "versions": versions(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": threads,
    }
    path.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5, help="runs of each, from seed 0 on")
    parser.add_argument(
        "--algo", choices=PUBLISHED, action="append", help="trpo and ppo unless named (repeatable)"
    )
    parser.add_argument(
        "--env", choices=PUBLISHED["trpo"], action="append", help="all unless named (repeatable)"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch threads of each run")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    options = parser.parse_args()
    heads = "environment, algorithm, published (steps), median, IQM (95 %), each seed, steps"
    heads += ", best after, reached, s"
    print_row(*heads.split(", "))
    print_row(*["---"] * (heads.count(", ") + 1))
    results: list[dict[str, Any]] = []
    for environment in options.env or PUBLISHED["trpo"]:
        for algorithm in options.algo or ("trpo", "ppo"):
            runs = []
            for seed in range(options.seeds):
                runs.append(run(environment, algorithm, seed, options.threads))
                print(f"{environment} {algorithm} {runs[-1]}", file=sys.stderr)
            published = PUBLISHED[algorithm][environment]
            summary = summarize(runs, published)
            print_result(environment, algorithm, runs, published, summary)
            results.append(
                {
                    "environment": environment,
                    "algorithm": algorithm,
                    "published": asdict(published),
                    "runs": [asdict(one) for one in runs],
                    **asdict(summary),
                }
            )
            if options.json:
                write(options.json, results, options.threads)


if __name__ == "__main__":
    main()
