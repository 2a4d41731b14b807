"""The few policies that show how a run came about: kept, thinned, resumed and found again."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.faults import run_files
from tests.faults.disk import LOSSES, Disk, faults
from tests.policy_samples import saved_policy
from tests.test_resumed_runs import CONFIG, STEPS, Stopping, begin, go_on
from trpotui.errors import PolicyFileError, RequestError
from trpotui.film import best_of, film_of
from trpotui.headless import Reporting, run_headless
from trpotui.past_runs import files
from trpotui.past_runs.deletion import delete_run
from trpotui.policy_file import read_policy, write_policy
from trpotui.rl.checkpoint import Progress
from trpotui.rl.saving import Saver, film_updates
from trpotui.rl.store import Keeper
from trpotui.run_directory import RunDirectory
from trpotui.run_directory.film import film_files, save_film

LONG = 3000


def config(updates: int):
    return dataclasses.replace(CONFIG, total_steps=updates * STEPS)


def content(path: Path) -> dict[int, tuple]:
    """Of the film's policies, by update: what they are, without when they were made."""
    found = {}
    for update, file in film_files(path).items():
        saved = read_policy(file)
        arrays = {**saved.policy.actor, **saved.policy.critic}
        bits = {name: array.tobytes() for name, array in arrays.items()}
        found[update] = (saved.updates, saved.steps, saved.seed, bits)
    return found


# which ones


def test_few_policies_and_one_of_them_in_the_middle_wherever_a_run_ends():
    for update in range(1, LONG):
        wanted = film_updates(update)
        assert wanted[0] == 1
        assert len(wanted) <= 3
        assert max(wanted) <= update
        if update >= 4:
            middle = min(wanted[1:], key=lambda kept: abs(kept / update - 0.5))
            assert update / 3 <= middle <= update * 2 / 3


def test_what_is_wanted_later_was_kept_before():
    kept = set()
    for update in range(1, LONG):
        wanted = set(film_updates(update))
        assert wanted <= kept | {update}
        kept = wanted


# keeping them


@pytest.mark.parametrize("updates", [1, 3, 4, 9])
def test_run_keeps_the_policies_as_they_were(tmp_path, updates):
    begin(tmp_path / "r", config(updates))
    found = content(tmp_path / "r")
    assert tuple(found) == film_updates(updates)
    assert [(kept[0], kept[1]) for kept in found.values()] == [(u, u * STEPS) for u in found]
    for update in set(found) & {1, 2}:  # what a run that ended there had learned
        begin(tmp_path / f"{update}", config(update))
        assert content(tmp_path / f"{update}")[update] == found[update]
    if updates in found:
        last = read_policy(tmp_path / "r" / "policy.pt").policy.actor
        kept = read_policy(tmp_path / "r" / f"film-{updates}.pt").policy.actor
        assert all(np.array_equal(kept[name], last[name]) for name in last)


@pytest.mark.parametrize("first", [4, 5])
def test_resumed_run_keeps_the_same_film(tmp_path, first):
    begin(tmp_path / "whole", config(9))
    begin(tmp_path / "cut", config(first))
    assert tuple(content(tmp_path / "cut")) == film_updates(first)
    go_on(tmp_path / "cut", total_steps=9 * STEPS)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.mark.parametrize("moment", [40, 90])
def test_stopped_anywhere_and_gone_on_with(tmp_path, moment):
    begin(tmp_path / "whole", config(5))
    begin(tmp_path / "cut", config(5), Stopping(moment))
    assert 1 <= read_policy(tmp_path / "cut" / "policy.pt").updates < 5
    go_on(tmp_path / "cut")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_film_that_came_after_the_checkpoint_is_made_again(tmp_path):
    """As after a kill between the film and the checkpoint: it belongs to updates not yet done."""
    begin(tmp_path / "whole", config(5))
    begin(tmp_path / "cut", config(2))
    write_policy(tmp_path / "cut" / "film-4.pt", saved_policy())
    go_on(tmp_path / "cut", total_steps=5 * STEPS)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


class FailingOnce:
    """A store on which the first film does not fit."""

    def __init__(self) -> None:
        self.films: list[tuple[list[int], tuple[int, ...]]] = []

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):
        pass

    def save_checkpoint(self, state):
        pass

    def save_film(self, new, kept):
        self.films.append((sorted(new), tuple(kept)))
        if len(self.films) == 1:
            raise OSError(errno.ENOSPC, "full")


def test_film_that_did_not_fit_goes_with_the_next_save():
    store, progress = FailingOnce(), Progress()
    learner = SimpleNamespace(snapshot=lambda: None, state=dict)
    keeper = Keeper(store)
    saver = Saver(CONFIG, torch.device("cpu"), learner, progress, keeper)
    for update in range(1, 10):
        progress.update = update
        saver.remember()
        if update in (3, 5, 9):
            assert saver.save() == (update != 3)
    assert store.films == [([1, 2], (1, 2)), ([1, 2, 4], (1, 2, 4)), ([8], (1, 4, 8))]
    told = [notice.message for notice in keeper.take_notices()]
    assert [message.split(":")[0] for message in told] == [
        "the film could not be saved",
        "the film can be saved again",
    ]


