"""What a view may say of one moment of an episode: plain numbers, ready to be drawn anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from trpotui.viewing.choices import Choice, choice_of
from trpotui.viewing.names import action_label, action_names, observation_values
from trpotui.viewing.returns import Followed
from trpotui.viewing.rewind import RewindablePlayer


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Of an episode at one moment."""

    environment_id: str
    seed: int
    episode: int
    """Counted from 1."""
    step: int
    """Steps done."""
    reward: float | None
    """Of the last step; None before the first."""
    total: float
    """Return so far."""
    last_action: str
    """What was done last, by name; empty before the first step."""
    observation: tuple[tuple[str, float], ...]
    """Name and number of each value; none of an observation that is a picture or has parts."""
    choice: Choice | None
    """What the policy thinks of the next action; None of a person."""
    action_names: tuple[str, ...]
    """For each choice of a Discrete action, for each dimension of a Box; else none."""
    value: float | None
    """The critic's estimate of the return to come, in the environment's unit where `value_known`;
    None of a person."""
    value_known: bool
    """Whether the unit of `value` is the environment's."""
    followed: Followed | None
    """The return that really followed; None until the end was seen, or of an unknown unit."""
    mode: str
    """greedy, sampled, or by hand."""
    ended: bool


def facts_of(player: RewindablePlayer, *, by_hand: bool = False) -> Facts:
    """What there is to say of a player's current moment.

    Args:
        player: what is played.
        by_hand: a person plays it, and the policy is not asked.
    """
    inner, spec, now = player.player, player.policy.spec, player.now
    parameters = now.parameters
    name, space = player.environment_id, spec.action_space
    return Facts(
        environment_id=name,
        seed=player.seed,
        episode=player.episode,
        step=player.steps,
        reward=inner.reward if player.steps else None,
        total=player.total,
        last_action=action_label(inner.action, name, space),
        observation=observation_values(name, spec.observation_space, player.observation),
        choice=None if by_hand or parameters is None else choice_of(player.policy, parameters),
        action_names=action_names(name, space),
        value=None if by_hand else _estimate(player, now.value),
        value_known=player.units is not None and player.units.known,
        followed=None if by_hand else player.followed,
        mode="by hand" if by_hand else "sampled" if player.stochastic else "greedy",
        ended=player.ended,
    )


def _estimate(player: RewindablePlayer, value: float) -> float:
    return value if player.units is None else player.units.estimate(value)
