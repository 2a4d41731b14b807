"""What the benchmarks make of their measurements: the pure parts of `benchmarks/`."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = str(Path(__file__).parent.parent / "benchmarks")
sys.path.append(BENCHMARKS)  # last: nothing there may take the place of a library

import run_all  # noqa: E402
from peers import made_up_batch, solved_at  # noqa: E402
from processes import MeasurementError, in_turn, measured, values  # noqa: E402
from rows import Row, table  # noqa: E402
from scaling import growth_row  # noqa: E402
from scaling_page import Point, Sweep, exponent, falls, limit, page  # noqa: E402

sys.path.remove(BENCHMARKS)

SECTIONS = {
    "environment": 1.0,
    "policy": 1.0,
    "advantages": 0.5,
    "gradient": 2.0,
    "Fisher products": 3.0,
    "line search, KL": 0.5,
    "critic": 2.0,
}


def a_point(**changes: object) -> Point:
    known = {
        "at": 2048,
        "batch": 2048,
        "width": 64,
        "steps_per_second": 1000.0,
        "peak_mb": 300.0,
        "update_ms": 10.0,
        "gflops": 60.0,
        "matmul_gflops": 100.0,
        "element_gbs": 10.0,
        "products_share": 0.6,
        "others_share": 0.3,
        "sections": SECTIONS,
        "rollout_ms": 20.0,
        "rollout_steps": 128,
    }
    return Point(**{**known, **changes})


def test_more_steps_and_less_time_are_faster() -> None:
    speed = Row(what="x", unit="steps/s", ours=[30, 40], peers={"a": [10, 10], "b": [5, 50]})
    time = Row(what="x", unit="ms", ours=[2, 4], peers={"a": [10, 10], "b": [8, 8]})
    assert (speed.best_peer, speed.ratios) == ("b", [6.0, 0.8])
    assert (time.best_peer, time.ratios) == ("b", [4.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({}, True),
        ({"aim": 3.1}, False),
        ({"aim": None}, None),
        ({"peers": {}}, None),
        ({"ours": []}, None),
        ({"unmet": "it falls"}, False),
        ({"failed": {"b": "not run"}}, None),
        ({"failed": {"b": "not run"}, "aim": 3.1}, False),
    ],
)
def test_an_aim_is_reached_by_the_median_and_nothing_else(
    changes: dict[str, object], reached: bool | None
) -> None:
    row = {"ours": [10, 30, 40], "peers": {"a": [10, 10, 10]}, "aim": 3.0}
    assert Row(what="x", unit="steps/s", **{**row, **changes}).reached is reached


def test_a_row_survives_its_file() -> None:
    row = Row(what="x", unit="s", ours=[1.5], peers={"a": [3.0]}, aim=2.0, failed={"b": "no"})
    assert Row.of(json.loads(json.dumps(row.plain()))) == row


def test_a_table_tells_of_what_did_not_run() -> None:
    row = Row(what="x | y", unit="s", aim=2.0, failed={"b": "failed: it | is\nnot there"})
    line = table([row]).splitlines()[-1]
    assert line.count("|") == 8
    assert line.count("not run") == 3
    assert "b: failed: it / is not there" in line


def test_programs_take_turns_and_one_that_fails_is_left_out() -> None:
    calls: list[str] = []

    def program(name: str, fails_at: int = -1) -> object:
        def measure(index: int) -> dict[str, int]:
            calls.append(name)
            if index == fails_at:
                raise MeasurementError("why")
            return {"speed": index}

        return measure

    results, failed = in_turn({"a": program("a"), "b": program("b", 1), "c": program("c")}, 3)
    assert "".join(calls) == "abcabcac"
    assert failed == {"b": "failed: why"}
    assert values(results, "a", "speed") == [0, 1, 2]
    assert values(results, "b", "speed") == []


def test_a_process_is_asked_for_the_object_on_its_last_line() -> None:
    script = (
        'import os; print("loading"); print(\'{"threads": %s}\' % os.environ["OMP_NUM_THREADS"])'
    )
    assert measured([sys.executable, "-c", script], threads=3) == {"threads": 3}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("raise SystemExit('it broke')", "it broke"),
        ("print('no figure')", "no JSON"),
        ("print([1])", "no JSON object"),
    ],
)
def test_a_process_that_measures_nothing_says_why(script: str, why: str) -> None:
    with pytest.raises(MeasurementError, match=why):
        measured([sys.executable, "-c", script])


def test_the_exponent_is_that_of_the_upper_half() -> None:
    sizes = [1, 2, 4, 8, 16, 32]
    figures = [100.0, 1.0, 50.0, *(3.0 * size**1.5 for size in sizes[3:])]
    assert exponent(sizes, figures) == pytest.approx(1.5)
    assert math.isnan(exponent([4], [2.0]))


def test_a_fall_is_more_than_noise() -> None:
    assert falls({1: 100, 2: 98, 4: 120, 8: 110, 16: 200}) == [8]


def test_growth_is_not_reached_with_a_dip() -> None:
    grown = {"1": [10.0, 10.0], "2": [100.0, 100.0], "4": [220.0, 220.0]}
    assert growth_row(grown, {}).reached is True
    assert growth_row({**grown, "2": [300.0, 300.0]}, {}).reached is False


@pytest.mark.parametrize(
    ("changes", "growth", "word"),
    [
        ({}, 1.0, ": arithmetic"),
        ({}, math.nan, "100 GFlop/s (100 for a plain one"),
        ({}, 0.2, "calls, not arithmetic"),
        ({"products_share": 0.2}, 0.9, "calls, not arithmetic"),
        ({"products_share": 0.3, "others_share": 0.6}, 0.9, "move much through memory"),
        ({"sections": SECTIONS | {"environment": 20.0}}, 1.0, "the interpreter"),
        (
            {"sections": SECTIONS | {"environment": 20.0}, "rollout_steps": 2},
            1.0,
            "paid for each environment",
        ),
    ],
)
def test_the_limit_is_what_the_figures_say(
    changes: dict[str, object], growth: float, word: str
) -> None:
    assert word in limit(a_point(**changes), growth)


def test_the_page_has_every_size_and_what_failed() -> None:
    points = [a_point(at=size, batch=size, steps_per_second=10.0 * size) for size in (2, 4, 8)]
    sweep = Sweep(name="batch", axis="samples", points=points, failed={"16": "failed: memory"})
    written = page([sweep], settings=["max_kl=0.02"])
    assert "max_kl=0.02" in written
    assert "steps/s 1.00" in written
    assert "Not measured: 16 (failed: memory)" in written
    assert written.count("| 300 |") == 3


def options(tmp_path: Path, **changes: object) -> Namespace:
    known = dict.fromkeys(["sb3", "tianshou", "jax", "purejaxrl", "seconds", "variants"])
    return Namespace(**{**known, "pairs": 1, "out": tmp_path, **changes})


@pytest.mark.parametrize("name", run_all.PARTS)
def test_every_part_is_a_script_that_runs_without_peers(name: str, tmp_path: Path) -> None:
    command = run_all.command(name, options(tmp_path))
    assert Path(command[1]).is_file()
    assert "None" not in command


def test_a_part_is_given_its_peers(tmp_path: Path) -> None:
    command = run_all.command("update", options(tmp_path, sb3="a", tianshou="b", jax="c"))
    assert command[command.index("--sb3") + 1] == "a"
    assert command[command.index("--tianshou") + 1] == "b"
    assert "c" not in command


def test_a_part_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run_all.PARTS, "update", run_all.Part("not_there.py"))
    rows, account = run_all.run("update", options(tmp_path))
    assert rows == []
    assert "update: failed: exit status" in run_all.report(
        {"update": rows}, {"update": account}, ""
    )


def test_the_made_up_batch_is_always_the_same() -> None:
    one, other = made_up_batch.make(256), made_up_batch.make(256)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert one["observations"].shape == (256, 4)
    assert one["advantages"].mean() == pytest.approx(0, abs=1e-6)
    assert one["advantages"].std() == pytest.approx(1, abs=1e-5)


def test_a_run_was_solved_when_the_last_hundred_episodes_say_so() -> None:
    at, returns = np.arange(1, 301) * 10, np.r_[np.zeros(120), np.full(180, 500.0)]
    # 95 of the last hundred have 500: a mean of 475
    assert solved_at.first_solved(at, returns, 475.0) == 10 * (120 + 95)
    assert solved_at.first_solved(at, returns, 501.0) is None
    assert solved_at.first_solved(at[:50], returns[-50:], 475.0) is None


def test_growth_is_told_of_either_end_by_its_neighbour() -> None:
    small, middle, large = (
        a_point(at=at, update_ms=ms, gflops=gflop * 1000 / ms)
        for at, ms, gflop in ((1, 10.0, 1.0), (2, 11.0, 2.0), (3, 44.0, 8.0))
    )
    written = page([Sweep(name="width", axis="units", points=[small, middle, large])])
    smallest, largest = (line for line in written.splitlines() if line.startswith("- At the"))
    assert "arithmetic^0.14" in smallest
    assert largest.endswith(": arithmetic.")
