"""What `trpotui play` plays, and what it prints of it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from trpotui.errors import NoDisplayError, RequestError
from trpotui.terminal import Printer

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed, PlayOptions
    from trpotui.rl.policy import SavedPolicy
    from trpotui.viewing.contenders import Contender

Show = Callable[["EpisodePlayed"], None]
"""Called with each episode that has ended."""


class Titled(NamedTuple):
    """A policy, and how it is called."""

    title: str
    saved: SavedPolicy


class Tally:
    """Prints every episode as it ends, and at the end the means.

    Args:
        titles: of the policies; a single one is not named.
        episodes: that each is to play.
    """

    def __init__(self, titles: Sequence[str], episodes: int) -> None:
        self.out = Printer(sys.stdout)
        self._titles = titles
        self._returns: list[list[float]] = [[] for _ in titles]
        self._episodes = episodes

    def show(self, episode: EpisodePlayed) -> None:
        """Print an episode."""
        self._returns[episode.place].append(episode.episode_return)
        self.out.line(
            f"{self._name(episode.place)}episode {episode.episode} of {self._episodes}: "
            f"return {episode.episode_return:.4g}, {episode.length} steps (seed {episode.seed})"
        )

    def tell_means(self) -> None:
        """Print the mean of each policy."""
        for index, returns in enumerate(self._returns):
            if returns:
                mean = sum(returns) / len(returns)
                count = "1 episode" if len(returns) == 1 else f"{len(returns)} episodes"
                self.out.line(f"{self._name(index)}mean {mean:.4g} over {count}")
            else:
                self.out.line(f"{self._name(index)}no episode was finished")

    def _name(self, index: int) -> str:
        return f"{self._titles[index]}: " if len(self._titles) > 1 else ""


def policies_of(files: Sequence[Path], *, film: bool) -> list[Titled]:
    """The policies to play, of one environment, each with a title of its own.

    Args:
        files: policy files, or directories of runs, of which the best policy is taken.
        film: of the one run that is named, the policies of its film.

    Raises:
        RequestError: they are not of one environment, too many, or what they are named is no run.
        PolicyFileError: a file is no policy that can be played here.
    """
    from trpotui.comparison import check_comparable
    from trpotui.film import best_of, film_of
    from trpotui.policy_file import read_playable
    from trpotui.viewing.contenders import MOST_CONTENDERS

    if film:
        if len(files) != 1 or not files[0].is_dir():
            raise RequestError("--film takes the directory of one run: trpotui play RUN_DIR --film")
        takes, missing = film_of(files[0], read_playable)
        if missing:
            Printer(sys.stderr).line(f"trpotui: {missing}")
        return [Titled(take.title, take.saved) for take in takes]
    if len(files) > MOST_CONTENDERS:
        raise RequestError(f"{len(files)} policies are too many: play {MOST_CONTENDERS} at most")
    paths = [best_of(file) if file.is_dir() else file for file in files]
    found = [(str(path), read_playable(path)) for path in paths]
    check_comparable(found)
    titles = _titles(files)
    return [Titled(title, saved) for title, (_, saved) in zip(titles, found, strict=True)]


def contenders_of(policies: Sequence[Titled]) -> list[Contender]:
    """The policies as those views take them that show several."""
    from trpotui.viewing.contenders import Contender

    return [Contender.of(saved, title) for title, saved in policies]


def play_unseen(policies: Sequence[Titled], options: PlayOptions, show: Show) -> None:
    """Play without pictures, one policy after the other."""
    from trpotui.episodes import play_without_window

    for index, (_, saved) in enumerate(policies):
        for episode in play_without_window(saved.policy, options):
            show(dataclasses.replace(episode, place=index))


def check_pictures(graphics: str, *, elsewhere: bool) -> None:
    """Refuse graphics of the terminal that were asked for and cannot be.

    Args:
        graphics: as `show_in_terminal` takes it.
        elsewhere: whether nothing is shown in the terminal.

    Raises:
        RequestError: as said.
    """
    from trpotui.tui.graphics import check_graphics

    if elsewhere:
        raise RequestError(
            f"--graphics {graphics} is for the terminal, which shows nothing here: "
            "take --view terminal, or leave --graphics out"
        )
    check_graphics(graphics)


def show_in_terminal(
    policies: Sequence[Titled], options: PlayOptions, show: Show, graphics: str
) -> int:
    """Play in the terminal; returns the exit code.

    Args:
        policies: one.
        options: what is played.
        show: called with each episode that has ended.
        graphics: `auto`, `blocks`, `sixel` or `kitty`.

    Raises:
        RequestError: this is no terminal for that, or there are several policies.
    """
    from trpotui.tui.player_app import play_in_terminal

    if len(policies) > 1:
        raise RequestError(
            "the terminal shows one policy: take --view window, --view none or --record FILE"
        )
    title, saved = policies[0]
    played, code = play_in_terminal(saved, title, options, graphics)
    for episode in played:
        show(episode)
    return code


def show_in_window(
    policies: Sequence[Titled],
    options: PlayOptions,
    show: Show,
    *,
    or_terminal: bool,
    screenshots: Path | None = None,
    graphics: str = "auto",
) -> int:
    """Play in a window; returns the exit code.

    Args:
        policies: of one environment.
        options: what is played.
        show: called with each episode that has ended.
        or_terminal: whether one policy is shown in the terminal where there is no display.
        screenshots: the folder for pictures that the person takes; the current one by default.
        graphics: of the terminal.
    """
    import asyncio

    try:
        asyncio.run(play_in_window(contenders_of(policies), options, show, screenshots))
    except NoDisplayError as error:
        if not or_terminal or len(policies) > 1:
            raise
        from trpotui.tui.player_app import check_terminal

        try:
            check_terminal()
        except RequestError:
            raise error from None
        Printer(sys.stderr).line("there is no display for a window: playing in the terminal")
        return show_in_terminal(policies, options, show, graphics)
    return 0


async def play_in_window(
    contenders: Sequence[Contender], options: PlayOptions, show: Show, screenshots: Path | None
) -> None:
    """Report the episodes of a window until it is closed; SIGTERM and SIGHUP close it too."""
    import asyncio

    from trpotui.episodes import EpisodePlayed
    from trpotui.signals import on_signals
    from trpotui.viewer import PlayerWindow

    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    on_signals(stop)
    try:
        async with await PlayerWindow.open(contenders, options, screenshots=screenshots) as window:
            async for event in window.events():
                if isinstance(event, EpisodePlayed):
                    show(event)
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(128 + received[0]) from None


def _titles(files: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart; numbered where none does."""
    for parts in range(1, max(len(file.absolute().parts) for file in files) + 1):
        ends = ["/".join(file.absolute().parts[-parts:]) for file in files]
        titles = [end.removesuffix(".pt") for end in ends]
        if len(set(titles)) == len(files):
            return titles
    return [f"{index}: {file.name}" for index, file in enumerate(files, 1)]
