"""PPO with 1024 environments beside PPO that XLA compiles whole: PureJaxRL's and rejax's.

    python benchmarks/many_environments.py --jax .peers/jax/bin/python --purejaxrl FOLDER

The same environment (gymnax's CartPole-v1 there), network (64-64, tanh), steps for each update,
epochs and minibatches. XLA takes all cores of the machine, and ours is measured with as many
threads as it chooses by itself, and with one. Compiling is not in the figures, only in the JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from processes import OURS, PEERS, Measurement, in_turn, measured, setting_options, values
from rows import Row, finish

SCRIPT = PEERS / "jax_ppo.py"
EPOCHS, MINIBATCHES = 4, 4
AIM = 1.0


def compare(rollout_steps: int, o: argparse.Namespace) -> tuple[list[Row], dict[str, object]]:
    """The rows of so many steps for each update, and all that was measured."""
    sizes = ["--n-envs", str(o.n_envs), "--rollout-steps", str(rollout_steps)]
    sizes += ["--seconds", str(o.seconds)]
    settings = [
        f"epochs={EPOCHS}",
        f"minibatches={MINIBATCHES}",
        "critic=adam",
        f"critic_epochs={EPOCHS}",
        f"critic_minibatches={MINIBATCHES}",
        *o.set,
    ]
    chosen = setting_options(settings)
    ours = [*OURS, "train", "--algorithm", "ppo", *sizes, *chosen, "--torch-threads"]
    commands = {
        "torch threads automatic" if count == 0 else f"torch threads {count}": [*ours, str(count)]
        for count in o.torch_threads
    }
    own = list(commands)
    if o.jax:
        passes = ["--epochs", str(EPOCHS), "--minibatches", str(MINIBATCHES)]
        theirs = [o.jax, str(SCRIPT), "speed", *sizes, *passes]
        if o.purejaxrl:
            commands["PureJaxRL"] = [*theirs, "--purejaxrl", str(o.purejaxrl)]
        commands["rejax"] = theirs
    results, failed = in_turn(
        {name: _runner(command) for name, command in commands.items()}, o.pairs
    )
    peers = {
        name: values(results, name, "steps_per_second")
        for name in commands
        if name in results and name not in own
    }
    missing = failed if o.jax else {"rejax": "not run"} | failed
    rows = [
        Row(
            what=f"PPO steps/s, {o.n_envs} envs, {rollout_steps} steps each an update: {label}",
            unit="steps/s",
            ours=values(results, label, "steps_per_second"),
            peers=peers,
            aim=AIM,
            notes="compiling excluded; all cores",
            failed={name: why for name, why in missing.items() if name == label or name not in own},
        )
        for label in own
    ]
    return rows, dict(results)


def _runner(command: list[str]) -> Callable[[int], Measurement]:
    return lambda _: measured(command, threads=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jax", help="python of an environment with jax, gymnax and rejax")
    parser.add_argument("--purejaxrl", type=Path, help="folder of a clone of PureJaxRL")
    parser.add_argument("--pairs", type=int, default=5, help="of processes for each figure")
    parser.add_argument("--n-envs", type=int, default=1024)
    parser.add_argument("--rollout-steps", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--seconds", type=float, default=2.0, help="to measure, about")
    parser.add_argument(
        "--torch-threads", type=int, nargs="+", default=[0, 1], help="of ours; 0: automatic"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of ours")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    o = parser.parse_args()
    compared = [compare(steps, o) for steps in o.rollout_steps]
    finish(
        [row for rows, _ in compared for row in rows],
        o.json,
        measurements=[one for _, one in compared],
    )


if __name__ == "__main__":
    main()
