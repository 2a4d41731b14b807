"""checkpoint.pt and the one before it, of which one is always whole."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trpotui import durable
from trpotui.errors import RequestError, RunError
from trpotui.policy_file.archive import load_entries, read_entries
from trpotui.policy_file.values import RefusedError

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


class Checkpoints:
    """The two generations in a directory.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._newest_is_good = False

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the newest one and keep the one before it.

        Args:
            state: plain dicts, lists, texts, numbers and tensors.

        Raises:
            OSError: it was not saved; both are as they were, or the newest is there twice.
            RunError: the state is made of anything else and could not be loaded again.
        """
        # into memory first: torch makes a RuntimeError of a full disk
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        # one that nobody has read may be damaged, and the one before it all there is
        if self._newest_is_good:
            self._keep_newest()
        try:
            durable.write_bytes(self._directory / CHECKPOINT, buffer.getvalue(), verify=_state)
        except RefusedError as refusal:
            raise RunError(f"the checkpoint was not saved, because it {refusal}") from refusal
        self._newest_is_good = True

    def _keep_newest(self) -> None:
        try:
            newest = durable.read_bytes(self._directory / CHECKPOINT)
        except OSError:  # it was removed, or the disk has lost it: nothing to keep
            self._newest_is_good = False
        else:
            durable.write_bytes(self._directory / PREVIOUS, newest)

    def load(self) -> tuple[dict[str, Any], str | None]:
        """The state of the newest one that is whole.

        Returns:
            The state, and a notice when it is not the newest one's.

        Raises:
            RequestError: there is no checkpoint, or none that is whole.
        """
        trouble = []
        for name in (CHECKPOINT, PREVIOUS):
            try:
                state = _state(durable.read_bytes(self._directory / name))
            except FileNotFoundError:
                trouble.append(f"{name} is missing")
            except OSError as error:
                trouble.append(f"{name} cannot be read ({error.strerror})")
            except RefusedError:
                trouble.append(f"{name} is damaged")
            else:
                self._newest_is_good = name == CHECKPOINT
                notice = "".join(f"{damage}: going on from the one before it" for damage in trouble)
                return state, notice or None
        raise RequestError(f"{self._directory} cannot be gone on with: {' and '.join(trouble)}")


def _state(data: bytes) -> dict[str, Any]:
    """The state in a checkpoint's bytes; raises RefusedError when they are damaged."""
    state = load_entries(read_entries(data))
    if not isinstance(state, dict):
        raise RefusedError("is damaged: it holds no dict")
    return state
