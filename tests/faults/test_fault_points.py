"""Every write, fsync, rename and read fails once, or from then on, or is the last thing there is.

After each of these faults the disk holds the old state or the new one, whole. `LEAST` counts them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.disk import ENDS, FAILURES, LOSSES, OF_WRITES, Disk, Fault, faults
from tests.faults.run_files import (
    CONFIG,
    LONGER,
    POLICIES,
    a_run,
    config_of,
    policy,
    row,
    rows,
    state,
    update_of,
    whole,
)
from trpotui import run_directory
from trpotui.errors import RequestError
from trpotui.policy_file import read_policy, write_policy
from trpotui.rl.store import Keeper
from trpotui.run_directory import RunDirectory

LEAST = {
    "policy": 45,
    "policies of a run": 90,
    "first checkpoint": 65,
    "checkpoint": 120,
    "metrics": 18,
    "cut metrics": 60,
    "new run": 100,
    "configuration": 45,
    "edit": 45,
    "resume": 190,
    **{f"run, {mode}": 9 if mode in OF_WRITES else 75 for mode in FAILURES + ENDS},
}
"""Distinct faults (operation, mode, number of the call) that must have been tried at least."""


@pytest.fixture(autouse=True)
def _made_once(monkeypatch):
    """A policy's bytes take longer to make than to write."""
    monkeypatch.setattr(run_directory, "policy_bytes", lambda saved: POLICIES[saved.updates])


def counted(name: str, found: Iterator[Fault]) -> Iterator[Fault]:
    """The faults, of which there are as many as `LEAST` says."""
    seen = set()
    for fault in found:
        seen.add((fault.mode, fault.number))
        yield fault
    assert len(seen) >= LEAST[name]


def refused_or_lost(fault: Fault) -> bool:
    """Whether the operation ended in a sentence, or with the power."""
    return fault.mode in LOSSES or isinstance(fault.raised, RequestError)


def swept(run: Path) -> None:
    """No file of a writer that did not come to its end is left once the run is opened again."""
    RunDirectory.open(run).close()
    assert not list(run.glob(".writing-*"))


def test_there_are_300_faults_and_more():
    assert sum(LEAST.values()) >= 300


def test_policy(folder):
    def save(root: Path, disk: Disk) -> None:
        with disk:
            write_policy(root / "policy.pt", policy(2))

    start = lambda root: write_policy(root / "policy.pt", policy(1))  # noqa: E731
    for fault in counted("policy", faults(folder, start, save)):
        assert read_policy(fault.root / "policy.pt").updates in ((2,) if fault.done else (1, 2))


