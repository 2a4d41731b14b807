"""Silent bug 11: where nothing can be learned, the policy stays as it is."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from trpotui.rl import appraisal
from trpotui.rl.environments import make_environments
from trpotui.rl.learner import Learner
from trpotui.run_request import RunRequest, make_config

pytestmark = pytest.mark.slow

FITTING, AFTERWARDS = 60, 100
"""Updates in which the critic learns the only value there is, and those that are looked at."""
UNCHANGED = 0.02
"""Nats of entropy. Where noise is learned from, it is more than five times as much (see below)."""
FIRST_ORDER = {"learning_rate": 3e-3, "anneal_learning_rate": False, "entropy_coef": 0.0}
EPOCHS = FIRST_ORDER | {"epochs": 2, "minibatches": 2}
SETTINGS = {
    "trpo": {},
    "npg": {},
    "trpo_penalty": {},
    "ppo": EPOCHS,
    "ppo_penalty": EPOCHS,
    "a2c": FIRST_ORDER,
    "reinforce": {"advantage": "gae"},
}


class Noise(gymnasium.Env):
    """Random observations, and reward 1 whatever is done."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, *, continuous: bool = False, terminates: bool = False) -> None:
        self.action_space = (
            spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(2)
        )
        self._terminates = terminates

    def _observe(self):
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return self._observe(), {}

    def step(self, _):
        self._t += 1
        if self._terminates:
            return self._observe(), 1.0, True, False, {}
        return self._observe(), 1.0, False, self._t >= 10, {}


def make_learner(environment_id, algorithm="trpo", *, seed=0, settings=None, **kwargs) -> Learner:
    config = make_config(
        RunRequest(
            algorithm=algorithm,
            environment_id=environment_id,
            environment_kwargs=kwargs,
            seed=seed,
            n_envs=8,
            preset="default",
            settings={
                "rollout_steps": 32,
                "hidden_sizes": (32, 32),
                "gamma": 0.8,
                **SETTINGS[algorithm],
                **(settings or {}),
            },
        )
    )
    environments = make_environments(environment_id, kwargs, n_envs=8)
    return Learner(config, environments, torch.device("cpu"))


@torch.no_grad()
def policy_at(learner: Learner, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distribution parameters and entropies of the same observations, whenever it is asked."""
    parameters = learner.actor(rows).double()
    return parameters, learner.actor.distribution.entropy(parameters)


def drift(learner: Learner) -> tuple[float, float, float]:
    """Change of the mean entropy, the largest on the way, and KL of the policies, once fitted."""
    rows = torch.from_numpy(
        np.random.default_rng(0).uniform(-1, 1, size=(64, 2)).astype(np.float32)
    )
    for _ in range(FITTING):
        learner.iterate(lambda: None)
    before, entropy = policy_at(learner, rows)
    changes = []
    for _ in range(AFTERWARDS):
        learner.iterate(lambda: None)
        after, now = policy_at(learner, rows)
        changes.append(abs(float(now.mean() - entropy.mean())))
    kl = float(learner.actor.distribution.kl(old=before, new=after).mean())
    return changes[-1], max(changes), kl


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
def test_silent_bug_11_random_observations_and_a_fitted_critic_leave_the_entropy(
    register, continuous, seed
):
    learner = make_learner(register(Noise), seed=seed, continuous=continuous)
    _, largest, kl = drift(learner)
    assert largest <= UNCHANGED
    assert kl <= UNCHANGED


@pytest.mark.parametrize("algorithm", [name for name in SETTINGS if name != "trpo"])
def test_silent_bug_11_whatever_the_algorithm(register, algorithm):
    _, largest, kl = drift(make_learner(register(Noise), algorithm))
    assert largest <= UNCHANGED
    assert kl <= UNCHANGED


@pytest.mark.parametrize(
    "settings",
    [
        {"critic": "adam"},
        {"normalize_advantages": False},
        {"normalize_rewards": True},
        {"normalize_observations": True, "advantage": "td"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_silent_bug_11_whatever_the_settings(register, settings):
    learner = make_learner(register(Noise), settings=settings)
    _, largest, kl = drift(learner)
    assert largest <= UNCHANGED
    assert kl <= UNCHANGED


def test_silent_bug_11_episodes_of_one_step_that_all_end_alike(register):
    learner = make_learner(register(Noise), terminates=True)
    _, largest, kl = drift(learner)
    assert largest <= UNCHANGED
    assert kl <= UNCHANGED


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("continuous", [False, True], ids=["discrete", "continuous"])
def test_silent_bug_11_would_be_seen(register, monkeypatch, continuous, seed):
    """The same without the remedy: what the tolerance above has to tell apart."""
    monkeypatch.setattr(appraisal, "FITTED", 0.0)
    learner = make_learner(register(Noise), seed=seed, continuous=continuous)
    _, largest, kl = drift(learner)
    assert largest > 5 * UNCHANGED
    assert kl > UNCHANGED  # where a random walk has come to in the end: seen too, if less far


class Faint(Noise):
    """One step whose reward is nearly all constant, and a little of it the action's."""

    def step(self, action):
        return self._observe(), 1000.0 + 2.0 * float(action), True, False, {}


def test_faint_signal_beside_a_large_constant_is_learned(register):
    learner = make_learner(register(Faint), settings={"max_kl": 0.03})
    rows = torch.zeros(1, 2)
    for _ in range(FITTING):
        learner.iterate(lambda: None)
    probabilities = policy_at(learner, rows)[0].softmax(dim=1)
    assert float(probabilities[0, 1]) > 0.9


@pytest.mark.parametrize("varied", [True, False])
def test_resumed_run_remembers_whether_outcomes_have_varied(register, varied):
    learner = make_learner(register(Noise))
    state = learner.state()
    state["history"]["outcomes"] |= {"reward": 1.0, "varied": varied}
    learner.restore(state)
    learner.critic.named["2.weight"].mul_(0.005)
    learner.critic.named["2.bias"].fill_(1 / (1 - 0.8))
    assert (learner.iterate(lambda: None).stats.kl > 0) == varied
