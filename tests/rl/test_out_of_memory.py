"""A device that has no more memory: said in a sentence, after what was learned is saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from resuming import make_config

from trpotui.errors import RunError
from trpotui.rl.algorithms.trpo import Trpo
from trpotui.rl.trainer import train

MORE_THAN_THERE_IS = 10**15
UPDATES = 2


def on_an_accelerator():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


SHORTAGES = {
    "numpy": lambda: np.empty(MORE_THAN_THERE_IS),
    "torch": lambda: torch.empty(MORE_THAN_THERE_IS),
    "accelerator": on_an_accelerator,
}


class Kept:
    """A store that remembers which update each of its files is of."""

    def __init__(self):
        self.rows, self.policies, self.checkpoints = [], [], []

    def append_metrics(self, row):
        self.rows.append(row["update"])

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.policies.append(saved.updates)

    def save_checkpoint(self, state):
        self.checkpoints.append(state["update"])


@pytest.fixture
def failing(monkeypatch):
    """Starts a run whose third update fails as it is told to: its events, and what it keeps."""

    def start(fault):
        whole, made = Trpo.update, []

        def update(self, batch, interrupt):
            if len(made) == UPDATES:
                fault()
            made.append(None)
            return whole(self, batch, interrupt)

        monkeypatch.setattr(Trpo, "update", update)
        config = make_config("CartPole-v1", total_steps=10_000, checkpoint_updates=1000)
        store = Kept()
        return train(config, store=store), store

    return start


@pytest.mark.parametrize("kind", SHORTAGES)
def test_it_is_a_sentence_and_what_was_learned_is_saved(failing, kind):
    events, store = failing(SHORTAGES[kind])
    with pytest.raises(RunError, match=r"^device cpu ran out of memory: choose smaller n_envs, "):
        list(events)
    assert store.rows == [1, 2]
    assert store.policies[-1] == store.checkpoints[-1] == UPDATES


def test_another_failure_is_not_taken_for_it(failing):
    def fault():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    events, _ = failing(fault)
    with pytest.raises(RuntimeError, match="mat1"):
        list(events)
