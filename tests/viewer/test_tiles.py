"""Tiles drawn without a display: what is where, and that nothing is distorted."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pygame
import pytest
from viewer_policies import random_policy

from trpotui.episodes import PlayOptions
from trpotui.viewer.panel import number
from trpotui.viewer.style import ACCENT
from trpotui.viewer.tiles import Tile, columns_of, compose, natural_size
from trpotui.viewing.choices import Normal, Probabilities
from trpotui.viewing.contenders import Contender
from trpotui.viewing.facts import Facts, facts_of
from trpotui.viewing.returns import Followed

RED, BLUE = (250, 10, 10), (10, 10, 250)


def frame(colour: tuple[int, int, int] = RED, *, height: int = 400, width: int = 600) -> Any:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def facts(**changed: Any) -> Facts:
    values: dict[str, Any] = {
        "environment_id": "CartPole-v1",
        "seed": 3,
        "episode": 1,
        "step": 12,
        "reward": 1.0,
        "total": 12.0,
        "last_action": "left",
        "observation": (("cart position", 0.25), ("cart speed", -1.5)),
        "choice": Probabilities(values=(0.25, 0.75), first=0),
        "action_names": ("left", "right"),
        "value": 20.0,
        "value_known": True,
        "followed": Followed(rewards=18.0, beyond=2.0),
        "mode": "greedy",
        "ended": False,
    }
    return Facts(**(values | changed))


def near(picture: Any, colour: tuple[int, int, int]) -> Any:
    """Where a colour is, but for what scaling rounds away."""
    return (np.abs(picture.astype(int) - colour) <= 6).all(axis=2)


def where(picture: Any, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the area of a colour, which must be a full rectangle."""
    mask = near(picture, colour)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    area = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert area.all()
    return int(columns[0]), int(rows[0]), area.shape[1], area.shape[0]


def test_at_its_natural_size_a_frame_is_shown_pixel_by_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), dtype=np.uint8)
    for overlay in (False, True):
        tile = Tile(frame=noise, title="a", facts=facts())
        picture = compose([tile], overlay=overlay)
        assert picture.shape[::-1][1:] == natural_size([tile], overlay=overlay)
        tops = [
            top
            for top in range(picture.shape[0] - 399)
            if (picture[top : top + 400, :600] == noise).all()
        ]
        assert len(tops) == 1


def test_tiny_frames_are_enlarged_by_a_whole_factor() -> None:
    checks = np.kron(np.eye(2), np.ones((2, 2)))[..., None] * np.full(3, 255)
    picture = compose([Tile(frame=checks.astype(np.uint8), title="a")], overlay=False)
    assert picture.shape[1] == 400
    assert set(np.unique(picture[-400:])) == {0, 255}, "sharp edges"


@pytest.mark.parametrize("size", [(1000, 300), (300, 1000), (640, 480), (1920, 1080)])
@pytest.mark.parametrize("overlay", [False, True])
def test_the_aspect_is_kept_at_any_size(size: tuple[int, int], overlay: bool) -> None:
    tiles = [Tile(frame=frame(RED), title="a", facts=facts())]
    tiles += [Tile(frame=frame(BLUE), title="b", facts=facts())]
    picture = compose(tiles, size=size, overlay=overlay)
    assert picture.shape == (size[1], size[0], 3)
    boxes = [where(picture, colour) for colour in (RED, BLUE)]
    for _, _, width, height in boxes:
        assert abs(width / 1.5 - height) <= 1
    assert boxes[0][0] + boxes[0][2] <= size[0] // 2 <= boxes[1][0], "one beside the other"
    assert boxes[0][1] == boxes[1][1]


def test_facts_have_a_place_of_their_own_and_can_be_left_out() -> None:
    tile = Tile(frame=frame(), title="a", facts=facts())
    bare, full = compose([tile], overlay=False), compose([tile], overlay=True)
    assert full.shape[0] > bare.shape[0] + 80
    assert where(full, RED) == where(bare, RED)
    assert (full[: bare.shape[0]] == bare).all(), "the picture and its title stay as they are"
    assert (full == ACCENT).all(axis=2).any()
    assert not (bare == ACCENT).all(axis=2).any()


