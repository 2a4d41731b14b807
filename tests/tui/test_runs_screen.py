"""The screen of past runs: what it shows, compares and does, on directories made for the test."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual.pilot import Pilot
from textual.widgets import Static
from textual.widgets._footer import FooterKey

import trpotui.tui
from tests import scripted_run
from tests.run_samples import STARTED, config_with, make_run
from trpotui.config import RunConfig
from trpotui.events import (
    Event,
    HyperparametersChanged,
    Notice,
    RunFinished,
    RunStarted,
    StopReason,
    UpdateFinished,
)
from trpotui.past_runs import Condition, PastRuns
from trpotui.past_runs.metrics import Metrics
from trpotui.recorded_run import recorded_run
from trpotui.repetition import repetition_of
from trpotui.rl.control import Control, Edit
from trpotui.run_directory import RunDirectory
from trpotui.series import Series
from trpotui.tui.app import TrpotuiApp
from trpotui.tui.messages import CoreLoaded, PlayRequested
from trpotui.tui.screens import runs as runs_module
from trpotui.tui.screens.dialogs import ConfirmDialog, ErrorDialog
from trpotui.tui.screens.run_details import RunDetails
from trpotui.tui.screens.runs import RunsScreen
from trpotui.tui.session import TrainingSession, new_run, resumed_run
from trpotui.tui.widgets.drawing import ON_DARK, draw
from trpotui.tui.widgets.plotting import LINE_MARKER
from trpotui.tui.widgets.run_compare import (
    RUN_SIGNS,
    OverlayChart,
    RunCompare,
    Shown,
    legend_of,
    overlay,
    settings_of,
)
from trpotui.tui.widgets.run_table import RunTable, sparkline, state_text

PATIENCE = 60.0
"""Seconds after which what should have happened counts as never happening."""


def held_run(session: TrainingSession) -> Iterator[Event]:
    """A run that makes no update until it is stopped."""
    session.control.pause()
    yield scripted_run.started()
    while not session.control.stopping:
        session.control.wait_while_paused()


class RunsApp(TrpotuiApp):
    """The app, begun with the runs; torch is here already, because the samples need it."""

    CSS_PATH: ClassVar = [Path(trpotui.tui.__file__).parent / name for name in TrpotuiApp.CSS_PATH]
    DEFAULT_MODE = "runs"
    loading = False

    def load_core(self) -> None:
        """Say so at once."""
        self.core_loaded = not self.loading
        self.asked: list[Path] = []

    async def on_play_requested(self, event: PlayRequested) -> None:
        """Remember it instead."""
        event.prevent_default()
        self.asked.append(event.path)


class LoadingApp(RunsApp):
    """Torch never comes."""

    loading = True


def drive(
    test: Callable[[Pilot[int]], Awaitable[None]],
    runs: Path,
    *,
    app: type[TrpotuiApp] = RunsApp,
    size: tuple[int, int] = (100, 26),
) -> None:
    """Run `test` on an app, and stop its run afterwards."""

    async def main() -> None:
        running = app(runs=runs, source=held_run)
        running.animation_level = "none"
        async with running.run_test(size=size) as pilot:
            await looked(pilot)
            try:
                await test(pilot)
            finally:
                running.stop_run()
                await running.workers.wait_for_complete()

    asyncio.run(main())


async def until(pilot: Pilot[int], condition: Callable[[], object]) -> None:
    """Let the app work until `condition` holds."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up, "what was waited for did not happen"
        await pilot.pause(0.01)


def told(pilot: Pilot[int]) -> list[str]:
    """The notifications so far."""
    return [one.message for one in pilot.app._notifications]


def screen_of(pilot: Pilot[int]) -> RunsScreen:
    """The screen of runs, which is in front."""
    screen = pilot.app.screen
    assert isinstance(screen, RunsScreen)
    return screen


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(runs_module, "READ_SECONDS", PATIENCE)  # a machine may be busy
    return tmp_path / "runs"


def training(updates: int = 18, **changes: Any) -> Iterator[Event]:
    return scripted_run.training(updates, **changes)


def five_runs(runs: Path) -> list[Path]:
    """Seeds 0 to 4, the latest first."""
    return [
        make_run(
            runs,
            training(18 + seed),
            config=config_with(seed=seed, max_kl=0.01 * (1 + seed % 2)),
            started=STARTED.replace(hour=20 - seed),
        )
        for seed in range(5)
    ]


