"""Memory that tensors leave stays with the process for as long as a run trains, and no longer."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap

import pytest
from resuming import make_config

from trpotui.rl import allocation, trainer

PROGRAM = textwrap.dedent(
    """
    import ctypes, json, resource

    import torch

    from trpotui.rl.allocation import MMAP_THRESHOLD, TRIM_THRESHOLD, freed_memory_kept

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() // 2**20

    def faults():
        rounds = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            tensors = [torch.ones(2**20) for _ in range(8)]  # 4 MiB each
            del tensors
            rounds.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
        return min(rounds)

    for threshold in (TRIM_THRESHOLD, MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(threshold, 2**17)  # with which glibc begins
    found = {"given back": faults()}
    with freed_memory_kept():
        found["kept"] = faults()
        found["mb"] = resident()
    found["mb afterwards"] = resident()
    print(json.dumps(found))
    """
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's")
def test_tensors_find_the_memory_that_others_left():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["kept"] < found["given back"] / 4
    assert found["mb afterwards"] <= found["mb"] - 24


def test_elsewhere_nothing_is_set(monkeypatch):
    monkeypatch.setattr(allocation.sys, "platform", "darwin")
    monkeypatch.setattr(allocation.ctypes, "CDLL", lambda _: pytest.fail("asked for a library"))
    with allocation.freed_memory_kept():
        pass


def test_a_run_keeps_it_until_it_ends(monkeypatch):
    told = []

    @contextlib.contextmanager
    def kept():
        told.append("kept")
        yield
        told.append("given back")

    monkeypatch.setattr(trainer, "freed_memory_kept", kept)
    for event in trainer.train(make_config("CartPole-v1", total_steps=100)):
        told.append(type(event).__name__)
    assert (told[0], told[-1]) == ("kept", "given back")
    assert "UpdateFinished" in told
