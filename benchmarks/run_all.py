"""All that trpotui is compared with its peers in, in one table of markdown and JSON.

    python benchmarks/run_all.py --sb3 PYTHON --tianshou PYTHON --jax PYTHON --purejaxrl FOLDER

Every part is a script of its own, which runs the programs in turn. A part whose peer is not given
is measured without it and said to be not run; one that fails is told, and the others go on. What is
there of the table is written after every part.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from processes import HERE
from rows import Row, table

PEER_PACKAGES = {
    "sb3": ("torch", "stable_baselines3", "sb3_contrib", "gymnasium"),
    "tianshou": ("torch", "tianshou", "gymnasium"),
    "jax": ("jax", "jaxlib", "gymnax", "flax", "optax", "distrax", "rejax"),
}
QUICK = {"throughput-trpo", "throughput-ppo", "update", "many-envs", "classic", "scaling"}
"""Parts that take `--seconds`."""
VARIED = {"throughput-trpo", "update"}
"""Parts that take `--variants`."""


@dataclass(frozen=True)
class Part:
    """A script of this directory with its arguments."""

    script: str
    arguments: tuple[str, ...] = ()
    peers: tuple[tuple[str, str], ...] = ()
    """Our option to the script's, of the peers that it takes."""
    pairs: str = "--pairs"


PARTS = {
    "cartpole": Part(
        "time_to_solve.py",
        ("--environment", "CartPole-v1"),
        (("sb3", "--peer"), ("jax", "--jax"), ("purejaxrl", "--purejaxrl")),
    ),
    "pendulum": Part("time_to_solve.py", ("--environment", "Pendulum-v1"), (("sb3", "--peer"),)),
    "throughput-trpo": Part("throughput.py", ("--algorithms", "trpo"), (("sb3", "--peer"),)),
    "throughput-ppo": Part("throughput.py", ("--algorithms", "ppo"), (("sb3", "--peer"),)),
    "update": Part("update_time.py", (), (("sb3", "--sb3"), ("tianshou", "--tianshou"))),
    "many-envs": Part("many_environments.py", (), (("jax", "--jax"), ("purejaxrl", "--purejaxrl"))),
    "classic": Part("classic_environments.py"),
    "workers": Part("environment_workers.py"),
    "scaling": Part("scaling.py"),
}


def command(name: str, o: argparse.Namespace) -> list[str]:
    """Of one part, with the peers that there are."""
    part = PARTS[name]
    found = [sys.executable, str(HERE / part.script), *part.arguments]
    for ours, theirs in part.peers:
        if getattr(o, ours):
            found += [theirs, str(getattr(o, ours))]
    found += [part.pairs, str(o.pairs), "--json", str(o.out / f"{name}.json")]
    if name == "scaling":
        found += ["--page", str(o.out / "scaling.md")]
    if o.seconds is not None and name in QUICK:
        found += ["--seconds", str(o.seconds)]
    if o.variants and name in VARIED:
        found += ["--variants", *o.variants.split(",")]
    return found


def run(name: str, o: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """The rows of a part, and how it went. None of them if it failed."""
    path = o.out / f"{name}.json"
    path.unlink(missing_ok=True)
    before, began = machine.load(), time.perf_counter()
    status = subprocess.run(command(name, o), check=False, stdout=subprocess.DEVNULL).returncode
    account = {"seconds": time.perf_counter() - began, "load": [before, machine.load()]}
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row.of(one) for one in plain["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"exit status {status}" if status else f"{type(error).__name__}: {error}"
        return [], account | {"failed": why}
    return rows, account


def report(
    rows: Mapping[str, Sequence[Row]], accounts: Mapping[str, Mapping[str, Any]], head: str
) -> str:
    """The table, with what failed below it and what it was measured on above."""
    every = [row for part in rows.values() for row in part]
    asked = [row.reached for row in every if row.reached is not None]
    lines = [head, "", table(every), ""]
    if asked:
        lines += [f"{sum(asked)} of {len(asked)} aims reached.", ""]
    for name, account in accounts.items():
        loads = " to ".join(f"{load:.1f}" for load in account["load"])
        told = f"failed: {account['failed']}" if "failed" in account else "done"
        lines.append(f"- {name}: {told}; {account['seconds']:.0f} s, load {loads}")
    return "\n".join(lines) + "\n"


def heading(facts: Mapping[str, Any], peers: Mapping[str, Mapping[str, str]], pairs: int) -> str:
    """What was measured on what."""
    lines = [
        machine.describe(facts),
        *(
            f"{name}: {', '.join(f'{package} {version}' for package, version in found.items())}."
            for name, found in peers.items()
        ),
        f"Medians of {pairs} pairs, smallest and largest in brackets; one torch thread on either "
        "side, but for programs that XLA compiles and the row beside them.",
    ]
    return "\n\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sb3", help="python of an environment with sb3-contrib")
    parser.add_argument("--tianshou", help="python of an environment with tianshou 2")
    parser.add_argument("--jax", help="python of an environment with jax, gymnax and rejax")
    parser.add_argument("--purejaxrl", type=Path, help="folder of a clone of PureJaxRL")
    parser.add_argument("--only", help="parts, e.g. cartpole,update; of " + ", ".join(PARTS))
    parser.add_argument("--pairs", type=int, default=5, help="of processes for each figure")
    parser.add_argument(
        "--seconds", type=float, help="of a measurement; else as each script has it"
    )
    parser.add_argument("--variants", help="of our TRPO, e.g. same,default: see variants.py")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder for it")
    o = parser.parse_args()
    wanted = o.only.split(",") if o.only else list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (there are: {', '.join(PARTS)})")
    o.out.mkdir(parents=True, exist_ok=True)
    facts = machine.facts()
    peers = {
        name: machine.versions_of(getattr(o, name), packages)
        for name, packages in PEER_PACKAGES.items()
        if getattr(o, name)
    }
    head = heading(facts, peers, o.pairs)
    rows: dict[str, list[Row]] = {}
    accounts: dict[str, dict[str, Any]] = {}
    for name in wanted:
        print(f"== {name}", file=sys.stderr, flush=True)
        rows[name], accounts[name] = run(name, o)
        (o.out / "table.md").write_text(report(rows, accounts, head), encoding="utf-8")
        content = {
            "machine": facts,
            "peers": peers,
            "pairs": o.pairs,
            "parts": accounts,
            "rows": [{"part": part} | row.plain() for part in rows for row in rows[part]],
        }
        (o.out / "table.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(report(rows, accounts, head))


if __name__ == "__main__":
    main()
