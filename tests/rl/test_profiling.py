"""Where the time of a run goes, by a clock that ticks once at every look."""

from __future__ import annotations

import itertools

import pytest
from resuming import make_config

from trpotui.rl.acting import Session
from trpotui.rl.algorithms import ALGORITHMS
from trpotui.rl.learner import Learner
from trpotui.rl.profiling import EVENTS, GRADIENT, REST, SECTIONS, Profile, table
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

PLAIN = (Session.act, Learner._update, Surrogate.fisher_product)


def profiled(config) -> Profile:
    profile = Profile(clock=itertools.count(0.0, 1.0).__next__)
    assert list(profile.over(train(config))) != []
    return profile


@pytest.mark.parametrize("name", ALGORITHMS)
def test_sections_are_the_whole_and_each_is_there_where_it_is_used(name):
    seconds = profiled(
        make_config("CartPole-v1", algorithm=name, total_steps=400, eval_every=2)
    ).seconds
    assert list(seconds) == [*SECTIONS, EVENTS, REST]
    natural = name in {"npg", "trpo", "trpo_penalty"}
    assert (seconds["Fisher products"] > 0) == natural
    for section in set(seconds) - {"Fisher products"}:
        assert seconds[section] > 0, section
    clock = itertools.count(0.0, 1.0)
    profile = Profile(clock=clock.__next__)
    list(profile.over(train(make_config("CartPole-v1", total_steps=100))))
    assert sum(profile.seconds.values()) == next(clock) - 1


def test_an_evaluation_s_steps_are_no_steps_of_training():
    few, many = (
        profiled(make_config("CartPole-v1", total_steps=200, eval_every=1, eval_episodes=count))
        for count in (1, 20)
    )
    assert few.seconds["environment"] == many.seconds["environment"]
    assert few.seconds["policy"] == many.seconds["policy"]


def test_the_parts_of_an_update_are_not_counted_twice():
    now = [0.0]
    profile = Profile(clock=lambda: now[0])

    def spends(seconds, inner=None):
        def method():
            now[0] += seconds
            if inner is not None:
                inner()
            now[0] += seconds

        return method

    step = profile._timed("environment", spends(100))
    product = profile._timed("Fisher products", spends(10, step))
    update = profile._timed(GRADIENT, spends(1, product))
    update()
    assert profile._counted[GRADIENT] == 2
    assert profile._counted["Fisher products"] == 220  # whatever it calls
    assert profile._counted["environment"] == 0
    step()
    assert profile._counted["environment"] == 200


def test_afterwards_nothing_is_watched():
    config = make_config("CartPole-v1", total_steps=10_000)
    events = Profile().over(train(config))
    next(events)
    assert Session.act is not PLAIN[0]
    events.close()
    assert (Session.act, Learner._update, Surrogate.fisher_product) == PLAIN


def test_table_has_a_line_for_each_and_one_for_all():
    lines = table({"critic": 1.5, REST: 0.5}).splitlines()
    assert [line.split() for line in lines] == [
        ["critic", "1.500", "s", "75.0", "%"],
        ["the", "rest", "0.500", "s", "25.0", "%"],
        ["in", "all", "2.000", "s", "100.0", "%"],
    ]
