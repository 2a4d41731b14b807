"""Plots of a run: what is read, what is plotted, and `trpotui plot`."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from matplotlib import image

from trpotui import cli
from trpotui.errors import RequestError
from trpotui.past_runs.files import UnreadableError
from trpotui.past_runs.metrics import MOST_LINE
from trpotui.past_runs.returns import read_returns
from trpotui.plots import DEVIATIONS, make_plot, thinned
from trpotui.plots.png import as_png
from trpotui.plots.text import SHADE, as_text
from trpotui.smoothing import moving_average, moving_deviation

CONFIG = {"algorithm": "trpo", "environment_id": "CartPole-v0", "seed": 4, "preset": "notes"}
NOISE = np.random.default_rng(0).normal(100, 30, 300).round(3).tolist()


def row(update, episodes, value=None, **more):
    mean = {} if value is None else {"return_mean": value}
    return {"update": update, "steps": 10 * update, "episodes": episodes} | mean | more


def one_episode_each(values):
    return [row(i, i, value) for i, value in enumerate(values, start=1)]


@pytest.fixture
def run(tmp_path):
    """Makes the directory of a run that wrote these rows, or lines."""

    def made(rows, config=CONFIG):
        path = tmp_path / "run"
        path.mkdir(exist_ok=True)
        lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
        (path / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
        (path / "config.json").write_text(json.dumps(config))
        return path

    return made


# reading


def test_one_episode_for_each_update_makes_a_curve_of_episodes(run):
    returns = read_returns(run(one_episode_each([3.0, 1.0, 2.0])))
    assert returns.single
    assert list(returns.places) == [1, 2, 3]
    assert list(returns.values) == [3.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "rows",
    [
        [row(1, 2, 5.0), row(2, 3, 6.0)],  # two at first
        [row(1, 1, 5.0), row(2, 4, 6.0)],  # three at once
        [row(1, 0), row(2, 1, 5.0), row(3, 2, 6.0)],  # none at first
        [row(1, 1, 5.0), row(2, 1), row(3, 2, 6.0)],  # none in between
    ],
)
def test_any_other_run_makes_a_curve_of_updates(run, rows):
    returns = read_returns(run(rows))
    assert not returns.single
    with_episodes = [(r["update"], r["return_mean"]) for r in rows if "return_mean" in r]
    assert list(zip(returns.places, returns.values, strict=True)) == with_episodes


def test_lines_that_are_no_rows_are_left_out(run):
    path = run(
        [
            row(1, 1, 1.0),
            "nonsense",
            "[1, 2]",
            "[" * 100_000,
            "x" * MOST_LINE + json.dumps(row(2, 2, 9.0)),
            row(2, 2, 2.0),
            row(1, 1, 9.0),  # goes back
            row(3, 3, float("nan")),
            row(3, 3, True),
            {"update": "4", "episodes": 4, "return_mean": 4.0},
            row(4, 4, 4.0),
        ]
    )
    with (path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row(5, 5, 5.0)))  # without its end
    assert list(read_returns(path).values) == [1.0, 2.0, 4.0]


def test_what_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(UnreadableError, match=r"metrics\.jsonl is missing"):
        read_returns(tmp_path)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(UnreadableError, match="no regular file"):
        read_returns(tmp_path)


# what is plotted


def test_kinds_are_what_they_say(run):
    path = run(one_episode_each(NOISE))
    raw = make_plot(path, "returns", window=9)
    assert raw.y.tolist() == NOISE
    assert (raw.low, raw.high) == (None, None)
    average = make_plot(path, "average", window=9)
    assert average.y.tolist() == moving_average(NOISE, 9).tolist()
    assert (average.low, average.high) == (None, None)
    band = make_plot(path, "band", window=21)
    assert band.y.tolist() == moving_average(NOISE, 21).tolist()
    assert DEVIATIONS == 1.2
    assert band.high - band.y == pytest.approx(1.2 * moving_deviation(NOISE, 21))
    assert band.y - band.low == pytest.approx(1.2 * moving_deviation(NOISE, 21))
    assert raw.x.tolist() == list(range(1, 301))


def test_what_the_values_are_is_said(run):
    each = make_plot(run(one_episode_each([1.0, 2.0])), "band", window=9)
    assert each.title == "trpo on CartPole-v0, seed 4, preset notes"
    assert each.x_label == "episode"
    assert each.subtitle == (
        "return of each episode, moving average of 9 ± 1.2 standard deviations of the same 9"
    )
    mean = make_plot(run([row(1, 7, 1.0), row(2, 9, 2.0)]), "returns", window=9)
    assert mean.x_label == "update"
    assert mean.subtitle == "mean return of each update's episodes"


def test_a_run_without_a_readable_configuration_goes_by_its_directory(run):
    path = run(one_episode_each([1.0]), config=["none"])
    assert make_plot(path, "returns", window=9).title == "run"


@pytest.mark.parametrize("window", [0, 2, -3])
def test_windows_have_a_middle(run, window):
    with pytest.raises(RequestError, match="odd"):
        make_plot(run(one_episode_each([1.0])), "average", window=window)


def test_thinned_line_keeps_its_extremes():
    x, y = np.arange(100_000.0), np.sin(np.arange(100_000) / 1000)
    y[[1234, 98_765]] = [7.0, -7.0]
    xs, ys = thinned(x, y, 50)
    assert len(xs) == len(ys) <= 100
    assert (ys[xs.index(1234.0)], ys[xs.index(98_765.0)]) == (7.0, -7.0)
    assert thinned(x[:100], y[:100], 50) == (x[:100].tolist(), y[:100].tolist())


# drawing


def heights(text):
    """Rows of the first and last mark of the line, counted from the top of the canvas."""
    canvas = [line for line in text.splitlines()[2:] if "┤" in line or "│" in line]
    marked = [
        (column, index)
        for index, line in enumerate(canvas)
        for column, sign in enumerate(line)
        if "⠀" < sign <= "⣿"
    ]
    return min(marked)[1], max(marked)[1], len(canvas)


def test_text_shows_the_line_where_it_is(run):
    rising = as_text(
        make_plot(run(one_episode_each(range(200))), "returns", window=9), width=70, height=20
    )
    first, last, rows = heights(rising)
    assert (first, last) == (rows - 1, 0)
    lines = rising.splitlines()
    assert len(lines) == 20
    assert max(map(len, lines)) <= 70
    assert lines[0].startswith("trpo on CartPole-v0, seed 4")
    assert lines[-1].strip() == "episode"
    assert "\x1b" not in rising
    falling = as_text(
        make_plot(run(one_episode_each(range(200, 0, -1))), "returns", window=9),
        width=70,
        height=20,
    )
    assert heights(falling)[:2] == (0, rows - 1)


def test_text_shades_the_band(run):
    path = run(one_episode_each(NOISE))
    assert SHADE not in as_text(make_plot(path, "average", window=9), width=80, height=24)
    assert as_text(make_plot(path, "band", window=9), width=80, height=24).count(SHADE) > 80


@pytest.mark.parametrize(
    "values",
    [[5.0], [5.0, 5.0, 5.0], [0.0, 1e-320], [-1e308, 1e308], [1e16, 1e16 + 2], list(range(5000))],
)
@pytest.mark.parametrize("kind", ["returns", "average", "band"])
def test_curves_of_every_size_are_drawn(run, values, kind):
    plot = make_plot(run(one_episode_each(values)), kind, window=9)
    for width, height in ((1, 1), (40, 12), (200, 50)):
        assert heights(as_text(plot, width=width, height=height))
    assert image.imread(io.BytesIO(as_png(plot))).shape == (540, 960, 4)


LINE, BAND = (0, 0x72, 0xB2), (0xBF, 0xDC, 0xEC)


def places_of(data, colour):
    """Columns and rows of a PNG that have a colour, from 0 to 1 over what is between the axes."""
    pixels = image.imread(io.BytesIO(data))[50:490, 60:950, :3]
    rows, columns = np.nonzero(np.abs(pixels - np.array(colour) / 255).max(axis=2) < 0.1)
    return columns / pixels.shape[1], rows / pixels.shape[0]


def test_image_shows_the_line_where_it_is(run):
    plot = make_plot(run(one_episode_each(range(200))), "returns", window=9)
    columns, rows = places_of(as_png(plot), LINE)
    assert columns.min() < 0.15
    assert columns.max() > 0.9
    assert rows[columns.argmin()] > 0.8
    assert rows[columns.argmax()] < 0.2


@pytest.mark.parametrize("count", [400, 40_000])
def test_image_fills_the_band(run, count):
    data = as_png(make_plot(run(one_episode_each([0.0, 2.0] * (count // 2))), "band", window=41))
    columns, rows = places_of(data, BAND)
    assert columns.min() < 0.15
    assert columns.max() > 0.9
    box = (columns.max() - columns.min()) * (rows.max() - rows.min())
    assert len(rows) / (440 * 890) > 0.6 * box  # the rest is grid and line
    no_band = as_png(make_plot(run(one_episode_each([0.0, 2.0] * 200)), "average", window=41))
    assert len(places_of(no_band, BAND)[0]) < len(rows) / 20


def test_names_are_not_read_as_formulas(run):
    config = CONFIG | {"environment_id": "$\\frac{$_^-v0"}
    plot = make_plot(run(one_episode_each([1.0, 2.0]), config=config), "returns", window=9)
    assert as_png(plot).startswith(b"\x89PNG")


# the command


def test_command_prints_to_the_terminal(run, capsys):
    assert cli.run(["plot", str(run(one_episode_each(NOISE)))]) == 0
    out = capsys.readouterr().out
    assert "moving average of 9" in out
    assert heights(out)[2] > 10


@pytest.mark.parametrize("name", ["curve.png", "curve.TXT"])
def test_command_writes_a_file(run, tmp_path, capsys, name):
    path, output = run(one_episode_each(NOISE)), tmp_path / name
    arguments = ["plot", str(path), "--kind", "band", "--window", "31", "-o", str(output)]
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out.startswith(f"wrote {output}: trpo on CartPole-v0, seed 4")
    data = output.read_bytes()
    if name.endswith("png"):
        assert image.imread(io.BytesIO(data)).shape == (540, 960, 4)
    else:
        assert "moving average of 31" in data.decode()
        assert SHADE in data.decode()


def test_command_writes_wholly_or_not_at_all(run, tmp_path, capsys, monkeypatch):
    path, output = run(one_episode_each(NOISE)), tmp_path / "curve.txt"
    output.write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trpotui.durable.os.fsync", full)
    assert cli.run(["plot", str(path), "-o", str(output)]) == 1
    assert "could not be written" in capsys.readouterr().err
    assert output.read_text() == "before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["curve.txt", "run"]


def test_without_matplotlib_a_png_is_refused_and_text_is_not(run, tmp_path, capsys, monkeypatch):
    path = run(one_episode_each(NOISE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.run(["plot", str(path), "-o", str(tmp_path / "a.png")]) == 2
    assert "pip install 'trpotui[plot]'" in capsys.readouterr().err
    assert cli.run(["plot", str(path), "-o", str(tmp_path / "a.txt")]) == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt", "run"]


@pytest.mark.parametrize(
    ("rows", "arguments", "said"),
    [
        ([], [], "no episode has ended in it yet"),
        ([row(1, 0)], [], "no episode has ended in it yet"),
        ([row(1, 1, 1.0)], ["--window", "4"], "--window takes an odd number"),
        ([row(1, 1, 1.0)], ["--kind", "bars"], "'bars'"),
        ([row(1, 1, 1.0)], ["-o", "a.jpg"], "--output takes a file that ends in .png or .txt"),
        ([row(1, 1, 1.0)], ["-o", "missing/a.png"], "does not exist"),
    ],
)
def test_wrong_requests_are_one_sentence(run, capsys, rows, arguments, said):
    assert cli.run(["plot", str(run(rows)), *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_what_is_no_run_is_one_sentence(tmp_path, capsys):
    assert cli.run(["plot", str(tmp_path / "nowhere")]) == 2
    assert "cannot be plotted: metrics.jsonl is missing" in capsys.readouterr().err
