"""Episodes of a frozen policy: which ones count, and from which seeds."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from network_samples import make_spec

from trpotui.rl import evaluation
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import Evaluation, evaluate
from trpotui.rl.policy import Policy
from trpotui.rl.spaces import ActionDecoder


class Seeded(gymnasium.Env):
    """Episode length and reward are functions of the seed: low seeds give short episodes."""

    observation_space = spaces.Box(-1e4, 1e4, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, *, endless: bool = False) -> None:
        self._endless = endless

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._length = 1 if seed is None else 1 + seed % 5
        self._reward = 1000.0 if seed is None else float(seed)
        self._t = 0
        return np.zeros(1, np.float32), {}

    def step(self, _):
        self._t += 1
        over = self._t >= self._length and not self._endless
        return np.full(1, self._t, np.float32), self._reward, over, False, {}


class FirstAction:
    """A policy that takes the first action and notes how it was asked to."""

    decoder = ActionDecoder(spaces.Discrete(2))

    def __init__(self) -> None:
        self.generators: list = []
        self.starts: list = []

    def network_inputs(self, observations):
        return observations

    def session(self, n_envs, rng=None):
        self.generators.append((n_envs, rng))
        return self

    def act(self, inputs, starts):
        self.starts.append(starts.tolist())
        return np.zeros(len(inputs), dtype=np.int64)


@pytest.fixture
def environments(register):
    made = []

    def make(count, **kwargs):
        made.append(make_environments(register(Seeded), kwargs, n_envs=count))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("episodes", [1, 7])
def test_episodes_are_those_of_the_seeds_however_many_play_at_once(environments, count, episodes):
    result = evaluate(FirstAction(), environments(count), episodes=episodes, seed=40)
    seeds = range(40, 40 + episodes)
    assert result.lengths == tuple(1 + seed % 5 for seed in seeds)
    assert result.returns == tuple(float(seed * (1 + seed % 5)) for seed in seeds)


def test_repeated_evaluation_gives_the_same(environments):
    both = environments(3)
    first = evaluate(FirstAction(), both, episodes=5, seed=40)
    assert evaluate(FirstAction(), both, episodes=5, seed=40) == first
    assert evaluate(FirstAction(), both, episodes=5, seed=41) != first


def test_native_vector_environment_gives_as_many_episodes_as_asked():
    cartpole = make_environments("CartPole-v1", {}, n_envs=4)
    result = evaluate(FirstAction(), cartpole, episodes=10, seed=0)
    cartpole.close()
    assert len(result.returns) == 10
    # always pushing to one side ends an episode in 8 to 10 steps; each step gives 1
    assert all(8 <= length <= 11 for length in result.lengths)
    assert result.returns == tuple(float(length) for length in result.lengths)


@pytest.mark.parametrize("stochastic", [False, True])
def test_greedy_without_a_generator_and_sampled_with_one(environments, stochastic):
    policy = FirstAction()
    evaluate(policy, environments(2), episodes=5, seed=1, stochastic=stochastic)
    assert [n_envs for n_envs, _ in policy.generators] == [2, 2, 2]
    assert all((rng is not None) == stochastic for _, rng in policy.generators)


def test_what_is_remembered_is_dropped_where_an_episode_begins(environments):
    policy = FirstAction()
    # seeds 4, 5 and 6 last 5, 1 and 2 steps; who is done goes on unheeded, in episodes of 1 step
    evaluate(policy, environments(3), episodes=3, seed=4)
    assert policy.starts[0] == [True, True, True]
    assert [starts[0] for starts in policy.starts[1:]] == [False] * 4
    assert policy.starts[2][1:] == [True, True]


def test_interrupt_ends_it_before_the_next_step(environments):
    policy, calls = FirstAction(), []

    def interrupt():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(policy, environments(1, endless=True), episodes=1, seed=0, interrupt=interrupt)
    assert len(policy.starts) == 2


def test_progress_counts_the_episodes_that_have_ended(environments):
    told = []
    evaluate(FirstAction(), environments(3), episodes=5, seed=40, progress=told.append)
    # lengths 1, 2, 3 together, then 4, 5: a number after every step
    assert told == [1, 2, 3, 3, 3, 3, 4, 5]


def test_episode_that_never_ends_counts_as_far_as_it_came(environments, monkeypatch):
    monkeypatch.setattr(evaluation, "LONGEST_EPISODE", 50)
    result = evaluate(FirstAction(), environments(2, endless=True), episodes=3, seed=0)
    assert result.lengths == (50, 50, 50)
    assert result.unfinished == 3
    ended = evaluate(FirstAction(), environments(2), episodes=3, seed=0)
    assert ended.unfinished == 0


class Pennies(gymnasium.Env):
    """One step; the reward is 1 where the environment's own coin shows what was chosen."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        matched = int(self.np_random.random() >= 0.5) == action
        return np.zeros(1, np.float32), float(matched), True, False, {}


def test_sampled_actions_are_independent_of_what_the_environment_draws(register):
    environment_id = register(Pennies)
    made = make_environments(environment_id, {}, n_envs=1)
    spec = make_spec(inputs=1, actions=2, hidden=(), environment_id=environment_id)
    weights, value = np.zeros((2, 1), np.float32), np.zeros((1, 1), np.float32)
    even = Policy(
        spec=spec,
        actor={"0.weight": weights, "0.bias": weights[:, 0]},
        critic={"0.weight": value, "0.bias": value[:, 0]},
        moments=None,
    )
    for seed in range(3):
        first = [
            evaluate(even, made, episodes=1, seed=start, stochastic=True).returns[0]
            for start in range(100 * seed, 100 * seed + 100)
        ]
        assert 25 < sum(first) < 75  # 5 standard deviations around half
    made.close()


def test_score_is_the_mean_and_population_deviation():
    score = Evaluation(returns=(1.0, 2.0, 6.0), lengths=(1, 1, 1)).score
    assert (score.episodes, score.mean) == (3, 3.0)
    assert score.std == pytest.approx(np.std([1.0, 2.0, 6.0]))
