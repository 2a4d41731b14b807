"""Environment steps per second while training, beside stable-baselines3 and sb3-contrib.

    python benchmarks/throughput.py --peer .peers/sb3/bin/python

The same environment, network, batch and numbers of iterations or passes on both sides, and one
torch thread each; with `--torch-threads 1 0` then as many as each program takes by itself, beside
the peer with either. Every figure is a process of its own, the programs take turns, and the first
update of each is left out. TRPO is measured in three variants of ours (`variants.py`): with the
very work that sb3-contrib does, with our own fit of the critic, and with that and a quarter of the
batch for curvature. PPO fits its critic by Adam on either side, in as many minibatches.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from processes import (
    OURS,
    PEERS,
    in_turn,
    peers_beside,
    setting_options,
    threaded,
    values,
    with_threads,
)
from rows import Row, finish
from variants import CG_ITERATIONS, CRITIC_EPOCHS, CRITIC_MINIBATCHES, MEASURED, VARIANTS

SCRIPT = PEERS / "sb3_throughput.py"
EPOCHS, MINIBATCHES = 4, 4
PEER_NAMES = {"trpo": "sb3-contrib TRPO", "ppo": "sb3 PPO"}
PPO_SETTINGS = (
    f"epochs={EPOCHS}",
    f"minibatches={MINIBATCHES}",
    "critic=adam",
    f"critic_epochs={EPOCHS}",
    f"critic_minibatches={MINIBATCHES}",
)


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    algorithm: str
    n_envs: int
    aim: float
    """Times faster."""
    environment: str = "CartPole-v1"
    batch: int = 2048

    def ours(self, seconds: float, more: Sequence[str]) -> list[str]:
        """The command of trpotui, with arguments that it takes beside."""
        return [
            *(*OURS, "train", "--environment", self.environment, "--algorithm", self.algorithm),
            *("--n-envs", str(self.n_envs), "--rollout-steps", str(self.batch // self.n_envs)),
            *("--seconds", str(seconds), *more),
        ]

    def theirs(self, python: str, seconds: float) -> list[str]:
        """The command of the peer."""
        return [
            *(python, str(SCRIPT), "--environment", self.environment),
            *("--algorithm", self.algorithm, "--n-envs", str(self.n_envs)),
            *("--batch", str(self.batch), "--seconds", str(seconds)),
            *("--cg-iterations", str(CG_ITERATIONS), "--critic-epochs", str(CRITIC_EPOCHS)),
            *("--epochs", str(EPOCHS), "--minibatches", str(self._minibatches)),
        ]

    @property
    def _minibatches(self) -> int:
        return CRITIC_MINIBATCHES if self.algorithm == "trpo" else MINIBATCHES


SETTINGS = [
    *(Setting("trpo", n_envs, aim) for n_envs, aim in ((1, 8.0), (8, 8.0), (64, 10.0))),
    *(Setting("ppo", n_envs, aim) for n_envs, aim in ((1, 6.0), (8, 4.0), (64, 3.0))),
]


def own_variants(setting: Setting, wanted: Sequence[str]) -> dict[str, list[str]]:
    """Our variants that are measured, by what the table calls them: arguments of `ours.py`."""
    if setting.algorithm == "trpo":
        return {VARIANTS[name].label: VARIANTS[name].arguments for name in wanted}
    return {"same work": setting_options(PPO_SETTINGS)}


def compare(setting: Setting, o: argparse.Namespace) -> list[Row]:
    """One row for each variant of ours; they share what was measured of the peer."""
    chosen = setting_options(o.set)
    variants = own_variants(setting, o.variants)
    peer = PEER_NAMES[setting.algorithm]

    commands = {
        label: setting.ours(o.seconds, [*arguments, *chosen])
        for label, arguments in variants.items()
    }
    if o.peer:
        commands[peer] = setting.theirs(o.peer, o.seconds)
    results, failed = in_turn(with_threads(commands, o.torch_threads), o.pairs)
    speed = partial(values, results, key="steps_per_second")
    environments = "env" if setting.n_envs == 1 else "envs"
    rows = []
    for count in o.torch_threads:
        peers = peers_beside(count, [peer], o.torch_threads)
        rows += [
            Row(
                what=f"{setting.algorithm.upper()} steps/s, {setting.n_envs} {environments}, "
                f"batch {setting.batch}: {label}",
                unit="steps/s",
                ours=speed(label),
                peers={name: speed(name) for name in peers if name in results},
                aim=setting.aim,
                notes=" ".join(o.set),
                failed={
                    name: failed.get(name, "not run")
                    for name in (label, *peers)
                    if name not in results
                },
            )
            for label in (threaded(name, count) for name in variants)
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="python of an environment with sb3-contrib")
    parser.add_argument("--pairs", type=int, default=5, help="of processes for each figure")
    parser.add_argument("--algorithms", nargs="+", default=["trpo", "ppo"])
    parser.add_argument("--n-envs", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=MEASURED, help="of our TRPO"
    )
    parser.add_argument(
        "--torch-threads", type=int, nargs="+", default=[1], help="0: as each program chooses"
    )
    parser.add_argument("--seconds", type=float, default=2.5, help="to measure, at least")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    rows = [
        row
        for setting in SETTINGS
        if setting.algorithm in o.algorithms and setting.n_envs in o.n_envs
        for row in compare(setting, o)
    ]
    finish(rows, o.json)


if __name__ == "__main__":
    main()
