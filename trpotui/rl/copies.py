"""Copies of a registered environment, in the quickest form in which they do the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium

from trpotui.rl.moved_together import MovedTogether, known_of
from trpotui.rl.single_environments import SingleEnvironments, quietly

KNOWN_RELEASES = ("1.2", "1.3", "1.4")
"""Of gymnasium, with whose numbers ours were compared; in others its own code steps everything."""


def is_known_release() -> bool:
    """Whether it has been seen that what stands in for gymnasium's own code does the same."""
    return gymnasium.__version__.rpartition(".")[0] in KNOWN_RELEASES


def make_copies(
    environment_id: str, kwargs: Mapping[str, Any], *, count: int
) -> SingleEnvironments:
    """Copies of a registered environment, without gymnasium's own checker and its warnings."""
    with quietly():
        made = [
            gymnasium.make(environment_id, disable_env_checker=True, **kwargs) for _ in range(count)
        ]
    known = known_of(made[0], count) if is_known_release() else None
    if known is not None and count >= known.equations.fewest:
        return MovedTogether(made, known)
    return SingleEnvironments(made)
