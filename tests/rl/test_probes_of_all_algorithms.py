"""Andy Jones' probes for all algorithms but TRPO, whose own are in `test_probes`."""

from __future__ import annotations

import numpy as np
import pytest
from algorithm_samples import NAMES
from network_samples import act, values_of
from test_probes import (
    BEST,
    GAMMA,
    WORST,
    ActionAndObservationReward,
    ActionReward,
    ConstantReward,
    Keeper,
    ObservationReward,
    TwoSteps,
    last_mean_return,
    rows,
)

from trpotui.rl.trainer import train

pytestmark = pytest.mark.slow

SETTINGS = {
    "reinforce": {"rollout_episodes": 16, "learning_rate": 0.03},
    "a2c": {"learning_rate": 0.01, "anneal_learning_rate": False},
    "npg": {"max_kl": 0.03},
    "trpo_penalty": {"target_kl": 0.1},
    "ppo": {"learning_rate": 0.02, "epochs": 2, "minibatches": 2},
    "ppo_penalty": {"learning_rate": 0.02, "epochs": 2, "minibatches": 2, "target_kl": 0.03},
}
"""To be quick about it; the probes are easy."""
assert {*SETTINGS, "trpo"} == {*NAMES}
SEEDS = [0]
"""Any will do: on 0 to 9 all of them pass."""


@pytest.fixture(params=["discrete", "multi_discrete", "continuous"])
def trained(request, register, make_config):
    """Train on a probe; returns the policy and the events."""

    def run(name, probe, *, updates, seed=0):
        config = make_config(
            register(probe),
            algorithm=name,
            hyper={"rollout_steps": 16, "gamma": GAMMA} | SETTINGS[name],
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


@pytest.mark.parametrize("name", SETTINGS)
class TestProbes:
    def test_constant_reward(self, trained, name):
        policy, _ = trained(name, ConstantReward, updates=20)
        assert values_of(policy, rows(0)).tolist() == pytest.approx([1.0], abs=0.02)

    def test_observation_dependent_reward(self, trained, name):
        policy, _ = trained(name, ObservationReward, updates=30)
        assert values_of(policy, rows(-1, 1)).tolist() == pytest.approx([-1.0, 1.0], abs=0.05)

    def test_reward_one_step_later_is_discounted_once(self, trained, name):
        policy, _ = trained(name, TwoSteps, updates=40)
        assert values_of(policy, rows(0, 1)).tolist() == pytest.approx([GAMMA, 1.0], abs=0.05)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_action_dependent_reward(self, trained, name, seed):
        policy, events = trained(name, ActionReward, updates=50, seed=seed)
        (action,) = act(policy, rows(0)).tolist()
        value = float(values_of(policy, rows(0))[0])
        assert value == pytest.approx(last_mean_return(events), abs=0.1)
        if trained.kind == "continuous":
            assert action == pytest.approx([0.5], abs=0.15)
        else:
            assert action == BEST[trained.kind]
            assert value > 0.7  # of 1; chance is 0

    @pytest.mark.parametrize("seed", SEEDS)
    def test_action_and_observation_dependent_reward(self, trained, name, seed):
        policy, events = trained(name, ActionAndObservationReward, updates=60, seed=seed)
        actions = act(policy, rows(-1, 1)).tolist()
        values = values_of(policy, rows(-1, 1)).tolist()
        assert values == pytest.approx([last_mean_return(events)] * 2, abs=0.15)
        if trained.kind == "continuous":
            assert np.ravel(actions) == pytest.approx([-0.5, 0.5], abs=0.15)
        else:
            assert actions == [WORST[trained.kind], BEST[trained.kind]]
            assert min(values) > 0.7
