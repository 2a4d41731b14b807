"""`trpotui play` and `inspect`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trpotui.cli.application import Debug, Imports, app
from trpotui.errors import RequestError

PolicyPath = Annotated[Path, typer.Argument(metavar="FILE.pt", help="A saved policy.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the episodes.")]
Stochastic = Annotated[
    bool, typer.Option("--stochastic", help="Sample actions instead of taking the likeliest.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class View(StrEnum):
    """How `play` shows the episodes."""

    WINDOW = "window"
    TERMINAL = "terminal"
    NONE = "none"


class Pictures(StrEnum):
    """What the terminal view draws its pictures with."""

    AUTO = "auto"
    BLOCKS = "blocks"
    SIXEL = "sixel"
    KITTY = "kitty"


@app.command()
def play(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE.pt|RUN_DIR...",
            help="A saved policy or the best one of a run; several of one environment are played "
            "side by side.",
            show_default=False,
        ),
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes to play.")] = 3,
    seed: Seed = 0,
    stochastic: Stochastic = False,
    view: Annotated[
        View | None,
        typer.Option(
            help="A pygame window, the terminal, or none for the returns alone.",
            show_default="window; terminal without a display",
        ),
    ] = None,
    graphics: Annotated[
        Pictures,
        typer.Option(
            help="What the terminal draws with: half-blocks, or the graphics that it says it has "
            "with pip install 'trpotui[graphics]'."
        ),
    ] = Pictures.AUTO,
    speed: Annotated[float, typer.Option(help="1 is the environment's own pace; 0.1 to 16.")] = 1.0,
    film: Annotated[
        bool,
        typer.Option("--film", help="Of a run: its first, a middle, its best and its last policy."),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.gif|.mp4|.png",
            help="Record instead of showing, also without a display; a .png is a sheet of frames "
            "with their steps. Takes pip install 'trpotui[record]'.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WIDTHxHEIGHT", help="Of a recorded frame, or its height alone."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Recorded frames per second.", show_default="one per step")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the recording at most.", show_default="600")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="Recorded frames at most; of each episode on a sheet.",
            show_default="12 on a sheet",
        ),
    ] = None,
    overlay: Annotated[
        bool | None,
        typer.Option(
            "--overlay/--no-overlay",
            help="Record what the policy sees, does and expects below the picture.",
            show_default="not on a sheet",
        ),
    ] = None,
    human: Annotated[
        bool,
        typer.Option("--human", help="Play with the keys yourself: --env ENV, or against FILE.pt."),
    ] = False,
    env: Annotated[
        str | None, typer.Option("--env", "-e", help="What --human plays without a policy.")
    ] = None,
    screenshots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the window's screenshots go.", show_default="here"),
    ] = None,
    imports: Imports = None,
    debug: Debug = False,
) -> int:
    """Play evaluation episodes of policies, in a window or into a file.

    Several policies play the same seeds.
    """
    from trpotui.cli.human_play import check_files, check_human, play_by_hand
    from trpotui.cli.playing import (
        Tally,
        check_pictures,
        contenders_of,
        play_unseen,
        policies_of,
        show_in_terminal,
        show_in_window,
    )
    from trpotui.cli.recording import record_options, record_to
    from trpotui.config import build
    from trpotui.episodes import PlayOptions

    if record is not None and view not in (None, View.NONE):
        raise RequestError("--record shows nothing meanwhile: leave --view out")
    if screenshots is not None and (record is not None or view not in (None, View.WINDOW)):
        raise RequestError("--screenshots is for the window")
    if graphics is not Pictures.AUTO:
        check_pictures(
            graphics, elsewhere=human or record is not None or view in (View.WINDOW, View.NONE)
        )
    recording = record_options(
        record,
        size=size,
        fps=fps,
        seconds=seconds,
        frames=frames,
        overlay=overlay,
        inputs=files or (),
    )
    values = {"episodes": episodes, "seed": seed, "stochastic": stochastic, "speed": speed}
    options = build(PlayOptions, values, what="option")
    if human:
        check_human(record=record, shown_elsewhere=view not in (None, View.WINDOW), film=film)
        return play_by_hand(files or (), env, options, screenshots)
    files = check_files(files, env)
    policies = policies_of(files, film=film)
    tally = Tally([policy.title for policy in policies], episodes)
    code = 0
    if record is not None and recording is not None:
        contenders = contenders_of(policies)
        tally.out.line(record_to(record, contenders, options, recording, tally.show))
    elif view is View.NONE:
        play_unseen(policies, options, tally.show)
    elif view is View.TERMINAL:
        code = show_in_terminal(policies, options, tally.show, graphics)
    else:
        code = show_in_window(
            policies,
            options,
            tally.show,
            or_terminal=view is None,
            screenshots=screenshots,
            graphics=graphics,
        )
    tally.tell_means()
    return code


@app.command()
def inspect(file: PolicyPath, json: Json = False, debug: Debug = False) -> int:
    """Show what a policy file holds and where it came from; nothing is run."""
    from trpotui.inspection import as_json, as_table, facts_of
    from trpotui.policy_file import read_policy
    from trpotui.terminal import Printer

    facts = facts_of(read_policy(file))
    Printer(sys.stdout).line(as_json(facts) if json else as_table(facts))
    return 0
