"""The time of one TRPO update, without its rollout, beside sb3-contrib and tianshou.

    python benchmarks/update_time.py --sb3 PYTHON --tianshou PYTHON

All update on one and the same made-up batch of CartPole's form from the same kind of network, with
ten iterations of conjugate gradient and ten passes of the critic over the batch; every update
starts from the same parameters. All have one torch thread; with `--torch-threads 1 0` then as many
as each takes by itself, beside the peers with either. sb3-contrib's passes and ours are in four
minibatches, tianshou's are full batches, for it has no minibatches of the critic alone. What ours
does in each row is explained in `variants.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from processes import (
    OURS,
    PEERS,
    Measurement,
    in_turn,
    peers_beside,
    setting_options,
    threaded,
    with_threads,
)
from rows import Row, finish
from variants import CG_ITERATIONS, CRITIC_EPOCHS, CRITIC_MINIBATCHES, MEASURED, VARIANTS

AIMS = {"64,64": 5.0, "256,256": 2.0}
BATCHES = (2048, 16384)
PEER_NAMES = ("sb3-contrib", "tianshou")


def commands(o: argparse.Namespace) -> dict[str, list[str]]:
    """Of every program that is measured, by name; each measures all batches and networks."""
    sizes = [
        *("--batch", *map(str, o.batch), "--networks", *o.networks),
        *("--seconds", str(o.seconds)),
    ]
    chosen = setting_options(o.set)
    found = {
        VARIANTS[name].label: [*OURS, "update", *sizes, *VARIANTS[name].arguments, *chosen]
        for name in o.variants
    }
    passes = ["--critic-epochs", str(CRITIC_EPOCHS)]
    if o.sb3:
        minibatches = ["--minibatches", str(CRITIC_MINIBATCHES)]
        iterations = ["--cg-iterations", str(CG_ITERATIONS)]
        script = str(PEERS / "sb3_update.py")
        found[PEER_NAMES[0]] = [o.sb3, script, *sizes, *passes, *minibatches, *iterations]
    if o.tianshou:
        found[PEER_NAMES[1]] = [o.tianshou, str(PEERS / "tianshou_update.py"), *sizes, *passes]
    return found


def rows_of(
    results: Mapping[str, Sequence[Measurement]], failed: Mapping[str, str], o: argparse.Namespace
) -> list[Row]:
    """One row for each network, batch and variant of ours."""

    def taken(program: str, key: str) -> list[float]:
        return [one["updates"][key]["ms"] for one in results.get(program, ())]

    rows = []
    for sizes, batch, count, name in product(o.networks, o.batch, o.torch_threads, o.variants):
        key, label = f"{batch} {sizes}", threaded(VARIANTS[name].label, count)
        peers = peers_beside(count, PEER_NAMES, o.torch_threads)
        rows.append(
            Row(
                what=f"one TRPO update, batch {batch}, {sizes.replace(',', '-')}: {label}",
                unit="ms",
                ours=taken(label, key),
                peers={peer: taken(peer, key) for peer in peers if peer in results},
                aim=AIMS.get(sizes),
                notes=" ".join(o.set),
                failed={
                    program: failed.get(program, "not run")
                    for program in (label, *peers)
                    if program not in results
                },
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sb3", help="python of an environment with sb3-contrib")
    parser.add_argument("--tianshou", help="python of an environment with tianshou")
    parser.add_argument("--pairs", type=int, default=5, help="of processes for each figure")
    parser.add_argument("--batch", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--networks", nargs="+", default=list(AIMS), help="hidden sizes")
    parser.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=MEASURED, help="of ours"
    )
    parser.add_argument(
        "--torch-threads", type=int, nargs="+", default=[1], help="0: as each program chooses"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each batch and network")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()

    results, failed = in_turn(with_threads(commands(o), o.torch_threads), o.pairs)
    finish(rows_of(results, failed, o), o.json)


if __name__ == "__main__":
    main()
