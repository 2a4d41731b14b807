"""Gymnasium's classic environments, all copies moved at once, beside stepping one after another.

    python benchmarks/classic_environments.py

Steps per second with random actions, in turn: as trpotui makes the copies (together, or one by one
where they are too few for it), one by one, and by gymnasium's SyncVectorEnv, each with trpotui's
checks of what comes out. The numbers are the same.
"""

from __future__ import annotations

import argparse
from functools import partial

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from rows import Row
from stepping import measure_all, speeds

from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.single_environments import SingleEnvironments

ENVIRONMENTS = ["Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]


def measure(environment_id: str, n_envs: int, o: argparse.Namespace) -> Row:
    make = partial(gymnasium.make, environment_id, disable_env_checker=True)
    gymnasiums = SyncVectorEnv([make] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    forms = [
        make_environments(environment_id, {}, n_envs=n_envs),
        BatchedEnvironment(SingleEnvironments([make() for _ in range(n_envs)]), name="one by one"),
        BatchedEnvironment(gymnasiums, name="gymnasium"),
    ]
    ours, one_by_one, theirs = speeds(forms, pairs=o.pairs, seconds=o.seconds)
    return Row(
        what=f"{environment_id}, {n_envs} envs, stepping",
        unit="steps/s",
        ours=ours,
        peers={"one by one": one_by_one, "gymnasium's SyncVectorEnv": theirs},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    measure_all(parser, measure, environments=ENVIRONMENTS, n_envs=[4, 16, 64, 1024], pairs=5)


if __name__ == "__main__":
    main()
