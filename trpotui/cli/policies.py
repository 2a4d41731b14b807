"""`trpotui play` and `inspect`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trpotui.cli.application import Debug, Imports, app
from trpotui.cli.files import read_playable

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed, PlayOptions
    from trpotui.rl.policy import SavedPolicy

PolicyPath = Annotated[Path, typer.Argument(metavar="FILE.pt", help="A saved policy.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the episodes.")]
Stochastic = Annotated[
    bool, typer.Option("--stochastic", help="Sample actions instead of taking the likeliest.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class View(StrEnum):
    """How `play` shows the episodes."""

    WINDOW = "window"
    NONE = "none"


@app.command()
def play(
    file: PolicyPath,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3,
    seed: Seed = 0,
    stochastic: Stochastic = False,
    view: Annotated[
        View, typer.Option(help="A pygame window, or none for the returns alone.")
    ] = View.WINDOW,
    speed: Annotated[
        float, typer.Option(help="1 is the environment's own pace; 0.25 to 16.")
    ] = 1.0,
    imports: Imports = None,
    debug: Debug = False,
) -> int:
    """Play evaluation episodes of a policy, in a window."""
    import asyncio

    from trpotui.config import build
    from trpotui.episodes import PlayOptions, play_without_window
    from trpotui.terminal import Printer

    saved = read_playable(file)
    values = {"episodes": episodes, "seed": seed, "stochastic": stochastic, "speed": speed}
    options = build(PlayOptions, values, what="option")
    returns: list[float] = []
    out = Printer(sys.stdout)

    def show(episode: EpisodePlayed) -> None:
        returns.append(episode.episode_return)
        out.line(
            f"episode {episode.episode} of {episodes}: return {episode.episode_return:.4g}, "
            f"{episode.length} steps (seed {episode.seed})"
        )

    if view is View.WINDOW:
        asyncio.run(_play_in_window(saved, options, show))
    else:
        for episode in play_without_window(saved.policy, options):
            show(episode)
    if returns:
        out.line(f"mean {sum(returns) / len(returns):.4g} over {len(returns)} episodes")
    else:
        out.line("no episode was finished")
    return 0


async def _play_in_window(
    saved: SavedPolicy, options: PlayOptions, show: Callable[[EpisodePlayed], None]
) -> None:
    """Report the episodes of a window until it is closed; SIGTERM and SIGHUP close it too."""
    import asyncio
    import signal

    from trpotui.episodes import EpisodePlayed
    from trpotui.viewer import PlayerWindow

    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            number = getattr(signal, name)
            asyncio.get_running_loop().add_signal_handler(number, stop, int(number))
    try:
        async with await PlayerWindow.open(saved.policy, options) as window:
            async for event in window.events():
                if isinstance(event, EpisodePlayed):
                    show(event)
    except asyncio.CancelledError:
        if not received:
            raise
        raise typer.Exit(128 + received[0]) from None


@app.command()
def inspect(file: PolicyPath, json: Json = False, debug: Debug = False) -> int:
    """Show what a policy file holds and where it came from; nothing is run."""
    from trpotui.inspection import as_json, as_table, facts_of
    from trpotui.policy_file import read_policy
    from trpotui.terminal import Printer

    facts = facts_of(read_policy(file))
    Printer(sys.stdout).line(as_json(facts) if json else as_table(facts))
    return 0
