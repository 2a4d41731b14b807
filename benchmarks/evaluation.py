"""How fast `trpotui eval` scores a thousand episodes of the saved policies.

    python benchmarks/evaluation.py --repeats 5

Seconds from the policy file to the last return, after everything is imported: reading and checking
the file, making the environments, and the episodes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from trpotui.comparison import compare
from trpotui.policy_file import check_environment, read_policy

SAVED = Path(__file__).parent.parent / "saved_policies"


def seconds_to_score(path: Path, episodes: int) -> tuple[float, float, float]:
    started = time.perf_counter()
    saved = read_policy(path)
    check_environment(saved, path)
    scored = compare([(path.name, saved)], episodes=episodes, seed=0).scored[0]
    seconds = time.perf_counter() - started
    return seconds, sum(scored.result.lengths) / seconds, scored.result.score.mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("policies", nargs="*", type=Path, default=[SAVED / "cartpole.pt"])
    options = parser.parse_args()
    print(f"| policy | mean return | s for {options.episodes:,} episodes (range) | steps/s |")
    print("|---|---|---|---|")
    for path in options.policies:
        runs = [seconds_to_score(path, options.episodes) for _ in range(options.repeats)]
        seconds = [run[0] for run in runs]
        print(
            f"| {path.name} | {runs[0][2]:.1f} | {statistics.median(seconds):.2f} "
            f"({min(seconds):.2f} to {max(seconds):.2f}) | "
            f"{statistics.median(run[1] for run in runs):,.0f} |"
        )


if __name__ == "__main__":
    main()
