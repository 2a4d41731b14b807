"""Running moments of observations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trpotui.rl.normalization import ObservationMoments, ReturnMoments

QUICK = settings(max_examples=60, deadline=None, database=None)


def rows_of(seed: int, count: int, *, offset: float, spread: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (offset + spread * rng.normal(size=(count, 3))).astype(np.float32)


class TestMerged:
    @QUICK
    @given(
        seed=st.integers(0, 1000),
        count=st.integers(1, 60),
        cuts=st.lists(st.integers(0, 60), max_size=6),
        offset=st.sampled_from([0.0, -3.0, 1e4, 1e6]),
        spread=st.sampled_from([1e-3, 1.0, 100.0]),
    )
    def test_moments_of_parts_are_the_moments_of_the_whole(self, seed, count, cuts, offset, spread):
        rows = rows_of(seed, count, offset=offset, spread=spread)
        moments = ObservationMoments.initial(3, clip=10.0)
        for part in np.split(rows, sorted(min(cut, count) for cut in cuts)):
            moments = moments.merged(part)
        whole = rows.astype(np.float64)
        assert moments.count == count
        np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            moments.variance, whole.var(axis=0), rtol=1e-6, atol=1e-15 * offset**2
        )

    def test_first_observation_replaces_the_starting_moments(self):
        moments = ObservationMoments.initial(2, clip=10.0)
        moments = moments.merged(np.array([[5.0, -1.0]], dtype=np.float32))
        assert moments.mean.tolist() == [5.0, -1.0]
        assert moments.variance.tolist() == [0.0, 0.0]

    def test_many_rows_one_at_a_time_lose_no_digits(self):
        rows = rows_of(0, 3000, offset=1e4, spread=1.0)
        moments = ObservationMoments.initial(3, clip=10.0)
        for row in rows:
            moments = moments.merged(row[None])
        whole = rows.astype(np.float64)
        np.testing.assert_allclose(moments.mean, whole.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.variance, whole.var(axis=0), rtol=1e-6)

    def test_no_rows_change_nothing(self):
        moments = ObservationMoments.initial(3, clip=10.0).merged(
            rows_of(1, 5, offset=1.0, spread=1.0)
        )
        after = moments.merged(np.zeros((0, 3), dtype=np.float32))
        assert after.count == moments.count
        assert np.array_equal(after.mean, moments.mean)

    @pytest.mark.parametrize("shape", [(3,), (4, 2), (4, 1), (1, 4, 3)])
    def test_rows_of_another_width_are_refused(self, shape):
        with pytest.raises(ValueError, match="expected observations"):
            ObservationMoments.initial(3, clip=10.0).merged(np.zeros(shape, dtype=np.float32))


class TestImmutable:
    def test_merging_and_normalising_leave_the_moments_and_the_rows_alone(self):
        rows = rows_of(2, 9, offset=4.0, spread=2.0)
        moments = ObservationMoments.initial(3, clip=10.0).merged(rows)
        mean, variance, kept = moments.mean.copy(), moments.variance.copy(), rows.copy()
        merged = moments.merged(100 * rows)
        merged.normalize(rows)
        moments.normalize(rows)
        assert np.array_equal(moments.mean, mean)
        assert np.array_equal(moments.variance, variance)
        assert np.array_equal(rows, kept)
        assert not np.array_equal(merged.mean, mean)

    def test_constant_feature_does_not_change_the_variance_by_being_normalised(self):
        moments = ObservationMoments.initial(1, clip=10.0).merged(np.ones((3, 1), np.float32))
        moments.normalize(np.ones((1, 1), np.float32))
        assert moments.variance.tolist() == [0.0]

    def test_fields_cannot_be_replaced(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            ObservationMoments.initial(1, clip=10.0).count = 3.0


class TestNormalize:
    def test_rows_that_were_seen_get_mean_zero_and_deviation_one(self):
        rows = rows_of(3, 4000, offset=50.0, spread=7.0)
        normal = ObservationMoments.initial(3, clip=10.0).merged(rows).normalize(rows)
        assert normal.dtype == np.float32
        np.testing.assert_allclose(normal.mean(axis=0), 0.0, atol=1e-5)
        np.testing.assert_allclose(normal.std(axis=0), 1.0, rtol=1e-5)

    def test_before_any_observation_rows_stay_as_they_are(self):
        rows = rows_of(4, 5, offset=0.0, spread=1.0)
        assert np.array_equal(ObservationMoments.initial(3, clip=10.0).normalize(rows), rows)

    @pytest.mark.parametrize("value", [0.0, 3.5, -1e5])
    def test_constant_feature_is_only_centred(self, value):
        rows = np.full((20, 1), value, dtype=np.float32)
        moments = ObservationMoments.initial(1, clip=10.0).merged(rows)
        assert moments.normalize(rows).tolist() == [[0.0]] * 20
        other = moments.normalize(rows[:1] + np.float32(2.0))
        assert other.tolist() == [[2.0]]

    @pytest.mark.parametrize("clip", [0.5, 10.0])
    def test_far_rows_are_clipped(self, clip):
        moments = ObservationMoments.initial(1, clip=clip)
        rows = np.array([[-1e9], [1e9], [0.25]], dtype=np.float32)
        expected = np.array([[-clip], [clip], [0.25]], dtype=np.float32)
        assert np.array_equal(moments.normalize(rows), expected)

    def test_clip_survives_merging(self):
        moments = ObservationMoments.initial(1, clip=0.5).merged(np.ones((4, 1), np.float32))
        assert moments.clip == 0.5

    def test_each_feature_has_its_own_scale(self):
        rows = np.array([[0.0, 1000.0], [2.0, 3000.0]], dtype=np.float32)
        normal = ObservationMoments.initial(2, clip=10.0).merged(rows).normalize(rows)
        assert normal.tolist() == [[-1.0, -1.0], [1.0, 1.0]]


@st.composite
def rewarded(draw):
    """Rewards [T, N] of episodes that begin where `starts` says, and some rows that only reset."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    steps, envs = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    rewards = rng.normal(draw(st.sampled_from([0.0, 5.0])), 2.0, size=(steps, envs))
    starts = rng.random((steps, envs)) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    valid = rng.random((steps, envs)) < 0.8
    cut = draw(st.integers(0, steps))
    gamma = draw(st.sampled_from([0.0, 0.9, 1.0]))
    return rewards.astype(np.float32), starts, valid, cut, gamma


