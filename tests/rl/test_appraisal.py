"""What is made of a rollout before an algorithm sees it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces
from pydantic.dataclasses import dataclass as checked

from trpotui.config import STRICT, SharedHyperparameters
from trpotui.rl.advantages import estimate, explained_variance
from trpotui.rl.appraisal import History, appraise
from trpotui.rl.normalization import ReturnMoments
from trpotui.rl.rollout import Rollout
from trpotui.rl.spaces import ActionDecoder

PLAIN = SharedHyperparameters(normalize_advantages=False)


@checked(frozen=True, kw_only=True, config=STRICT)
class Choosing(SharedHyperparameters):
    """Of an algorithm that can do without a critic."""

    baseline: bool = True


def experience(seed: int = 0, *, steps: int = 12, envs: int = 2) -> tuple:
    """A rollout with ends of both kinds and rows that do not count, and its critic's values."""
    rng = np.random.default_rng(seed)
    rollout = Rollout.empty(
        steps, envs, size=1, decoder=ActionDecoder(spaces.Discrete(2)), normalized=False
    )
    rollout.rewards[:] = rng.normal(-3.0, 2.0, size=(steps, envs))
    ended = rng.random((steps, envs)) < 0.25
    rollout.terminated[:] = ended & (rng.random((steps, envs)) < 0.5)
    rollout.truncated[:] = ended & ~rollout.terminated
    rollout.valid[:] = rng.random((steps, envs)) < 0.9
    rollout.starts[1:] = ended
    rollout.starts[0] = True
    positions = np.argwhere(rollout.truncated)
    rollout.final_positions = [(int(t), int(n)) for t, n in positions]
    rollout.final_inputs = [np.zeros(1, dtype=np.float32) for _ in positions]
    values = rng.normal(size=(steps + 1, envs)).astype(np.float32)
    return rollout, values, rng.normal(size=len(positions)).astype(np.float32)


def fresh(*, normalize_rewards: bool = False) -> History:
    return History.initial(2, normalize_rewards=normalize_rewards)


def expected(rollout, rewards, values, final_values, h):
    """Advantages [B] of rewards as they are learned from."""
    return estimate(
        h.advantage,
        rewards,
        values[:-1],
        rollout.next_values(values, final_values),
        terminated=rollout.terminated,
        ended=rollout.ended,
        gamma=h.gamma,
        lam=h.gae_lambda,
        steps=h.n_steps,
    )[rollout.valid]


@pytest.mark.parametrize("name", ["gae", "td", "n_step", "monte_carlo"])
def test_advantages_are_those_of_the_estimator_that_was_asked_for(name):
    h = dataclasses.replace(PLAIN, advantage=name, gamma=0.9, gae_lambda=0.7, n_steps=3)
    rollout, values, final_values = experience()
    found = appraise(rollout, values, final_values, fresh(), h)
    wanted = expected(rollout, rollout.rewards, values, final_values, h)
    assert np.array_equal(found.advantages, wanted)
    baseline = values[:-1][rollout.valid]
    assert np.array_equal(found.values, baseline)
    np.testing.assert_allclose(found.targets, wanted + baseline, rtol=1e-6)
    assert found.explained_variance == explained_variance(baseline, found.targets)
    standard = appraise(
        rollout, values, final_values, fresh(), dataclasses.replace(h, normalize_advantages=True)
    )
    np.testing.assert_allclose(
        standard.advantages, (wanted - wanted.mean()) / wanted.std(), rtol=1e-4, atol=1e-5
    )
    assert np.array_equal(standard.targets, found.targets)


def test_rewards_are_shifted_before_they_are_scaled():
    h = dataclasses.replace(PLAIN, reward_shift=8.0, reward_scale=0.125)
    rollout, values, final_values = experience()
    kept = rollout.rewards.copy()
    found = appraise(rollout, values, final_values, fresh(), h)
    wanted = expected(rollout, (rollout.rewards + 8) / 8, values, final_values, h)
    np.testing.assert_allclose(found.advantages, wanted, rtol=1e-5, atol=1e-6)
    assert np.array_equal(rollout.rewards, kept), "what is shown has changed"


def test_rewards_are_normalised_by_everything_seen_so_far_and_clipped():
    h = dataclasses.replace(
        PLAIN, normalize_rewards=True, reward_clip=0.6, reward_shift=1.0, gamma=0.9
    )
    history = fresh(normalize_rewards=True)
    moments = ReturnMoments.initial(2)
    for seed in range(3):
        rollout, values, final_values = experience(seed)
        found = appraise(rollout, values, final_values, history, h)
        rewards = rollout.rewards + 1.0
        moments = moments.merged(
            rewards, starts=rollout.starts[:-1], valid=rollout.valid, gamma=0.9
        )
        rewards = np.clip(rewards / np.sqrt(moments.variance), -0.6, 0.6).astype(np.float32)
        assert (np.abs(rewards) == np.float32(0.6)).any()
        wanted = expected(rollout, rewards, values, final_values, h)
        np.testing.assert_allclose(found.advantages, wanted, rtol=1e-5, atol=1e-6)
        again = appraise(rollout, values, final_values, history, h)
        assert np.array_equal(again.advantages, found.advantages), "the history was written to"
        history = found.history
        assert history.returns.variance == pytest.approx(moments.variance)


