"""What each member of the family learns, with its presets and on seeds it was not tuned on."""

import statistics

import pytest
from test_scores import Best

from trpotui.events import RunFinished
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def learn(algorithm, environment, seed, **settings):
    """The end of a run, and the greedy mean of its best policy over 100 fresh episodes."""
    store = Best()
    config = make_config(
        RunRequest(algorithm=algorithm, environment_id=environment, seed=seed, settings=settings)
    )
    finished = list(train(config, store=store))[-1]
    assert isinstance(finished, RunFinished)
    environments = make_environments(environment, {}, n_envs=100)
    try:
        score = evaluate(store.policy, environments, episodes=100, seed=0).score
    finally:
        environments.close()
    return finished, score.mean


def test_ppo_solves_cartpole_on_every_one_of_ten_seeds():
    results = [learn("ppo", "CartPole-v1", seed) for seed in range(10)]
    assert max(finished.steps for finished, _ in results) <= 100_000
    assert min(score for _, score in results) >= 475


@pytest.mark.parametrize(
    ("environment", "most_steps", "published"),
    [
        ("MountainCar-v0", 1_000_000, -110.4),
        ("MountainCarContinuous-v0", 20_000, 88.3),
        ("Pendulum-v1", 100_000, -172.2),
    ],
)
def test_ppo_reaches_the_published_score_on_most_of_three(environment, most_steps, published):
    """On Acrobot-v1 it takes minutes; benchmarks/scores.py has its figures."""
    results = [learn("ppo", environment, seed) for seed in range(3)]
    assert max(finished.steps for finished, _ in results) <= most_steps
    assert statistics.median(score for _, score in results) >= published


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("a2c", {}),
        ("npg", {}),
        ("ppo_penalty", {}),
        ("ppo_penalty", {"beta_update": "dual"}),
        ("trpo_penalty", {"coefficient": "adaptive"}),
    ],
)
def test_others_solve_it_on_most_of_five(algorithm, settings):
    results = [learn(algorithm, "CartPole-v1", seed, **settings) for seed in range(5)]
    assert max(finished.steps for finished, _ in results) <= 200_000
    assert statistics.median(score for _, score in results) >= 475


@pytest.mark.parametrize("baseline", [True, False])
def test_reinforce_solves_the_short_cartpole(baseline):
    results = [learn("reinforce", "CartPole-v0", seed, baseline=baseline) for seed in range(5)]
    assert max(finished.episodes for finished, _ in results) <= 2000
    assert statistics.median(score for _, score in results) >= 195