def test_run_that_prints_its_metrics_keeps_its_film_too(tmp_path, capsys):
    with RunDirectory.create(tmp_path / "r", config(2)) as directory:
        run_headless(
            config(2), directory, output=None, reporting=Reporting(json=True, log_every=100)
        )
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert tuple(content(tmp_path / "r")) == (1, 2)


def test_saving_the_film_is_whole_or_not_at_all(folder):
    def save(root: Path, disk: Disk) -> None:
        with disk:
            save_film(root, {8: run_files.policy(3)}, {1, 4, 8})

    def start(root: Path) -> None:
        save_film(root, {1: run_files.policy(1), 2: run_files.policy(1)}, {1, 2})
        save_film(root, {4: run_files.policy(2)}, {1, 2, 4})

    tried = 0
    for fault in faults(folder, start, save):
        tried += 1
        found = film_files(fault.root)
        assert {1, 4} <= set(found) <= {1, 2, 4, 8}
        # the old one goes only when the new one is there; with the power may go what is not forced
        assert 8 in found or 2 in found or fault.mode in LOSSES
        assert 8 in found or not fault.done or fault.mode in LOSSES
        for update, path in found.items():
            if update != 8 or fault.mode not in LOSSES:
                run_files.update_of(path)
    assert tried >= 40


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_names_are_those_that_are_deleted_with_the_run(tmp_path):
    begin(tmp_path / "runs" / "r", config(1))
    (tmp_path / "runs" / "r" / "film-of-mine.pt").touch()
    assert files.FILM.fullmatch("film-1.pt")
    assert delete_run(tmp_path / "runs" / "r", tmp_path / "runs") == ["film-of-mine.pt"]


# finding them


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of 20 updates; its best policy was that of update 16."""
    path = tmp_path / "run"
    with RunDirectory.create(path, CONFIG) as directory:
        directory.save_policy(at(16), best=True)
        directory.save_film({u: at(u) for u in (1, 8, 16)}, film_updates(20))
        directory.save_policy(at(20), best=False)
    return path


def at(update: int):
    return dataclasses.replace(
        saved_policy(hidden_sizes=(2,)), updates=update, steps=1000 * update, score=None
    )


def test_film_has_first_middle_best_and_last_in_their_order(run):
    takes, missing = film_of(run, read_policy)
    assert [take.title for take in takes] == [
        "first, 1,000 steps",
        "middle, 8,000 steps",
        "best, 16,000 steps",
        "last, 20,000 steps",
    ]
    assert [take.saved.updates for take in takes] == [1, 8, 16, 20]
    assert missing == ""


def test_one_policy_in_two_parts_is_shown_once(run):
    (run / "best.pt").write_bytes((run / "policy.pt").read_bytes())
    takes, _ = film_of(run, read_policy)
    assert [take.title.split(",")[0] for take in takes] == ["first", "middle", "best and last"]


def test_film_of_a_run_that_kept_none_says_what_is_missing(run):
    for path in film_files(run).values():
        path.unlink()
    takes, missing = film_of(run, read_policy)
    assert [take.names for take in takes] == [("best",), ("last",)]
    assert "first" in missing


def test_best_is_the_latest_of_a_run_that_was_not_evaluated(run):
    assert best_of(run).name == "best.pt"
    (run / "best.pt").unlink()
    assert best_of(run).name == "policy.pt"
    (run / "policy.pt").unlink()
    with pytest.raises(RequestError, match="has no policy yet"):
        film_of(run, read_policy)
    with pytest.raises(RequestError, match="holds no run"):
        best_of(run.parent)


@pytest.mark.parametrize(("update", "name"), [(1, "first"), (8, "middle")])
def test_damaged_policy_of_a_film_is_left_out_by_its_name(run, update, name):
    path = run / f"film-{update}.pt"
    path.write_bytes(path.read_bytes()[:100])
    takes, missing = film_of(run, read_policy)
    left = {"first", "middle", "best", "last"} - {name}
    assert {take.names[0] for take in takes} == left
    assert path.name in missing


def test_run_whose_own_policy_is_damaged_has_no_film(run):
    (run / "policy.pt").write_bytes(b"no policy")
    with pytest.raises(PolicyFileError, match=r"policy\.pt"):
        film_of(run, read_policy)


def test_film_is_not_forced_to_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("it took its time"))
    save_film(tmp_path, {1: at(1)}, {1})
    assert read_policy(tmp_path / "film-1.pt").updates == 1