@pytest.mark.parametrize("name", ["gae", "n_step", "monte_carlo"])
def test_without_a_baseline_the_critic_has_no_say(name):
    h = Choosing(baseline=False, normalize_advantages=False, advantage=name)
    rollout, values, final_values = experience()
    found = appraise(rollout, values, final_values, fresh(), h)
    zeros, final_zeros = np.zeros_like(values), np.zeros_like(final_values)
    wanted = expected(rollout, rollout.rewards, zeros, final_zeros, h)
    assert np.array_equal(found.advantages, wanted)
    assert not found.values.any()
    assert found.explained_variance == 0.0
    other = appraise(rollout, values + 1, final_values - 1, fresh(), h)
    assert np.array_equal(other.advantages, found.advantages)
    subtracted = appraise(
        rollout, values, final_values, fresh(), dataclasses.replace(h, baseline=True)
    )
    assert not np.array_equal(subtracted.advantages, found.advantages)


class TestSilentBug11:
    """Advantages that are errors of the critic, as long as no two outcomes have differed."""

    @staticmethod
    def constant(error: float) -> tuple:
        """Reward 2 for ever, and a critic that is right but for `error`, in rewards.

        With gamma 0.9 and lambda 0 the deviation of the advantages is about 1.35 errors.
        """
        rollout, values, final_values = experience(steps=200)
        rollout.rewards[:] = 2.0
        rollout.terminated[:] = rollout.truncated[:] = rollout.starts[:] = False
        rollout.final_positions, rollout.final_inputs = [], []
        return rollout, 20 + np.float32(2 * error) * values, final_values[:0]

    @pytest.mark.parametrize("normalize", [True, False])
    @pytest.mark.parametrize(
        ("error", "has_signal"), [(1e-6, False), (1e-3, False), (0.03, False), (0.05, True)]
    )
    def test_silent_bug_11_errors_of_a_fitted_critic_are_no_signal(
        self, error, has_signal, normalize
    ):
        h = SharedHyperparameters(gamma=0.9, gae_lambda=0.0, normalize_advantages=normalize)
        found = appraise(*self.constant(error), fresh(), h)
        assert found.advantages.any() == has_signal

    @pytest.mark.parametrize("normalize", [True, False])
    @pytest.mark.parametrize("what", ["reward", "end"])
    def test_silent_bug_11_small_differences_count_as_soon_as_an_outcome_differs(
        self, what, normalize
    ):
        h = SharedHyperparameters(gamma=0.9, gae_lambda=0.0, normalize_advantages=normalize)
        rollout, values, final_values = self.constant(1e-3)
        rollout.valid[:] = True
        if what == "reward":
            rollout.rewards[3, 1] = 2.001
        else:
            values[4, 1] = 0.0  # so that termination is no surprise
            rollout.terminated[3, 1] = rollout.starts[4, 1] = True
        found = appraise(rollout, values, final_values, fresh(), h)
        assert found.advantages.any()
        later = appraise(*self.constant(1e-3), found.history, h)
        assert later.advantages.any(), "what was seen before is forgotten"
        rounding = appraise(*self.constant(1e-5), found.history, h)
        assert not rounding.advantages.any()


def test_silent_bug_11_rounding_beside_large_values_is_no_signal():
    rollout, values, final_values = experience()
    rollout.terminated[:] = False
    rewards = np.random.default_rng(1).normal(size=rollout.rewards.shape)
    for size, has_signal in ((1e3, True), (1e6, False)):
        # every advantage but the rewards' noise of about 1 cancels
        rollout.rewards[:] = size * 0.1 + rewards
        found = appraise(
            rollout,
            np.full_like(values, size),
            np.full_like(final_values, size),
            fresh(),
            SharedHyperparameters(gamma=0.9, gae_lambda=0.0),
        )
        assert found.advantages.any() == has_signal


def test_history_is_restored_as_it_was():
    rollout, values, final_values = experience()
    h = dataclasses.replace(PLAIN, normalize_rewards=True)
    history = appraise(rollout, values, final_values, fresh(normalize_rewards=True), h).history
    again = fresh(normalize_rewards=True).restored(history.state())
    assert again.state() == history.state() != fresh(normalize_rewards=True).state()
