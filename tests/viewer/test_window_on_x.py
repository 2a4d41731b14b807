"""The window on a real X server: what a person sees, and what keys and the close button do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from person import Person, watch, xdotool
from viewer_policies import random_policy
from x_client import press_close_button

from trpotui.episodes import EpisodePlayed
from trpotui.errors import RunError
from trpotui.rl.policy import Policy
from trpotui.viewer import WindowClosed

POLE = (202, 152, 101)
"""The colour that CartPole draws its pole in."""
WHITE = (255, 255, 255)


def has(colour: tuple[int, int, int]) -> Callable[[Any], bool]:
    return lambda seen: bool((seen == colour).all(axis=2).any())


def test_the_environment_is_seen_between_its_title_and_its_facts(
    x_display: str, cartpole: Policy
) -> None:
    async def action(person: Person) -> None:
        name = xdotool("getwindowname", str(person.x_window)).strip()
        assert name == "CartPole-v1 · trpotui"
        seen = await person.wait_to_see(has(POLE), "the pole")
        height, width, _ = seen.shape
        assert width == 600
        rows = np.flatnonzero((seen == WHITE).all(axis=2).mean(axis=1) > 0.3)
        top = int(rows[0])
        picture = seen[top : top + 400]
        assert (picture == WHITE).all(axis=2).mean() > 0.8, "CartPole's background, unscaled"
        assert 10 < top < 60
        assert 100 < height - top - 400 < 250, "facts and the keys"
        for text in (seen[:top], seen[top + 400 : -40], seen[-20:]):
            assert len(np.unique(text.reshape(-1, 3), axis=0)) > 5, "text on its background"

    watch(x_display, action, policy=cartpole, episodes=1000, speed=0.25)


def test_a_resized_window_keeps_the_aspect(x_display: str, cartpole: Policy) -> None:
    async def action(person: Person) -> None:
        xdotool("windowmove", str(person.x_window), "0", "0")
        xdotool("windowsize", str(person.x_window), "1000", "300")

        def is_letterboxed(seen: Any) -> bool:
            if seen.shape != (300, 1000, 3):
                return False
            middle = (seen[150] > 240).all(axis=1)  # the picture's background, mostly
            left, right = np.flatnonzero(middle)[[0, -1]] if middle.any() else (0, 999)
            return bool(abs((right - left + 1) - 1.5 * 250) < 30 and abs(left + right - 999) <= 2)

        await person.wait_to_see(is_letterboxed, "a picture of 3:2 in the middle")

    watch(x_display, action, policy=cartpole, episodes=1000, speed=0.25)


def test_the_close_button_ends_it_and_the_episode_does_not_count(x_display: str) -> None:
    async def action(person: Person) -> None:
        press_close_button(person.display, person.x_window)
        assert await person.rest_of_events() == [WindowClosed(by="user")]

    watch(x_display, action)


@pytest.mark.parametrize("key", ["Escape", "q"])
def test_a_key_ends_it(x_display: str, key: str) -> None:
    async def action(person: Person) -> None:
        await person.press(key)
        assert await person.rest_of_events() == [WindowClosed(by="user")]

    watch(x_display, action)


def test_space_stops_the_steps_and_lets_them_go_on(x_display: str) -> None:
    async def action(person: Person) -> None:
        await person.wait_to_see(lambda seen: seen[200, 300].min() >= 3, "the third step")
        await person.press("space")
        paused = await person.next_change()
        assert paused.paused
        assert paused.step >= 3

        def is_of_the_pause(seen: Any) -> bool:
            red, _, blue = np.moveaxis(seen[-30:].astype(int), 2, 0)
            word = (red > 150) & (blue < 60)  # in orange
            return bool((seen[200, 300] == paused.step % 256).all() and word.any())

        still = await person.wait_to_see(is_of_the_pause, "the frame of the pause itself")
        await asyncio.sleep(0.3)  # as long as nine steps take
        assert (person.sees() == still).all()
        await person.press("space")
        resumed = await person.next_change()
        assert (resumed.paused, resumed.step) == (False, paused.step)
        await person.wait_to_see(lambda seen: (seen != still).any(), "a moving picture")

    watch(x_display, action)


def test_arrows_change_the_speed(x_display: str) -> None:
    async def action(person: Person) -> None:
        for key, speed in (("Right", 2), ("Up", 4), ("Left", 2), ("Down", 1), ("Left", 0.5)):
            await person.press(key)
            assert (await person.next_change()).speed == speed

    watch(x_display, action)


def test_more_speed_is_more_steps(x_display: str) -> None:
    async def steps_during_a_moment(person: Person) -> int:
        """Steps a second between two presses of a key."""
        await person.press("space")
        await person.press("space")
        [_, start] = [await person.next_change() for _ in range(2)]
        begun = time.monotonic()
        await asyncio.sleep(0.4)
        await person.press("space")
        end = await person.next_change()
        rate = (end.step - start.step) / (time.monotonic() - begun)
        await person.press("space")
        await person.next_change()
        return round(rate)

    async def change_speed(person: Person, key: str) -> None:
        for _ in range(2):
            await person.press(key)
            await person.next_change()

    async def action(person: Person) -> None:
        measured = []
        for _ in range(5):  # where the machine is busy, what is heard late looks fast
            slow = await steps_during_a_moment(person)
            await change_speed(person, "Right")
            fast = await steps_during_a_moment(person)
            if 1.5 * slow < fast:
                return
            measured.append((slow, fast))
            await change_speed(person, "Left")
        pytest.fail(f"steps/s at 1x and at 4x: {measured}")

    watch(x_display, action)


def test_n_skips_an_episode_which_does_not_count(x_display: str) -> None:
    async def action(person: Person) -> None:
        await person.press("n")
        change = await person.next_change()
        assert (change.episode, change.step) == (2, 0)
        for _ in range(4):
            await person.press("Up")
        events = await person.rest_of_events()
        assert [e.episode for e in events if isinstance(e, EpisodePlayed)] == [2]
        assert events[-1] == WindowClosed(by="finished")

    watch(x_display, action, policy=random_policy("MountainCar-v0"), episodes=2)


def test_a_lost_display_is_an_error(x_display: str) -> None:
    async def action(person: Person) -> None:
        xdotool("windowkill", str(person.x_window))
        with pytest.raises(RunError, match="the player window ended unexpectedly"):
            await person.rest_of_events()

    watch(x_display, action)
