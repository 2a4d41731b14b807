"""When checkpoints are saved: often enough, and at next to no cost."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from resuming import make_config

from trpotui.rl.checkpoint import Progress
from trpotui.rl.saving import Saver
from trpotui.rl.store import Keeper


class Disk:
    """A store on which a checkpoint takes as long as it is told to, and a clock."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds, self.saved = 100.0, seconds, 0

    def clock(self) -> float:
        return self.now

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.now += self.seconds / 2

    def save_checkpoint(self, state):  # noqa: ARG002
        self.now += self.seconds / 2
        self.saved += 1


def make_saver(disk: Disk | None, **values) -> tuple[Saver, Progress]:
    progress = Progress(update=1)
    policy = SimpleNamespace()
    learner = SimpleNamespace(snapshot=lambda: policy, state=dict)
    config = make_config("CartPole-v1", **values)
    clock = Disk(0.0).clock if disk is None else disk.clock
    keeper = Keeper(disk)
    saver = Saver(config, torch.device("cpu"), learner, progress, keeper, clock=clock)
    return saver, progress


def saves(disk: Disk, saver: Saver, progress: Progress, *, seconds: float, update_seconds: float):
    """When checkpoints are saved, in seconds since the beginning."""
    found, began = [], disk.now
    while disk.now - began < seconds:
        disk.now += update_seconds
        progress.update += 1
        if saver.is_due:
            saver.save()
            found.append(disk.now - began)
    return found


def test_as_often_as_configured_where_that_costs_nothing():
    disk = Disk(0.0)
    found = saves(disk, *make_saver(disk), seconds=305, update_seconds=1.0)
    assert found == [30.0 * k for k in range(1, 11)]


@pytest.mark.parametrize("cost", [0.1, 0.5, 2.0, 20.0])
def test_at_no_more_than_a_hundredth_of_the_time(cost):
    disk = Disk(cost)
    saver, progress = make_saver(disk)
    saver.save()
    began = disk.now
    found = saves(disk, saver, progress, seconds=20_000, update_seconds=0.5)
    assert found
    assert len(found) * cost <= 0.01 * (disk.now - began) + cost
    # and no more rarely than that
    gap = max(after - before for before, after in pairwise(found))
    assert gap <= max(30.0, 100 * cost) + cost + 0.5


def test_a_disk_that_is_fast_again_is_used_again():
    disk = Disk(5.0)
    saver, progress = make_saver(disk)
    saver.save()
    disk.seconds = 0.01
    found = saves(disk, saver, progress, seconds=700, update_seconds=1.0)
    assert 500 <= found[0] <= 510
    assert all(after - before < 32 for before, after in pairwise(found))
    assert len(found) > 5


def test_by_updates_as_well_whatever_it_costs():
    disk = Disk(10.0)
    saver, progress = make_saver(disk, checkpoint_updates=4)
    progress.update = 0
    saves(disk, saver, progress, seconds=80, update_seconds=1.0)
    assert disk.saved >= 5
    progress.update = 8
    assert saver.is_due
    progress.update = 9
    assert not saver.is_due


def test_nothing_is_due_where_nothing_is_kept():
    saver, _ = make_saver(None, checkpoint_updates=1)
    assert not saver.is_due


def test_nothing_is_saved_before_the_first_update():
    disk = Disk(1.0)
    saver, progress = make_saver(disk)
    progress.update = 0
    assert not saver.save()
    assert disk.saved == 0
