"""Milliseconds of one update of tianshou's TRPO on a batch that is made up.

Run by an interpreter that has tianshou 2; prints one JSON object. Timed is `_update_with_batch`,
which takes the natural step, its line search and the critic's steps; returns and advantages are
made before it. Every update starts from the same parameters. Its 10 iterations of conjugate
gradient are written into it, and its critic takes full batches.
"""

from __future__ import annotations

import argparse
import copy
import time
import warnings

import gymnasium
import torch
from made_up_batch import N_ACTIONS, OBSERVATION_SIZE, make
from tianshou.algorithm import TRPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from torch.distributions import Categorical
from update_timing import median_of, options, print_updates


def network(hidden: list[int]) -> Net:
    return Net(state_shape=OBSERVATION_SIZE, hidden_sizes=hidden, activation=torch.nn.Tanh)


def one_update(o: argparse.Namespace, size: int, hidden: list[int]) -> dict[str, float]:
    torch.manual_seed(0)
    actor = DiscreteActor(
        preprocess_net=network(hidden), action_shape=N_ACTIONS, softmax_output=False
    )
    algorithm = TRPO(
        policy=ProbabilisticActorPolicy(
            actor=actor,
            dist_fn=lambda logits: Categorical(logits=logits),
            action_space=gymnasium.spaces.Discrete(N_ACTIONS),
            action_scaling=False,
            action_bound_method=None,
        ),
        critic=DiscreteCritic(preprocess_net=network(hidden)),
        optim=AdamOptimizerFactory(lr=1e-3),
        optim_critic_iters=o.critic_epochs,
    )
    data = make(size)
    actions = torch.from_numpy(data["actions"])
    batch = Batch(
        obs=data["observations"],
        act=actions,
        adv=torch.from_numpy(data["advantages"]),
        returns=torch.from_numpy(data["returns"]),
        info=Batch(),
    )
    with torch.no_grad():
        batch.logp_old = algorithm.policy(batch).dist.log_prob(actions)
    first = copy.deepcopy(algorithm.state_dict())

    def once() -> float:
        algorithm.load_state_dict(copy.deepcopy(first))
        began = time.perf_counter()
        algorithm._update_with_batch(batch, batch_size=None, repeat=1)
        return time.perf_counter() - began

    return median_of(once, o.seconds)


def main() -> None:
    o = options().parse_args()
    warnings.simplefilter("ignore")  # it warns of every shortened step
    print_updates(o, one_update)


if __name__ == "__main__":
    main()
