"""Who is to be seen: one policy, or several side by side, or a person against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trpotui.episodes import EpisodePlayer, PlayOptions
from trpotui.errors import RequestError
from trpotui.rl.policy import Policy, SavedPolicy
from trpotui.viewing.returns import RewardUnits
from trpotui.viewing.rewind import RewindablePlayer

MOST_CONTENDERS = 16
"""Side by side in one picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Contender:
    """One of those who play the same episodes side by side."""

    policy: Policy
    title: str
    units: RewardUnits | None = None
    """How its critic counts rewards, if that is known."""
    by_hand: bool = False
    """A person acts; of the policy only what it was made for counts."""

    @classmethod
    def of(cls, saved: SavedPolicy, title: str) -> Contender:
        """The policy of a file, under a title."""
        return cls(policy=saved.policy, title=title, units=RewardUnits.of(saved.config))

    def player(
        self, options: PlayOptions, render_mode: Literal["rgb_array"] | None = None
    ) -> RewindablePlayer:
        """Its player, with an environment of its own; raises as `EpisodePlayer` does."""
        player = EpisodePlayer(self.policy, options, render_mode=render_mode)
        return RewindablePlayer(player, units=self.units)


def check_contenders(contenders: Any) -> tuple[Contender, ...]:
    """Contenders in a fixed order.

    Raises:
        RequestError: there are none, or more than fit one picture.
    """
    checked = tuple(contenders)
    if not 1 <= len(checked) <= MOST_CONTENDERS:
        raise RequestError(f"between 1 and {MOST_CONTENDERS} policies fit side by side")
    return checked
