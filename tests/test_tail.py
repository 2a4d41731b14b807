"""The end of a list that never stops growing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trpotui.tail import Tail


@given(st.lists(st.integers(), max_size=40), st.integers(1, 6))
def test_a_tail_is_the_end_of_the_list(items, limit):
    tail = Tail(limit)
    for item in items:
        tail = tail.appended(item)
    assert list(tail) == items[-limit:]
    assert tail[:] == items[-limit:]
    assert (len(tail), tail.total) == (min(len(items), limit), len(items))
    assert bool(tail) == bool(items)
    if items:
        assert tail[-1] == items[-1]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers()), max_size=60), st.integers(1, 4))
def test_a_tail_never_changes_whatever_grows_out_of_it(choices, limit):
    history = [[]]
    family = [Tail(limit)]
    for choice, item in choices:
        parent = choice % len(family)
        history.append([*history[parent], item])
        family.append(family[parent].appended(item))
    for items, tail in zip(history, family, strict=True):
        assert list(tail) == items[-limit:]
        assert tail.total == len(items)


def test_tails_are_equal_by_what_they_hold():
    one, other = Tail(2).appended("a"), Tail(2).appended("a")
    assert one == other
    assert hash(one) == hash(other)
    assert one.appended("b") != other.appended("c")
    assert Tail(2) != Tail(3)
    assert Tail(2) != []


def test_a_tail_keeps_at_least_one_item():
    with pytest.raises(ValueError, match="at least 1"):
        Tail(0)


def test_a_tail_holds_on_to_little_more_than_it_shows():
    tail = Tail(10)
    for item in range(1000):
        tail = tail.appended(item)
    assert len(tail._items) <= 21
