"""What the list of policies finds, and what it says of files that are none."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta

import pytest

from tests.policy_samples import saved_policy
from trpotui.errors import PolicyFileError
from trpotui.policy_file import write_policy
from trpotui.rl.policy import Score
from trpotui.tui.policy_list import PolicyList, age, amount

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Reader:
    """Reads files by their names, and remembers which."""

    def __init__(self):
        self.read = []

    def __call__(self, path):
        self.read.append(path.name)
        if "broken" in path.name:
            raise PolicyFileError(f"{path.name} is no policy")
        if "awful" in path.name:
            raise MemoryError("too much")
        return saved_policy()


def put(path, data=b"x", *, hours_ago=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    seconds = (NOW - timedelta(hours=hours_ago)).timestamp()
    os.utime(path, (seconds, seconds))
    return path


def policies(tmp_path, read=None):
    return PolicyList(tmp_path / "saved", tmp_path / "runs", read=read or Reader())


def test_there_may_be_no_folders(tmp_path):
    assert policies(tmp_path).scan() == ()


def test_saved_policies_and_those_of_runs_are_found_and_nothing_else(tmp_path):
    put(tmp_path / "saved/a.pt")
    put(tmp_path / "saved/deep/b.pt")
    put(tmp_path / "runs/Env-v1/trpo-s0/best.pt")
    put(tmp_path / "runs/Env-v1/trpo-s0/policy.pt")
    put(tmp_path / "runs/Env-v1/trpo-s0/checkpoint.pt")
    put(tmp_path / "saved/.c.pt.tmp.pt")
    put(tmp_path / "saved/.hidden/d.pt")
    put(tmp_path / "saved/notes.txt")
    (tmp_path / "saved/folder.pt").mkdir()
    (tmp_path / "saved/dangling.pt").symlink_to(tmp_path / "nowhere")
    names = {entry.name for entry in policies(tmp_path).scan()}
    assert names == {"a", "deep/b", "best of trpo-s0", "last of trpo-s0"}


def test_a_policy_is_described(tmp_path):
    path = tmp_path / "saved/cartpole.pt"
    path.parent.mkdir()
    write_policy(path, saved_policy())
    (entry,) = PolicyList(tmp_path / "saved", tmp_path / "runs").scan()
    assert entry.path == path
    assert (entry.name, entry.environment_id, entry.algorithm) == (
        "cartpole",
        "CartPole-v1",
        "trpo",
    )
    assert entry.score == Score(episodes=20, mean=487.5, std=12.25)
    assert entry.steps == 20_480
    assert entry.time == datetime(2026, 11, 20, 8, 15, tzinfo=UTC).timestamp()
    assert entry.problem is None


def test_what_is_no_policy_is_there_with_the_reason(tmp_path):
    put(tmp_path / "saved/text.pt", b"hello")
    (entry,) = PolicyList(tmp_path / "saved", tmp_path / "runs").scan()
    assert entry.name == "text"
    assert entry.problem is not None
    assert "not a policy file" in entry.problem
    assert entry.time == NOW.timestamp()


def test_one_bad_file_takes_no_other_with_it(tmp_path):
    for name in ("awful", "broken", "good"):
        put(tmp_path / f"saved/{name}.pt")
    problems = {entry.name: entry.problem for entry in policies(tmp_path).scan()}
    assert problems == {
        "awful": "it cannot be read: MemoryError: too much",
        "broken": "broken.pt is no policy",
        "good": None,
    }


def test_the_newest_come_first_by_when_they_were_made(tmp_path):
    ages = {"old": 48, "new": 1, "older": 72}

    def read(path):
        made = NOW - timedelta(hours=ages[path.stem])
        return dataclasses.replace(saved_policy(), created=made.isoformat())

    for hours, name in enumerate(ages):  # written in another order
        put(tmp_path / f"saved/{name}.pt", hours_ago=hours)
    assert [entry.name for entry in policies(tmp_path, read).scan()] == ["new", "old", "older"]


@pytest.mark.parametrize("created", ["yesterday", "", "2999-01-01T00:00:00+00:00", "0001-01-01"])
def test_a_time_that_cannot_be_gives_way_to_the_file_s_own(tmp_path, created):
    put(tmp_path / "saved/a.pt", hours_ago=3)
    listed = policies(
        tmp_path, lambda _: dataclasses.replace(saved_policy(), created=created)
    ).scan()
    assert listed[0].time == (NOW - timedelta(hours=3)).timestamp()


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path):
    read = Reader()
    listed = policies(tmp_path, read)
    put(tmp_path / "saved/a.pt", hours_ago=2)
    put(tmp_path / "saved/b.pt", hours_ago=1)
    listed.scan()
    listed.scan()
    assert read.read == ["b.pt", "a.pt"]
    put(tmp_path / "saved/a.pt", b"longer", hours_ago=2)
    listed.scan()
    assert read.read == ["b.pt", "a.pt", "a.pt"]
    put(tmp_path / "saved/b.pt")
    listed.scan()
    assert read.read == ["b.pt", "a.pt", "a.pt", "b.pt"]


def test_what_is_gone_is_forgotten(tmp_path):
    read = Reader()
    listed = policies(tmp_path, read)
    path = put(tmp_path / "saved/a.pt")
    listed.scan()
    path.unlink()
    assert listed.scan() == ()
    put(path)
    assert len(listed.scan()) == 1
    assert read.read == ["a.pt", "a.pt"]


def test_many_files_come_in_portions_the_newest_first(tmp_path):
    listed = policies(tmp_path)
    for number in range(5):
        put(tmp_path / f"saved/{number}.pt", hours_ago=number)
    seen = []
    for _ in range(3):
        seen.append([entry.path.stem for entry in listed.scan(most_read=2)])
        if not listed.unread:
            break
    assert [sorted(names) for names in seen] == [["0", "1"], ["0", "1", "2", "3"], list("01234")]


def test_a_stranger_s_words_cannot_command_the_terminal(tmp_path):
    put(tmp_path / "saved/a\x1b[2J\nb.pt")

    def read(_):
        raise PolicyFileError("bad \x1b]0;title\x07 " + "x" * 5000)

    (entry,) = policies(tmp_path, read).scan()
    assert entry.name == "a [2J b"
    assert entry.problem is not None
    assert entry.problem.isprintable()
    assert len(entry.problem) <= 300


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "now"), (4.9, "now"), (30, "30 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"),
     (7200, "2 h"), (86_400, "1 d"), (86_400 * 400, "400 d")],
)  # fmt: skip
def test_ages(seconds, expected):
    assert age(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (9_999, "9,999"), (20_480, "20k"), (999_499, "999k"), (999_500, "1.0M"),
     (1_500_000, "1.5M"), (2_000_000_000, "2,000.0M")],
)  # fmt: skip
def test_amounts(count, expected):
    assert amount(count) == expected