async def looked(pilot: Pilot[int]) -> None:
    """Wait until the runs have been looked at and drawn."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def look(pilot: Pilot[int], screen: RunsScreen) -> None:
    screen.look()
    await looked(pilot)


def table_rows(screen: RunsScreen) -> list[list[str]]:
    table = screen.query_one(RunTable)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


def text_of(pilot: Pilot[int], selector: str) -> str:
    """What a Static shows, tables included."""
    static = pilot.app.screen.query_one(selector, Static)
    lines = [static.render_line(y).text for y in range(static.size.height)]
    return "\n".join(line.rstrip() for line in lines)


def key_of(screen: RunsScreen, description: str) -> FooterKey:
    """A key at the foot of the screen."""
    return next(key for key in screen.query(FooterKey) if key.description == description)


# the table


def test_keys_lead_there_and_back(runs):
    async def test(pilot: Pilot[int]) -> None:
        for key in ("t", "escape"):
            await pilot.press("r")
            screen_of(pilot)
            await pilot.press(key)
            assert pilot.app.current_mode == "train"

    drive(test, runs, app=TrpotuiApp, size=(80, 24))


def test_without_runs_it_says_what_to_do(runs):
    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        assert not screen.query_one(RunTable).display
        said = text_of(pilot, "#no-runs").replace("\n", " ")
        assert "yet. Press t, set one up and start it." in said
        for key in ("enter", "space", "b", "g", "u", "d", "c"):
            await pilot.press(key)
        assert pilot.app.screen is screen
        make_run(runs, training())
        await look(pilot, screen)
        assert screen.query_one(RunTable).display
        assert len(table_rows(screen)) == 1

    drive(test, runs)


def test_a_folder_that_cannot_be_read_is_a_sentence(runs):
    runs.touch()

    async def test(pilot: Pilot[int]) -> None:
        assert "cannot be read: Not a directory" in " ".join(text_of(pilot, "#no-runs").split())

    drive(test, runs)


def test_each_run_is_a_row_with_its_state(runs):
    hour = iter(range(20, 0, -1))

    def add(events: Iterator[Event], *files: str, **changes: Any) -> Path:
        started = STARTED.replace(hour=next(hour))
        return make_run(runs, events, config=config_with(**changes), started=started, files=files)

    add(scripted_run.finished(training()), seed=0)
    add(training(scripted_run.UPDATES), seed=1)
    add(scripted_run.finished(training(), StopReason.STOPPED), "checkpoint.pt", seed=2)
    failed = add(training(), "checkpoint.pt", seed=3)
    with RunDirectory.open(failed) as directory:
        directory.write_crash("Traceback")
    add(training(), environment_id="Pendulum-v1", seed=4)
    (add(training(0), seed=5) / "config.json").write_text("{")

    async def test(pilot: Pilot[int]) -> None:
        rows = table_rows(screen_of(pilot))
        assert [row[1:4] for row in rows] == [
            ["CartPole-v1", "trpo", "0"],
            ["CartPole-v1", "trpo", "1"],
            ["CartPole-v1", "trpo", "2"],
            ["CartPole-v1", "trpo", "3"],
            ["Pendulum-v1", "trpo", "4"],
            ["CartPole-v1", "trpo", "5"],
        ]
        assert [row[-1] for row in rows] == [
            "✓ solved", "✓ finished", "‖ stopped", "✗ failed", "○ cut off", "! damaged",
        ]  # fmt: skip
        assert rows[0][4:6] == ["18k", "488"]
        assert rows[-1][4:7] == ["0", "–", ""]
        assert rows[0][6][0] == "▁"
        assert rows[0][6][-1] == "█"

    drive(test, runs)


def test_a_run_that_goes_on_grows_and_newer_ones_do_not_move_the_cursor(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("down", "down")
        key = screen.query_one(RunTable).cursor_key
        with RunDirectory.open(Path(str(key))) as directory:
            directory.append_metrics({"update": 99, "steps": 50_000, "return_mean": 3.0})
            make_run(runs, training(), started=STARTED.replace(hour=22))
            await look(pilot, screen)
            rows = table_rows(screen)
            assert len(rows) == 6
            assert screen.query_one(RunTable).cursor_key == key
            assert screen.query_one(RunTable).cursor_row == 3
            assert rows[3][4] == "50k"
            assert rows[3][-1] == "● training"
        await look(pilot, screen)
        assert table_rows(screen)[3][-1] == "○ cut off"

    drive(test, runs)


def test_it_looks_again_by_itself_only_while_it_is_seen(runs, monkeypatch):
    looks = []
    real = PastRuns.look
    monkeypatch.setattr(
        PastRuns, "look", lambda self, enough: looks.append(1) or real(self, enough)
    )
    monkeypatch.setattr(runs_module, "LOOK_SECONDS", 0.1)
    make_run(runs, training())

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await until(pilot, lambda: len(looks) > 2)
        await pilot.press("question_mark")
        await looked(pilot)
        before = len(looks)
        assert not any(timer._active.is_set() for timer in screen._regularly)
        await pilot.press("escape")
        await until(pilot, lambda: len(looks) > before + 1)

    drive(test, runs)


def test_long_metrics_are_read_bit_by_bit(runs, monkeypatch):
    path = make_run(runs)
    with (path / "metrics.jsonl").open("w") as file:
        for update in range(1, 5001):
            file.write(f'{{"update": {update}, "steps": {update}, "return_mean": 1.5}}\n')
    monkeypatch.setattr("trpotui.past_runs.CHUNK", 1 << 16)
    monkeypatch.setattr("trpotui.past_runs.metrics.CHUNK", 1 << 16)
    monkeypatch.setattr(runs_module, "LOOK_SECONDS", 1000.0)
    monkeypatch.setattr(runs_module, "REST_SECONDS", 1000.0)
    real = PastRuns.look

    monkeypatch.setattr(PastRuns, "look", lambda self, _enough: real(self, lambda: True))

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        first = table_rows(screen)[0][-1]
        assert first.startswith("… ")
        assert first.endswith("% read")
        runs_module.REST_SECONDS = 0.01  # from now on it goes on by itself
        await look(pilot, screen)
        assert table_rows(screen)[0][-1] != first
        await until(pilot, lambda: table_rows(screen)[0][4] == "5,000")
        assert table_rows(screen)[0][-1] == "○ cut off"

    drive(test, runs)


def test_a_stranger_can_neither_draw_nor_break_anything(runs):
    path = make_run(runs, training(), files=["best.pt"])
    config = json.loads((path / "config.json").read_text())
    evil = "[red]\x1b[2J[/bold]\u202e\n[@click=app.quit]"
    config |= {"environment_id": evil, "algorithm": evil, evil: evil}
    config["hyperparameters"][evil] = evil
    (path / "config.json").write_text(json.dumps(config))
    (path / "run.log").write_text(f"{evil}\n" * 50)
    (path / "crash.log").write_text(evil)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        assert table_rows(screen)[0][1].startswith("(red)?(2J(/bold)??")
        await pilot.press("space", "enter", "l", "c", "escape", "d", "escape", "g")
        await looked(pilot)
        assert isinstance(pilot.app.screen, ErrorDialog)
        assert pilot.app.return_code is None

    drive(test, runs)


# comparing


def test_up_to_four_are_marked_and_a_fifth_is_refused(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        for _ in range(5):
            await pilot.press("space", "down")
        assert [row[0] for row in table_rows(screen)] == [*RUN_SIGNS, " "]
        assert any("4 runs are marked" in text for text in told(pilot))
        assert "4 of 4 marked" in str(screen.query_one(RunTable).border_title)
        await pilot.press("home", "down", "space", "end", "space")  # its sign becomes free
        assert [row[0] for row in table_rows(screen)] == ["●", " ", "■", "★", "▲"]

    drive(test, runs)


def test_the_marked_are_on_the_chart_with_a_legend_and_what_differs(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("space", "down", "space", "down", "down", "space")
        legend = text_of(pilot, "#legend")
        assert legend == "● trpo s0 best 488   ▲ trpo s1 best 488\n■ trpo s3 best 500"
        assert screen.query_one("#overlay").border_title == "Return on CartPole-v1"
        assert screen.query_one("#settings").border_title == "2 settings differ"
        assert [line.split() for line in text_of(pilot, "#settings-text").splitlines()[:3]] == [
            ["●", "▲", "■"],
            ["seed", "0", "1", "3"],
            ["max_kl", "0.01", "0.02", "0.02"],
        ]
        chart = screen.query_one(OverlayChart)
        drawn = "".join(chart.render_line(y).text for y in range(chart.size.height))
        assert {"●", "▲", "■"} <= {*drawn}
        assert "★" not in drawn
        colours = {
            sign: segment.style.color
            for y in range(chart.size.height)
            for segment in chart.render_line(y)
            for sign in {*segment.text} & {*RUN_SIGNS}
        }
        assert len(set(colours.values())) == 3

    drive(test, runs)


def test_where_none_is_marked_the_one_under_the_cursor_is_shown(runs):
    paths = five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("down", "down")
        assert "◆ evaluations" in text_of(pilot, "#legend")
        settings = text_of(pilot, "#settings-text").split()
        assert settings[settings.index("seed") + 1] == "2"
        line = text_of(pilot, "#run-line").replace("\n", " ")
        assert "CartPole-v1/trpo-s2-20261120T181500Z · cannot be resumed (interrupted" in line
        assert "20k of 99k steps" in line
        chart = screen.query_one(OverlayChart)
        assert any("◆" in chart.render_line(y).text for y in range(chart.size.height))

        before = chart.draws  # and it is drawn again only for something else
        await look(pilot, screen)
        assert chart.draws == before
        with RunDirectory.open(paths[2]) as directory:
            directory.append_metrics({"update": 99, "steps": 50_000, "return_mean": 3.0})
        await look(pilot, screen)
        assert chart.draws == before + 1
        pilot.app.theme = "textual-light"
        await pilot.pause()
        assert chart.draws == before + 2

    drive(test, runs)


def test_marks_go_with_their_runs(runs):
    paths = five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("space", "down", "space")
        (paths[0] / "config.json").unlink()
        (paths[0] / "metrics.jsonl").unlink()
        await look(pilot, screen)
        assert [row[0] for row in table_rows(screen)] == ["▲", " ", " ", " "]
        assert "1 of 4 marked" in str(screen.query_one(RunTable).border_title)

    drive(test, runs)


def of(returns: list[float], evaluations: list[float] = (), step: int = 10) -> Metrics:
    curves = [Series(512), Series(512)]
    for index, values in enumerate((returns, evaluations)):
        for place, value in enumerate(values):
            curves[index] = curves[index].appended(place * step, value)
    return Metrics(returns=curves[0], evaluations=curves[1])


def shown(runs: Path, *metrics: Metrics) -> list[Shown]:
    make_run(runs)
    (run,) = PastRuns(runs).look()
    return [
        Shown(place, dataclasses.replace(run, metrics=one)) for place, one in enumerate(metrics)
    ]


def test_runs_that_do_not_differ_say_so_and_are_told_apart_by_their_time(runs):
    for hour in (1, 2):
        make_run(runs, training(), started=STARTED.replace(hour=hour))
    compared = [Shown(place, run) for place, run in enumerate(PastRuns(runs).look())]
    assert settings_of(compared, ON_DARK).rows == (("no setting differs",),)
    first, second = legend_of(compared, ON_DARK, 40).plain.splitlines()
    assert first.startswith("● trpo 2026-11-")
    assert second.startswith("▲ trpo 2026-11-")
    assert first[2:] != second[2:]


def test_an_overlay_has_a_line_and_a_sign_of_its_own_for_each_run(runs):
    picture = overlay(shown(runs, of([1, 2, 3]), of([4, 5], step=50)), 80, 20)
    assert [layer.marker for layer in picture.layers] == [LINE_MARKER, LINE_MARKER, "●", "▲"]
    assert len({layer.role for layer in picture.layers}) == 2
    assert picture.x.high == 50
    assert picture.y.low <= 1
    assert picture.y.high >= 5
    assert picture.layers[0].xs[-1] == pytest.approx(0.4)


@pytest.mark.parametrize(
    "values",
    [[1.0], [0.0, 0.0], [-1e308, 1e308], [1e-320, 2e-320], [math.nan, math.inf, 5.0], [5.0] * 9],
)
@pytest.mark.parametrize("size", [(16, 4), (40, 10), (200, 60)])
def test_an_overlay_of_any_numbers_can_be_drawn(runs, values, size):
    picture = overlay(shown(runs, of(values, values), of([2.0])), *size)
    strips = draw(picture, *size, ON_DARK)
    assert len(strips) == size[1]
    assert all(0.0 <= at <= 1.0 for layer in picture.layers for at in (*layer.xs, *layer.ys))


@pytest.mark.parametrize("metrics", [[], [of([])], [of([math.nan])]])
def test_nothing_to_draw_is_no_picture(runs, metrics):
    assert overlay(shown(runs, *metrics), 80, 20) is None


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (15, 20), (80, 3)])
def test_too_little_room_is_no_picture(runs, size):
    assert overlay(shown(runs, of([1.0, 2.0])), *size) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([3.0], "▅"),
        ([1.0, 1.0], "▅▅"),
        ([0.0, 7.0], "▁█"),
        ([-1e308, 0.0, 1e308], "▁▅█"),
        ([math.nan, 1.0, 2.0], "▁█"),
    ],
)
def test_a_sparkline_goes_from_the_least_to_the_greatest(values, expected):
    drawn = sparkline(of(values).returns, 3 if len(values) == 3 else 2)
    assert drawn == expected or (drawn[0], drawn[-1]) == (expected[0], expected[-1])


# what can be done


def test_enter_opens_a_run_in_full(runs):
    path = make_run(runs, scripted_run.finished(training()))
    with RunDirectory.open(path) as directory:
        directory.write_crash("Traceback\n  x\x1b[31m")

    async def test(pilot: Pilot[int]) -> None:
        await pilot.press("enter")
        await looked(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RunDetails)
        assert "max_kl" in text_of(pilot, "#settings .run-settings")
        await pilot.press("l")
        await pilot.pause()
        assert "solved after 18,432 steps" in text_of(pilot, "#log-text")
        page = screen.query_one("#log VerticalScroll")
        assert page.is_vertical_scroll_end
        await pilot.press("c")
        await pilot.pause()
        assert "x?[31m" in text_of(pilot, "#crash-text")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, RunsScreen)

    drive(test, runs)


def test_a_run_without_log_and_settings_opens_too(runs):
    (make_run(runs) / "config.json").write_text("[")

    async def test(pilot: Pilot[int]) -> None:
        await pilot.press("enter")
        await looked(pilot)
        assert "they cannot be read" in text_of(pilot, "#settings .run-settings")
        await pilot.press("c", "l")
        await pilot.pause()
        assert "there is no log" in text_of(pilot, "#log-text")
        await pilot.click("#close")
        assert isinstance(pilot.app.screen, RunsScreen)

    drive(test, runs)


def test_b_plays_the_best_policy(runs):
    files = [["best.pt", "policy.pt"], ["policy.pt"], []]
    paths = [
        make_run(runs, training(), started=STARTED.replace(hour=20 - place), files=names)
        for place, names in enumerate(files)
    ]

    async def test(pilot: Pilot[int]) -> None:
        await pilot.press("b", "down", "b", "down", "b")
        await pilot.pause()
        assert pilot.app.asked == [paths[0] / "best.pt", paths[1] / "policy.pt"]
        assert told(pilot) == ["this run has saved no policy yet"]

    drive(test, runs)


def test_g_trains_again_with_the_same_configuration_and_edits(runs):
    path = make_run(runs, training(), config=config_with(max_kl=0.05, seed=8))
    with RunDirectory.open(path) as directory:
        directory.record_edit(3, {"gamma": 0.9})

    async def test(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, TrpotuiApp)
        screen = screen_of(pilot)
        await pilot.press("g")
        await until(pilot, lambda: app.session is not None and app.current_mode == "train")
        assert app.session.config == config_with(max_kl=0.05, seed=8)
        assert app.session.repeats.path == path
        assert app.session.repeats.edits == (Edit(3, {"gamma": 0.9}),)
        assert app.busy
        first = app.session
        await pilot.press("r", "g", "u")
        await pilot.pause()
        assert app.screen is screen
        assert app.session is first
        assert sum("a run goes on: stop it first" in text for text in told(pilot)) == 2

    drive(test, runs)


def test_what_cannot_be_repeated_or_resumed_says_why(runs):
    path = make_run(runs, training())
    config = json.loads((path / "config.json").read_text())
    config["hyperparameters"]["max_kl"] = 99
    (path / "config.json").write_text(json.dumps(config))

    async def test(pilot: Pilot[int]) -> None:
        await pilot.press("u", "g")
        await looked(pilot)
        assert told(pilot) == [
            "this run cannot be resumed: interrupted before its first checkpoint"
        ]
        dialog = pilot.app.screen
        assert isinstance(dialog, ErrorDialog)
        assert "saved hyperparameter max_kl=99 is not valid" in dialog._message
        assert pilot.app.session is None

    drive(test, runs)


def test_before_torch_is_there_nothing_is_started(runs):
    make_run(runs, training(), files=["checkpoint.pt"])

    async def test(pilot: Pilot[int]) -> None:
        await pilot.press("g", "u")
        await pilot.pause()
        assert sum("torch is still being loaded" in text for text in told(pilot)) == 2
        assert pilot.app.session is None

    drive(test, runs, app=LoadingApp)


SHORT = RunConfig(
    n_envs=2,
    total_steps=96,
    eval_every=0,
    hyperparameters=config_with(rollout_steps=16, hidden_sizes=(4,)).hyperparameters,
)


def stopped_run(runs: Path) -> Path:
    """A run that has really trained, and was stopped after its first update."""
    path = RunDirectory.default_path(runs, SHORT, STARTED)
    control = Control()
    with RunDirectory.create(path, SHORT) as directory:
        for event in recorded_run(SHORT, directory, control):
            if isinstance(event, UpdateFinished):
                control.stop()
    return path


@pytest.mark.parametrize("option", ["repeat", "resume"])
def test_the_command_line_can_have_a_run_repeated_or_resumed_at_once(runs, option):
    path = stopped_run(runs)

    async def main() -> None:
        app = RunsApp(runs=runs, source=held_run, **{option: path})
        async with app.run_test() as pilot:
            app.post_message(CoreLoaded())
            await until(pilot, lambda: app.session is not None)
            assert app.session.config == SHORT
            assert (app.session.repeats is not None) == (option == "repeat")
            app.stop_run()
            await until(pilot, lambda: not app.busy)

    asyncio.run(main())


@pytest.mark.parametrize("option", ["repeat", "resume"])
def test_what_cannot_be_started_at_once_is_told_of(runs, option):
    async def main() -> None:
        app = RunsApp(runs=runs, source=held_run, **{option: runs / "nowhere"})
        async with app.run_test() as pilot:
            app.post_message(CoreLoaded())
            await until(pilot, lambda: isinstance(app.screen, ErrorDialog))
            assert "config.json is missing" in app.screen._message
            assert app.session is None

    asyncio.run(main())


def test_a_repeated_run_makes_the_edits_of_the_first_by_itself(runs):
    path = stopped_run(runs)
    with RunDirectory.open(path) as directory:
        directory.record_edit(2, {"max_kl": 0.003})
    repetition = repetition_of(path)
    session = TrainingSession(repetition.config, Control(), new_run(runs), repeats=repetition)
    session.run()
    made = [item for item in session.take() if isinstance(item, HyperparametersChanged)]
    assert [(event.update, event.values) for event in made] == [(2, {"max_kl": 0.003})]
    assert session.directory != path
    assert updates_in(session.directory) == [1, 2, 3]


def updates_in(path: Path) -> list[int]:
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["update"] for line in lines]


def test_u_goes_on_with_a_run_from_its_checkpoint(runs):
    path = stopped_run(runs)
    assert updates_in(path) == [1]

    async def test(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, TrpotuiApp)
        await pilot.press("u")
        await until(pilot, lambda: app.state.finished is not None and not app.busy)
        assert app.current_mode == "train"
        assert app.state.started.first_update == 1
        assert app.state.finished.update == 3
        assert app.session.directory == path
        await pilot.press("r")
        await looked(pilot)
        screen = screen_of(pilot)
        assert table_rows(screen)[0][-1] == "✓ finished"
        await pilot.press("u")
        await pilot.pause()
        assert any("it is finished (all steps done)" in text for text in told(pilot))

    drive(test, runs)
    assert updates_in(path) == [1, 2, 3]


def test_a_resumed_run_tells_that_it_fell_back_on_the_checkpoint_before(runs):
    path = stopped_run(runs)
    (path / "checkpoint.previous.pt").write_bytes((path / "checkpoint.pt").read_bytes())
    (path / "checkpoint.pt").write_bytes(b"damaged")
    session = TrainingSession(SHORT, Control(), resumed_run(path, runs / "best.pt"))
    session.run()
    events = session.take()
    assert [type(event) for event in events[:2]] == [RunStarted, Notice]
    assert "checkpoint.pt is damaged" in events[1].message
    assert isinstance(events[-2], RunFinished)
    assert (runs / "best.pt").is_file()


def test_d_deletes_only_after_asking(runs):
    paths = five_runs(runs)
    (paths[1] / "notes.txt").touch()

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("d")
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.press("enter")  # a stray one: the button that has the focus is Cancel
        await looked(pilot)
        assert pilot.app.screen is screen
        assert paths[0].exists()
        await pilot.press("d", "y")
        await looked(pilot)
        assert not paths[0].exists()
        await looked(pilot)
        assert len(table_rows(screen)) == 4
        assert screen.query_one(RunTable).cursor_key == str(paths[1])
        await pilot.press("d", "y")
        await looked(pilot)
        await looked(pilot)
        assert [entry.name for entry in paths[1].iterdir()] == ["notes.txt"]
        assert any("stays because of notes.txt" in text for text in told(pilot))
        assert len(table_rows(screen)) == 3

    drive(test, runs)


def test_a_run_that_is_being_written_is_not_deleted(runs):
    path = make_run(runs, training())

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        with RunDirectory.open(path):
            await look(pilot, screen)
            await pilot.press("d")
            assert pilot.app.screen is screen
            assert any("is being written by this app" in text for text in told(pilot))
        await look(pilot, screen)
        with RunDirectory.open(path):  # it begins while the question is open
            await pilot.press("d", "y")
            await looked(pilot)
            assert isinstance(pilot.app.screen, ErrorDialog)
        assert (path / "config.json").exists()

    drive(test, runs)


@pytest.mark.slow
def test_everything_by_mouse(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        table = screen.query_one(RunTable)
        first = table.header_height + 1  # below the border
        await pilot.click(table, offset=(2, first + 2))
        await pilot.click(table, offset=(2, first + 3))
        assert [row[0] for row in table_rows(screen)] == [" ", " ", "●", "▲", " "]
        assert table.cursor_row == 3
        await pilot.click(table, offset=(2, first + 2))
        assert [row[0] for row in table_rows(screen)] == [" ", " ", " ", "▲", " "]
        await pilot.click(table, offset=(10, first + 1))
        assert table.cursor_row == 1
        assert pilot.app.screen is screen
        await pilot.click(table, offset=(10, first + 1))
        await looked(pilot)
        assert isinstance(pilot.app.screen, RunDetails)
        await pilot.press("escape")
        await pilot.click(key_of(screen, "delete"))
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.click("#cancel")
        await pilot.click(key_of(screen, "train"))
        await pilot.pause()
        assert pilot.app.current_mode == "train"

    drive(test, runs)


# sizes


def test_at_80_by_24_table_and_chart_are_both_usable(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        table, chart = screen.query_one(RunTable), screen.query_one(OverlayChart)
        assert table.size.height >= 6
        assert table.virtual_size.width <= 80
        assert chart.size.height >= 7
        assert chart.size.width >= 40
        footer = {key.description for key in screen.query(FooterKey) if key.region.right <= 68}
        assert {"open", "mark", "play best", "repeat", "resume", "delete", "train"} <= footer
        await pilot.press("c")
        await pilot.pause()
        assert chart.size.width >= 70
        assert chart.size.height > 10
        await pilot.press("down", "space", "c")
        assert table_rows(screen)[1][0] == "●"
        await pilot.resize_terminal(80, 14)  # the table alone, until the chart is asked for
        await until(pilot, lambda: not screen.query_one(RunCompare).display)
        await pilot.press("c")
        await pilot.pause()
        assert screen.query_one(RunCompare).display
        assert table.size.height >= 1

    drive(test, runs, size=(80, 24))


@pytest.mark.slow
def test_no_size_breaks_it(runs):
    five_runs(runs)

    async def test(pilot: Pilot[int]) -> None:
        screen = screen_of(pilot)
        await pilot.press("space", "down", "space")
        for size in [(1, 1), (10, 3), (40, 12), (3, 40), (120, 2), (80, 24)]:
            await pilot.resize_terminal(*size)
            await pilot.press("c")
            assert pilot.app.screen is screen
        await pilot.press("enter")
        for size in [(1, 1), (30, 9), (80, 24)]:
            await pilot.resize_terminal(*size)
        assert isinstance(pilot.app.screen, RunDetails)
        assert screen.query_one(RunCompare).display

    drive(test, runs)


def test_every_state_has_a_sign_of_its_own(runs):
    make_run(runs, training())
    (run,) = PastRuns(runs).look()
    texts = {
        state_text(dataclasses.replace(run, condition=condition)).plain for condition in Condition
    }
    assert len({text[0] for text in texts}) == len(Condition)
