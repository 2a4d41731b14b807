"""Several policies on the same episodes: which figures, and how they are written down."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from gymnasium import spaces

from tests.policy_samples import saved_policy
from trpotui.comparison import Comparison, Scored, check_comparable, compare
from trpotui.comparison.reports import as_csv, as_json, as_text
from trpotui.errors import RequestError
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import Evaluation, evaluate
from trpotui.statistics import interquartile_mean, probability_of_improvement

WEAK, STRONG = (1.0, 2.0, 3.0, 4.0, 90.0, 2.0, 3.0, 3.0), (3.0, 5.0, 5.0, 6.0, 7.0, 8.0, 9.0, 5.0)


def scored(name, returns, seconds=2.0, unfinished=0):
    lengths = tuple(range(1, len(returns) + 1))
    result = Evaluation(returns=tuple(returns), lengths=lengths, unfinished=unfinished)
    return Scored(name=name, algorithm="trpo", result=result, seconds=seconds)


def comparison(*policies, **changes):
    values = {"environment_id": "Some-v0", "episodes": 8, "seed": 0, "stochastic": False}
    return Comparison(scored=policies, **(values | changes))


BOTH = comparison(scored("weak.pt", WEAK), scored("strong.pt", STRONG, seconds=0.5))


def test_figures_are_those_of_the_returns():
    weak, strong = BOTH.rows
    for row, returns in ((weak, WEAK), (strong, STRONG)):
        assert row.episodes == 8
        assert row.mean == pytest.approx(np.mean(returns))
        assert row.std == pytest.approx(np.std(returns))
        assert (row.min, row.max) == (min(returns), max(returns))
        assert row.median == np.median(returns)
        assert row.interquartile_mean == interquartile_mean(returns)
        assert row.mean_interval.low < row.mean < row.mean_interval.high
        interval = row.interquartile_mean_interval
        assert interval.low < row.interquartile_mean < interval.high
        assert row.mean_length == 4.5
    assert weak.interquartile_mean == 2.75  # of 2, 3, 3, 3: what is far out does not count
    assert (weak.episodes_per_second, strong.episodes_per_second) == (4, 16)


def test_every_policy_but_the_first_is_compared_with_it():
    weak, strong, again = comparison(*BOTH.scored, scored("weak too.pt", WEAK)).rows
    assert weak.improvement is weak.improvement_interval is None
    assert strong.improvement == probability_of_improvement(STRONG, WEAK)
    assert strong.improvement_interval.low < strong.improvement < strong.improvement_interval.high
    assert again.improvement == 0.5


def test_equal_scores_have_equal_intervals_and_another_seed_resamples_anew():
    assert comparison(*BOTH.scored).rows == BOTH.rows
    assert comparison(*BOTH.scored, seed=1).rows[0] != BOTH.rows[0]


def test_a_single_episode_has_no_interval():
    one = comparison(scored("a.pt", [7.0]), scored("b.pt", [8.0]), episodes=1)
    for row in one.rows:
        assert row.mean_interval is row.interquartile_mean_interval is None
        assert row.improvement_interval is None
    assert one.rows[1].improvement == 1
    assert "None" not in as_text(one, width=200)
    assert json.loads(as_json(one))["policies"][0]["mean_interval"] is None


# in words


def test_json_holds_every_figure_and_every_episode():
    data = json.loads(as_json(BOTH))
    assert {key: data[key] for key in ("environment", "episodes", "seed", "stochastic")} == {
        "environment": "Some-v0",
        "episodes": 8,
        "seed": 0,
        "stochastic": False,
    }
    for policy, row, returns in zip(data["policies"], BOTH.rows, (WEAK, STRONG), strict=True):
        assert policy["returns"] == list(returns)
        assert policy["lengths"] == [1, 2, 3, 4, 5, 6, 7, 8]
        assert policy["policy"] == row.policy
        assert policy["interquartile_mean_interval"] == list(row.interquartile_mean_interval)
        assert policy["improvement"] == row.improvement


def test_csv_has_a_line_for_each_policy():
    lines = list(csv.DictReader(io.StringIO(as_csv(BOTH))))
    for line, row in zip(lines, BOTH.rows, strict=True):
        assert line["policy"] == row.policy
        assert float(line["mean"]) == row.mean
        interval = (line["mean_interval_low"], line["mean_interval_high"])
        assert tuple(map(float, interval)) == row.mean_interval
    assert lines[0]["improvement"] == lines[0]["improvement_interval_low"] == ""
    assert float(lines[1]["improvement"]) == BOTH.rows[1].improvement


def test_table_fits_eighty_columns_and_shows_every_policy():
    text = as_text(BOTH, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "Some-v0: 8 greedy episodes" in text
    assert "1  weak.pt (trpo)" in text
    assert "2  strong.pt (trpo)" in text
    strong = BOTH.rows[1]
    assert f"{strong.mean:.2f} ± {strong.std:.2f}" in text
    assert f"{strong.improvement:.3f}" in text
    assert "{:.3f} to {:.3f}".format(*strong.improvement_interval) in text
    low, high = strong.interquartile_mean_interval
    assert f"{low:.2f} to {high:.2f}" in text


@pytest.mark.parametrize(
    ("returns", "shown"),
    [
        ((0.0, 0.0), "0.0000 ± 0.0000"),
        ((0.5, 0.25), "0.3750 ± 0.1250"),
        ((-150.0, -151.0), "-150.5 ± 0.5"),
        ((2e6, 4e6), "3,000,000 ± 1,000,000"),
    ],
)
def test_table_shows_four_digits_of_a_mean(returns, shown):
    assert shown in as_text(comparison(scored("a.pt", returns), scored("b.pt", returns)), width=200)


def test_names_cannot_draw_on_the_terminal():
    hostile = scored("[red]x[/red]\x1b[2J.pt", WEAK)
    text = as_text(comparison(hostile, replace(hostile, algorithm="\x1b[31m")), width=200)
    assert "\x1b" not in text
    assert "(red)x" in text


# the episodes


def test_every_policy_plays_the_episodes_that_it_would_play_alone():
    policies = [("a", saved_policy()), ("b", saved_policy(hidden_sizes=(4,), normalized=True))]
    told = []
    both = compare(policies, episodes=130, seed=3, progress=told.append)
    for (name, saved), policy in zip(policies, both.scored, strict=True):
        environments = make_environments("CartPole-v1", {}, n_envs=100)
        alone = evaluate(saved.policy, environments, episodes=130, seed=3)
        environments.close()
        assert policy.name == name
        assert policy.result == alone
        assert policy.seconds > 0
    assert both.scored[0].result != both.scored[1].result
    assert told == sorted(told)
    assert told[-1] == 260


def test_sampled_episodes_are_other_ones():
    policies = [("a", saved_policy())]
    greedy = compare(policies, episodes=5, seed=0)
    sampled = compare(policies, episodes=5, seed=0, stochastic=True)
    assert greedy.scored[0].result != sampled.scored[0].result
    assert "5 sampled episodes" in as_text(sampled, width=100)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"environment_id": "Acrobot-v1"}, "environment CartPole-v1, b.pt for Acrobot-v1"),
        ({"environment_kwargs": {"sutton_barto_reward": True}}, "environment arguments"),
        ({"observation_space": spaces.Box(-1, 1, (4,))}, "observations"),
        ({"action_space": spaces.Discrete(3)}, "actions"),
    ],
)
def test_policies_of_different_environments_are_refused(other, sentence):
    policies = [("a.pt", saved_policy()), ("c.pt", saved_policy()), ("b.pt", saved_policy(**other))]
    with pytest.raises(RequestError, match=sentence) as refusal:
        compare(policies, episodes=1, seed=0)
    assert "a.pt" in str(refusal.value)
    assert "b.pt" in str(refusal.value)


def test_policies_of_one_environment_may_differ_in_all_else():
    check_comparable(
        [
            ("a.pt", saved_policy()),
            ("b.pt", saved_policy(hidden_sizes=(), normalized=True, activation="relu")),
            ("c.pt", saved_policy(network="gru")),
        ]
    )
