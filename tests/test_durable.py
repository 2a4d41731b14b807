from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trpotui import durable

OLD, NEW = b"the old content", b"the new content, which is longer"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "policy.pt"
    path.write_bytes(OLD)
    return path


def failing_at(call: int, real: Callable[..., object], error: BaseException):
    """`real`, except that its call number `call` (from 1) raises."""
    calls = 0

    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return real(*args, **kwargs)

    return wrapped


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_replaces_the_content_and_leaves_nothing_else(target):
    durable.write_bytes(target, NEW)
    assert target.read_bytes() == NEW
    assert names(target.parent) == [target.name]


def test_makes_a_new_file_with_the_mode_that_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        durable.write_bytes(tmp_path / "new", NEW)
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_a_name_of_the_longest_length_can_be_written(tmp_path):
    path = tmp_path / ("x" * 255)
    durable.write_bytes(path, NEW)
    assert path.read_bytes() == NEW


def test_a_symbolic_link_stays_one(target, tmp_path):
    link = tmp_path / "latest.pt"
    link.symlink_to(target)
    durable.write_bytes(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, make):
    path = tmp_path / "special"
    make(path)
    kind = path.stat().st_mode
    with pytest.raises(OSError, match="no regular file"):
        durable.write_bytes(path, NEW)
    assert path.stat().st_mode == kind
    assert names(tmp_path) == ["special"]


@pytest.mark.parametrize("directory", ["missing", "policy.pt"])
def test_a_directory_that_does_not_exist_is_an_os_error(target, directory):
    with pytest.raises(OSError, match=r"No such file|Not a directory"):
        durable.write_bytes(target.parent / directory / "x", NEW)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_step_leaves_the_old_content_and_no_other_file(target, monkeypatch, step, error):
    monkeypatch.setattr(os, step, failing_at(1, getattr(os, step), error))
    with pytest.raises(type(error)):
        durable.write_bytes(target, NEW)
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_when_only_the_directory_cannot_be_forced_to_disk_the_new_content_is_there(
    target, monkeypatch
):
    error = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(os, "fsync", failing_at(2, os.fsync, error))
    with pytest.raises(OSError, match="Input/output"):
        durable.write_bytes(target, NEW)
    assert target.read_bytes() == NEW
    assert names(target.parent) == [target.name]


def test_a_file_system_that_cannot_sync_directories_is_good_enough(target, monkeypatch):
    error = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(os, "fsync", failing_at(2, os.fsync, error))
    durable.write_bytes(target, NEW)
    assert target.read_bytes() == NEW


def test_a_disk_that_gives_back_something_else_is_noticed(target, monkeypatch):
    monkeypatch.setattr(durable, "read_bytes", lambda _: NEW[:-1] + b"?")
    with pytest.raises(OSError, match="read back"):
        durable.write_bytes(target, NEW)
    monkeypatch.undo()
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_verify_sees_the_new_content_while_the_old_is_still_there_and_can_refuse_it(target):
    seen = []

    def refuse(data):
        seen.append((data, target.read_bytes()))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        durable.write_bytes(target, NEW, verify=refuse)
    assert seen == [(NEW, OLD)]
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


def test_a_real_limit_on_file_size_leaves_the_old_content(target):
    program = """
import resource, sys
from pathlib import Path
from trpotui import durable
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    durable.write_bytes(Path(sys.argv[1]), bytes(100_000))
except OSError as error:
    print(error.errno)
"""
    result = subprocess.run(
        [sys.executable, "-c", program, target], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{errno.EFBIG}\n"
    assert target.read_bytes() == OLD
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("step", "call"), [("fsync", 1), ("replace", 1), ("fsync", 2)])
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_content(target, step, call, moment):
    program = f"""
import os, signal, sys
from pathlib import Path
from trpotui import durable
real, calls = os.{step}, 0
def killed(*args):
    global calls
    calls += 1
    if calls == {call} and "{moment}" == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args)
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
os.{step} = killed
durable.write_bytes(Path(sys.argv[1]), {NEW!r})
"""
    result = subprocess.run([sys.executable, "-c", program, target], check=False)
    assert result.returncode == -signal.SIGKILL
    renamed = (step, moment) == ("replace", "after") or call == 2
    assert target.read_bytes() == (NEW if renamed else OLD)
    assert len(names(target.parent)) == (1 if renamed else 2)
    durable.remove_leftovers(target.parent)
    assert names(target.parent) == [target.name]


def test_lines_are_added_one_after_the_other(tmp_path):
    for line in (b"one\n", b"two\n"):
        durable.append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_line_for_a_full_disk_is_an_os_error(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        durable.append_line(tmp_path / "log", b"one\n")


def test_a_line_that_fits_only_in_part_is_taken_back(tmp_path):
    program = """
import resource, sys
from pathlib import Path
from trpotui import durable
path = Path(sys.argv[1])
durable.append_line(path, b"one\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
for _ in range(2):
    try:
        durable.append_line(path, b"a line of more than ten bytes\\n")
        print("written")
    except OSError:
        print(path.stat().st_size)
durable.append_line(path, b"two\\n")
"""
    path = tmp_path / "log"
    result = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert result.stdout == "4\n4\n"
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("torn", [b"tw", b"x" * 3_000_000])
@pytest.mark.parametrize("before", [b"", b"one\n"])
def test_what_was_left_of_a_torn_line_is_cut_off_before_the_next_one(tmp_path, before, torn):
    path = tmp_path / "log"
    path.write_bytes(before + torn)
    durable.append_line(path, b"two\n")
    assert path.read_bytes() == before + b"two\n"


def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(target, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data[:7])))
    durable.write_bytes(target, NEW)
    assert target.read_bytes() == NEW


def test_a_disk_that_takes_nothing_is_full(target, monkeypatch):
    monkeypatch.setattr(os, "write", lambda *_: 0)
    with pytest.raises(OSError, match="No space left"):
        durable.write_bytes(target, NEW)
    assert target.read_bytes() == OLD


def test_forcing_a_file_to_the_disk_that_is_not_there_is_nothing_to_do(tmp_path):
    durable.sync(tmp_path / "missing")
    assert names(tmp_path) == []


def test_leftovers_are_only_what_this_module_makes(tmp_path):
    for name in ("keep.tmp", ".hidden", ".writing-notes"):
        (tmp_path / name).touch()
    durable.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", ".writing-notes", "keep.tmp"]


def test_json_comes_back_and_is_readable_by_people(tmp_path):
    value = {"environment_id": "CartPole-v1", "nested": {"sizes": [64, 64], "ä": None}}
    durable.write_json(tmp_path / "config.json", value)
    assert durable.read_json(tmp_path / "config.json") == value
    assert '  "environment_id": "CartPole-v1",\n' in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    ("value", "error"), [({"x": float("nan")}, ValueError), ({"x": object()}, TypeError)]
)
def test_what_json_cannot_express_is_refused_before_the_disk_is_touched(target, value, error):
    with pytest.raises(error):
        durable.write_json(target, value)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"a": ', b"\xff\xfe{}", b'{"a": ' + b"[" * 100_000]
)
def test_what_is_no_json_object_is_a_value_error(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        durable.read_json(tmp_path / "config.json")


def test_it_is_light_enough_for_every_command():
    program = "import sys, trpotui.durable; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
