from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch
from policy_samples import saved_policy

import trpotui
from trpotui import durable
from trpotui.config import RunConfig, build
from trpotui.errors import RequestError, RunError
from trpotui.policy_file import read_policy
from trpotui.run_directory import RunDirectory, lock
from trpotui.run_directory import metrics as metrics_file

CONFIG = RunConfig(algorithm="trpo", environment_id="CartPole-v1", seed=3)
NOW = datetime(2026, 11, 20, 8, 15, tzinfo=UTC)


@pytest.fixture
def run(tmp_path):
    with RunDirectory.create(tmp_path / "run", CONFIG) as directory:
        yield directory


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def refusal(action, *arguments) -> str:
    with pytest.raises(RequestError) as caught:
        action(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# where a run goes


def test_a_run_is_named_after_what_it_trains_and_when(tmp_path):
    path = RunDirectory.default_path(tmp_path, CONFIG, NOW)
    assert path == tmp_path / "CartPole-v1" / "trpo-s3-20261120T081500Z"


def test_the_time_is_utc(tmp_path):
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert RunDirectory.default_path(tmp_path, CONFIG, there).name == "trpo-s3-20261120T081500Z"


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("../../etc", "etc"),
        ("module:Env-v0", "module-Env-v0"),
        ("a\\b c\n\x1b", "a-b-c"),
        ("..", "run"),
    ],
)
def test_an_environment_cannot_lead_elsewhere(tmp_path, environment, name):
    config = dataclasses.replace(CONFIG, environment_id=environment)
    path = RunDirectory.default_path(tmp_path, config, NOW)
    assert path.parent == tmp_path / name


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    made = []
    for _ in range(3):
        path = RunDirectory.default_path(tmp_path, CONFIG, NOW)
        path.mkdir(parents=True)
        made.append(path.name)
    first = "trpo-s3-20261120T081500Z"
    assert made == [first, f"{first}-2", f"{first}-3"]


# creating and opening


def test_config_json_is_everything_needed_to_run_it_again(tmp_path):
    path = tmp_path / "runs" / "CartPole-v1" / "x"
    RunDirectory.create(path, CONFIG, command=["trpotui", "train"]).close()
    text = (path / "config.json").read_text()
    assert '\n  "environment_id": "CartPole-v1",\n' in text
    stored = json.loads(text)
    assert stored["trpotui"] == trpotui.__version__
    assert stored["command"] == ["trpotui", "train"]
    with RunDirectory.open(path) as directory:
        assert directory.path == path
        assert build(RunConfig, directory.config(), what="setting") == CONFIG


def test_a_resumed_run_that_grew_says_so(tmp_path):
    RunDirectory.create(tmp_path, CONFIG, command=["x"]).close()
    longer = dataclasses.replace(CONFIG, total_steps=10**6)
    with RunDirectory.open(tmp_path) as directory:
        directory.write_config(longer)
        assert directory.config()["total_steps"] == 10**6
    stored = json.loads((tmp_path / "config.json").read_text())
    assert (stored["total_steps"], stored["command"]) == (10**6, ["x"])


def test_a_directory_that_exists_and_holds_no_run_is_used(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunDirectory.create(tmp_path, CONFIG).close()
    assert {"config.json", "notes.txt"} <= set(names(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "policy.pt", "checkpoint.pt"])
def test_a_directory_that_holds_a_run_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).write_text("of another run")
    assert refusal(RunDirectory.create, tmp_path, CONFIG) == (
        f"{tmp_path} already holds a run: go on with it by --resume {tmp_path}, "
        "or choose another --run-dir"
    )
    assert names(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "of another run"


def test_a_path_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    message = refusal(RunDirectory.create, tmp_path / "file" / "run", CONFIG)
    assert (
        f"{tmp_path / 'file' / 'run'} cannot be used as a run directory: Not a directory" in message
    )
    assert names(tmp_path) == ["file"]


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(RunDirectory.create, tmp_path / "file", CONFIG)


def test_a_file_system_that_takes_no_files_is_refused():
    path = Path("/proc/self/fdinfo")
    before = names(path)
    assert "cannot be used as a run directory" in refusal(RunDirectory.create, path, CONFIG)
    assert "choose another --run-dir" in refusal(RunDirectory.create, path / "run", CONFIG)
    assert len(names(path)) == len(before)


@pytest.mark.parametrize("call", range(1, 5))
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_creation_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, step, call):
    calls, real = 0, getattr(os, step)

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, step, failing)
    if step == "replace" and call > 2:  # there are two files: who writes, and the configuration
        RunDirectory.create(tmp_path / "a" / "b", CONFIG).close()
        assert calls == 2
        return
    message = refusal(RunDirectory.create, tmp_path / "a" / "b", CONFIG)
    assert "No space left on device" in message
    assert names(tmp_path) == []


