"""Episodes stepped back and forward again, and the return that followed each step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from viewer_environments import FAULTY, FAULTY_STEP
from viewer_policies import random_policy

from trpotui.episodes import EpisodePlayer, PlayOptions
from trpotui.errors import EnvironmentFaultError
from trpotui.rl.policy import Policy
from trpotui.viewing import moments, rewind
from trpotui.viewing.returns import RewardUnits, returns_that_followed
from trpotui.viewing.rewind import RewindablePlayer

SEED = 3
UNITS = RewardUnits(gamma=0.9)

POLICIES = {
    "mlp": lambda: random_policy("CartPole-v1"),
    "gru": lambda: random_policy("CartPole-v1", spec={"network": "gru", "memory_size": 5}),
    "lstm": lambda: random_policy("Pendulum-v1", spec={"network": "lstm", "memory_size": 5}),
    "gsde": lambda: random_policy("Pendulum-v1", spec={"exploration": "gsde", "sde_interval": 4}),
    "grid": lambda: random_policy("FrozenLake-v1"),
}


@contextlib.contextmanager
def playing(
    policy: Policy, *, units: RewardUnits | None = UNITS, frames: bool = False, **options: Any
) -> Iterator[RewindablePlayer]:
    player = EpisodePlayer(
        policy, PlayOptions(seed=SEED, **options), render_mode="rgb_array" if frames else None
    )
    with contextlib.closing(RewindablePlayer(player, units=units)) as rewindable:
        rewindable.start(1)
        yield rewindable


def state(player: RewindablePlayer | EpisodePlayer) -> tuple[Any, ...]:
    """Everything that is to be the same again."""
    inner = player.player if isinstance(player, RewindablePlayer) else player
    parameters, value = inner.outlook()
    return (
        inner.steps,
        inner.total,
        inner.reward,
        inner.ended,
        np.asarray(inner.action).tolist(),
        np.asarray(inner.observation).tolist(),
        parameters.tolist(),
        value,
    )


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("kind", POLICIES)
def test_an_episode_stepped_back_and_forward_is_identical(kind: str, stochastic: bool) -> None:
    policy = POLICIES[kind]()
    plain = EpisodePlayer(policy, PlayOptions(seed=SEED, stochastic=stochastic))
    with contextlib.closing(plain):
        plain.start(1)
        expected = [state(plain)]
        while not plain.ended and plain.steps < 30:
            plain.step()
            expected.append(state(plain))
    length = len(expected) - 1
    with playing(policy, stochastic=stochastic) as player:
        for _ in range(length):
            player.step()
        for step in range(length - 1, max(length - 9, -1), -1):
            assert player.back(), player.notice
            assert state(player) == expected[step]
        while player.steps < length:
            player.step()
            assert state(player) == expected[player.steps]


def test_the_picture_is_the_same_again(cartpole: Policy) -> None:
    with playing(cartpole, frames=True) as player:
        for _ in range(5):
            player.step()
        picture = player.frame().copy()
        player.step()
        assert (player.frame() != picture).any()
        assert player.back()
        assert (player.frame() == picture).all()


def test_a_switch_to_sampling_is_repeated_where_it_happened() -> None:
    policy = random_policy("Pendulum-v1")
    policy.actor["1.weight"][:] *= 0.1  # far from the bounds, where all actions are one
    with playing(policy) as player:
        states = [state(player)]
        for step in range(12):
            player.stochastic = step % 3 == 1
            player.step()
            states.append(state(player))
        player.stochastic = False
        for step in reversed(range(5, 12)):
            assert player.back()
            assert state(player) == states[step]
            assert not player.stochastic, "what the person chose last stays chosen"
        for step in range(5, 12):
            player.stochastic = step % 3 == 1
            player.step()
            assert state(player) == states[step + 1]
        while player.steps:
            assert player.back()
        player.stochastic = False
        sampled = player.moments[1].action
        player.step()
        player.step()  # greedy now, where it was sampled before
        assert player.moments[1].action != sampled
        assert len(player.moments) == 3, "what followed the other action is forgotten"


def test_what_really_followed_is_known_after_the_end_and_as_long_as_it_stays_true() -> None:
    with playing(random_policy("CartPole-v1")) as player:
        while not player.ended:
            assert player.followed is None
            player.step()
        length = player.steps
        assert player.followed is not None
        assert player.followed.total == 0.0
        for _ in range(3):
            assert player.back()
        assert player.followed is not None
        assert player.followed.rewards == pytest.approx(1 + 0.9 + 0.81)
        assert player.followed.beyond == 0.0
        player.step()
        assert player.followed is not None, "the same step again"
        assert len(player.moments) == length + 1
        player.step(1 - player.moments[player.steps].action)
        assert player.followed is None or player.ended, "another action, another future"


def test_beyond_a_time_limit_the_critic_is_asked() -> None:
    policy = random_policy("CartPole-v1", max_episode_steps=4)
    with playing(policy, units=RewardUnits(gamma=0.5, scale=0.25)) as player:
        for _ in range(4):
            player.step()
        assert player.player.truncated
        assert player.followed is not None
        assert player.followed.beyond == pytest.approx(player.now.value / 0.25)
        player.back()
        assert player.followed.rewards == pytest.approx(1.0)
        assert player.followed.beyond == pytest.approx(0.5 * player.moments[4].value / 0.25)


@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_returns_by_their_definition(shift: float) -> None:
    rewards = np.random.default_rng(0).normal(size=9)
    units = RewardUnits(gamma=0.8, shift=shift, scale=2.0)
    followed = returns_that_followed(rewards.tolist(), units, beyond=3.0)
    assert len(followed) == 10
    for start, found in enumerate(followed):
        rest = rewards[start:] + shift
        assert found.rewards == pytest.approx(float((0.8 ** np.arange(len(rest)) * rest).sum()))
        assert found.beyond == pytest.approx(0.8 ** len(rest) * 1.5)


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ({"gamma": 0.95, "reward_scale": 0.1}, True),
        ({"gamma": 0.95, "normalize_rewards": True}, False),
    ],
)
def test_units_are_those_of_the_run(values: dict[str, Any], known: bool) -> None:
    units = RewardUnits.of({"hyperparameters": values})
    assert units is not None
    assert (units.gamma, units.known) == (0.95, known)
    assert units.estimate(1.0) == pytest.approx(10.0 if known else 1.0)
    assert RewardUnits.of({}) is None
    with playing(random_policy("CartPole-v1"), units=units) as player:
        while not player.ended:
            player.step()
        assert (player.followed is not None) is known


@pytest.mark.parametrize(("fault", "place"), [("never the same", 0), ("not quite the same", 3)])
def test_an_environment_that_does_not_repeat_itself_is_said_to_and_plays_on(
    fault: str, place: int
) -> None:
    with playing(random_policy(FAULTY, fault=fault)) as player:
        for _ in range(FAULTY_STEP + 1):
            player.step()
        assert not player.back()
        assert player.notice.startswith(FAULTY)
        assert "does not repeat" in player.notice
        assert player.steps == place, "where the first difference was"
        assert not player.can_go_back
        while not player.ended:
            player.step()
        assert player.result().episode_return == 2 * FAULTY_STEP
        assert player.followed is not None
        assert not player.back()
        assert "does not repeat" in player.notice


def test_an_environment_that_fails_while_it_is_stepped_back_is_a_sentence() -> None:
    with playing(random_policy(FAULTY, fault="raises in the second reset")) as player:
        player.step()
        player.step()
        with pytest.raises(EnvironmentFaultError, match="raised ValueError in the reset"):
            player.back()


def test_a_long_episode_is_no_longer_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewind, "MOST_REMEMBERED", 5)
    with playing(random_policy(FAULTY, fault="endless")) as player:
        for _ in range(5):
            player.step()
        assert player.can_go_back
        for _ in range(20):
            player.step()
        assert len(player.moments) == 0
        assert player.now.parameters is not None
        assert not player.back()
        assert "after 5 steps" in player.notice
        player.restart()
        player.step()
        assert player.back()


def test_large_observations_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "LARGEST_KEPT", 8)
    with playing(random_policy("CartPole-v1")) as player:
        player.step()
        assert player.moments[0].observation is None  # 16 bytes
        assert player.moments[0].parameters is not None  # 8 bytes
        assert player.back(), "a fingerprint is enough"


def test_at_the_beginning_there_is_no_way_back() -> None:
    with playing(random_policy("CartPole-v1")) as player:
        assert not player.back()
        assert player.notice == "this is the episode's first moment"
        player.step()
        assert player.notice == ""


def test_a_persons_actions_are_repeated_too() -> None:
    with playing(random_policy("CartPole-v1")) as player:
        for action in (0, 1, 1, 0):
            player.step(action)
        seen = state(player)
        player.step(1)
        assert player.back()
        assert state(player) == seen
        assert [moment.action for moment in player.moments] == [0, 1, 1, 0, 1, None]
