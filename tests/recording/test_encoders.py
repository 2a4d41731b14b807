"""What encoders write is decoded again and compared with what they were given."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from tests.recording.recording_samples import (
    HEIGHT,
    WIDTH,
    gif_frames,
    mp4_frames,
    picture_of,
    shots,
    step_of,
)
from trpotui.errors import RunError
from trpotui.recording.gif import GifEncoder
from trpotui.recording.mp4 import Mp4Encoder
from trpotui.recording.sheet import MARGIN, SheetEncoder, columns_of


def encoded(encoder, given) -> bytes:
    for shot in given:
        encoder.add(shot)
    return encoder.finish()


# GIF


def test_gif_of_few_colours_is_exact():
    pictures = [picture_of(step) for step in range(50)]
    frames = gif_frames(encoded(GifEncoder(20), shots(pictures)))
    assert len(frames) == 50
    for picture, (frame, duration) in zip(pictures, frames, strict=True):
        assert np.array_equal(frame, picture)
        assert duration == 50


def test_gif_keeps_pixels_that_stay_and_changes_the_others():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)  # 117 colours
    pictures = [picture]
    for _ in range(30):
        picture = picture.copy()
        for row, column in rng.integers(0, [9, 13], (4, 2)):
            picture[row, column] = rng.integers(0, 256, 3)
        pictures.append(picture)
    frames = gif_frames(encoded(GifEncoder(10), shots(pictures)))
    assert all(np.array_equal(f, p) for (f, _), p in zip(frames, pictures, strict=True))


def test_gif_of_many_colours_comes_near():
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pictures = []
    for blue in (0, 100, 200):
        picture = np.zeros((64, 64, 3), dtype=np.uint8)
        picture[:, :, 0], picture[:, :, 1], picture[:, :, 2] = ramp[:, None], ramp[None], blue
        pictures.append(picture)  # 4096 colours each
    frames = gif_frames(encoded(GifEncoder(10), shots(pictures)))
    assert len(frames) == 3
    for picture, (frame, _) in zip(pictures, frames, strict=True):
        assert np.abs(frame.astype(int) - picture).mean() < 8


def test_gif_counts_equal_pictures_and_lasts_as_long_as_it_should():
    same = [picture_of(3)] * 30
    frames = gif_frames(encoded(GifEncoder(30), shots(same)))
    assert len(frames) == 30
    durations = [duration for _, duration in frames]
    assert sum(durations) == 1000  # 30 frames of 1/30 s, in hundredths of a second
    assert set(durations) == {30, 40}
    longer = gif_frames(encoded(GifEncoder(20), shots([picture_of(1), picture_of(2)], frames=7)))
    assert [duration for _, duration in longer] == [350, 350]


def test_gif_repeats_for_ever():
    with Image.open(io.BytesIO(encoded(GifEncoder(20), shots([picture_of(1)] * 2)))) as image:
        assert image.info["loop"] == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (257, 3)])
def test_gif_of_odd_shapes(shape):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 4, (*shape, 3), dtype=np.uint8) for _ in range(4)]
    frames = gif_frames(encoded(GifEncoder(20), shots(pictures)))
    assert all(np.array_equal(f, p) for (f, _), p in zip(frames, pictures, strict=True))


# MP4


def test_mp4_has_every_frame_at_the_rate():
    pictures = [picture_of(step) for step in range(50)]
    frames, rate = mp4_frames(encoded(Mp4Encoder(20), shots(pictures)))
    assert len(frames) == 50
    assert rate == pytest.approx(20)
    for step, (picture, frame) in enumerate(zip(pictures, frames, strict=True)):
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert step_of(frame, tolerance=2) == step
        assert np.abs(frame.astype(int) - picture).mean() < 3


def test_mp4_shows_a_shot_for_its_frames_and_odd_sides_grow_by_one():
    pictures = [picture_of(step)[:-1, :-1] for step in (0, 20)]
    frames, _ = mp4_frames(encoded(Mp4Encoder(29.97), shots(pictures, frames=4)))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 8
    assert [round(float(frame[-5:, :5].mean()) / 5) for frame in frames] == [0] * 4 + [20] * 4


def test_mp4_that_cannot_be_encoded_is_told_in_a_sentence():
    encoder = Mp4Encoder(20)
    with pytest.raises(RunError, match="the MP4 could not be encoded"):
        encoded(encoder, shots([np.zeros((2, 40_000, 3), dtype=np.uint8)]))


# sheets


def sheet_cells(data: bytes, count: int, rows: int = 1):
    """The pictures on a sheet of so many columns, row by row, blank places left out."""
    with Image.open(io.BytesIO(data)) as image:
        sheet = np.asarray(image.convert("RGB"))
    height = (sheet.shape[0] - MARGIN) // rows
    cells = []
    for row in range(rows):
        for column in range(count):
            left, top = MARGIN + column * (WIDTH + MARGIN), MARGIN + row * height
            cell = sheet[top : top + HEIGHT, left : left + WIDTH]
            if not (cell == 255).all():
                cells.append(cell)
    assert sheet.shape[1] == MARGIN + count * (WIDTH + MARGIN)
    return cells


@pytest.mark.parametrize("most", [2, 3, 5, 12])
@pytest.mark.parametrize("length", [1, 2, 7, 12, 13, 50])
def test_sheet_shows_first_last_and_evenly_spaced_steps(length, most):
    drawn = []
    given = shots([picture_of(step) for step in range(length)])
    for step, shot in enumerate(given):
        object.__setattr__(shot, "draw", lambda step=step: drawn.append(step) or picture_of(step))
    encoder = SheetEncoder(most)
    data = encoded(encoder, given)
    shown = [int(cell.caption.split()[1]) for (episode,) in [encoder._done] for cell in episode]
    assert shown[0] == 0
    assert shown[-1] == length - 1
    assert len(shown) <= most
    assert len(shown) >= most / 2 or len(shown) == length
    if 1 < length <= most:
        assert shown == [*range(length)]
    gaps = {after - before for before, after in pairwise(shown[:-1])}
    assert len(gaps) <= 1
    assert len(drawn) <= 2 * most + most * max(length // most, 1).bit_length()
    columns = columns_of(len(shown), WIDTH, HEIGHT)
    cells = sheet_cells(data, columns, rows=-(-len(shown) // columns))
    assert [step_of(cell) for cell in cells] == shown


def test_sheet_begins_a_row_for_each_episode_and_writes_below():
    pictures = [picture_of(step) for step in (1, 2, 3, 4, 5, 6)]
    data = encoded(SheetEncoder(4), shots(pictures, episodes=2))
    columns = columns_of(3, WIDTH, HEIGHT)
    assert columns == 2
    cells = sheet_cells(data, columns, rows=4)
    assert [step_of(cell) for cell in cells] == [1, 2, 3, 4, 5, 6]
    with Image.open(io.BytesIO(data)) as image:
        row = np.asarray(image.convert("L"))[: image.height // 4]
    assert (row[MARGIN + HEIGHT + 1 :, MARGIN : MARGIN + WIDTH] < 128).any()  # the caption
