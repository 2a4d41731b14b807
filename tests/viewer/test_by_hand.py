"""Keys as actions, and the names that a person reads."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from trpotui.errors import RequestError
from trpotui.viewing.by_hand import SECONDS_TO_FULL, HandControl
from trpotui.viewing.names import action_label, action_names, base_name, observation_values
from trpotui.viewing.nobody import person_in

PLAYABLE = [
    *("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"),
    *("FrozenLake-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1"),
]


def control(environment_id: str, fps: float = 50.0) -> HandControl:
    return HandControl(environment_id, person_in(environment_id).policy.spec.action_space, fps=fps)


def test_the_last_key_pressed_counts_and_the_last_action_goes_on() -> None:
    hand = control("CartPole-v1")
    hand.press("right")
    assert hand.action() == 1
    hand.press("left")
    assert hand.action() == 0
    hand.release("left")
    assert hand.action() == 1, "right is still held"
    hand.release("right")
    assert hand.action() == 1, "a cart is always pushed"


def test_a_tap_between_two_steps_counts_once() -> None:
    hand = control("MountainCar-v0")
    hand.press("left")
    hand.release("left")
    assert [hand.action() for _ in range(2)] == [0, 1]


def test_a_held_key_pushes_harder_and_harder_up_to_the_bound() -> None:
    hand = control("Pendulum-v1", fps=20.0)
    hand.press("right")
    actions = [float(hand.action()[0]) for _ in range(10)]
    full = round(SECONDS_TO_FULL * 20)
    assert actions[:full] == pytest.approx([2 * (i + 1) / full for i in range(full)])
    assert actions[full:] == [2.0] * (10 - full)
    hand.release("right")
    hand.press("left")
    assert float(hand.action()[0]) == pytest.approx(-2 / full), "through the middle at once"
    hand.release("left")
    assert float(hand.action()[0]) == pytest.approx(0.0, abs=1e-6)


def test_two_keys_at_once_drive_two_dimensions() -> None:
    space = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
    hand = HandControl("Two-v0", space, fps=1.0)
    hand.press("left")
    hand.press("up")
    action = hand.action()
    assert action.tolist() == [-1.0, 4.0]
    assert space.contains(action)


def test_a_grid_waits_for_the_person() -> None:
    hand = control("FrozenLake-v1")
    assert hand.is_awaited
    hand.press("down")
    assert not hand.is_awaited
    assert hand.action() == 1
    assert hand.is_awaited, "a key that is held is one step"
    assert not control("CartPole-v1").is_awaited


def test_an_action_counts_from_the_spaces_start() -> None:
    hand = HandControl("Other-v0", spaces.Discrete(3, start=5), fps=1.0)
    hand.press("2")
    assert hand.action() == 6
    assert not hand.knows("4")
    assert not hand.knows("left")


@pytest.mark.parametrize("environment_id", PLAYABLE)
def test_every_key_gives_an_action_of_the_environment(environment_id: str) -> None:
    contender = person_in(environment_id)
    space = contender.policy.spec.action_space
    hand = HandControl(environment_id, space, fps=30.0)
    known = [key for key in ("left", "right", "up", "down", *"123456789") if hand.knows(key)]
    assert known
    given = []
    for key in known:
        hand.press(key)
        given.append(hand.action())
        hand.release(key)
        assert space.contains(given[-1])
        assert key in hand.legend
    assert len({np.asarray(action).tobytes() for action in given}) == len(known)


@pytest.mark.parametrize(
    "space", [spaces.Discrete(10), spaces.MultiBinary(2), spaces.Box(-1, 1, (3,))]
)
def test_what_keys_cannot_give_is_refused(space: spaces.Space[object]) -> None:
    with pytest.raises(RequestError, match="Other-v0 cannot be played by hand"):
        HandControl("Other-v0", space, fps=30.0)


def test_a_person_plays_only_what_there_is() -> None:
    with pytest.raises(RequestError, match="CartPoool-v1 is not known to gymnasium"):
        person_in("CartPoool-v1")


def test_well_known_numbers_have_names() -> None:
    for environment_id in PLAYABLE[:5]:
        with gym.make(environment_id) as environment:
            observation, _ = environment.reset(seed=0)
            named = observation_values(environment_id, environment.observation_space, observation)
            assert [value for _, value in named] == observation.tolist()
            assert not any(name.startswith("x") for name, _ in named)
            names = action_names(environment_id, environment.action_space)
            assert len(set(names)) == (spaces.flatdim(environment.action_space))
            assert not any(name.startswith("a0") or "action" in name for name in names)


def test_other_numbers_are_numbered_and_pictures_are_not_listed() -> None:
    box = spaces.Box(-1, 1, (3,))
    assert observation_values("Other-v0", box, np.zeros(3)) == (("x0", 0), ("x1", 0), ("x2", 0))
    assert observation_values("CartPole-v1", box, np.zeros(3))[0][0] == "x0", "another CartPole"
    assert observation_values("Other-v0", spaces.Discrete(500), np.int64(7)) == (("state", 7),)
    picture = spaces.Box(0, 255, (84, 84, 3), np.uint8)
    assert observation_values("Other-v0", picture, picture.sample()) == ()
    assert action_label(6, "Other-v0", spaces.Discrete(3, start=5)) == "action 6"
    assert (
        action_label(np.array([0.5, 1, 2, 3]), "Other-v0", spaces.Box(-9, 9, (4,))) == "0.5 1 2 …"
    )
    assert base_name("ns/Walker2d-v5") == "Walker2d"
    assert base_name("CartPole") == "CartPole"
