"""Actions drawn in numpy, against the distributions that evaluate them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces

from trpotui.rl.distributions import distribution_for
from trpotui.rl.sampling import FEW, mode, sample
from trpotui.rl.spaces import ActionDecoder

SPACES = [
    spaces.Discrete(2),
    spaces.Discrete(4),
    spaces.Discrete(3, start=-1),
    spaces.MultiDiscrete([3, 3]),
    spaces.MultiDiscrete([2, 1, 2, 2, 2]),
    spaces.MultiDiscrete([2, 4, 1, 3]),
    spaces.MultiDiscrete([[2], [3]], start=[[5], [-7]]),
    spaces.MultiBinary(4),
    spaces.MultiBinary([2, 2]),
]


def logits_of(decoder: ActionDecoder, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=1.5, size=(count, decoder.size)).astype(np.float32)


def all_actions(decoder: ActionDecoder) -> np.ndarray:
    """Every raw action, one a row."""
    actions = np.array(list(itertools.product(*map(range, decoder.choices))))
    return actions.reshape(-1, *decoder.raw_shape)


@pytest.fixture(params=SPACES, ids=str)
def decoder(request) -> ActionDecoder:
    return ActionDecoder(request.param)


class Always:
    """A generator that always draws the same number."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def random(self, size=None):
        return self._threshold if size is None else np.full(size, self._threshold)


class TestSample:
    def test_joint_actions_are_as_frequent_as_they_are_probable(self, decoder):
        logits = logits_of(decoder, 1, seed=1)
        count = 100_000
        drawn = sample(decoder, np.repeat(logits, count, axis=0), np.random.default_rng(1))
        assert drawn.dtype == np.int64
        assert drawn.shape == (count, *decoder.raw_shape)
        actions = all_actions(decoder)
        log_prob = distribution_for(decoder).log_prob(
            torch.from_numpy(np.repeat(logits, len(actions), axis=0)), torch.from_numpy(actions)
        )
        expected = count * log_prob.double().exp().numpy()
        assert expected.min() > 5
        rows, drawn_rows = actions.reshape(len(actions), -1), drawn.reshape(count, -1)
        counts = (drawn_rows[:, None] == rows[None]).all(axis=2).sum(axis=0)
        assert counts.sum() == count
        statistic = ((counts - expected) ** 2 / expected).sum()
        # chi-square with k degrees of freedom is above this less than once in exp(14), a million
        # times (Laurent and Massart 2000, lemma 1)
        k = len(actions) - 1
        assert statistic < k + 2 * np.sqrt(k * 14) + 2 * 14

    def test_components_are_drawn_independently(self):
        decoder = ActionDecoder(spaces.MultiBinary(3))
        drawn = sample(decoder, np.zeros((100_000, 3), np.float32), np.random.default_rng(2))
        correlation = np.corrcoef(drawn.T) - np.eye(3)
        assert np.abs(correlation).max() < 5 / np.sqrt(100_000)

    def test_each_row_has_its_own_distribution(self, decoder):
        wanted = np.resize(all_actions(decoder), (300, *decoder.raw_shape))
        logits = certain(decoder, wanted)
        assert np.array_equal(sample(decoder, logits, np.random.default_rng(0)), wanted)
        assert np.array_equal(mode(decoder, logits), wanted)

    # a generator stays below 1; its product with the sum of the weights may be rounded up to it
    @pytest.mark.parametrize("threshold", [0.0, np.nextafter(1.0, 0.0), 1.0])
    def test_extreme_draws_are_actions(self, decoder, threshold):
        drawn = sample(decoder, logits_of(decoder, 50), Always(threshold))
        assert all(action in decoder.space for action in decoder.decode(drawn))
        assert len(np.unique(drawn.reshape(50, -1), axis=0)) == 1

    @pytest.mark.parametrize("threshold", [0.0, 0.5, np.nextafter(1.0, 0.0)])
    def test_an_action_without_probability_is_never_drawn(self, decoder, threshold):
        wanted = np.resize(all_actions(decoder), (60, *decoder.raw_shape))
        logits = certain(decoder, wanted, height=1e4)
        assert np.array_equal(sample(decoder, logits, Always(threshold)), wanted)

    def test_one_draw_of_a_generator_for_each_component(self, decoder):
        rng, reference = np.random.default_rng(3), np.random.default_rng(3)
        sample(decoder, logits_of(decoder, 7), rng)
        reference.random((7, *decoder.raw_shape))
        assert rng.bit_generator.state == reference.bit_generator.state

    @pytest.mark.parametrize("choices", [1, 2, 5, FEW])
    def test_few_rows_are_drawn_as_many_are(self, choices):
        decoder = ActionDecoder(spaces.Discrete(choices))
        logits = logits_of(decoder, 400)
        together = sample(decoder, logits, np.random.default_rng(5))
        rng = np.random.default_rng(5)
        assert [sample(decoder, row[None], rng).tolist() for row in logits] == [
            [action] for action in together.tolist()
        ]
        assert len(np.unique(together)) == choices
        for threshold in (0.0, 1.0):
            (action,) = sample(decoder, logits[:1], Always(threshold))
            assert action == (0 if threshold == 0.0 else choices - 1)

    def test_a_plain_discrete_policy_draws_what_it_always_drew(self):
        # the very numbers of earlier versions: saved policies play the same episodes
        logits = np.array(
            [[0.5, -1.0, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, -2.0], [-1.0, 2.0, 2.5]], np.float32
        )
        rng = np.random.default_rng([7, 1])
        drawn = [sample(ActionDecoder(spaces.Discrete(3)), logits, rng).tolist() for _ in range(4)]
        assert drawn == [[2, 0, 0, 1], [2, 1, 1, 1], [2, 1, 0, 1], [2, 2, 0, 1]]

    def test_boxes_are_refused(self):
        decoder = ActionDecoder(spaces.Box(-1, 1, (2,)))
        for draw in (lambda: sample(decoder, np.zeros((1, 2)), None), lambda: mode(decoder, None)):
            with pytest.raises(ValueError, match="gaussian"):
                draw()


def certain(decoder: ActionDecoder, wanted: np.ndarray, height: float = 100.0) -> np.ndarray:
    """Logits with which each row's wanted raw action is the only likely one."""
    wanted = wanted.reshape(len(wanted), -1)
    if decoder.distribution == "bernoulli":
        return np.where(wanted == 1, height, -height).astype(np.float32)
    logits = np.full((len(wanted), decoder.size), -height, dtype=np.float32)
    firsts = np.cumsum(decoder.choices) - decoder.choices
    np.put_along_axis(logits, wanted + firsts, height, axis=1)
    return logits


class TestMode:
    def test_it_is_that_of_the_distribution(self, decoder):
        logits = logits_of(decoder, 200)
        expected = distribution_for(decoder).mode(torch.from_numpy(logits)).numpy()
        likeliest = mode(decoder, logits)
        assert np.array_equal(likeliest, expected)
        assert likeliest.dtype == np.int64
        if decoder.size > 1:
            assert len(np.unique(likeliest.reshape(200, -1), axis=0)) > 1

    def test_of_equals_it_is_the_first(self, decoder):
        assert not mode(decoder, np.zeros((3, decoder.size), np.float32)).any()


def test_huge_log_odds_do_not_overflow():
    logits = np.array([[3e38, -3e38, 800.0, -800.0]], dtype=np.float32)
    decoder = ActionDecoder(spaces.MultiBinary(4))
    assert sample(decoder, logits, np.random.default_rng(0)).tolist() == [[1, 0, 1, 0]]
