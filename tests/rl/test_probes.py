"""Andy Jones' probe environments: each isolates one thing that training must get right.

What is asserted is the value that the critic predicts and the action that the policy chooses.
Source: "Debugging Reinforcement Learning Systems" (2021), section on probe environments.
"""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from network_samples import act, parameters_of, values_of

from trpotui.events import EpisodesFinished, UpdateFinished
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.trainer import train

SEEDS = [0, pytest.param(1, marks=pytest.mark.slow)]
KINDS = [
    "discrete",
    pytest.param("multi_discrete", marks=pytest.mark.slow),
    pytest.param("multi_binary", marks=pytest.mark.slow),
    "continuous",
]
GAMMA = 0.8


def action_space(kind: str, actions: int) -> spaces.Space:
    """One action or two; those with several components have two of different size."""
    return {
        "discrete": spaces.Discrete(actions),
        "multi_discrete": spaces.MultiDiscrete([actions, 3], start=[0, -1]),
        "multi_binary": spaces.MultiBinary(2),
        "continuous": spaces.Box(-1, 1, (1,), np.float32),
    }[kind]


BEST = {"discrete": 1, "multi_discrete": [1, -1], "multi_binary": [1, 0]}
"""The action whose preference is 1."""
WORST = {"discrete": 0, "multi_discrete": [0, 1], "multi_binary": [0, 1]}


class Probe(gymnasium.Env):
    """Common parts: observations are -1, 0 or 1, episodes end by termination."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    length = 1

    def __init__(self, *, kind: str) -> None:
        self.kind = kind
        self.action_space = action_space(kind, self.discrete_actions())

    def discrete_actions(self) -> int:
        return 1

    def observe(self) -> float:
        return 0.0

    def reward(self, observation: float, preference: float) -> float:
        raise NotImplementedError

    def preference(self, action) -> float:
        """From -1 to 1; of several components the first is for it, the second against it."""
        first, *others = np.asarray(action, dtype=np.float64).reshape(-1)
        match self.kind:
            case "continuous":
                return first
            case "discrete":
                return 2 * first - 1
            case "multi_discrete":
                return first - 0.5 - others[0] / 2
        return first - others[0]

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        self._seen = self.observe()
        return np.array([self._seen], np.float32), {}

    def step(self, action):
        assert action in self.action_space
        reward = self.reward(self._seen, self.preference(action))
        self._t += 1
        self._seen = self.observe()
        return np.array([self._seen], np.float32), reward, self._t >= self.length, False, {}

    def coin(self) -> float:
        return float(self.np_random.choice([-1.0, 1.0]))


class ConstantReward(Probe):
    """One action, one observation, one step, reward 1."""

    def reward(self, *_):
        return 1.0


class ObservationReward(Probe):
    """One action, a random observation, reward equal to it."""

    def observe(self):
        return self.coin()

    def reward(self, observation, _):
        return observation


class TwoSteps(Probe):
    """One action, observation 0 then 1, reward 1 at the end."""

    length = 2

    def observe(self):
        return float(self._t == 1)

    def reward(self, *_):
        return float(self._t == 1)


class ActionReward(Probe):
    """Two actions, one observation; the second action is the better one."""

    def discrete_actions(self):
        return 2

    def reward(self, _, preference):
        return -((preference - 0.5) ** 2) if self.kind == "continuous" else preference


class ActionAndObservationReward(Probe):
    """Two actions, a random observation that tells which of them is the better one."""

    def discrete_actions(self):
        return 2

    def observe(self):
        return self.coin()

    def reward(self, observation, preference):
        if self.kind == "continuous":
            return -((preference - 0.5 * observation) ** 2)
        return observation * preference


class Keeper:
    """A store that keeps the last policy."""

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.policy = saved.policy

    def save_checkpoint(self, state):
        pass


@pytest.fixture(params=KINDS)
def trained(request, register, make_config):
    """Train on a probe; returns the policy and the events."""

    def run(probe, *, updates, seed, **hyper):
        config = make_config(
            register(probe),
            hyper={"rollout_steps": 16, "gamma": GAMMA, "max_kl": 0.03} | hyper,
            environment_kwargs={"kind": request.param},
            n_envs=8,
            seed=seed,
            total_steps=8 * 16 * updates,
        )
        keeper = Keeper()
        events = list(train(config, store=keeper))
        return keeper.policy, events

    run.kind = request.param
    return run


def rows(*observations: float) -> np.ndarray:
    return np.array(observations, dtype=np.float32)[:, None]


def last_mean_return(events) -> float:
    episodes = [event for event in events if isinstance(event, EpisodesFinished)]
    return float(np.mean([one for event in episodes[-5:] for one in event.returns]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("critic", ["gauss_newton", pytest.param("adam", marks=pytest.mark.slow)])
class TestValues:
    """The first three: nothing to choose, so the critic alone is at stake."""

    def settings(self, critic):
        return {"critic": critic, "critic_learning_rate": 1e-2}

    def test_constant_reward(self, trained, seed, critic):
        policy, _ = trained(ConstantReward, updates=25, seed=seed, **self.settings(critic))
        assert values_of(policy, rows(0)).tolist() == pytest.approx([1.0], abs=0.01)

    def test_observation_dependent_reward(self, trained, seed, critic):
        policy, _ = trained(ObservationReward, updates=40, seed=seed, **self.settings(critic))
        assert values_of(policy, rows(-1, 1)).tolist() == pytest.approx([-1.0, 1.0], abs=0.05)

    def test_reward_one_step_later_is_discounted_once(self, trained, seed, critic):
        policy, _ = trained(TwoSteps, updates=60, seed=seed, **self.settings(critic))
        assert values_of(policy, rows(0, 1)).tolist() == pytest.approx([GAMMA, 1.0], abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
class TestActions:
    def test_action_dependent_reward(self, trained, seed):
        policy, events = trained(ActionReward, updates=60, seed=seed)
        (action,) = act(policy, rows(0)).tolist()
        value = float(values_of(policy, rows(0))[0])
        if trained.kind == "continuous":
            assert action == pytest.approx([0.5], abs=0.1)
            assert value == pytest.approx(last_mean_return(events), abs=0.05)
        else:
            assert action == BEST[trained.kind]
            assert value == pytest.approx(1.0, abs=0.05)

    def test_action_and_observation_dependent_reward(self, trained, seed):
        policy, events = trained(ActionAndObservationReward, updates=80, seed=seed)
        actions = act(policy, rows(-1, 1)).tolist()
        values = values_of(policy, rows(-1, 1)).tolist()
        if trained.kind == "continuous":
            assert np.ravel(actions) == pytest.approx([-0.5, 0.5], abs=0.1)
            assert values == pytest.approx([last_mean_return(events)] * 2, abs=0.05)
        else:
            assert actions == [WORST[trained.kind], BEST[trained.kind]]
            assert values == pytest.approx([1.0, 1.0], abs=0.1)


class ActionRewardAtOne(ActionReward):
    """The same with observation 1: gSDE has no noise where all features are 0."""

    def observe(self):
        return 1.0


@pytest.mark.parametrize("trained", ["continuous"], indirect=True)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "exploration",
    [{"exploration": "state_dependent"}, {"exploration": "gsde"}],
    ids=lambda values: values["exploration"],
)
class TestExploration:
    def test_action_dependent_reward(self, trained, seed, exploration):
        policy, _ = trained(ActionRewardAtOne, updates=60, seed=seed, **exploration)
        assert act(policy, rows(1)).item() == pytest.approx(0.5, abs=0.1)
        assert deviation(policy, 1) < 0.3

    @pytest.mark.slow
    def test_action_and_observation_dependent_reward(self, trained, seed, exploration):
        policy, events = trained(ActionAndObservationReward, updates=80, seed=seed, **exploration)
        assert act(policy, rows(-1, 1)).reshape(-1).tolist() == pytest.approx([-0.5, 0.5], abs=0.1)
        values = values_of(policy, rows(-1, 1)).tolist()
        assert values == pytest.approx([last_mean_return(events)] * 2, abs=0.05)

    def test_deviation_is_learned_where_the_observation_calls_for_it(
        self, trained, seed, exploration
    ):
        policy, _ = trained(PrecisionWhereItCounts, updates=60, seed=seed, **exploration)
        assert deviation(policy, 1) < 0.5 * deviation(policy, -1)


class PrecisionWhereItCounts(Probe):
    """A random observation; only where it is 1 the action matters."""

    def observe(self):
        return self.coin()

    def reward(self, observation, preference):
        return -(preference**2) if observation > 0 else 0.0


def deviation(policy, observation: float) -> float:
    """sigma of the actions at an observation."""
    _, log_std = parameters_of(policy, rows(observation))[0]
    return math.exp(log_std)


class Idle(gymnasium.Env):
    """Two actions that change nothing: reward 1 at every step, cut off after ten."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, *, kind: str) -> None:
        self.action_space = action_space(kind, 2)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return np.ones(1, np.float32), {}

    def step(self, _):
        self._t += 1
        return np.ones(1, np.float32), 1.0, False, self._t >= 10, {}