def test_a_configuration_that_json_cannot_express_leaves_nothing_behind(tmp_path):
    config = dataclasses.replace(CONFIG, environment_kwargs={"x": object()})
    assert "cannot be kept as JSON" in refusal(RunDirectory.create, tmp_path / "run", config)
    assert names(tmp_path) == []


@pytest.mark.parametrize("path", ["", "missing"])
def test_a_directory_without_a_run_cannot_be_opened(tmp_path, path):
    message = refusal(RunDirectory.open, tmp_path / path)
    assert message == f"{tmp_path / path} holds no run: there is no config.json in it"
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", ["", "[]", '{"seed": 0'])
def test_a_damaged_configuration_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    assert "config.json is damaged" in refusal(RunDirectory.open, tmp_path)
    assert names(tmp_path) == ["config.json"]


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    RunDirectory.create(tmp_path, CONFIG).close()
    (tmp_path / ".writing-0123456789abcdef.tmp").write_text("half a pol")
    RunDirectory.open(tmp_path).close()
    assert names(tmp_path) == [".lock", "config.json"]


# the lock


@pytest.mark.parametrize(
    "action", [RunDirectory.open, lambda path: RunDirectory.create(path, CONFIG)]
)
def test_a_second_writer_is_refused_with_the_first_ones_process(run, action):
    assert refusal(action, run.path) == (
        f"{run.path} is being written by process {os.getpid()}: stop it or choose another --run-dir"
    )
    run.log("the first still writes")
    assert "the first still writes" in (run.path / "run.log").read_text()


def test_after_closing_once_or_twice_another_may_write(run):
    run.close()
    with RunDirectory.open(run.path) as other:
        run.close()
        assert "is being written" in refusal(RunDirectory.open, other.path)