def test_policies_of_a_run(folder):
    def save(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run, disk:
            run.save_policy(policy(2), best=True)

    found = faults(folder, lambda root: a_run(root, 1), save)
    for fault in counted("policies of a run", found):
        latest, best = update_of(fault.root / "policy.pt"), update_of(fault.root / "best.pt")
        assert (latest, best) in ((1, 1), (2, 1), (2, 2))
        assert not fault.done or (latest, best) == (2, 2)
        swept(fault.root)


def test_first_checkpoint(folder):
    def save(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run:
            run.append_metrics(row(1))
            with disk:
                run.save_checkpoint(state(1))

    for fault in counted("first checkpoint", faults(folder, a_run, save)):
        with RunDirectory.open(fault.root) as run:
            newest = whole(run)
            assert newest == 1 or not fault.done
            assert newest == 0 or rows(fault.root) == [1]


def test_checkpoint(folder):
    def save(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run:
            run.load_checkpoint()
            run.append_metrics(row(3))
            with disk:
                run.save_checkpoint(state(3))

    found = faults(folder, lambda root: a_run(root, 2), save)
    for fault in counted("checkpoint", found):
        with RunDirectory.open(fault.root) as run:
            loaded, notice = run.load_checkpoint()
            newest = loaded["update"]
            assert notice is None
            assert newest in ((3,) if fault.done else (2, 3))
            assert run.truncate_metrics(newest) is None
            assert rows(fault.root) == [1, 2, 3][:newest]
            (fault.root / "checkpoint.pt").unlink()
            assert run.load_checkpoint()[0]["update"] in (1, 2)


def test_metrics(folder):
    def append(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run:
            with disk, suppress(OSError):
                run.append_metrics(row(3))
            if disk.fault not in ENDS:
                run.append_metrics(row(4))

    found = faults(folder, lambda root: a_run(root, 2), append)
    for fault in counted("metrics", found):
        if fault.mode in ENDS:
            with RunDirectory.open(fault.root) as run:
                missing = run.truncate_metrics(3)
            assert rows(fault.root) in ([1, 2], [1, 2, 3])
            assert (missing is None) == (len(rows(fault.root)) == 3)
        else:
            assert rows(fault.root) == [1, 2, 3, 4]


def test_cut_metrics(folder):
    def cut(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run, disk:
            run.truncate_metrics(1)

    for fault in counted("cut metrics", faults(folder, lambda root: a_run(root, 3), cut)):
        assert rows(fault.root) in ([1], [1, 2, 3])
        assert not fault.done or rows(fault.root) == [1]
        swept(fault.root)


def test_new_run(folder):
    def create(root: Path, disk: Disk) -> None:
        with disk, RunDirectory.create(root / "a" / "run", CONFIG):
            pass

    for fault in counted("new run", faults(folder, lambda _: None, create)):
        run = fault.root / "a" / "run"
        if fault.raised is not None:
            assert refused_or_lost(fault)
        if fault.raised is not None and fault.mode == "once":
            assert list(fault.root.iterdir()) == []
        if (run / "config.json").exists():
            assert config_of(run) == CONFIG
        else:
            assert not fault.done
            RunDirectory.create(run, CONFIG).close()  # what is left of it is in nobody's way
            swept(run)


def test_configuration(folder):
    def change(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run, disk:
            run.write_config(LONGER)

    for fault in counted("configuration", faults(folder, a_run, change)):
        assert config_of(fault.root) in (CONFIG, LONGER)
        assert not fault.done or config_of(fault.root) == LONGER


def test_edit(folder):
    def edit(root: Path, disk: Disk) -> None:
        with RunDirectory.open(root) as run, disk:
            run.record_edit(7, {"max_kl": 0.02})

    for fault in counted("edit", faults(folder, a_run, edit)):
        edits = json.loads((fault.root / "config.json").read_text()).get("live_edits")
        assert edits in (None, [{"update": 7, "values": {"max_kl": 0.02}}])
        assert not fault.done or edits is not None
        assert config_of(fault.root) == CONFIG


def test_resume(folder):
    """Opening a run that was killed while its checkpoint was behind its metrics."""

    def start(root: Path) -> None:
        a_run(root, 2)
        with RunDirectory.open(root) as run:
            run.append_metrics(row(3))
        with (root / "metrics.jsonl").open("ab") as file:
            file.write(b'{"update": 4, "k')
        (root / ".writing-0123456789abcdef.tmp").write_bytes(b"half a policy")

    told = []

    def resume(root: Path, disk: Disk) -> None:
        with disk, RunDirectory.open(root) as run:
            loaded, notice = run.load_checkpoint()
            assert (loaded["update"] == 2) == (notice is None)
            told.append(notice)
            run.truncate_metrics(loaded["update"])
            run.write_config(LONGER)

    for fault in counted("resume", faults(folder, start, resume)):
        assert fault.raised is None or refused_or_lost(fault)
        with RunDirectory.open(fault.root) as run:
            assert run.load_checkpoint() == ({**state(2), "parameters": pytest.approx(2)}, None)
            assert run.truncate_metrics(2) in (None, "metrics.jsonl lacks update 2")
        assert rows(fault.root) in ([1], [1, 2])
        assert config_of(fault.root) in (CONFIG, LONGER)
    assert any(notice and "the one before it" in notice for notice in told)


def one_update(keeper: Keeper, update: int) -> bool:
    """What the trainer keeps of an update with a checkpoint, a new best policy in the first two."""
    kept = keeper.metrics(row(update))
    kept &= keeper.policy(policy(update), best=update < 3)
    return kept & keeper.checkpoint(state(update))


def fitting(run: RunDirectory) -> int:
    """The update of the checkpoint, which metrics and best policy are not behind; 0 without one."""
    newest = whole(run)
    if newest:
        assert rows(run.path, newest) == [1, 2, 3][:newest]
        assert update_of(run.path / "policy.pt") >= 1
        assert update_of(run.path / "best.pt") >= min(newest, 2)
    return newest


@pytest.mark.parametrize("mode", FAILURES + ENDS)
def test_run(folder, mode):
    """Metrics, policies and checkpoints, one after the other, fit together whatever happens."""

    def train(root: Path, disk: Disk) -> None:
        with RunDirectory.create(root / "run", CONFIG) as run:
            keeper = Keeper(run)
            with disk:
                for update in (1, 2):
                    one_update(keeper, update)
            if disk.fault not in ENDS:
                fitting(run)
                assert one_update(keeper, 3)  # the disk has room again

    for fault in counted(f"run, {mode}", faults(folder, lambda _: None, train, [mode])):
        with RunDirectory.open(fault.root / "run") as run:
            newest = fitting(run)
            assert newest == 3 or mode in ENDS
            assert newest >= 2 or not fault.done
            assert run.truncate_metrics(newest) is None
            assert newest == 0 or rows(run.path) == [1, 2, 3][:newest]