@pytest.mark.parametrize("seed", SEEDS)
def test_silent_bug_11_fitted_critic_leaves_no_noise_to_learn_from(trained, seed):
    policy, events = trained(Idle, updates=220, seed=seed)
    # the time limit is no end of the world: 1 / (1 - gamma) and not less
    assert values_of(policy, rows(1)).tolist() == pytest.approx([1 / (1 - GAMMA)], rel=1e-3)
    later = [event for event in events if isinstance(event, UpdateFinished)][-100:]
    assert len(later) == 100
    assert len({event.entropy for event in later}) == 1
    assert all(event.kl == 0.0 for event in later)


@pytest.mark.parametrize("gamma", [0.9, 0.97, 0.993])
@pytest.mark.parametrize("kind", KINDS)
def test_silent_bug_11_rounding_of_a_fitted_critic_is_no_signal(register, make_config, kind, gamma):
    config = make_config(
        register(Idle),
        hyper={"rollout_steps": 32, "gamma": gamma, "reward_scale": 0.3},
        environment_kwargs={"kind": kind},
        n_envs=4,
    )
    environments = make_environments(
        config.environment_id, config.environment_kwargs, n_envs=config.n_envs
    )
    learner = Learner(config, environments, torch.device("cpu"))
    # r + gamma V - V is 0 for these numbers but for rounding, which is not
    learner.critic.parameters.zero_()
    learner.critic.parameters[-1] = 0.3 / (1 - gamma)
    before = learner.actor.parameters.clone()
    for _ in range(100):
        stats = learner.iterate(lambda: None).stats
        assert (stats.kl, stats.grad_norm) == (0.0, 0.0)
    environments.close()
    assert torch.equal(learner.actor.parameters, before)
