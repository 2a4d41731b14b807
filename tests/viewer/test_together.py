"""Players in step on the same seeds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from viewer_environments import FAULTY, FAULTY_STEP
from viewer_policies import random_policy

from trpotui.episodes import EpisodePlayed, PlayOptions, play_without_window
from trpotui.viewing.contenders import Contender
from trpotui.viewing.rewind import RewindablePlayer
from trpotui.viewing.together import Together


@contextlib.contextmanager
def players(*policies: Any, **options: Any) -> Iterator[list[RewindablePlayer]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                contextlib.closing(
                    Contender(policy=policy, title="").player(PlayOptions(**options))
                )
            )
            for policy in policies
        ]


def test_everybody_plays_what_they_play_alone_and_waits_for_the_longest() -> None:
    policies = [random_policy("CartPole-v1"), random_policy("CartPole-v1", max_episode_steps=5)]
    options = {"seed": 4, "episodes": 2}
    alone = [list(play_without_window(p, PlayOptions(**options))) for p in policies]
    assert alone[0][0].length > alone[1][0].length == 5
    reported: list[EpisodePlayed] = []
    with players(*policies, **options) as both:
        together = Together(both, report=reported.append)
        for episode in (1, 2):
            together.start(episode)
            while not together.ended:
                together.step()
                assert both[1].steps == min(together.steps, 5)
    for place in (0, 1):
        mine = [played for played in reported if played.place == place]
        assert [(p.seed, p.episode_return) for p in mine] == [
            (p.seed, p.episode_return) for p in alone[place]
        ]


def test_a_step_back_takes_those_back_who_came_that_far_and_reports_nothing_twice() -> None:
    policies = [random_policy(FAULTY), random_policy(FAULTY, fault="endless")]
    reported: list[EpisodePlayed] = []
    with players(*policies) as both:
        together = Together(both, report=reported.append)
        together.start(1)
        for _ in range(2 * FAULTY_STEP + 1):
            together.step()
        assert [player.steps for player in both] == [2 * FAULTY_STEP, 2 * FAULTY_STEP + 1]
        assert together.back()
        assert [player.steps for player in both] == [2 * FAULTY_STEP] * 2
        assert together.back()
        assert [player.steps for player in both] == [2 * FAULTY_STEP - 1] * 2
        together.step()
        assert both[0].ended
    assert [(played.place, played.length) for played in reported] == [(0, 2 * FAULTY_STEP)]


def test_a_sentence_of_one_is_a_sentence_of_all() -> None:
    policies = [random_policy(FAULTY), random_policy(FAULTY, fault="never the same")]
    with players(*policies) as both:
        together = Together(both)
        together.start(1)
        together.step()
        assert not together.back()
        assert "does not repeat" in together.notice
        together.step()
        assert together.notice == ""


def test_a_person_acts_in_their_place_only() -> None:
    policies = [random_policy("CartPole-v1")] * 2
    with players(*policies) as both:
        together = Together(both, action_of=lambda place: 1 if place == 1 else None)
        together.start(1)
        for _ in range(5):
            together.step()
        assert [moment.action for moment in both[1].moments[:5]] == [1] * 5
        assert [moment.action for moment in both[0].moments[:5]] != [1] * 5


@pytest.mark.parametrize("stochastic", [False, True])
def test_sampling_is_chosen_for_all(stochastic: bool) -> None:
    with players(*[random_policy("CartPole-v1")] * 2) as both:
        together = Together(both)
        together.stochastic = stochastic
        assert [player.stochastic for player in both] == [stochastic] * 2
