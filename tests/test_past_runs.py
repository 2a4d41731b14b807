from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import scripted_run
from run_samples import CONFIG, STARTED, config_with, make_run, record

import trpotui.run_directory
from trpotui import config as config_module
from trpotui.errors import RequestError
from trpotui.events import EvaluationFinished, UpdateFinished
from trpotui.past_runs import Condition, PastRun, PastRuns, differing, files, labels
from trpotui.past_runs.deletion import delete_run
from trpotui.past_runs.metrics import MOST_LINE, MetricsReader
from trpotui.run_directory import RunDirectory


def only(runs: Path) -> PastRun:
    (run,) = PastRuns(runs).look()
    return run


def write_rows(path: Path, *rows: object) -> None:
    with path.open("a") as file:
        for row in rows:
            file.write((row if isinstance(row, str) else json.dumps(row)) + "\n")


# the names are those of what writes


def test_the_names_are_those_that_runs_are_written_by():
    written = trpotui.run_directory
    for name in ("CONFIG", "METRICS", "POLICY", "BEST", "CHECKPOINT", "PREVIOUS", "LOG", "CRASH"):
        assert getattr(files, name) == getattr(written, name)
    assert set(written._OF_A_RUN) == files.MAKES_A_RUN
    assert {*files.ABOUT, *config_module.BESIDE_CONFIG} == set(written._ABOUT)
    assert (files.LOCK, files.WRITER) == (written.lock.LOCK, written.lock.WRITER)
    assert files.LEFTOVER == (trpotui.durable._PREFIX, trpotui.durable._SUFFIX)


# finding runs


def test_runs_are_found_with_what_they_are_latest_first(tmp_path):
    make_run(tmp_path, started=STARTED.replace(hour=9))
    other = config_with(environment_id="Pendulum-v1", seed=7)
    make_run(tmp_path, config=other, started=STARTED.replace(hour=10))
    make_run(tmp_path)
    found = PastRuns(tmp_path).look()
    assert [(run.environment_id, run.algorithm, run.seed) for run in found] == [
        ("Pendulum-v1", "trpo", 7),
        ("CartPole-v1", "trpo", 3),
        ("CartPole-v1", "trpo", 3),
    ]
    assert [datetime.fromtimestamp(run.started, UTC).hour for run in found] == [10, 9, 8]


def test_a_run_may_lie_directly_in_the_folder_and_is_as_old_as_its_configuration(tmp_path):
    RunDirectory.create(tmp_path / "mine", CONFIG).close()
    os.utime(tmp_path / "mine" / "config.json", (1000, 1000))
    run = only(tmp_path)
    assert (run.path, run.seed, run.started) == (tmp_path / "mine", 3, 1000)


def test_what_is_no_run_is_left_aside(tmp_path):
    (tmp_path / "CartPole-v1" / "empty").mkdir(parents=True)
    (tmp_path / "CartPole-v1" / "notes").mkdir()
    (tmp_path / "CartPole-v1" / "notes" / "a.txt").touch()
    (tmp_path / "CartPole-v1" / "too" / "deep").mkdir(parents=True)
    (tmp_path / "CartPole-v1" / "too" / "deep" / "config.json").touch()
    (tmp_path / "config.json").touch()
    assert PastRuns(tmp_path).look() == ()


def test_a_folder_that_does_not_exist_has_no_runs(tmp_path):
    assert PastRuns(tmp_path / "runs").look() == ()