def bar_widths(choice: Any, names: tuple[str, ...]) -> list[int]:
    """Longest run of the bars' colour in each group of rows that has one."""
    picture = compose(
        [Tile(frame=frame(), title="a", facts=facts(choice=choice, action_names=names, value=None))]
    )
    counts = (picture == ACCENT).all(axis=2).sum(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], counts > 0, [0]]).astype(int)))
    return [int(counts[start:end].max()) for start, end in edges.reshape(-1, 2)]


def test_bars_are_as_long_as_the_probabilities() -> None:
    quarter, rest = bar_widths(Probabilities(values=(0.25, 0.75), first=0), ("left", "right"))
    assert rest == pytest.approx(3 * quarter, abs=3)
    assert quarter > 10


def test_a_gaussian_is_its_mean_with_a_sigma_to_each_side() -> None:
    def width(sigma: float) -> int:
        [found] = bar_widths(
            Normal(means=(0.0,), sigmas=(sigma,), lows=(-2.0,), highs=(2.0,)), ("t",)
        )
        return found

    assert width(1.0) == pytest.approx(2 * width(0.5), abs=4)


@pytest.mark.parametrize(
    "changed",
    [
        {"choice": None, "value": None, "mode": "by hand"},
        {"followed": None},
        {"value_known": False, "followed": None},
        {"observation": tuple((f"x{i}", float(i)) for i in range(40))},
        {"observation": ()},
        {"choice": Probabilities(values=(0.05,) * 20, first=0), "action_names": ()},
        {"choice": Probabilities(values=(float("nan"),) * 2, first=0)},
        {"choice": Normal(means=(1e9,), sigmas=(0.0,), lows=(-np.inf,), highs=(np.inf,))},
        {"last_action": "an action with a very long name indeed", "ended": True, "reward": None},
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (90, 400), (700, 700)])
def test_anything_can_be_drawn_at_any_size(changed: dict[str, Any], size: tuple[int, int]) -> None:
    tile = Tile(frame=frame(), title="a title that is long", facts=facts(**changed))
    assert compose([tile, tile], size=size).shape == (size[1], size[0], 3)
    assert compose([Tile(frame=None, title="no picture")], size=size).shape[0] == size[1]


def test_many_are_laid_out_in_rows() -> None:
    assert [columns_of(count) for count in (1, 2, 3, 4, 5, 9, 16)] == [1, 2, 3, 4, 3, 3, 4]
    tiles = [Tile(frame=frame(RED if i % 2 else BLUE), title=str(i)) for i in range(6)]
    picture = compose(tiles, overlay=False, size=(900, 600))
    for row in (0, 1):
        for column in range(3):
            middle = picture[row * 300 + 160, column * 300 + 150][None, None]
            assert near(middle, RED if (3 * row + column) % 2 else BLUE)


def test_letters_survive_an_environment_that_ends_pygame() -> None:
    tile = Tile(frame=frame(), title="a", facts=facts())
    before = compose([tile])
    pygame.quit()
    assert (compose([tile]) == before).all()


def test_facts_are_those_of_the_player() -> None:
    contender = Contender(policy=random_policy("CartPole-v1"), title="")
    with contextlib.closing(contender.player(PlayOptions(seed=9, stochastic=True))) as player:
        player.start(1)
        first = facts_of(player)
        assert (first.reward, first.last_action, first.step) == (None, "", 0)
        player.step(1)
        seen = facts_of(player)
        parameters, value = player.player.outlook()
        assert (seen.reward, seen.last_action, seen.step, seen.seed) == (1.0, "right", 1, 9)
        assert seen.observation[2] == ("pole angle", float(player.observation[2]))
        assert isinstance(seen.choice, Probabilities)
        assert seen.choice.values[1] == pytest.approx(
            1 / (1 + np.exp(parameters[0] - parameters[1]))
        )
        assert (seen.value, seen.value_known, seen.mode) == (value, False, "sampled")
        by_hand = facts_of(player, by_hand=True)
        assert (by_hand.choice, by_hand.value, by_hand.mode) == (None, None, "by hand")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-3.0, "−3"), (0.12345, "0.123"), (-123.456, "−123.5"), (2e7, "2.0e+07")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
    assert len(number(float("nan"))) < 9
