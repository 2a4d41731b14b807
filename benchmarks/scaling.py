"""How speed, time of an update and memory of trpotui grow with what is asked of it.

    python benchmarks/scaling.py --page docs/scaling.md

TRPO on CartPole-v1 with its default hyperparameters and one torch thread, each size in a process
of its own: more environments (a batch of 2,048 samples as long as that is 16 steps or more of each,
then 16 steps), a larger batch (16 environments, 64-64), wider networks (two layers, batch 1,024)
and deeper ones (256 wide, batch 1,024). The sizes take turns. `scaling_page.py` writes the page.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from processes import OURS, Measurement, in_turn, measured, setting_options, values
from rows import Row, finish
from scaling_page import Point, Sweep, falls, page

BATCH, FEWEST_STEPS = 2048, 16
AIM = 20.0
"""Times the steps per second of one environment with the largest number."""


@dataclass(frozen=True)
class Size:
    """What is trained in one process."""

    at: int
    """On the axis of its sweep."""
    n_envs: int = 16
    batch: int = BATCH
    hidden_sizes: str = "64,64"

    @property
    def arguments(self) -> list[str]:
        """Of either kind of measurement of `ours.py`."""
        return ["--n-envs", str(self.n_envs), "--hidden-sizes", self.hidden_sizes]


SWEEPS: dict[str, tuple[str, list[Size]]] = {
    "environments": (
        "environments",
        [Size(n, n_envs=n, batch=max(BATCH, n * FEWEST_STEPS)) for n in (2**i for i in range(13))],
    ),
    "batch": ("samples of an update", [Size(2**i, batch=2**i) for i in range(8, 17)]),
    "width": (
        "units of either layer",
        [Size(2**i, batch=1024, hidden_sizes=f"{2**i},{2**i}") for i in range(5, 11)],
    ),
    "depth": (
        "layers of 256 units",
        [Size(n, batch=1024, hidden_sizes=",".join(["256"] * n)) for n in range(1, 5)],
    ),
}


def programs(
    sizes: Sequence[Size], seconds: float, settings: Sequence[str]
) -> dict[str, Callable[[int], Measurement]]:
    """What measures the training of each size, by its place on the axis."""
    chosen = setting_options(settings)

    def runner(size: Size) -> Callable[[int], Measurement]:
        command = [
            *(*OURS, "train", *size.arguments),
            *("--rollout-steps", str(size.batch // size.n_envs), "--fewest", "1"),
            *("--seconds", str(seconds), *chosen),
        ]
        # where the time goes is looked at once
        return lambda index: measured([*command, *([] if index else ["--profile"])])

    return {str(size.at): runner(size) for size in sizes}


def updates(
    sizes: Sequence[Size], seconds: float, settings: Sequence[str]
) -> dict[str, Callable[[int], Measurement]]:
    """What measures one update of each size, by its place on the axis."""
    chosen = setting_options(settings)

    def runner(size: Size) -> Callable[[int], Measurement]:
        command = [
            *(*OURS, "update", *size.arguments, "--batch", str(size.batch), "--arithmetic"),
            *("--seconds", str(seconds), *chosen),
        ]
        return lambda _: next(iter(measured(command)["updates"].values()))

    return {str(size.at): runner(size) for size in sizes}


def measure(name: str, o: argparse.Namespace) -> tuple[Sweep, dict[str, list[float]]]:
    """A sweep, and the steps per second of every round of each of its sizes."""
    axis, sizes = SWEEPS[name]
    sizes = [size for size in sizes if o.largest is None or size.at <= o.largest]
    rounds = o.pairs if name == "environments" else o.repeats
    trained, failed = in_turn(programs(sizes, o.seconds, o.set), rounds)
    updated, also_failed = in_turn(updates(sizes, o.seconds / 2, o.set), 1)
    points = [
        _point(size, trained[key], updated[key][0])
        for size in sizes
        if (key := str(size.at)) in trained and key in updated
    ]
    speeds = {key: values(trained, key, "steps_per_second") for key in trained}
    return Sweep(name=name, axis=axis, points=points, failed={**failed, **also_failed}), speeds


def _point(size: Size, trained: Sequence[Measurement], update: Measurement) -> Point:
    sections = trained[0]["sections"]
    return Point(
        at=size.at,
        batch=size.batch,
        width=max(int(width) for width in size.hidden_sizes.split(",")),
        steps_per_second=statistics.median(one["steps_per_second"] for one in trained),
        peak_mb=statistics.median(one["peak_mb"] for one in trained),
        update_ms=update["ms"],
        gflops=update["gflops"],
        matmul_gflops=update["matmul_gflops"],
        element_gbs=update["element_gbs"],
        products_share=update["products_share"],
        others_share=update["others_share"],
        sections=sections,
        rollout_ms=1000
        * (sections["environment"] + sections["policy"])
        / trained[0]["profiled_updates"],
        rollout_steps=size.batch // size.n_envs,
    )


def growth_row(speeds: Mapping[str, Sequence[float]], failed: Mapping[str, str]) -> Row:
    """The most environments beside one, and whether speed falls on the way."""
    ordered = sorted(speeds, key=int)
    medians = {int(key): statistics.median(speeds[key]) for key in ordered}
    fell = falls(medians)
    told = ", ".join(f"{at} ({medians[at]:,.0f})" for at in fell)
    return Row(
        what=f"TRPO steps/s, {ordered[-1]} envs beside {ordered[0]} (one core)",
        unit="steps/s",
        ours=speeds[ordered[-1]],
        peers={f"trpotui, {ordered[0]} env": speeds[ordered[0]]},
        aim=AIM,
        notes="medians: " + ", ".join(f"{at}: {speed:,.0f}" for at, speed in medians.items()),
        unmet=f"slower than with half as many: {told}" if fell else "",
        failed=failed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--pairs", type=int, default=5, help="rounds of the sweep of environments")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of the other sweeps")
    parser.add_argument("--seconds", type=float, default=1.5, help="to measure, at least")
    parser.add_argument("--largest", type=int, help="leave out what lies beyond on its axis")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--page", type=Path, help="also write the page here")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    sweeps, rows = [], []
    for name in o.sweeps:
        sweep, speeds = measure(name, o)
        sweeps.append(sweep)
        if name == "environments" and speeds:
            rows.append(growth_row(speeds, sweep.failed))
    written = page(sweeps, settings=o.set)
    print(written)
    if o.page is not None:
        o.page.parent.mkdir(parents=True, exist_ok=True)
        o.page.write_text(written)
    finish(rows, o.json, sweeps=[sweep.plain() for sweep in sweeps])


if __name__ == "__main__":
    main()
