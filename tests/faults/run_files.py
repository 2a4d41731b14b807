"""Small runs, and what their files hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import torch

from tests.policy_samples import saved_policy
from trpotui.config import RunConfig, build
from trpotui.policy_file import policy_bytes
from trpotui.rl.policy import SavedPolicy
from trpotui.run_directory import RunDirectory

CONFIG = RunConfig(algorithm="trpo", environment_id="CartPole-v1", seed=3)
LONGER = dataclasses.replace(CONFIG, total_steps=10**6)


def policy(update: int) -> SavedPolicy:
    return dataclasses.replace(saved_policy(hidden_sizes=(2,)), updates=update)


POLICIES = {update: policy_bytes(policy(update)) for update in (1, 2, 3)}


def update_of(path: Path) -> int:
    """That of the policy in a file, every byte of which is there."""
    data = path.read_bytes()
    (update,) = [update for update, whole in POLICIES.items() if whole == data]
    return update


def state(update: int) -> dict:
    return {"update": update, "parameters": torch.full((50,), float(update))}


def row(update: int) -> dict:
    return {"update": update, "kl": 0.01 * update}


def rows(run: Path, most: int = 100) -> list[int]:
    """The updates in the metrics, of which only so many lines are looked at."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["update"] for line in lines[:most]]


def config_of(run: Path) -> RunConfig:
    with RunDirectory.open(run) as directory:
        return build(RunConfig, directory.config(), what="setting")


def whole(run: RunDirectory) -> int:
    """The update of the newest checkpoint, which is whole; 0 where there is none yet."""
    if not (run.path / "checkpoint.pt").exists():
        assert not (run.path / "checkpoint.previous.pt").exists()
        return 0
    loaded, notice = run.load_checkpoint()
    assert notice is None
    update: int = loaded["update"]
    return update


def a_run(root: Path, updates: int = 0) -> None:
    """A run with so many updates, each with metrics, policies and a checkpoint."""
    with RunDirectory.create(root, CONFIG) as run:
        for update in range(1, updates + 1):
            run.append_metrics(row(update))
            run.save_policy(policy(update), best=True)
            run.save_checkpoint(state(update))