def test_a_folder_that_is_none_is_a_sentence(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(RequestError, match="runs cannot be read: Not a directory"):
        PastRuns(tmp_path / "runs").look()


def test_runs_that_come_and_go_are_seen(tmp_path):
    runs = PastRuns(tmp_path)
    first = make_run(tmp_path)
    assert len(runs.look()) == 1
    make_run(tmp_path, started=STARTED.replace(hour=9))
    assert len(runs.look()) == 2
    delete_run(first, tmp_path)
    assert [run.path.name for run in runs.look()] == ["trpo-s3-20261120T091500Z"]


def test_looking_needs_no_torch_and_changes_nothing(tmp_path):
    path = make_run(tmp_path, scripted_run.training(5))
    before = {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir()}
    code = (
        "import sys\nfrom pathlib import Path\nfrom trpotui.past_runs import PastRuns\n"
        "(run,) = PastRuns(Path(sys.argv[1])).look()\n"
        "print(run.metrics.updates, {'torch', 'numpy', 'textual'} & {*sys.modules})"
    )
    output = subprocess.check_output([sys.executable, "-c", code, tmp_path], text=True)
    assert output == "5 set()\n"
    assert {entry.name: entry.stat().st_mtime_ns for entry in path.iterdir()} == before


# what the metrics say


def test_the_metrics_of_a_run_are_summed_up(tmp_path):
    events = list(scripted_run.training(18))
    make_run(tmp_path, events)
    run = only(tmp_path)
    reports = [event for event in events if isinstance(event, UpdateFinished)]
    evaluations = [event for event in events if isinstance(event, EvaluationFinished)]
    best = max(evaluations, key=lambda event: event.mean)
    assert (run.metrics.updates, run.metrics.steps) == (18, 18 * 1024)
    assert [bucket.mean for bucket in run.metrics.returns.buckets()] == [
        report.return_mean for report in reports
    ]
    assert [bucket.mean for bucket in run.metrics.evaluations.buckets()] == [
        event.mean for event in evaluations
    ]
    assert run.metrics.best == (best.update, best.steps, best.mean, best.std)
    assert run.metrics.evaluation.update == 18
    assert run.metrics.wrong_rows == 0
    assert run.metrics.share_read == 1.0


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "metrics.jsonl"


def rows(first: int, last: int) -> list[dict]:
    return [
        {"update": update, "steps": update * 10, "return_mean": float(update)}
        for update in range(first, last + 1)
    ]


def means(reader: MetricsReader) -> list[float]:
    return [bucket.mean for bucket in reader.read().returns.buckets()]


def test_only_what_is_new_is_read(file, monkeypatch):
    parsed = []
    real = json.loads
    monkeypatch.setattr(
        "trpotui.past_runs.metrics.json.loads", lambda line: parsed.append(line) or real(line)
    )
    reader = MetricsReader(file)
    assert reader.read().updates == 0
    write_rows(file, *rows(1, 3))
    assert means(reader) == [1.0, 2.0, 3.0]
    write_rows(file, *rows(4, 5))
    assert means(reader) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert means(reader) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(parsed) == 5


def test_a_torn_last_line_is_waited_for_at_any_byte(file):
    whole = "".join(json.dumps(row) + "\n" for row in rows(1, 3)).encode()
    for cut in range(len(whole) + 1):
        reader = MetricsReader(file)
        file.write_bytes(whole[:cut])
        assert means(reader) == [1.0, 2.0, 3.0][: whole[:cut].count(b"\n")]
        with file.open("ab") as opened:
            opened.write(whole[cut:])
        assert means(reader) == [1.0, 2.0, 3.0]
        assert reader.read().wrong_rows == 0


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\x00\xff\x1b[31m",
        "[1]",
        "{}",
        '"update"',
        '{"update": "2", "steps": 20}',
        '{"update": 2, "steps": -20}',
        '{"update": true, "steps": 20}',
        '{"update": 2, "steps": 20.5}',
        '{"update": 2, "steps": 5}',
        '{"update": 2, "steps": 99999999999999}',
        '{"update": 2, "steps": 1e999}',
        '{"update": 2, "steps": ' + "9" * 5000 + "}",
        "[" * 60_000,
        '{"update": 2, "steps": 20, "x": "' + "x" * MOST_LINE + '"}',
        "x" * (3 * MOST_LINE),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_wrong_rows_in_the_middle_are_left_out_and_counted(file, monkeypatch, line, chunk):
    if chunk == 7 and len(line) > 10_000:
        chunk = 1009
    monkeypatch.setattr("trpotui.past_runs.metrics.CHUNK", chunk)
    write_rows(file, *rows(1, 1), line, *rows(3, 3))
    reader = MetricsReader(file)
    assert means(reader) == [1.0, 3.0]
    assert reader.read().wrong_rows == 1


@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "-Infinity", '"1"', "true", "null", "[]", "9" * 400]
)
def test_numbers_that_are_none_are_left_out_of_a_good_row(file, value):
    text = f'{{"update": 2, "steps": 20, "return_mean": {value}, "eval_return": {value}}}'
    write_rows(file, *rows(1, 1), text)
    metrics = MetricsReader(file).read()
    assert (metrics.updates, metrics.wrong_rows, metrics.best) == (2, 0, None)
    assert metrics.returns.count == 1
    assert metrics.evaluations.count == 0


