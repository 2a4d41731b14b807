"""Policy files: written so that they are never damaged, read as if a stranger had made them.

The content is described by `payload`. Reading goes through a sequence of gates, each of which may
assume what the ones before it have checked:

    archive.read_file        a regular file of bounded size, once into memory
    archive.read_entries     a zip archive as PyTorch lays it out, checksums included
    instructions             a pickle that builds plain data and ordinary tensors only
    archive.load_entries     torch.load(weights_only=True)
    checks.checked           exact keys, types, sizes, shapes and finite numbers
    environment              (before playing) an environment that is here and has these spaces
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trpotui import durable
from trpotui.errors import PolicyFileError, RunError
from trpotui.policy_file.archive import load_entries, read_entries, read_file
from trpotui.policy_file.checks import checked
from trpotui.policy_file.environment import check_environment
from trpotui.policy_file.instructions import check_pickle
from trpotui.policy_file.payload import payload
from trpotui.policy_file.values import RefusedError, shown
from trpotui.rl.policy import Policy, SavedPolicy

__all__ = [
    "check_environment",
    "policy_bytes",
    "read_playable",
    "read_policy",
    "shown",
    "write_policy",
]


def read_policy(path: Path) -> SavedPolicy:
    """Read a policy file, of which nothing is believed before it is checked.

    Nothing that the file names is imported or run, and the environment need not be installed.

    Raises:
        PolicyFileError: it cannot be read or is not exactly a policy file; one sentence that names
            the file and the reason.
    """
    try:
        return _parsed(read_file(path))
    except RefusedError as refusal:
        raise PolicyFileError(f"{shown(path, most=300)} {refusal}") from refusal.__cause__


def read_playable(path: Path) -> SavedPolicy:
    """Read a policy file whose environment is here and is the one it was made for.

    Raises:
        PolicyFileError: as `read_policy` and `check_environment`.
    """
    saved = read_policy(path)
    check_environment(saved, path)
    return saved


def write_policy(path: Path, saved: SavedPolicy) -> None:
    """Write a policy file, wholly or not at all.

    Raises:
        RunError: the policy holds a number that is not finite, or would not be readable again;
            the disk was not touched.
        OSError: the file cannot be written; what was there before is still there.
    """
    durable.write_bytes(path, policy_bytes(saved))


def policy_bytes(saved: SavedPolicy) -> bytes:
    """The bytes of the policy file of `saved`, which `read_policy` accepts.

    Raises:
        RunError: the policy holds a number that is not finite, or would not be readable again.
    """
    if not all(np.isfinite(array).all() for array in _arrays(saved.policy)):
        raise RunError("the policy holds a number that is not finite, so it was not saved")
    buffer = io.BytesIO()
    torch.save(payload(saved), buffer)
    data = buffer.getvalue()
    try:
        _parsed(data)
    except RefusedError as refusal:
        raise RunError(f"the policy was not saved, because its file {refusal}") from refusal
    return data


def _parsed(data: bytes) -> SavedPolicy:
    entries = read_entries(data)
    check_pickle(entries["data.pkl"])
    return checked(load_entries(entries))


def _arrays(policy: Policy) -> Iterator[NDArray[Any]]:
    """Every array that a policy acts with."""
    yield from policy.actor.values()
    yield from policy.critic.values()
    if policy.moments is not None:
        yield policy.moments.mean
        yield policy.moments.variance
