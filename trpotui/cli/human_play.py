"""`trpotui play --human`: a person plays, alone or against policies on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trpotui.errors import NoDisplayError, RequestError

if TYPE_CHECKING:
    from trpotui.episodes import PlayOptions
    from trpotui.viewing.contenders import Contender


def check_files(files: Sequence[Path] | None, environment_id: str | None) -> list[Path]:
    """The policies that play without a person.

    Raises:
        RequestError: there are none, or an environment is named that only a person would play.
    """
    if environment_id is not None:
        raise RequestError("--env goes with --human: a policy knows its environment itself")
    if not files:
        raise RequestError(
            "name a policy to play, or play yourself: trpotui play --env CartPole-v1 --human"
        )
    return list(files)


def check_human(*, record: Path | None, shown_elsewhere: bool, film: bool) -> None:
    """Refuse what a person cannot do.

    Raises:
        RequestError: as said.
    """
    for name, given in (("--record", record is not None), ("--film", film)):
        if given:
            raise RequestError(f"--human goes without {name}")
    if shown_elsewhere:
        raise RequestError("--human plays in a window: leave --view out")


def play_by_hand(
    files: Sequence[Path],
    environment_id: str | None,
    options: PlayOptions,
    screenshots: Path | None,
) -> int:
    """Let a person play in a window; returns the exit code.

    Args:
        files: policies, or runs, that the person races; none to play alone.
        environment_id: what is played then.
        options: what is played.
        screenshots: the folder for pictures that the person takes.

    Raises:
        RequestError: there is nothing to play, keys cannot play it, or there is no window.
        RunError: the environment failed.
    """
    import asyncio

    from trpotui.cli.playing import Tally, contenders_of, play_in_window, policies_of

    rivals = contenders_of(policies_of(files, film=False)) if files else []
    contenders = with_person(rivals, environment_id)
    tally = Tally([contender.title for contender in contenders], options.episodes)
    try:
        asyncio.run(play_in_window(contenders, options, tally.show, screenshots))
    except NoDisplayError as error:
        reason = str(error).partition("(")[2].partition(")")[0]
        raise NoDisplayError(f"--human needs a display for its window ({reason})") from error
    tally.tell_means()
    return 0


def with_person(rivals: Sequence[Contender], environment_id: str | None) -> list[Contender]:
    """The person and whom they race, from left to right.

    Args:
        rivals: policies of one environment; none where the person plays alone.
        environment_id: of that environment where there are no rivals.

    Raises:
        RequestError: there is nothing to play, or it cannot be played with keys.
    """
    from trpotui.viewing.by_hand import HandControl
    from trpotui.viewing.nobody import person_against, person_in

    if rivals:
        policy_id = rivals[0].policy.spec.environment_id
        if environment_id not in (None, policy_id):
            raise RequestError(
                f"the policy plays {policy_id}, not {environment_id}: leave --env out to race it"
            )
        person = person_against(rivals[0])
    elif environment_id is None:
        raise RequestError(
            "--human needs something to play: trpotui play --env CartPole-v1 --human, "
            "or a FILE.pt to race"
        )
    else:
        person = person_in(environment_id)
    spec = person.policy.spec
    HandControl(spec.environment_id, spec.action_space, fps=30.0)  # refuses what keys cannot play
    return [person, *rivals]
