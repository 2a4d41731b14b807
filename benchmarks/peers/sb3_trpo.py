"""sb3-contrib's TRPO with rl-baselines3-zoo's hyperparameters, to a solved and saved policy.

Run by an interpreter that has sb3-contrib; prints one JSON object. The rule of when it is solved is
the one that trpotui follows: every other update 20 greedy episodes, and when their mean reaches the
environment's threshold 100 others must confirm it by 1.5 standard errors.
"""

from __future__ import annotations

import argparse
import json
import time

import gymnasium
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

ZOO = {
    "CartPole-v1": {
        "n_envs": 2,
        "model": {
            "n_steps": 512,
            "batch_size": 512,
            "cg_damping": 1e-3,
            "gae_lambda": 0.98,
            "learning_rate": 1e-3,
            "n_critic_updates": 20,
        },
    },
}
UPDATES_PER_EVALUATION = 2


class StopWhenSolved(BaseCallback):
    """Evaluates between updates and stops at the environment's threshold."""

    def __init__(self, environment: str) -> None:
        super().__init__()
        self.threshold = gymnasium.spec(environment).reward_threshold
        self.few = make_vec_env(environment, n_envs=20, seed=1_000_000)
        self.many = make_vec_env(environment, n_envs=100, seed=2_000_000)
        self.rollouts = 0
        self.evaluation_seconds = 0.0
        self.solved = False

    def _on_step(self) -> bool:
        return not self.solved

    def _on_rollout_start(self) -> None:
        self.rollouts += 1
        if self.rollouts > 1 and (self.rollouts - 1) % UPDATES_PER_EVALUATION == 0:
            began = time.perf_counter()
            mean, _ = evaluate_policy(self.model, self.few, n_eval_episodes=20)
            if mean >= self.threshold:
                mean, std = evaluate_policy(self.model, self.many, n_eval_episodes=100)
                self.solved = mean - 1.5 * std / 100**0.5 >= self.threshold
            self.evaluation_seconds += time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--environment", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    zoo = ZOO[arguments.environment]
    environments = make_vec_env(arguments.environment, n_envs=zoo["n_envs"], seed=arguments.seed)
    model = TRPO("MlpPolicy", environments, seed=arguments.seed, device="cpu", **zoo["model"])
    callback = StopWhenSolved(arguments.environment)
    began = time.perf_counter()
    model.learn(arguments.steps, callback=callback)
    seconds = time.perf_counter() - began
    model.save(arguments.save)
    saved = time.time()
    fresh = make_vec_env(arguments.environment, n_envs=100, seed=0)
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=100)
    print(
        json.dumps(
            {
                "steps": model.num_timesteps,
                "learning_seconds": seconds - callback.evaluation_seconds,
                "evaluation_seconds": callback.evaluation_seconds,
                "saved_at": saved,
                "score": float(mean),
            }
        )
    )


if __name__ == "__main__":
    main()