def test_a_file_that_was_replaced_or_cut_is_read_again(file):
    reader = MetricsReader(file)
    write_rows(file, *rows(1, 9))
    assert len(means(reader)) == 9
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(1, 2)))  # cut in place
    assert means(reader) == [1.0, 2.0]
    changed = [{**row, "return_mean": 50.0} for row in rows(1, 30)]  # longer, and another
    file.write_text("".join(json.dumps(row) + "\n" for row in changed))
    assert means(reader) == [50.0] * 30
    other = file.with_name("other")
    write_rows(other, *rows(1, 4))
    other.replace(file)
    assert means(reader) == [1.0, 2.0, 3.0, 4.0]
    file.unlink()
    assert reader.read().updates == 0
    write_rows(file, *rows(1, 1))
    assert means(reader) == [1.0]


def test_a_byte_changed_in_place_is_seen(file):
    reader = MetricsReader(file)
    write_rows(file, *rows(1, 9))
    assert means(reader)[0] == 1.0
    text = file.read_text().replace('"return_mean": 1.0', '"return_mean": 7.0')
    file.write_text(text)
    os.utime(file, ns=(0, time.time_ns() + 10**9))
    assert means(reader)[0] == 7.0


def test_a_resumed_run_cuts_its_metrics_and_goes_on(tmp_path):
    path = make_run(tmp_path, list(scripted_run.training(9)))
    runs = PastRuns(tmp_path)
    assert runs.look()[0].metrics.updates == 9
    with RunDirectory.open(path) as directory:
        directory.truncate_metrics(5)
        assert runs.look()[0].metrics.updates == 5
        directory.append_metrics({"update": 6, "steps": 7000, "return_mean": 77.0})
    metrics = runs.look()[0].metrics
    assert (metrics.updates, metrics.steps, metrics.returns.last) == (6, 7000, (7000, 77.0))


def test_a_long_file_is_read_bit_by_bit_into_bounded_memory(file):
    with file.open("w") as opened:
        for update in range(1, 30_001):
            mean = 500.0 if update == 12_345 else math.sin(update)
            opened.write(f'{{"update": {update}, "steps": {update}, "return_mean": {mean}}}\n')
    reader = MetricsReader(file)
    shares = [reader.read(0).share_read]
    while shares[-1] < 1.0:
        shares.append(reader.read(1).share_read)
        assert len(shares) < 100
    metrics = reader.read()
    assert shares == sorted(set(shares))
    assert shares[0] == 0.0
    assert len(shares) > 4
    assert metrics.updates == metrics.returns.count == 30_000
    assert len(metrics.returns) <= 512
    assert max(bucket.high for bucket in metrics.returns.buckets()) == 500.0


def test_metrics_that_are_no_file_are_a_reason_and_not_waited_for(tmp_path):
    path = make_run(tmp_path)
    os.mkfifo(path / "metrics.jsonl")
    run = only(tmp_path)
    assert (run.condition, run.note) == (Condition.DAMAGED, "metrics.jsonl is no regular file")
    (path / "metrics.jsonl").unlink()
    (path / "metrics.jsonl").symlink_to("/dev/zero")
    assert only(tmp_path).condition is Condition.DAMAGED


