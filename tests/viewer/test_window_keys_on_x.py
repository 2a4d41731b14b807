"""The keys of the window on a real X server, and what is then to be seen.

The environment's picture is as grey as it has done steps, so that a pixel tells the step.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest
from person import Person, watch, xdotool
from viewer_environments import FAULTY
from viewer_policies import random_policy

from trpotui.errors import EnvironmentFaultError
from trpotui.viewer import NoticeShown, ScreenshotTaken
from trpotui.viewing.contenders import Contender

MIDDLE = (200, 300)
"""Row and column of a pixel of the picture."""


def shade(step: int, at: tuple[int, int] = MIDDLE) -> Any:
    return lambda seen: (seen[at] == step % 256).all()


async def paused(person: Person, after: int = 4) -> int:
    """Wait for some steps, pause, and return the step."""
    await person.wait_to_see(lambda seen: seen[MIDDLE].min() >= after, "some steps")
    await person.press("space")
    step = (await person.next_change()).step

    def is_paused(seen: Any) -> bool:
        red, _, blue = np.moveaxis(seen[-30:].astype(int), 2, 0)
        return bool(shade(step)(seen) and ((red > 150) & (blue < 60)).any())  # the word, in orange

    await person.wait_to_see(is_paused, "the pause")
    return step


def test_one_step_forward_and_back(x_display: str) -> None:
    async def action(person: Person) -> None:
        await person.wait_to_see(lambda seen: seen[MIDDLE].min() >= 4, "some steps")
        await person.press("period")
        change = await person.next_change()
        assert change.paused
        start = change.step
        await person.wait_to_see(shade(start), "the step of the pause")
        for key, step in (
            ("period", 1),
            ("comma", 0),
            ("comma", -1),
            ("comma", -2),
            ("period", -1),
        ):
            await person.press(key)
            change = await person.next_change()
            assert (change.paused, change.step) == (True, start + step)
            await person.wait_to_see(shade(start + step), f"step {step} from the pause")

    watch(x_display, action)


def test_restart_and_next_seed(x_display: str) -> None:
    async def action(person: Person) -> None:
        await paused(person)
        await person.press("r")
        change = await person.next_change()
        assert (change.episode, change.step) == (1, 0)
        await person.wait_to_see(shade(0), "the beginning")
        await person.press("n")
        change = await person.next_change()
        assert (change.episode, change.step) == (2, 0)

    watch(x_display, action)


def test_sampling_and_facts_at_a_key(x_display: str) -> None:
    async def action(person: Person) -> None:
        await paused(person)
        full = person.sees()
        await person.press("g")
        assert (await person.next_change()).stochastic
        await person.press("g")
        assert not (await person.next_change()).stochastic
        await person.press("o")
        assert not (await person.next_change()).overlay

        def picture_rows(seen: Any) -> int:
            grey = (seen == seen[MIDDLE]).all(axis=2).mean(axis=1)
            return int((grey > 0.5).sum())

        before = picture_rows(full)
        await person.wait_to_see(lambda seen: (seen != full).any(), "the picture alone")
        await person.wait_to_see(lambda seen: picture_rows(seen) == before, "the same picture")
        await person.press("o")
        assert (await person.next_change()).overlay
        await person.wait_to_see(lambda seen: (seen == full).all(), "the facts again")

    watch(x_display, action)


def test_full_screen_and_back(x_display: str) -> None:
    async def action(person: Person) -> None:
        size = person.sees().shape
        await person.press("F11")
        assert (await person.next_change()).full_screen
        await person.look()
        await asyncio.to_thread(move_to_corner, person)
        await person.wait_to_see(lambda seen: seen.shape == (768, 1024, 3), "the whole screen")
        await person.press("f")
        assert not (await person.next_change()).full_screen
        await person.look()
        await asyncio.to_thread(move_to_corner, person)
        await person.wait_to_see(lambda seen: seen.shape == size, "the window's size again")

    watch(x_display, action)


def move_to_corner(person: Person) -> None:
    xdotool("windowmove", "--sync", str(person.x_window), "0", "0")


def test_the_card_of_keys_comes_and_goes(x_display: str) -> None:
    async def action(person: Person) -> None:
        await paused(person)
        before = person.sees()
        for key in ("h", "question"):
            await person.press(key)
            with_card = await person.wait_to_see(lambda seen: (seen != before).any(), "the card")
            changed = (with_card != before).any(axis=2).mean()
            assert 0.1 < changed < 0.7, "a card in the middle"
            await person.press(key)
            await person.wait_to_see(lambda seen: (seen == before).all(), "what was under it")

    watch(x_display, action)


def test_a_screenshot_is_what_is_seen(x_display: str, tmp_path: Path) -> None:
    folder = tmp_path / "shots" / "of today"

    async def action(person: Person) -> None:
        step = await paused(person)
        seen = person.sees()
        for name in (f"Faulty-seed7-step{step}.png", f"Faulty-seed7-step{step}-2.png"):
            await person.press("s")
            taken = await person.next_of(ScreenshotTaken)
            assert Path(taken.path) == folder / name
            picture = pygame.image.load(taken.path)
            data = np.frombuffer(pygame.image.tobytes(picture, "RGB"), np.uint8)
            width, height = picture.get_size()
            assert (data.reshape(height, width, 3) == seen[:height]).all()
            assert 10 < len(seen) - height < 50, "without the line of the keys"
        assert len(list(folder.iterdir())) == 2

    watch(x_display, action, screenshots=folder, seed=7)


def test_a_screenshot_that_cannot_be_written_is_a_sentence_and_play_goes_on(
    x_display: str, tmp_path: Path
) -> None:
    folder = tmp_path / "file"
    folder.write_text("taken")

    async def action(person: Person) -> None:
        step = await paused(person)
        await person.press("s")
        notice = await person.next_of(NoticeShown)
        assert notice.message.startswith(f"the screenshot could not be written to {folder}")
        await person.press("period")
        assert (await person.next_change()).step == step + 1

    watch(x_display, action, screenshots=folder)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_policies_play_side_by_side_in_step(x_display: str) -> None:
    both = [
        Contender(policy=random_policy(FAULTY, fault="endless"), title=title)
        for title in ("a", "b")
    ]

    async def action(person: Person) -> None:
        await person.wait_to_see(lambda seen: seen[200, 100].min() >= 4, "some steps")
        await person.press("comma")
        step = (await person.next_change()).step

        def is_twice_the_same(seen: Any) -> bool:
            half = seen.shape[1] // 2
            both = [half // 2, half + half // 2]
            return bool((seen[200, both] == step % 256).all())

        await person.wait_to_see(is_twice_the_same, "the same step on both sides")

    watch(x_display, action, policy=both)


def test_a_person_races_a_policy(x_display: str) -> None:
    policy = random_policy(FAULTY, fault="endless")
    race = [
        Contender(policy=policy, title="a policy"),
        Contender(policy=policy, title="you", by_hand=True),
    ]

    async def action(person: Person) -> None:
        await asyncio.sleep(0.2)
        assert shade(0, (200, 100))(person.sees()), "it waits for the person"
        await person.press("2")
        begun = await person.next_change()
        assert (begun.paused, begun.step) == (False, 0)
        await person.wait_to_see(lambda seen: seen[200, 100].min() >= 3, "steps of both")
        await person.press("space")
        assert (await person.next_change()).paused

    watch(x_display, action, policy=race)


def test_an_environment_that_fails_while_it_is_stepped_back(x_display: str) -> None:
    async def action(person: Person) -> None:
        await paused(person, after=1)  # the episode has few steps
        await person.press("comma")
        with pytest.raises(EnvironmentFaultError, match="raised ValueError in the reset"):
            await person.rest_of_events()

    watch(
        x_display,
        action,
        policy=random_policy(FAULTY, fault="raises in the second reset"),
        speed=0.1,
    )
