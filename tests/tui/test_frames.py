"""Frames as half blocks and as characters: nothing invented, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trpotui.tui.frames import characters, emphasized, fitted, half_blocks, resized

WHITE, BLACK, RED, BLUE = 0xFFFFFF, 0x000000, 0xFF0000, 0x0000FF


def painted(height, width, colour=WHITE):
    """A frame of one colour."""
    frame = np.empty((height, width, 3), dtype=np.uint8)
    frame[:] = colour >> 16, colour >> 8 & 0xFF, colour & 0xFF
    return frame


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns", "expected"),
    [
        (400, 600, 30, 100, (30, 90)),  # as high as there is room
        (400, 600, 30, 60, (20, 60)),  # as wide as there is room
        (500, 500, 19, 57, (19, 38)),
        (210, 160, 1, 1, (1, 1)),
        (10, 1000, 30, 100, (1, 100)),
        (1000, 10, 30, 100, (30, 1)),
    ],
)
def test_the_largest_picture_of_that_aspect_that_fits(height, width, rows, columns, expected):
    assert fitted(height, width, rows=rows, columns=columns) == expected


@settings(max_examples=40, deadline=None)
@given(*(st.integers(1, 12) for _ in range(4)))
def test_a_pixel_is_the_mean_of_those_that_it_covers(height, width, rows, columns):
    frame = noise(height, width)
    small = resized(frame, rows, columns)

    def covered(index, count, size):
        start = index * size // count
        return slice(start, max((index + 1) * size // count, start + 1))

    assert small.shape == (rows, columns, 3)
    for row in range(rows):
        for column in range(columns):
            block = frame[covered(row, rows, height), covered(column, columns, width)]
            mean = block.reshape(-1, 3).sum(axis=0) // (block.size // 3)
            assert (small[row, column] == mean).all()


def test_two_pixels_share_a_cell():
    frame = np.concatenate([painted(1, 3, RED), painted(1, 3, BLUE)])
    assert half_blocks(frame, rows=1, columns=3) == [[("▀▀▀", RED, BLUE)]]


def test_cells_of_one_colour_are_blank_and_neighbours_that_are_equal_one_run():
    frame = np.concatenate([painted(4, 2, WHITE), painted(4, 2, BLACK)], axis=1)
    assert half_blocks(frame, rows=2, columns=4) == 2 * [
        [("  ", WHITE, WHITE), ("  ", BLACK, BLACK)]
    ]


def test_the_runs_of_any_picture_are_its_pixels():
    frame = noise(14, 9)
    lines = half_blocks(frame, rows=7, columns=9)
    upper = [[run.foreground for run in line for _ in run.text] for line in lines]
    lower = [[run.background for run in line for _ in run.text] for line in lines]
    shown = np.array([row for pair in zip(upper, lower, strict=True) for row in pair])
    colours = np.stack([shown >> 16, shown >> 8 & 0xFF, shown & 0xFF], axis=2)
    assert np.abs(colours - frame.astype(int)).max() < 8  # five bits of each colour


def test_a_thin_line_on_a_plain_ground_is_emphasized_and_the_ground_is_not():
    frame = painted(400, 600)
    frame[200] = 0  # one pixel of twenty
    pixels = resized(frame, 20, 60)
    strong = emphasized(pixels)
    line = strong[10]
    assert (line < pixels[10]).all()
    assert (line > 0).all()  # still paler than what is black all over
    assert (np.delete(strong, 10, axis=0) == 255).all()


def test_a_picture_without_a_ground_keeps_its_colours():
    pixels = noise(20, 20)
    assert (emphasized(pixels) == pixels).all()


@pytest.mark.parametrize("inverted", [False, True])
def test_characters_show_what_stands_out_whatever_the_ground(inverted):
    frame = painted(8, 8)
    frame[2:6, 2:6] = 0
    frame[3:5, 2:6] = 0
    if inverted:
        frame = 255 - frame
    assert characters(frame, rows=4, columns=8) == [
        "        ",
        "  ████  ",
        "  ████  ",
        "        ",
    ]


def test_characters_tell_the_halves_of_a_cell_apart():
    frame = painted(4, 3)
    frame[0, 0] = frame[3, 2] = 0
    assert characters(frame, rows=2, columns=3) == ["▀  ", "  ▄"]


@pytest.mark.parametrize("frame", [painted(1, 1), painted(3, 500, BLACK), noise(7, 5)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 40), (20, 2)])
def test_every_line_has_as_many_cells_as_asked_for(frame, rows, columns):
    lines = half_blocks(frame, rows=rows, columns=columns)
    assert [sum(len(run.text) for run in line) for line in lines] == [columns] * rows
    assert [len(line) for line in characters(frame, rows=rows, columns=columns)] == [columns] * rows