def test_a_long_run_does_not_keep_the_others_waiting(tmp_path):
    long = make_run(tmp_path, started=STARTED.replace(hour=20))
    with (long / "metrics.jsonl").open("w") as file:
        for update in range(1, 20_001):
            file.write(f'{{"update": {update}, "steps": {update}, "return_mean": 1.5}}\n')
    for hour in range(3):
        make_run(tmp_path, scripted_run.training(4), started=STARTED.replace(hour=hour))
    pieces = iter(range(5))
    runs = PastRuns(tmp_path)
    found = runs.look(lambda: next(pieces) == 4)
    assert [run.metrics.updates for run in found][1:] == [4, 4, 4]
    assert 0 < found[0].metrics.share_read < 1
    found = runs.look(lambda: True)
    assert 0 < found[0].metrics.share_read < 1
    assert runs.look()[0].metrics.updates == 20_000


# the condition


def test_a_run_that_all_its_steps_were_done_of_is_finished(tmp_path):
    make_run(tmp_path, list(scripted_run.training(scripted_run.UPDATES)))
    run = only(tmp_path)
    assert (run.condition, run.note) == (Condition.FINISHED, "all steps done")


@pytest.mark.parametrize(
    ("settings", "finished"),
    [
        ({"total_episodes": 1}, True),
        ({"total_episodes": 10**6}, False),
        ({"total_episodes": 0}, False),
        ({"rollout_episodes": 2, "total_steps": 97 * 1024 + 1}, False),
        ({"rollout_episodes": 2, "total_steps": 97 * 1024}, True),
        ({"rollout_episodes": 2, "total_episodes": 10**6}, False),
        ({"rollout_episodes": 2, "total_episodes": 1}, True),
    ],
)
def test_a_run_can_be_finished_by_its_episodes(tmp_path, settings, finished):
    config = config_with(**({"total_steps": 10**9} | settings))
    make_run(tmp_path, list(scripted_run.training(scripted_run.UPDATES)), config=config)
    run = only(tmp_path)
    assert (run.condition is Condition.FINISHED) == finished
    if finished:
        what = "episodes" if "total_episodes" in settings else "steps"
        assert run.note == f"all {what} done"


def test_a_solved_run_is_finished(tmp_path):
    path = make_run(tmp_path, list(scripted_run.finished(scripted_run.training(18))))
    (path / "checkpoint.pt").touch()
    run = only(tmp_path)
    assert (run.condition, run.note) == (Condition.FINISHED, "solved")


@pytest.mark.parametrize("name", ["checkpoint.pt", "checkpoint.previous.pt"])
def test_a_run_with_a_checkpoint_and_steps_left_can_be_resumed(tmp_path, name):
    reason = scripted_run.StopReason.STOPPED
    path = make_run(tmp_path, list(scripted_run.finished(scripted_run.training(18), reason)))
    (path / name).touch()
    run = only(tmp_path)
    assert (run.condition, run.note, run.failed) == (Condition.RESUMABLE, "stopped", False)


def test_a_run_that_was_killed_can_be_resumed_or_not(tmp_path):
    path = make_run(tmp_path, list(scripted_run.training(18)))
    run = only(tmp_path)
    assert (run.condition, run.note) == (
        Condition.UNFINISHED,
        "interrupted before its first checkpoint",
    )
    (path / "checkpoint.pt").touch()
    run = only(tmp_path)
    assert (run.condition, run.note) == (Condition.RESUMABLE, "interrupted")


def test_a_solved_run_that_was_started_again_and_killed_is_not_solved(tmp_path):
    path = make_run(tmp_path, list(scripted_run.finished(scripted_run.training(18))))
    with RunDirectory.open(path) as directory:
        record(directory, [scripted_run.started()])
    assert only(tmp_path).note == "interrupted before its first checkpoint"


def test_a_failed_run_says_so_until_it_goes_on(tmp_path):
    path = make_run(tmp_path, list(scripted_run.training(18)))
    (path / "checkpoint.pt").touch()
    with RunDirectory.open(path) as directory:
        directory.write_crash("Traceback")
    run = only(tmp_path)
    assert (run.condition, run.note, run.failed) == (Condition.RESUMABLE, "failed", True)
    with RunDirectory.open(path) as directory:
        record(directory, [scripted_run.started()])
        os.utime(path / "crash.log", (1000, 1000))
    assert only(tmp_path).note == "interrupted"


