"""How the time of one update is taken, of whichever program."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable

import torch

Update = Callable[[argparse.Namespace, int, list[int]], dict[str, float]]
"""Measures one, given the options, the size of its batch and the widths of its layers."""


def median_of(once: Callable[[], float], seconds: float) -> dict[str, float]:
    """Median milliseconds of an update that is repeated for so many seconds, after one to warm up.

    Args:
        once: makes an update; returns its seconds.
        seconds: of updates, at least.
    """
    once()
    taken: list[float] = []
    while sum(taken) < seconds:
        taken.append(once())
    return {"ms": 1000 * statistics.median(taken), "updates": float(len(taken))}


def options() -> argparse.ArgumentParser:
    """What a peer's script is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, nargs="+", required=True)
    parser.add_argument("--networks", nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--critic-epochs", type=int, default=10)
    parser.add_argument("--torch-threads", type=int, default=1, help="0: torch's own choice")
    return parser


def print_updates(o: argparse.Namespace, one_update: Update) -> None:
    """Measure every batch with every network, and print them as one JSON object."""
    if o.torch_threads:
        torch.set_num_threads(o.torch_threads)
    found = {
        f"{size} {sizes}": one_update(o, size, [int(width) for width in sizes.split(",")])
        for sizes in o.networks
        for size in o.batch
    }
    print(json.dumps({"updates": found}))
