"""Learning to the scores that the program promises, on several seeds, with its tuned presets."""

import math
import statistics

import pytest

from trpotui.events import RunFinished
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ONE_SIDED_95 = {5: 2.132, 15: 1.761}
"""Student's t, by seeds."""


class Best:
    """A store that keeps the best policy only."""

    policy = None

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):
        if best:
            self.policy = saved.policy

    def save_checkpoint(self, state):
        pass


def learn(environment, seed):
    """Steps of a run, and the greedy mean of its best policy over 100 fresh episodes."""
    store = Best()
    config = make_config(RunRequest(environment_id=environment, seed=seed))
    finished = list(train(config, store=store))[-1]
    assert isinstance(finished, RunFinished)
    environments = make_environments(environment, {}, n_envs=100)
    try:
        score = evaluate(store.policy, environments, episodes=100, seed=0).score
    finally:
        environments.close()
    return finished.steps, score.mean


def test_cartpole_is_solved_on_every_one_of_ten_seeds():
    results = [learn("CartPole-v1", seed) for seed in range(10)]
    assert min(score for _, score in results) >= 475
    assert statistics.median(steps for steps, _ in results) <= 30_000


@pytest.mark.parametrize(
    ("environment", "seeds", "most_steps", "target"),
    [
        # one seed in 30 ended at -201, the others at -142 to -173
        ("Pendulum-v1", 15, 100_000, -174.6),
        ("Acrobot-v1", 5, 100_000, -90.0),
        ("MountainCarContinuous-v0", 5, 50_000, 92.5),
    ],
)
def test_seeds_reach_the_score(environment, seeds, most_steps, target):
    results = [learn(environment, seed) for seed in range(seeds)]
    scores = [score for _, score in results]
    assert max(steps for steps, _ in results) <= most_steps
    assert statistics.median(scores) >= target
    error = statistics.stdev(scores) / math.sqrt(len(scores))
    assert statistics.fmean(scores) - ONE_SIDED_95[seeds] * error >= target


def test_the_goal_of_mountain_car_is_found_on_every_one_of_fifteen_seeds():
    """A mean of so few is one outlier's: of 60 seeds the worst five ended at -113 to -142."""
    results = [learn("MountainCar-v0", seed) for seed in range(15)]
    assert max(steps for steps, _ in results) <= 100_000
    assert min(score for _, score in results) >= -160
    assert statistics.median(score for _, score in results) >= -107.3