def test_a_run_that_this_process_writes_is_seen_and_left_alone(tmp_path):
    with RunDirectory.create(tmp_path / "run", CONFIG):
        run = only(tmp_path)
        assert (run.condition, run.note) == (Condition.WRITTEN, "by this app")
        assert run.process == os.getpid()
    assert only(tmp_path).condition is Condition.UNFINISHED


def test_a_run_that_another_process_writes_is_seen_until_it_dies(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from filelock import FileLock; import os\n"
        "path = Path(sys.argv[1]); lock = FileLock(path / '.lock'); lock.acquire()\n"
        "(path / '.writer').write_text(f'{os.getpid()}\\n'); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    path = make_run(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            run = only(tmp_path)
            assert (run.condition, run.note) == (Condition.WRITTEN, f"by process {child.pid}")
            with pytest.raises(RequestError, match=f"is being written by process {child.pid}"):
                delete_run(path, tmp_path)
            assert (path / "config.json").exists()
        finally:
            child.kill()
    assert only(tmp_path).condition is Condition.UNFINISHED


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not list its locks")
def test_a_number_left_by_a_killed_writer_may_be_another_process_by_now(tmp_path):
    path = make_run(tmp_path)
    (path / ".writer").write_text(f"{os.getppid()}\n")
    assert only(tmp_path).condition is Condition.UNFINISHED


@pytest.mark.parametrize("content", ["", "x", "-1", "0", "9" * 30, "\x00" * 100])
def test_nonsense_about_the_writer_is_nobody(tmp_path, content):
    path = make_run(tmp_path)
    (path / ".writer").write_text(content)
    assert only(tmp_path).process is None


# a damaged configuration


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "config.json is missing"),
        ("", "config.json is damaged"),
        ("[]", "config.json is damaged"),
        ('{"seed": ', "config.json is damaged"),
        ("[" * 100_000, "config.json is damaged"),
        ('{"a":' * 30 + "1" + "}" * 30, "config.json is nested too deeply"),
        ('{"seed": ' + "9" * 5000 + "}", "config.json is damaged"),
        ("{}", "config.json is no configuration of a run"),
        (
            '{"algorithm": 1, "environment_id": "a", "hyperparameters": {}}',
            "config.json is no configuration of a run",
        ),
        ('{"x": "' + "x" * 1_000_001 + '"}', "config.json is too large"),
        ("\ud83d\ude00\udcff", "config.json is damaged"),
    ],
)
def test_a_damaged_configuration_is_a_reason(tmp_path, content, reason):
    path = make_run(tmp_path, list(scripted_run.training(4)))
    if content is None:
        (path / "config.json").unlink()
    else:
        (path / "config.json").write_bytes(content.encode(errors="surrogatepass"))
    run = only(tmp_path)
    assert (run.condition, run.note) == (Condition.DAMAGED, reason)
    assert (run.algorithm, run.seed) == ("trpo", 3) or "algorithm" in run.settings
    assert run.metrics.updates == 4


def test_a_configuration_that_nobody_may_wait_for(tmp_path):
    path = make_run(tmp_path)
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")
    assert only(tmp_path).note == "config.json is no regular file"


def test_a_configuration_that_is_mended_is_read_again(tmp_path):
    path = make_run(tmp_path)
    good = (path / "config.json").read_text()
    (path / "config.json").write_text("{")
    runs = PastRuns(tmp_path)
    assert runs.look()[0].condition is Condition.DAMAGED
    (path / "config.json").write_text(good)
    assert runs.look()[0].condition is Condition.UNFINISHED


def test_texts_of_a_stranger_are_harmless_and_short(tmp_path):
    path = make_run(tmp_path)
    bad = "\x1b[31m[red]\u202eevil\n" + "x" * 200
    config = json.loads((path / "config.json").read_text())
    config |= {"environment_id": bad, "algorithm": bad, "environment_kwargs": {bad: bad}, bad: bad}
    config["hyperparameters"] |= {"gamma": 10**300, "x": {"deep": [bad]}, "huge": 1e308}
    config["n_envs"] = "many"
    config["total_steps"] = -1
    config["seed"] = 10**400
    (path / "config.json").write_text(json.dumps(config))
    run = only(tmp_path)
    texts = [run.environment_id, run.algorithm, run.note, *run.settings, *run.settings.values()]
    assert all(text.isprintable() and not {"[", "]"} & {*text} for text in texts)
    assert max(map(len, texts)) <= 60
    assert run.environment_id.startswith("?(31m(red)?evil?")
    assert (run.seed, run.total_steps) == (None, None)
    assert run.settings["gamma"].startswith("1,000,000")