def sums_by_definition(rewards, starts, gamma):
    """g_t: every reward of the episode so far, discounted by how long it is ago."""
    sums = np.zeros(rewards.shape)
    for t, n in np.ndindex(*rewards.shape):
        for back in range(t + 1):
            sums[t, n] += gamma**back * float(rewards[t - back, n])
            if starts[t - back, n]:
                break
    return sums


class TestReturnMoments:
    @QUICK
    @given(rewarded())
    def test_are_the_moments_of_the_sums_however_the_rollouts_are_cut(self, data):
        rewards, starts, valid, cut, gamma = data
        moments = ReturnMoments.initial(rewards.shape[1])
        for part in (slice(0, cut), slice(cut, None)):
            moments = moments.merged(
                rewards[part], starts=starts[part], valid=valid[part], gamma=gamma
            )
        sums = sums_by_definition(rewards, starts, gamma)
        np.testing.assert_allclose(moments.sums, sums[-1], rtol=1e-9, atol=1e-9)
        assert moments.count == valid.sum()
        if valid.any():
            assert moments.mean == pytest.approx(sums[valid].mean(), rel=1e-9, abs=1e-9)
            assert moments.variance == pytest.approx(sums[valid].var(), rel=1e-6, abs=1e-9)

    def test_rewards_are_counted_in_deviations_and_clipped(self):
        moments = ReturnMoments(sums=np.zeros(1), mean=100.0, variance=16.0, count=9.0)
        rewards = np.array([[2.0], [-8.0], [1e6]], dtype=np.float32)
        normal = moments.normalize(rewards, clip=10.0)
        assert normal.dtype == np.float32
        assert normal.tolist() == [[0.5], [-2.0], [10.0]]
        assert moments.normalize(rewards, clip=0.25).tolist() == [[0.25], [-0.25], [0.25]]

    def test_rewards_are_not_centred(self):
        # shifting rewards changes what is best wherever an episode can be made shorter
        rewards = np.full((50, 2), -1.0, dtype=np.float32)
        flags = np.zeros((50, 2), dtype=np.bool_)
        moments = ReturnMoments.initial(2).merged(rewards, starts=flags, valid=~flags, gamma=0.9)
        assert (moments.normalize(rewards, clip=10.0) < 0).all()

    def test_rewards_that_do_not_vary_stay_as_they_are(self):
        rewards = np.full((5, 2), 0.1, dtype=np.float32)
        flags = np.ones((5, 2), dtype=np.bool_)  # every step is an episode
        moments = ReturnMoments.initial(2).merged(rewards, starts=flags, valid=flags, gamma=0.9)
        assert np.array_equal(moments.normalize(rewards, clip=10.0), rewards)

    def test_merging_leaves_the_moments_alone(self):
        before = ReturnMoments.initial(2)
        rewards = np.ones((4, 2), dtype=np.float32)
        flags = np.zeros((4, 2), dtype=np.bool_)
        before.merged(rewards, starts=flags, valid=~flags, gamma=0.9)
        assert before.sums.tolist() == [0.0, 0.0]
        assert before.count == 0.0

    def test_restored_is_what_was_saved(self):
        flags = np.zeros((4, 2), dtype=np.bool_)
        rewards = np.arange(8, dtype=np.float32).reshape(4, 2)
        moments = ReturnMoments.initial(2).merged(rewards, starts=flags, valid=~flags, gamma=0.9)
        again = ReturnMoments.initial(2).restored(moments.state())
        assert (again.mean, again.variance, again.count) == (
            moments.mean,
            moments.variance,
            moments.count,
        )
        assert again.sums.tolist() == moments.sums.tolist() != [0.0, 0.0]

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_arrays_of_another_shape_are_refused(self, position):
        arrays = [np.zeros((4, 2)), np.zeros((4, 2), bool), np.zeros((4, 2), bool)]
        arrays[position] = arrays[position][:, :1]
        with pytest.raises(ValueError, match="expected three arrays"):
            ReturnMoments.initial(2).merged(arrays[0], starts=arrays[1], valid=arrays[2], gamma=0.9)
