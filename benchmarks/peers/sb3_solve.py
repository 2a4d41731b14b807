"""sb3-contrib's TRPO or stable-baselines3's PPO, tuned by rl-baselines3-zoo, to a solved policy.

Run by an interpreter that has both; prints one JSON object. The rule of when it is solved is the
one that trpotui follows: 20 greedy episodes about every 2,048 steps (CartPole-v1) or 4,096
(Pendulum-v1), and when their mean reaches the threshold 100 others must confirm it by 1.5 standard
errors. The hyperparameters are those of rl-baselines3-zoo's hyperparams/trpo.yml and ppo.yml.
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
from stable_baselines3.common.evaluation import evaluate_policy

ZOO = {
    ("CartPole-v1", "trpo"): {
        "n_envs": 2,
        "updates_per_evaluation": 2,
        "model": {
            "n_steps": 512,
            "batch_size": 512,
            "cg_damping": 1e-3,
            "gae_lambda": 0.98,
            "gamma": 0.99,
            "learning_rate": 1e-3,
            "n_critic_updates": 20,
        },
    },
    ("CartPole-v1", "ppo"): {
        "n_envs": 8,
        "updates_per_evaluation": 8,
        "model": {
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": lambda left: 1e-3 * left,
            "clip_range": lambda left: 0.2 * left,
        },
    },
    ("Pendulum-v1", "trpo"): {
        "n_envs": 2,
        "updates_per_evaluation": 2,
        "model": {
            "n_steps": 1024,
            "gamma": 0.9,
            "n_critic_updates": 15,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    },
    ("Pendulum-v1", "ppo"): {
        "n_envs": 4,
        "updates_per_evaluation": 1,
        "model": {
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "ent_coef": 0.0,
            "learning_rate": 1e-3,
            "clip_range": 0.2,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    },
}


class StopWhenSolved(BaseCallback):
    """Evaluates between updates and stops at a threshold."""

    def __init__(self, environment: str, threshold: float, updates_per_evaluation: int) -> None:
        super().__init__()
        self.threshold = threshold
        self.every = updates_per_evaluation
        self.few = make_vec_env(environment, n_envs=20, seed=1_000_000)
        self.many = make_vec_env(environment, n_envs=100, seed=2_000_000)
        self.rollouts = 0
        self.evaluation_seconds = 0.0
        self.solved = False

    def _on_step(self) -> bool:
        return not self.solved

    def _on_rollout_start(self) -> None:
        self.rollouts += 1
        if self.rollouts > 1 and (self.rollouts - 1) % self.every == 0:
            began = time.perf_counter()
            mean, _ = evaluate_policy(self.model, self.few, n_eval_episodes=20)
            if mean >= self.threshold:
                mean, std = evaluate_policy(self.model, self.many, n_eval_episodes=100)
                self.solved = mean - 1.5 * std / 100**0.5 >= self.threshold
            self.evaluation_seconds += time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithm", choices=["trpo", "ppo"], required=True)
    parser.add_argument("--environment", required=True)
    parser.add_argument("--threshold", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--save", required=True)
    o = parser.parse_args()
    torch.set_num_threads(1)
    zoo = ZOO[o.environment, o.algorithm]
    environments = make_vec_env(o.environment, n_envs=zoo["n_envs"], seed=o.seed)
    kind = TRPO if o.algorithm == "trpo" else PPO
    model = kind("MlpPolicy", environments, seed=o.seed, device="cpu", **zoo["model"])
    callback = StopWhenSolved(o.environment, o.threshold, zoo["updates_per_evaluation"])
    began = time.perf_counter()
    model.learn(o.steps, callback=callback)
    seconds = time.perf_counter() - began
    model.save(o.save)
    saved = time.time()
    fresh = make_vec_env(o.environment, n_envs=100, seed=0)
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=100)
    print(
        json.dumps(
            {
                "steps": model.num_timesteps,
                "learning_seconds": seconds - callback.evaluation_seconds,
                "with_evaluation_seconds": seconds,
                "saved_at": saved,
                "score": float(mean),
                "stopped": bool(callback.solved),
            }
        )
    )


if __name__ == "__main__":
    main()