def test_a_million_settings_are_not_all_kept(tmp_path):
    path = make_run(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config["hyperparameters"] = {f"k{i}": i for i in range(50_000)}
    (path / "config.json").write_text(json.dumps(config))
    assert len(only(tmp_path).settings) <= 1000


# comparing


def run_with(tmp_path: Path, hour: int, **changes: object) -> PastRun:
    make_run(tmp_path, config=config_with(**changes), started=STARTED.replace(hour=hour))
    return PastRuns(tmp_path).look()[0]


def test_only_settings_that_differ_are_compared(tmp_path):
    first = run_with(tmp_path, 1)
    second = run_with(tmp_path, 2, max_kl=0.02, seed=4)
    third = run_with(tmp_path, 3, hidden_sizes=(32,), environment_kwargs={"g": [1, 2.5]})
    assert differing([first, second, third]) == [
        ("seed", ("3", "4", "3")),
        ("hidden_sizes", ("64,64", "64,64", "32")),
        ("max_kl", ("0.01", "0.02", "0.01")),
        ("env.g", (None, None, "1,2.5")),
    ]
    assert differing([first, first]) == differing([first]) == differing([]) == []


def test_settings_read_as_they_would_be_typed(tmp_path):
    settings = run_with(tmp_path, 1, normalize_observations=True, total_steps=100_000).settings
    assert settings["normalize_observations"] == "true"
    assert settings["total_steps"] == "100,000"
    assert settings["hidden_sizes"] == "64,64"
    assert settings["max_kl"] == "0.01"
    assert not {"trpotui", "command", "hyperparameters"} & {*settings}


def test_what_was_changed_while_it_ran_is_shown_behind_what_it_began_with(tmp_path):
    path = make_run(tmp_path)
    with RunDirectory.open(path) as directory:
        directory.record_edit(5, {"max_kl": 0.02})
        directory.record_edit(9, {"max_kl": 0.05, "total_steps": 500_000})
    settings = only(tmp_path).settings
    assert settings["max_kl"] == "0.01 → 0.02 → 0.05"
    assert settings["total_steps"] == "500,000"
    assert "live_edits" not in settings


@pytest.mark.parametrize(
    "edits", [1, {}, [1], [{"values": 3}], [{"values": {"max_kl": [[]]}}] * 99]
)
def test_nonsense_in_place_of_changes_is_harmless(tmp_path, edits):
    path = make_run(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"live_edits": edits}))
    assert only(tmp_path).settings["max_kl"].startswith("0.01")


def test_labels_say_what_tells_runs_apart(tmp_path):
    first, second = run_with(tmp_path, 1), run_with(tmp_path, 2, seed=4)
    third = run_with(tmp_path, 3, environment_id="Pendulum-v1")
    assert labels([first]) == ["trpo"]
    assert labels([first, second]) == ["trpo s3", "trpo s4"]
    assert labels([first, third]) == ["CartPole-v1 trpo", "Pendulum-v1 trpo"]
    assert labels([]) == []
    again = run_with(tmp_path, 4)
    same = labels([first, again])
    assert len(set(same)) == 2
    assert all(label.startswith("trpo 2026-11-") for label in same)


# deleting


def test_a_run_is_deleted_whole_and_nothing_beside_it(tmp_path):
    path = make_run(tmp_path, list(scripted_run.training(4)))
    other = make_run(tmp_path, started=STARTED.replace(hour=9))
    for name in ("policy.pt", "best.pt", "checkpoint.pt", "crash.log", ".writing-ab.tmp"):
        (path / name).touch()
    before = sorted(entry.name for entry in other.iterdir())
    assert delete_run(path, tmp_path) == []
    assert not path.exists()
    assert sorted(entry.name for entry in other.iterdir()) == before


