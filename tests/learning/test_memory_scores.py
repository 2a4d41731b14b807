"""Learning what cannot be done without remembering, with hyperparameters that are known to work.

They were chosen on seeds from 100 on, not on those of these tests.
"""

from __future__ import annotations

import statistics

import gymnasium
import pytest

from tests.rl.memory_environments import PositionsOfCartPole, RepeatTheCue
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CUE, POSITIONS = "RepeatTheCue-v0", "PositionsOfCartPole-v0"
CUE_SETTINGS = {"memory_size": 16, "hidden_sizes": (16,), "rollout_steps": 44, "eval_every": 0}
CUE_ALGORITHMS = {
    "trpo": {"max_kl": 0.03, "cg_damping": 0.01},
    "ppo": {"learning_rate": 1e-3},
}
POSITIONS_SETTINGS = {
    "memory_size": 32,
    "hidden_sizes": (32,),
    "rollout_steps": 64,
    "normalize_observations": True,
    "eval_every": 10,
}
POSITIONS_ALGORITHMS = {
    "trpo": {"max_kl": 0.02, "cg_damping": 0.01, "gamma": 0.995, "gae_lambda": 0.98},
    "ppo": {"learning_rate": 1e-3},
}


@pytest.fixture(autouse=True, scope="module")
def _environments():
    gymnasium.register(CUE, entry_point=RepeatTheCue)
    gymnasium.register(
        POSITIONS, entry_point=PositionsOfCartPole, max_episode_steps=500, reward_threshold=475
    )
    yield
    del gymnasium.registry[CUE], gymnasium.registry[POSITIONS]


class Keeper:
    """A store that keeps the best policy, or the last one where none was scored."""

    policy = None
    scored = False

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):
        if best or not self.scored:
            self.policy, self.scored = saved.policy, best

    def save_checkpoint(self, state):
        pass


def learn(environment, algorithm, seed, *, steps, **settings):
    """The greedy mean, over 100 fresh episodes, of what a run came to."""
    keeper = Keeper()
    request = RunRequest(
        algorithm=algorithm,
        environment_id=environment,
        seed=seed,
        total_steps=steps,
        n_envs=16,
        preset="default",
        settings=settings,
    )
    list(train(make_config(request), store=keeper))
    environments = make_environments(environment, {}, n_envs=100)
    try:
        return evaluate(keeper.policy, environments, episodes=100, seed=0).score.mean
    finally:
        environments.close()


@pytest.mark.parametrize("algorithm", CUE_ALGORITHMS)
@pytest.mark.parametrize("network", ["gru", "lstm"])
def test_a_cue_is_repeated_ten_steps_later_on_every_seed(algorithm, network):
    settings = {"network": network} | CUE_SETTINGS | CUE_ALGORITHMS[algorithm]
    scores = [learn(CUE, algorithm, seed, steps=15_000, **settings) for seed in range(3)]
    assert min(scores) == 1.0


def test_a_network_without_memory_repeats_it_by_chance():
    settings = {"network": "mlp"} | CUE_SETTINGS | CUE_ALGORITHMS["trpo"]
    scores = [learn(CUE, "trpo", seed, steps=15_000, **settings) for seed in range(5)]
    assert max(scores) < 0.75  # three quarters of 100 cues alike: 5 deviations


@pytest.mark.parametrize("algorithm", POSITIONS_ALGORITHMS)
def test_cartpole_is_balanced_without_seeing_velocities(algorithm):
    settings = {"network": "gru"} | POSITIONS_SETTINGS | POSITIONS_ALGORITHMS[algorithm]
    scores = [learn(POSITIONS, algorithm, seed, steps=100_000, **settings) for seed in range(3)]
    assert min(scores) >= 400
    assert statistics.median(scores) >= 475


def test_a_network_without_memory_does_not_balance_it():
    settings = {"network": "mlp"} | POSITIONS_SETTINGS | POSITIONS_ALGORITHMS["trpo"]
    scores = [learn(POSITIONS, "trpo", seed, steps=100_000, **settings) for seed in range(2)]
    assert max(scores) < 200
