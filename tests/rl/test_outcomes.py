"""When something has happened that could tell one action from another."""

from __future__ import annotations

import numpy as np
import pytest

from trpotui.rl.outcomes import Outcomes


def lived(episodes, *, reward=1.0, envs=1):
    """Arrays [T, N] of equal environments: `episodes` are (length, how it ended), one by one."""
    rows = [
        (step == 0, step == length - 1 and end == "terminated")
        for length, end in episodes
        for step in range(length)
    ]
    starts, terminated = (
        np.repeat(np.array(flag)[:, None], envs, axis=1) for flag in zip(*rows, strict=True)
    )
    return {
        "rewards": np.full(starts.shape, reward, dtype=np.float32),
        "starts": starts,
        "terminated": terminated,
        "valid": np.ones(starts.shape, dtype=np.bool_),
    }


def after(data, *, cut=None, outcomes=None) -> Outcomes:
    """Outcomes of one rollout, or of two that are cut at a row."""
    envs = data["rewards"].shape[1]
    outcomes = outcomes or Outcomes.initial(envs)
    parts = [slice(None)] if cut is None else [slice(0, cut), slice(cut, None)]
    for part in parts:
        some = {name: array[part] for name, array in data.items()}
        outcomes = outcomes.merged(some.pop("rewards"), **some)
    return outcomes


ALIKE = {
    "one that goes on": [(7, "open")],
    "truncated at any time": [(3, "truncated"), (5, "truncated"), (2, "truncated")],
    "terminated alike": [(4, "terminated"), (4, "terminated"), (3, "open")],
    "truncated before they would terminate": [
        (4, "terminated"),
        (2, "truncated"),
        (4, "terminated"),
    ],
}
DIFFERENT = {
    "shorter": [(4, "terminated"), (3, "terminated")],
    "longer": [(3, "terminated"), (4, "terminated")],
    "one lives on": [(3, "terminated"), (4, "open")],
    "one had lived on": [(4, "truncated"), (3, "terminated")],
}


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("cut", [None, 1, 4, 6])
class TestEpisodes:
    @pytest.mark.parametrize("kind", ALIKE)
    def test_that_are_alike_tell_nothing(self, kind, cut, envs):
        assert not after(lived(ALIKE[kind], envs=envs), cut=cut).varied

    @pytest.mark.parametrize("kind", DIFFERENT)
    def test_that_differ_tell_something(self, kind, cut, envs):
        assert after(lived(DIFFERENT[kind], envs=envs), cut=cut).varied


def test_another_reward_tells_something_whenever_it_comes():
    data = lived([(6, "open")], envs=2)
    data["rewards"][4, 1] = 1.5
    outcomes = after({name: array[:4] for name, array in data.items()})
    assert not outcomes.varied
    assert after({name: array[4:] for name, array in data.items()}, outcomes=outcomes).varied


def test_environments_are_compared_with_each_other():
    data = lived([(3, "terminated"), (3, "terminated")], envs=2)
    assert not after(data).varied
    data["terminated"][2, 1] = data["starts"][3, 1] = False  # lives on to six steps
    assert after(data).varied


def test_rows_that_only_reset_are_no_steps():
    data = lived([(3, "terminated"), (4, "terminated")])
    assert after(data).varied
    # the fourth row is the reset behind the third
    data["starts"][3:5, 0] = [False, True]
    data["valid"][3] = False
    data["rewards"][3] = 0.0
    assert not after(data).varied


def test_rows_behind_the_last_whole_episode_do_not_count():
    data = lived([(3, "terminated"), (2, "terminated")])
    data["valid"][3:] = False
    outcomes = after(data)
    assert not outcomes.varied
    assert not after(lived([(3, "terminated"), (3, "terminated")]), outcomes=outcomes).varied


def test_what_was_seen_to_vary_stays_so():
    outcomes = after(lived(DIFFERENT["longer"]))
    assert after(lived(ALIKE["terminated alike"]), outcomes=outcomes).varied


def test_rollout_without_a_valid_row_changes_nothing():
    data = lived([(3, "terminated")])
    data["valid"][:] = False
    before = Outcomes.initial(1)
    assert after(data, outcomes=before) is before


@pytest.mark.parametrize("kind", ALIKE)
def test_restored_is_what_was_saved(kind):
    outcomes = after(lived(ALIKE[kind]))
    again = Outcomes.initial(1).restored(outcomes.state())
    assert again.state() == outcomes.state()
    assert again.ages.tolist() == outcomes.ages.tolist() != [0]
    # each part is needed to see that what comes then is different
    assert after(lived([(1, "terminated")], reward=2.0), outcomes=again).varied
    if kind != "one that goes on":
        assert after(lived([(1, "terminated")]), outcomes=again).varied