def test_what_others_put_there_stays(tmp_path):
    path = make_run(tmp_path)
    (path / "notes.txt").write_text("mine")
    (path / "videos").mkdir()
    assert delete_run(path, tmp_path) == ["notes.txt", "videos"]
    assert sorted(entry.name for entry in path.iterdir()) == ["notes.txt", "videos"]
    assert PastRuns(tmp_path).look() == ()
    with pytest.raises(RequestError, match="holds no run"):
        delete_run(path, tmp_path)


def test_links_go_and_what_they_lead_to_stays(tmp_path):
    path = make_run(tmp_path / "runs")
    (tmp_path / "elsewhere.pt").write_text("precious")
    (path / "best.pt").symlink_to(tmp_path / "elsewhere.pt")
    assert delete_run(path, tmp_path / "runs") == []
    assert (tmp_path / "elsewhere.pt").read_text() == "precious"


@pytest.mark.parametrize("linked", ["environment", "run"])
def test_a_run_behind_a_link_is_shown_but_not_deleted(tmp_path, linked):
    real = make_run(tmp_path / "elsewhere")
    runs = tmp_path / "runs"
    if linked == "run":
        (runs / "CartPole-v1").mkdir(parents=True)
        (runs / "CartPole-v1" / real.name).symlink_to(real)
    else:
        runs.mkdir()
        (runs / "CartPole-v1").symlink_to(real.parent)
    path = only(runs).path
    with pytest.raises(RequestError, match="is a link"):
        delete_run(path, runs)
    assert (real / "config.json").exists()


def test_the_folder_of_runs_itself_may_be_a_link(tmp_path):
    path = make_run(tmp_path / "disk")
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    assert delete_run(only(tmp_path / "runs").path, tmp_path / "runs") == []
    assert not path.exists()


def test_only_runs_inside_the_folder_are_deleted(tmp_path):
    runs = tmp_path / "runs"
    inside = make_run(runs)
    outside = make_run(tmp_path / "other")
    deeper = runs / "a" / "b" / "c"
    RunDirectory.create(deeper, CONFIG).close()
    for path in (outside, deeper, runs, inside / ".." / ".." / ".." / "other", tmp_path):
        with pytest.raises(RequestError, match="is no run in"):
            delete_run(path, runs)
    with pytest.raises(RequestError, match="holds no run"):
        delete_run(runs / "CartPole-v1", runs)
    with pytest.raises(RequestError, match="holds no run"):
        delete_run(runs / "CartPole-v1" / "missing", runs)
    assert (outside / "config.json").exists()
    assert (deeper / "config.json").exists()
    assert (inside / "config.json").exists()


def test_an_environment_with_runs_in_it_is_not_taken_for_one(tmp_path):
    path = make_run(tmp_path)
    (tmp_path / "CartPole-v1" / "best.pt").touch()  # somebody's copy
    assert delete_run(tmp_path / "CartPole-v1", tmp_path) == [path.name]
    assert (path / "config.json").exists()


def test_a_run_that_is_being_written_is_not_deleted(tmp_path):
    with RunDirectory.create(tmp_path / "run", CONFIG) as directory:
        with pytest.raises(RequestError, match=f"written by process {os.getpid()}: stop that run"):
            delete_run(tmp_path / "run", tmp_path)
        directory.log("still here")
    assert delete_run(tmp_path / "run", tmp_path) == []


def test_a_deletion_that_fails_half_way_leaves_no_whole_run_and_can_be_done_again(
    tmp_path, monkeypatch
):
    path = make_run(tmp_path, list(scripted_run.training(4)))
    real = Path.unlink

    def failing(self: Path, missing_ok: bool = False) -> None:
        if self.name == "metrics.jsonl":
            raise PermissionError(13, "Permission denied", str(self))
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", failing)
    with pytest.raises(RequestError, match="cannot be deleted: Permission denied"):
        delete_run(path, tmp_path)
    monkeypatch.undo()
    assert only(tmp_path).note == "config.json is missing"
    assert delete_run(path, tmp_path) == []
