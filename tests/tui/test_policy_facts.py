"""What is told of a moment beside the picture, to the letter and at any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rich.cells import cell_len

from tests.rl.network_samples import act, parameters_of
from tests.tui.play_helpers import facts_of, scene_of
from tests.viewer.viewer_policies import random_policy
from trpotui.tui.widgets.policy_facts import action_lines, band, bar, scene_lines, summary
from trpotui.viewing.choices import Normal, Probabilities, choice_of
from trpotui.viewing.returns import Followed


def text_of(lines):
    return [line.plain.rstrip() for line in lines]


# what it thinks


def test_probabilities_are_those_of_the_policy():
    policy = random_policy("Acrobot-v1")
    observations = np.zeros((1, 6), dtype=np.float32)
    choice = choice_of(policy, parameters_of(policy, policy.network_inputs(observations))[0])
    assert sum(choice.values) == pytest.approx(1.0, abs=1e-6)
    assert len(choice.values) == 3
    (action,) = act(policy, observations)
    assert max(range(3), key=choice.values.__getitem__) == action


def test_means_and_sigmas_are_in_the_units_of_the_environment():
    policy = random_policy("Pendulum-v1")  # log sigma 0, torque within ±2
    observations = np.array([[0.1, 0.2, 0.3]], dtype=np.float32)
    choice = choice_of(policy, parameters_of(policy, policy.network_inputs(observations))[0])
    assert choice.sigmas == (2.0,)
    assert (choice.lows, choice.highs) == ((-2.0,), (2.0,))
    (action,) = act(policy, observations)
    assert choice.means[0] == pytest.approx(action[0], abs=1e-6)


def test_a_diverged_policy_can_still_be_shown():
    policy = random_policy("CartPole-v1")
    policy.actor["1.bias"][:] = math.nan
    choice = choice_of(policy, parameters_of(policy, np.zeros((1, 4), dtype=np.float32))[0])
    lines = text_of(action_lines(facts_of(choice=choice), 30, most=5))
    assert len(lines) == 2
    assert all("nan" in line for line in lines)


# the numbers beside the picture


def test_the_facts_of_a_moment():
    assert text_of(scene_lines(scene_of(), "greedy", width=34, height=20)) == [
        "greedy",
        "episode 3 · seed 2",
        "step 127",
        "return 127   reward 1",
        "value  12.5",
        "",
        " 0 ██████▎                    0.25",
        "▸1 ██████████████████▊        0.75",
        "",
        " cart position +0.25",
        " pole angle    -0.0125",
        "",
        "returns 500 412",
        "mean 456.0 ± 44.0 of 2",
    ]


def test_the_facts_of_a_moment_where_there_are_few_lines():
    assert text_of(scene_lines(scene_of(), "greedy", width=46, height=7)) == [
        "episode 3   step 127   greedy",
        "return 127   value  12.5",
        " 0 █████████▎                             0.25",
        "▸1 ███████████████████████████▊           0.75",
        "returns 500 412",
        "mean 456.0 ± 44.0 of 2",
    ]


def test_what_the_critic_expected_stands_beside_what_came():
    scene = scene_of(ended=True, episodes=5, followed=Followed(rewards=10.0, beyond=1.25))
    lines = text_of(scene_lines(scene, "greedy · ‖ paused", width=34, height=20))
    assert lines[:5] == [
        "greedy · ‖ paused",
        "episode 3 of 5 · seed 2",
        "step 127 · ended",
        "return 127   reward 1",
        "value  12.5  → came 11.2",
    ]


def test_actions_have_names_where_they_are_known():
    named = scene_of(action_names=("left", "right"))
    lines = text_of(scene_lines(named, "greedy", width=34, height=20))
    assert [line.split()[0] for line in lines[6:8]] == ["left", "▸right"]
    unknown = scene_of(action_names=("action 0", "action 1"))
    lines = text_of(scene_lines(unknown, "greedy", width=34, height=20))
    assert [line.split()[0] for line in lines[6:8]] == ["0", "▸1"]


def test_of_a_long_observation_as_much_is_shown_as_there_is_room_for():
    values = tuple((f"x{index}", float(index)) for index in range(9))
    lines = text_of(scene_lines(scene_of(observation=values), "greedy", width=34, height=15))
    assert len(lines) == 15
    assert lines[-6:] == [
        " x0 +0",
        " x1 +1",
        "  … 7 more",
        "",
        "returns 500 412",
        "mean 456.0 ± 44.0 of 2",
    ]
    short = text_of(scene_lines(scene_of(observation=values), "greedy", width=34, height=11))
    assert not any("x0" in line for line in short)


def test_what_the_policy_is_not_asked_is_left_out():
    facts = scene_of(choice=None, value=None, mode="by hand")
    lines = text_of(scene_lines(facts, "by hand", width=34, height=20))
    assert lines[4:7] == ["value  –", "", " cart position +0.25"]


def test_a_mean_of_several_policies_is_not_shown():
    lines = text_of(scene_lines(scene_of(same_policy=False), "greedy", width=34, height=20))
    assert lines[-1] == "returns 500 412"


def test_no_action_is_marked_while_actions_are_sampled():
    lines = text_of(scene_lines(scene_of(mode="sampled"), "sampled", width=34, height=20))
    assert not any("▸" in line for line in lines)


def test_of_too_many_actions_the_likeliest_are_shown_in_their_order():
    values = tuple(0.3 if index in (4, 17) else 0.4 / 16 for index in range(18))
    choice = Probabilities(values=values, first=0)
    lines = text_of(action_lines(facts_of(choice=choice), 30, most=3))
    assert [line[:3] for line in lines] == ["▸ 4", " 17", "  …"]
    assert lines[-1] == "  … 16 more"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (12, 4), (34, 7), (80, 40)])
@pytest.mark.parametrize(
    "choice",
    [
        Probabilities(values=(0.1,) * 10, first=1),
        Normal(means=(0.0, 9.0), sigmas=(1.0, 2.0), lows=(-1.0, -math.inf), highs=(1.0, math.inf)),
    ],
)
def test_facts_of_any_size(choice, width, height):
    lines = scene_lines(scene_of(choice=choice), "greedy", width=width, height=height)
    assert text_of(lines)[0] == "greedy"
    if width >= 34:
        assert all(cell_len(line) <= width for line in text_of(lines))


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, ""), (1.0, "████"), (0.5, "██"), (0.53, "██▏"), (2.0, "████"), (math.nan, "")],
)
def test_bars_are_exact_to_an_eighth_of_a_cell(share, expected):
    assert bar(share, 4) == expected


@pytest.mark.parametrize(
    ("mean", "sigma", "expected"),
    [
        (0.0, 0.5, "╌╌━━━●━━━╌╌"),
        (-5.0, 0.1, "●╌╌╌╌╌╌╌╌╌╌"),
        (1.0, 1.0, "╌╌╌╌╌━━━━━●"),
        (math.nan, 1.0, ""),
    ],
)
def test_a_band_lies_between_the_bounds(mean, sigma, expected):
    assert band(mean, sigma, -1.0, 1.0, 11) == expected


def test_a_summary_has_the_population_s_deviation():
    assert summary((500.0, 400.0, 300.0)) == "400.0 ± 81.6 of 3"
