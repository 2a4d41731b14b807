"""Andy Jones' probe environments: each isolates one thing that training must get right.

What is asserted is the value that the critic predicts and the action that the policy chooses.
Source: "Debugging Reinforcement Learning Systems" (2021), section on probe environments.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from trpotui.events import EpisodesFinished, UpdateFinished
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.rl.trainer import train

SEEDS = [0, 1]
GAMMA = 0.8


class Probe(gymnasium.Env):
    """Common parts: observations are -1, 0 or 1, episodes end by termination."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    length = 1

    def __init__(self, *, continuous: bool) -> None:
        self.continuous = continuous
        actions = self.discrete_actions()
        self.action_space = (
            spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(actions)
        )

    def discrete_actions(self) -> int:
        return 1

    def observe(self) -> float:
        return 0.0

    def reward(self, observation: float, action: float) -> float:
        raise NotImplementedError

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        self._seen = self.observe()
        return np.array([self._seen], np.float32), {}

    def step(self, action):
        reward = self.reward(self._seen, float(np.asarray(action).reshape(-1)[0]))
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

    def reward(self, _, action):
        return -((action - 0.5) ** 2) if self.continuous else 2.0 * action - 1.0


class ActionAndObservationReward(Probe):
    """Two actions, a random observation that tells which of them is the better one."""

    def discrete_actions(self):
        return 2

    def observe(self):
        return self.coin()

    def reward(self, observation, action):
        if self.continuous:
            return -((action - 0.5 * observation) ** 2)
        return observation * (2.0 * action - 1.0)


class Keeper:
    """A store that keeps the last policy."""

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.policy = saved.policy

    def save_checkpoint(self, state):
        pass


@pytest.fixture(params=[False, True], ids=["discrete", "continuous"])
def trained(request, register, make_config):
    """Train on a probe; returns the policy and the events."""

    def run(probe, *, updates, seed, **hyper):
        config = make_config(
            register(probe),
            hyper={"rollout_steps": 16, "gamma": GAMMA, "max_kl": 0.03} | hyper,
            environment_kwargs={"continuous": request.param},
            n_envs=8,
            seed=seed,
            total_steps=8 * 16 * updates,
        )
        keeper = Keeper()
        events = list(train(config, store=keeper))
        return keeper.policy, events

    run.continuous = request.param
    return run


def rows(*observations: float) -> np.ndarray:
    return np.array(observations, dtype=np.float32)[:, None]


def last_mean_return(events) -> float:
    episodes = [event for event in events if isinstance(event, EpisodesFinished)]
    return float(np.mean([one for event in episodes[-5:] for one in event.returns]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("critic", ["gauss_newton", "adam"])
class TestValues:
    """The first three: nothing to choose, so the critic alone is at stake."""

    def settings(self, critic):
        return {"critic": critic, "critic_learning_rate": 1e-2}

    def test_constant_reward(self, trained, seed, critic):
        policy, _ = trained(ConstantReward, updates=25, seed=seed, **self.settings(critic))
        assert policy.values(rows(0)).tolist() == pytest.approx([1.0], abs=0.01)

    def test_observation_dependent_reward(self, trained, seed, critic):
        policy, _ = trained(ObservationReward, updates=40, seed=seed, **self.settings(critic))
        assert policy.values(rows(-1, 1)).tolist() == pytest.approx([-1.0, 1.0], abs=0.05)

    def test_reward_one_step_later_is_discounted_once(self, trained, seed, critic):
        policy, _ = trained(TwoSteps, updates=60, seed=seed, **self.settings(critic))
        assert policy.values(rows(0, 1)).tolist() == pytest.approx([GAMMA, 1.0], abs=0.05)


@pytest.mark.parametrize("seed", SEEDS)
class TestActions:
    def test_action_dependent_reward(self, trained, seed):
        policy, events = trained(ActionReward, updates=60, seed=seed)
        (action,) = policy.act(rows(0), None).reshape(-1)
        value = float(policy.values(rows(0))[0])
        if trained.continuous:
            assert action == pytest.approx(0.5, abs=0.1)
            assert value == pytest.approx(last_mean_return(events), abs=0.05)
        else:
            assert action == 1
            assert value == pytest.approx(1.0, abs=0.05)

    def test_action_and_observation_dependent_reward(self, trained, seed):
        policy, events = trained(ActionAndObservationReward, updates=80, seed=seed)
        actions = policy.act(rows(-1, 1), None).reshape(-1).tolist()
        values = policy.values(rows(-1, 1)).tolist()
        if trained.continuous:
            assert actions == pytest.approx([-0.5, 0.5], abs=0.1)
            assert values == pytest.approx([last_mean_return(events)] * 2, abs=0.05)
        else:
            assert actions == [0, 1]
            assert values == pytest.approx([1.0, 1.0], abs=0.1)


class Idle(gymnasium.Env):
    """Two actions that change nothing: reward 1 at every step, cut off after ten."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, *, continuous: bool) -> None:
        self.action_space = (
            spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(2)
        )

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
    assert policy.values(rows(1)).tolist() == pytest.approx([1 / (1 - GAMMA)], rel=1e-3)
    later = [event for event in events if isinstance(event, UpdateFinished)][-100:]
    assert len(later) == 100
    assert len({event.entropy for event in later}) == 1
    assert all(event.kl == 0.0 for event in later)


@pytest.mark.parametrize("gamma", [0.9, 0.97, 0.993])
@pytest.mark.parametrize("continuous", [False, True])
def test_silent_bug_11_rounding_of_a_fitted_critic_is_no_signal(
    register, make_config, continuous, gamma
):
    config = make_config(
        register(Idle),
        hyper={"rollout_steps": 32, "gamma": gamma, "reward_scale": 0.3},
        environment_kwargs={"continuous": continuous},
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
