"""Environment steps per second of stable-baselines3's PPO and sb3-contrib's TRPO while they train.

Run by an interpreter that has both; prints one JSON object. The first rollout and its update are
left out.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env

NETWORK = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}
WARM = 1
"""Updates before the clock starts."""
FEWEST = 3
"""Updates that are measured however long they take."""


class Clock(BaseCallback):
    """When each rollout began, and the steps done by then; ends the run after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.began: list[tuple[float, int]] = []

    @property
    def is_over(self) -> bool:
        """Whether enough was measured."""
        enough = len(self.began) > WARM + FEWEST
        return enough and self.began[-1][0] - self.began[WARM][0] >= self.seconds

    def _on_step(self) -> bool:
        return not self.is_over

    def _on_rollout_start(self) -> None:
        self.began.append((time.perf_counter(), self.num_timesteps))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True)
    parser.add_argument("--algorithm", choices=["trpo", "ppo"], required=True)
    parser.add_argument("--n-envs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--cg-iterations", type=int, default=10)
    parser.add_argument("--critic-epochs", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--minibatches", type=int, default=4)
    parser.add_argument("--sub-sampling", type=int, default=1)
    parser.add_argument("--torch-threads", type=int, default=1, help="0: torch's own choice")
    o = parser.parse_args()
    if o.torch_threads:
        torch.set_num_threads(o.torch_threads)
    environments = make_vec_env(o.environment, n_envs=o.n_envs, seed=0)
    common = {
        "n_steps": o.batch // o.n_envs,
        "batch_size": o.batch // o.minibatches,
        "policy_kwargs": NETWORK,
        "device": "cpu",
        "seed": 0,
    }
    if o.algorithm == "trpo":
        model = TRPO(
            "MlpPolicy",
            environments,
            cg_max_steps=o.cg_iterations,
            n_critic_updates=o.critic_epochs,
            sub_sampling_factor=o.sub_sampling,
            **common,
        )
    else:
        model = PPO("MlpPolicy", environments, n_epochs=o.epochs, **common)
    clock = Clock(o.seconds)
    model.learn(10**9, callback=clock)
    (began, before), (ended, after) = clock.began[WARM], clock.began[-1]
    result = {
        "steps_per_second": (after - before) / (ended - began),
        "updates": len(clock.began) - 1 - WARM,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
