"""How many threads `eval` lets torch use, where torch computes the network at all."""

from __future__ import annotations

import gymnasium
import pytest
import torch

from tests.policy_samples import saved_policy
from tests.rl.picture_environments import BrightSide
from trpotui.cli.scoring import evaluate
from trpotui.policy_file import write_policy

SEVERAL = 3
"""Threads that torch would use by itself."""


@pytest.fixture(autouse=True)
def _several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(SEVERAL)
    yield
    torch.set_num_threads(before)


def threads_seen(tmp_path, **policy) -> set[int]:
    """What torch is set to at every step of the episodes that score a policy."""
    seen = set()

    class Seeing(BrightSide):
        def step(self, action):
            seen.add(torch.get_num_threads())
            return super().step(action)

    gymnasium.register("Seeing-v0", entry_point=Seeing)
    try:
        space = BrightSide().observation_space
        saved = saved_policy(environment_id="Seeing-v0", observation_space=space, **policy)
        write_policy(tmp_path / "seeing.pt", saved)
        evaluate([tmp_path / "seeing.pt"], episodes=2)
    finally:
        del gymnasium.registry["Seeing-v0"]
    assert torch.get_num_threads() == SEVERAL
    return seen


def test_a_network_for_images_is_scored_on_one(tmp_path):
    assert threads_seen(tmp_path, network="cnn") == {1}


def test_other_networks_need_no_torch_and_leave_it_alone(tmp_path):
    assert threads_seen(tmp_path) == {SEVERAL}
