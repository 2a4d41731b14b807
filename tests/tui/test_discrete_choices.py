"""What is shown of a policy whose actions have several discrete components."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium import spaces
from rich.cells import cell_len

from tests.policy_samples import saved_policy
from tests.rl.network_samples import act, parameters_of
from tests.tui.play_helpers import facts_of
from trpotui.tui.widgets.policy_facts import action_lines
from trpotui.viewing.choices import Choices, Probabilities, choice_of

OBSERVATIONS = np.array([[0.1, -0.2, 0.3, -0.4], [1.0, 2.0, -1.0, 0.5]], dtype=np.float32)


def choices(action_space, row: int):
    """What is shown of a random policy at an observation, and what it does there."""
    policy = saved_policy(action_space=action_space).policy
    parameters = parameters_of(policy, policy.network_inputs(OBSERVATIONS))[row]
    return choice_of(policy, parameters), act(policy, OBSERVATIONS)[row]


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize(
    "action_space",
    [
        spaces.MultiDiscrete([3, 2, 4], start=[0, -1, 7]),
        spaces.MultiDiscrete([[2, 2], [2, 2]], start=[[1, 2], [3, 4]]),
        spaces.MultiBinary(3),
        spaces.MultiBinary((2, 2)),
        spaces.MultiDiscrete([5]),
    ],
    ids=str,
)
def test_each_component_has_its_probabilities_and_its_numbers(action_space, row):
    choice, action = choices(action_space, row)
    assert isinstance(choice, Choices)
    assert len(choice.parts) == action.size
    for part, chosen in zip(choice.parts, action.reshape(-1), strict=True):
        assert sum(part.values) == pytest.approx(1.0, abs=1e-6)
        assert part.first + part.values.index(max(part.values)) == chosen
    if isinstance(action_space, spaces.MultiDiscrete):
        counts = [len(part.values) for part in choice.parts]
        assert counts == action_space.nvec.reshape(-1).tolist()
        assert [part.first for part in choice.parts] == action_space.start.reshape(-1).tolist()
    else:
        assert all((part.first, len(part.values)) == (0, 2) for part in choice.parts)


def test_a_bit_is_as_likely_as_its_log_odds_say():
    policy = saved_policy(action_space=spaces.MultiBinary(2)).policy
    choice = choice_of(policy, np.array([math.log(3), -math.log(4)], np.float32))
    assert choice.parts[0].values == pytest.approx((0.25, 0.75))
    assert choice.parts[1].values == pytest.approx((0.8, 0.2))


def test_a_plain_discrete_policy_is_shown_as_before():
    choice, action = choices(spaces.Discrete(3, start=-1), 0)
    assert isinstance(choice, Probabilities)
    assert (choice.first, len(choice.values)) == (-1, 3)
    assert choice.values.index(max(choice.values)) - 1 == action


SHOWN = Choices(
    (
        Probabilities(values=(0.25, 0.5, 0.25), first=9),
        Probabilities(values=(1.0, 0.0), first=-1),
        Probabilities(values=(0.125, 0.875), first=0),
    )
)


def text_of(lines):
    return [line.plain.rstrip() for line in lines]


@pytest.mark.parametrize("mode", ["greedy", "sampled"])
def test_a_line_for_each_component_says_its_likeliest_choice(mode):
    lines = action_lines(facts_of(choice=SHOWN, mode=mode), 23, most=5)
    assert text_of(lines) == [
        " 0 10 █████▌       0.50",
        " 1 -1 ███████████  1.00",
        " 2  1 █████████▋   0.88",
    ]
    assert [cell_len(line.plain) for line in lines] == [23] * 3


def test_of_too_many_components_the_first_are_shown():
    part = Probabilities(values=(0.5, 0.5), first=0)
    lines = text_of(action_lines(facts_of(choice=Choices((part,) * 18)), 30, most=3))
    assert [line[:3] for line in lines] == ["  0", "  1", "  …"]
    assert lines[-1] == "  … 16 more"


@pytest.mark.parametrize("width", [1, 12, 80])
def test_a_diverged_policy_can_still_be_shown(width):
    policy = saved_policy(action_space=spaces.MultiDiscrete([2, 3])).policy
    choice = choice_of(policy, np.full(5, np.nan, np.float32))
    lines = text_of(action_lines(facts_of(choice=choice), width, most=5))
    assert len(lines) == 2
    assert all("nan" in line for line in lines)
