"""The page on how trpotui scales: tables, fitted exponents, and what sets the limits."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from machine import describe

UPDATE = ("gradient", "Fisher products", "line search, KL", "critic")
ROLLOUT = ("environment", "policy")
FLAT = 0.5
"""Exponent of an update's time in its arithmetic below which calls are what is paid for."""
NOISE = 0.03
"""Share by which a speed may be below that of half as many environments and be no fall."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What was measured at one size."""

    at: int
    """On the axis of its sweep."""
    batch: int
    width: int
    steps_per_second: float
    peak_mb: float
    update_ms: float
    """Of one update on a made-up batch, alone."""
    gflops: float
    """GFlop/s of the matrix products of that update."""
    matmul_gflops: float
    """Of a plain product of [batch, width] and [width, width]."""
    element_gbs: float
    """GB/s of a plain multiplication of one [batch, width] by another in place."""
    products_share: float
    """Of that update's time, in matrix products."""
    others_share: float
    """Of that update's time, in other operations of torch; the rest is the interpreter's."""
    sections: Mapping[str, float]
    """Seconds of a training run, by `trpotui train --profile`."""
    rollout_ms: float
    """Of environment and policy in one rollout."""
    rollout_steps: int

    @property
    def gflop(self) -> float:
        """Of the matrix products of that update."""
        return self.gflops * self.update_ms / 1000

    @property
    def efficiency(self) -> float:
        """Share of the speed of a plain matrix product that the update has."""
        return self.gflops / self.matmul_gflops

    def share(self, names: Sequence[str]) -> float:
        """Of the time of training that some sections have."""
        return sum(self.sections[name] for name in names) / sum(self.sections.values())


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Points along one axis."""

    name: str
    axis: str
    points: Sequence[Point]
    failed: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def exponent(sizes: Sequence[float], figures: Sequence[float]) -> float:
    """b of figure = a size^b, by least squares of the logarithms over the upper half of the sizes.

    NaN of fewer than two points.
    """
    pairs = sorted(zip(sizes, figures, strict=True))[len(sizes) // 2 :]
    xs, ys = [math.log(x) for x, _ in pairs], [math.log(y) for _, y in pairs]
    if len(xs) < 2:
        return math.nan
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return products / sum((x - x_mean) ** 2 for x in xs)


def falls(speeds: Mapping[int, float]) -> list[int]:
    """Sizes at which the speed is below that of the next smaller one, by more than noise."""
    ordered = sorted(speeds)
    return [
        large for small, large in pairwise(ordered) if speeds[large] < (1 - NOISE) * speeds[small]
    ]


def limit(point: Point, growth: float) -> str:
    """What keeps a size from being faster, in words, with the figures that say so.

    Args:
        point: the size.
        growth: exponent of the update's time in its arithmetic near it; NaN if that is not known.
    """
    rollout, update = point.share(ROLLOUT), point.share(UPDATE)
    if rollout >= update:
        each = 1000 * point.rollout_ms / point.rollout_steps
        samples = point.batch // point.rollout_steps
        kind = (
            "the interpreter, for a call costs the same however few environments it is for"
            if samples <= 64
            else "stepping, which is paid for each environment"
        )
        return (
            f"the rollout ({rollout:.0%} of the time; the update has {update:.0%}): {each:.0f} µs "
            f"for a step of all environments, {each / samples:.2f} µs for each: {kind}"
        )
    interpreter = max(0.0, 1 - point.products_share - point.others_share)
    products = point.gflops / point.products_share
    told = (
        f"the update ({update:.0%} of the time). Of it matrix products have "
        f"{point.products_share:.0%}, at {products:.0f} GFlop/s ({point.matmul_gflops:.0f} for a "
        f"plain one of [batch, width] and [width, width]), torch's other operations "
        f"{point.others_share:.0%}, what lies between them {interpreter:.0%}"
    )
    if growth < FLAT or interpreter > max(point.products_share, point.others_share):
        hardly = (
            f", and its time grows with its arithmetic^{growth:.2f} there" if growth < FLAT else ""
        )
        return f"{told}{hardly}: calls, not arithmetic"
    if point.products_share >= point.others_share:
        return f"{told}: arithmetic"
    return (
        f"{told}: activations, slopes, sums and copies, which compute little and move much through "
        f"memory (multiplying units one by one runs at {point.element_gbs:.0f} GB/s)"
    )


def _growth(points: Sequence[Point], index: int) -> float:
    """Exponent of the update's time in its arithmetic from a point to its neighbour inwards."""
    other = points[index + 1] if index == 0 else points[index - 1]
    one = points[index]
    arithmetic = one.gflop / other.gflop
    if 0.9 < arithmetic < 1.1:
        return math.nan
    return math.log(one.update_ms / other.update_ms) / math.log(arithmetic)


def _section(sweep: Sweep) -> str:
    points = sweep.points
    heads = [sweep.axis, "batch", "steps/s", "update ms", "peak MB", "GFlop/s"]
    heads += ["of a product", "products' time"]
    lines = [f"## {sweep.name.capitalize()}", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += [
        f"| {one.at:,} | {one.batch:,} | {one.steps_per_second:,.0f} | {one.update_ms:,.2f} "
        f"| {one.peak_mb:,.0f} | {one.gflops:,.1f} | {one.efficiency:.0%} "
        f"| {one.products_share:.0%} |"
        for one in points
    ]
    lines += [f"\nNot measured: {at} ({why})." for at, why in sweep.failed.items()]
    if len(points) > 1:
        sizes = [one.at for one in points]
        fits = {
            "steps/s": [one.steps_per_second for one in points],
            "time of an update": [one.update_ms for one in points],
            "memory": [one.peak_mb for one in points],
        }
        told = ", ".join(f"{name} {exponent(sizes, ys):.2f}" for name, ys in fits.items())
        lines += ["", f"Exponents over the upper half of the sizes: {told}.", ""]
        for index, name in ((0, "smallest"), (-1, "largest")):
            lines.append(
                f"- At the {name} size the limit is {limit(points[index], _growth(points, index))}."
            )
    return "\n".join(lines)


def page(sweeps: Sequence[Sweep], *, settings: Sequence[str] = ()) -> str:
    """The whole page, as markdown."""
    beside = f" Settings beside the defaults: {', '.join(settings)}." if settings else ""
    head = f"""# How trpotui scales

Written by `python benchmarks/scaling.py --page docs/scaling.md`: TRPO on CartPole-v1, default
hyperparameters, one torch thread, each size in a process of its own.{beside}

{describe()}

`update ms` is one update alone, on a batch that is made up. `GFlop/s` are its matrix products by
the time of the whole update; `of a product` compares them with a plain product of [batch, width]
and [width, width] in the same process; `products' time` is the share of the update's time that its
matrix products have, by torch's profiler, which adds a little to every operation: at small sizes
the interpreter has more than it then seems. Memory is the largest resident size of the process;
Python with torch has most of it before anything is trained. An exponent b means that doubling the
size multiplies the figure by 2^b."""
    return "\n\n".join([head, *map(_section, sweeps)]) + "\n"
