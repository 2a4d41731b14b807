"""The experiments of the study notes, by the presets that have their hyperparameters.

    python benchmarks/notes.py --seeds 3

Training returns, the mean of the ten episodes up to one of those that the notes name: the median
over the seeds, and each of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

from trpotui.events import EpisodesFinished
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

EXPERIMENTS = [
    ("CartPole-v0", "trpo", "notes"),
    ("CartPole-v0", "ppo", "notes"),
    ("CartPole-v0", "trpo", "notes-demo"),
    ("Pendulum-v1", "trpo", "notes"),
    ("Pendulum-v1", "ppo", "notes"),
]
PUBLISHED = {
    "CartPole-v0": {50: "139", 150: "184", 400: "200", 500: "200"},
    "Pendulum-v1": {200: "-1181", 1000: "-772", 2000: "-296"},
}
"""The curves of the notes, by environment."""
LAST = 10
"""Episodes of which a return is the mean, as one alone says little."""


@dataclass(frozen=True)
class Result:
    """One run of an experiment."""

    returns: list[float]
    steps: int
    seconds: float
    cpu_seconds: float

    def by(self, episode: int) -> float:
        """Mean return of the ten episodes up to this one."""
        return statistics.fmean(self.returns[max(episode - LAST, 0) : episode])


def run(environment: str, algorithm: str, preset: str, seed: int) -> Result:
    request = RunRequest(
        environment_id=environment,
        algorithm=algorithm,
        preset=preset,
        seed=seed,
        device="cpu",
        settings={"eval_every": 0},
    )
    returns: list[float] = []
    steps = 0
    began, cpu_began = time.perf_counter(), time.process_time()
    for event in train(make_config(request)):
        if isinstance(event, EpisodesFinished):
            returns += event.returns
            steps = event.steps
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Result(returns, steps, seconds, cpu_seconds)


def median_and_all(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({', '.join(f'{value:.0f}' for value in values)})"


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def report(environment: str, seeds: range) -> None:
    """Print the table of an environment."""
    published = PUBLISHED[environment]
    print_row(environment, *(f"by {k}" for k in published), "s", "s of CPU", "steps/s of CPU")
    print_row(*["---"] * (len(published) + 4))
    print_row("published", *published.values(), "", "", "")
    for name, algorithm, preset in EXPERIMENTS:
        if name != environment:
            continue
        results = [run(environment, algorithm, preset, seed) for seed in seeds]
        print_row(
            f"{algorithm}, {preset}",
            *(median_and_all([result.by(k) for result in results]) for k in published),
            f"{statistics.median(result.seconds for result in results):.0f}",
            f"{statistics.median(result.cpu_seconds for result in results):.0f}",
            f"{statistics.median(result.steps / result.cpu_seconds for result in results):,.0f}",
        )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=3, help="runs of each experiment")
    parser.add_argument("--env", choices=PUBLISHED, help="this environment only")
    options = parser.parse_args()
    for environment in [options.env] if options.env else PUBLISHED:
        report(environment, range(options.seeds))


if __name__ == "__main__":
    main()