def test_a_process_that_died_and_left_its_number_is_not_blamed(run, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (run.path / ".writer").write_text(f"{dead.pid}\n")
    assert "is being written by another process: " in refusal(RunDirectory.open, run.path)


def test_of_twenty_starts_at_once_one_gets_the_directory(tmp_path):
    def start(_):
        try:
            return RunDirectory.create(tmp_path / "a" / "run", CONFIG)
        except RequestError as error:
            return str(error)

    with ThreadPoolExecutor(20) as threads:
        results = list(threads.map(start, range(20)))
    started = [result for result in results if isinstance(result, RunDirectory)]
    refused = [result for result in results if isinstance(result, str)]
    assert len(started) == 1
    assert len(refused) == 19
    assert all(f"is being written by process {os.getpid()}" in message for message in refused)
    started[0].close()
    assert json.loads((tmp_path / "a" / "run" / "config.json").read_text())["seed"] == 3


def test_the_lock_of_a_killed_process_is_free_again(tmp_path):
    program = """
import sys, time
from pathlib import Path
from trpotui.config import RunConfig
from trpotui.run_directory import RunDirectory
directory = RunDirectory.create(Path(sys.argv[1]), RunConfig())
directory.append_metrics({"update": 1})
print("ready", flush=True)
time.sleep(60)
"""
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            assert f"is being written by process {child.pid}:" in refusal(RunDirectory.open, path)
        finally:
            child.send_signal(signal.SIGKILL)
    with RunDirectory.open(path) as directory:
        assert (path / ".writer").read_text() == f"{os.getpid()}\n"
        assert directory.config()["environment_id"] == "CartPole-v1"


# metrics


def rows(run) -> list[dict]:
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def test_metrics_are_a_line_of_json_each_and_on_disk_at_once(run):
    run.append_metrics({"update": 1, "kl": 0.01, "accepted": True, "reject_reason": "no_gain"})
    run.append_metrics({"update": 2, "kl": math.nan, "return_mean": -math.inf})
    text = (run.path / "metrics.jsonl").read_text()
    assert text == (
        '{"update": 1, "kl": 0.01, "accepted": true, "reject_reason": "no_gain"}\n'
        '{"update": 2, "kl": null, "return_mean": null}\n'
    )


def test_every_number_comes_back_exactly(run):
    row = {"update": 1, "a": 0.1 + 0.2, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2**62}
    run.append_metrics(row)
    assert rows(run) == [row]


def test_a_line_torn_at_any_byte_is_dropped(run):
    for update in (1, 2, 3):
        run.append_metrics({"update": update, "é": "\n"})
    path = run.path / "metrics.jsonl"
    whole = path.read_bytes()
    ends = [match.end() for match in re.finditer(b"\n", whole)]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        run.truncate_metrics(3)
        assert path.read_bytes() == whole[: max([0, *(end for end in ends if end <= length)])]
    assert [row["update"] for row in rows(run)] == [1, 2, 3]


@pytest.mark.parametrize("last", range(5))
def test_rows_after_the_checkpoint_are_cut(run, last):
    for update in (1, 2, 3):
        run.append_metrics({"update": update})
    run.truncate_metrics(last)
    assert [row["update"] for row in rows(run)] == [1, 2, 3][:last]
    run.append_metrics({"update": last + 1})
    assert rows(run)[-1] == {"update": last + 1}


def test_without_metrics_there_is_nothing_to_cut(run):
    run.truncate_metrics(3)
    assert not (run.path / "metrics.jsonl").exists()


@pytest.mark.parametrize("line", ["[1]", "{}", '{"update": "2"}', "\x00", "[" * 10_000])
def test_what_is_no_row_ends_the_metrics(run, line):
    run.append_metrics({"update": 1})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(line + '\n{"update": 2}\n')
    run.truncate_metrics(2)
    assert rows(run) == [{"update": 1}]


def test_a_full_disk_is_an_os_error(run):
    (run.path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        run.append_metrics({"update": 1})


def fill_disk_of(path: Path) -> None:
    path.symlink_to("/dev/full")


def test_rows_that_a_full_disk_did_not_take_come_with_the_next_one(run):
    path = run.path / "metrics.jsonl"
    fill_disk_of(path)
    for update in (1, 2):
        with pytest.raises(OSError, match="No space left"):
            run.append_metrics({"update": update})
    path.unlink()
    run.append_metrics({"update": 3})
    assert rows(run) == [{"update": 1}, {"update": 2}, {"update": 3}]


def test_a_checkpoint_is_never_ahead_of_its_metrics(run):
    path = run.path / "metrics.jsonl"
    fill_disk_of(path)
    with pytest.raises(OSError, match="No space left"):
        run.append_metrics({"update": 1})
    with pytest.raises(OSError, match="No space left"):
        run.save_checkpoint(state(1))
    assert not (run.path / "checkpoint.pt").exists()
    path.unlink()
    run.save_checkpoint(state(1))
    assert rows(run) == [{"update": 1}]
    assert run.load_checkpoint()[0]["update"] == 1


def test_the_oldest_of_very_many_rows_that_wait_are_lost(run, monkeypatch):
    monkeypatch.setattr(metrics_file, "MOST_WAITING", 3)
    run.close()
    with RunDirectory.open(run.path) as directory:
        fill_disk_of(run.path / "metrics.jsonl")
        for update in range(1, 6):
            with pytest.raises(OSError, match="No space left"):
                directory.append_metrics({"update": update})
        (run.path / "metrics.jsonl").unlink()
        directory.append_metrics({"update": 6})
    assert [row["update"] for row in rows(run)] == [4, 5, 6]


@pytest.mark.parametrize(
    ("last", "missing"), [(3, None), (4, "lacks update 4"), (6, "lacks updates 4 to 6")]
)
def test_what_the_metrics_lack_is_said(run, last, missing):
    for update in (1, 2, 3):
        run.append_metrics({"update": update})
    assert run.truncate_metrics(last) == (missing and f"metrics.jsonl {missing}")


def test_metrics_that_cannot_be_read_are_a_refusal(run):
    (run.path / "metrics.jsonl").mkdir()
    assert refusal(run.truncate_metrics, 1) == (
        f"{run.path} cannot be used as a run directory: Is a directory"
    )


# policies


def test_a_best_policy_that_a_full_disk_did_not_take_comes_with_the_next_save(run):
    for save in (
        lambda: run.save_checkpoint(state(1)),
        lambda: run.save_policy(saved_policy(), best=False),
    ):
        (run.path / "best.pt").mkdir()  # nothing can be renamed to that
        with pytest.raises(OSError, match="no regular file"):
            run.save_policy(dataclasses.replace(saved_policy(), updates=33), best=True)
        (run.path / "best.pt").rmdir()
        save()
        assert read_policy(run.path / "best.pt").updates == 33
        (run.path / "best.pt").unlink()


def test_the_latest_policy_is_kept_and_the_best(run):
    first, second = saved_policy(), dataclasses.replace(saved_policy(), updates=21)
    run.save_policy(first, best=True)
    run.save_policy(second, best=False)
    assert read_policy(run.path / "best.pt").updates == first.updates
    assert read_policy(run.path / "policy.pt").updates == 21


def test_a_policy_that_is_not_the_best_makes_no_best_file(run):
    run.save_policy(saved_policy(), best=False)
    assert not (run.path / "best.pt").exists()


def test_a_policy_that_is_not_finite_replaces_nothing(run):
    run.save_policy(saved_policy(), best=True)
    before = (run.path / "policy.pt").read_bytes()
    broken = saved_policy()
    broken.policy.critic["0.bias"][0] = math.nan
    with pytest.raises(RunError, match="not finite"):
        run.save_policy(broken, best=True)
    assert (run.path / "policy.pt").read_bytes() == before
    assert (run.path / "best.pt").read_bytes() == before


# checkpoints


def state(update: int) -> dict:
    return {
        "update": update,
        "parameters": torch.arange(1000, dtype=torch.float32) + update,
        "generator": torch.Generator().get_state(),
        "nested": {"optimizer": [{"step": 3, "exp_avg": torch.ones(2, dtype=torch.float64)}]},
        "rng": '{"state": 1}',
        "best": None,
    }


def test_a_checkpoint_comes_back_exactly(run):
    run.save_checkpoint(state(7))
    loaded, notice = run.load_checkpoint()
    assert notice is None
    assert loaded.keys() == state(7).keys()
    assert torch.equal(loaded["parameters"], state(7)["parameters"])
    assert torch.equal(loaded["generator"], state(7)["generator"])
    assert loaded["nested"]["optimizer"][0]["exp_avg"].dtype is torch.float64


def test_the_checkpoint_before_it_is_kept(run):
    for update in (1, 2, 3):
        run.save_checkpoint(state(update))
    assert torch.load(run.path / "checkpoint.previous.pt", weights_only=True)["update"] == 2
    assert run.load_checkpoint()[0]["update"] == 3


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.find(state(2)["parameters"].numpy().tobytes()) + 1000] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_something_else(path: Path) -> None:
    torch.save([1, 2], path)


@pytest.mark.parametrize("damage", [flip, cut, empty, of_something_else, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(run, damage):
    run.save_checkpoint(state(1))
    run.save_checkpoint(state(2))
    damage(run.path / "checkpoint.pt")
    loaded, notice = run.load_checkpoint()
    assert loaded["update"] == 1
    word = "missing" if damage is Path.unlink else "damaged"
    assert notice == f"checkpoint.pt is {word}: going on from the one before it"


@pytest.mark.parametrize("load_first", [True, False])
def test_a_damaged_checkpoint_never_replaces_the_good_one_before_it(run, load_first):
    run.save_checkpoint(state(1))
    run.save_checkpoint(state(2))
    run.close()
    cut(run.path / "checkpoint.pt")
    with RunDirectory.open(run.path) as resumed:
        if load_first:
            resumed.load_checkpoint()
        resumed.save_checkpoint(state(3))
        cut(run.path / "checkpoint.pt")
        assert resumed.load_checkpoint()[0]["update"] == 1


def test_after_a_good_resume_the_generations_go_on(run):
    run.save_checkpoint(state(1))
    run.close()
    with RunDirectory.open(run.path) as resumed:
        resumed.load_checkpoint()
        resumed.save_checkpoint(state(2))
        cut(run.path / "checkpoint.pt")
        assert resumed.load_checkpoint()[0]["update"] == 1


def test_a_checkpoint_that_the_disk_has_lost_does_not_keep_the_next_one_from_being_saved(
    run, monkeypatch
):
    run.save_checkpoint(state(1))
    run.save_checkpoint(state(2))
    real = durable.read_bytes

    def unreadable(path):
        if path.name == "checkpoint.pt":
            raise OSError(errno.EIO, "Input/output error")
        return real(path)

    monkeypatch.setattr(durable, "read_bytes", unreadable)
    run.save_checkpoint(state(3))
    monkeypatch.undo()
    assert run.load_checkpoint()[0]["update"] == 3
    (run.path / "checkpoint.pt").unlink()
    assert run.load_checkpoint()[0]["update"] == 1


def test_a_checkpoint_that_someone_removed_is_written_anew(run):
    run.save_checkpoint(state(1))
    (run.path / "checkpoint.pt").unlink()
    run.save_checkpoint(state(2))
    assert run.load_checkpoint()[0]["update"] == 2


def test_no_checkpoint_at_all_is_a_sentence(run):
    assert refusal(run.load_checkpoint) == (
        f"{run.path} cannot be gone on with: "
        "checkpoint.pt is missing and checkpoint.previous.pt is missing"
    )


@pytest.mark.parametrize("call", range(1, 7))
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_save_leaves_a_checkpoint_that_loads(run, monkeypatch, step, call):
    run.save_checkpoint(state(1))
    run.save_checkpoint(state(2))
    calls, real = 0, getattr(os, step)

    def failing(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, step, failing)
    needed = 4 if step == "fsync" else 2
    if call <= needed:
        with pytest.raises(OSError, match="No space"):
            run.save_checkpoint(state(3))
    else:
        run.save_checkpoint(state(3))
        assert calls == needed
    monkeypatch.undo()
    loaded, notice = run.load_checkpoint()
    assert notice is None
    # the last fsync is the directory's: by then the new checkpoint has its name
    assert loaded["update"] == (3 if call > needed or (step, call) == ("fsync", 4) else 2)
    (run.path / "checkpoint.pt").unlink()
    assert run.load_checkpoint()[0]["update"] in (1, 2)
    assert not list(run.path.glob(".writing-*"))


def test_a_state_that_could_not_be_loaded_again_is_not_saved(run):
    run.save_checkpoint(state(1))
    with pytest.raises(RunError, match="the checkpoint was not saved"):
        run.save_checkpoint({"update": 2, "path": Path("x")})
    assert run.load_checkpoint()[0]["update"] == 1


# logs


def test_the_log_has_a_time_and_one_line_for_each_message(run):
    run.log("update 18: KL 0.0093")
    run.log("two\nlines \ud800")
    lines = (run.path / "run.log").read_text().splitlines()
    assert [line[21:] for line in lines] == ["update 18: KL 0.0093", "two lines \\ud800"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line[:21]) for line in lines)


def test_a_log_that_cannot_be_written_does_not_end_the_run(run):
    (run.path / "run.log").symlink_to("/dev/full")
    (run.path / "crash.log").mkdir()
    run.log("lost")
    run.write_crash("lost too")
    assert (run.path / "crash.log").is_dir()


def test_a_crash_is_written_in_full(run):
    run.write_crash("Traceback\n  first")
    run.write_crash("Traceback\n  second\n\n")
    text = (run.path / "crash.log").read_text()
    assert text[20:] == "\nTraceback\n  second\n"
