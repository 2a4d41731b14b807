"""Milliseconds of one update (`train()`) of sb3-contrib's TRPO on a batch that is made up.

Run by an interpreter that has sb3-contrib; prints one JSON object. Every update starts from the
same parameters; filling the buffer is not in the figure.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from made_up_batch import make
from sb3_contrib import TRPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from update_timing import median_of, options, print_updates


def fill(model: TRPO, data: dict[str, torch.Tensor]) -> None:
    """Put a batch into the buffer of a rollout of one environment."""
    buffer = model.rollout_buffer
    buffer.reset()
    with torch.no_grad():
        values, log_prob, _ = model.policy.evaluate_actions(data["observations"], data["actions"])
    buffer.observations[:, 0] = data["observations"].numpy()
    buffer.actions[:, 0, 0] = data["actions"].numpy()
    buffer.advantages[:, 0] = data["advantages"].numpy()
    buffer.returns[:, 0] = data["returns"].numpy()
    buffer.values[:, 0] = values[:, 0].numpy()
    buffer.log_probs[:, 0] = log_prob.numpy()
    buffer.full = True


def one_update(o: argparse.Namespace, size: int, hidden: list[int]) -> dict[str, float]:
    model = TRPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=1),
        n_steps=size,
        batch_size=size // o.minibatches,
        cg_max_steps=o.cg_iterations,
        n_critic_updates=o.critic_epochs,
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}},
        device="cpu",
        seed=0,
    )
    model.set_logger(Logger(folder=None, output_formats=[]))
    data = {name: torch.from_numpy(array) for name, array in make(size).items()}
    first = copy.deepcopy(model.policy.state_dict())

    def once() -> float:
        model.policy.load_state_dict(first)
        fill(model, data)
        began = time.perf_counter()
        model.train()
        return time.perf_counter() - began

    return median_of(once, o.seconds)


def main() -> None:
    parser = options()
    parser.add_argument("--cg-iterations", type=int, default=10)
    parser.add_argument("--minibatches", type=int, default=4)
    o = parser.parse_args()
    print_updates(o, one_update)


if __name__ == "__main__":
    main()
