"""How soon the player window shows a policy, and how smoothly.

For each environment, the time from the request to a window with its first picture, and then the
frames of a few seconds at speed 1: how many steps were not drawn, how far the times between frames
are from the environment's own, and what a frame costs. In a real window where DISPLAY is set, else
with SDL's dummy driver.

    python benchmarks/window.py
    xvfb-run python benchmarks/window.py
"""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from trpotui.episodes import PlayOptions
from trpotui.policy_file import read_policy
from trpotui.viewer import PlayerWindow
from trpotui.viewer.canvas import Canvas
from trpotui.viewer.playback import Playback
from trpotui.viewer.protocol import WindowRequest
from trpotui.viewer.tiles import Tile
from trpotui.viewer.window import play_in_window
from trpotui.viewing.contenders import Contender

SAVED = Path(__file__).parent.parent / "saved_policies"
FILES = ("cartpole", "pendulum", "acrobot", "mountaincar", "mountaincar_continuous")


class Shown(NamedTuple):
    """A frame that was shown."""

    at: float
    """Seconds of a monotonic clock."""
    cost: float
    """Seconds that drawing it took."""
    episode: int
    step: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for which each plays")
    parser.add_argument("--starts", type=int, default=5, help="windows that are opened in turn")
    parser.add_argument("--side-by-side", type=int, default=4, help="policies in the last row")
    arguments = parser.parse_args()
    if not os.environ.get("DISPLAY"):
        os.environ["SDL_VIDEODRIVER"] = "dummy"
    print("| window | ready s | fps | frames | not drawn | late | p50 ms | p99 ms | drawing ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    count = arguments.side_by_side
    rows = [(name, [name]) for name in FILES] + [(f"cartpole × {count}", ["cartpole"] * count)]
    for title, names in rows:
        contenders = tuple(
            Contender.of(read_policy(SAVED / f"{name}.pt"), f"{name}.pt") for name in names
        )
        ready = asyncio.run(_time_until_ready(contenders, arguments.starts))
        fps = contenders[0].player(PlayOptions()).fps
        figures = _figures(_frames(contenders, arguments.seconds), fps)
        print(f"| {title} | {ready:.2f} | {fps:g} | {figures} |", flush=True)


async def _time_until_ready(contenders: Sequence[Contender], starts: int) -> float:
    """Median seconds from the request until the window shows its first picture."""
    seconds = []
    for _ in range(starts):
        began = time.perf_counter()
        async with await PlayerWindow.open(contenders, PlayOptions()):
            seconds.append(time.perf_counter() - began)
    return median(seconds)


def _frames(contenders: tuple[Contender, ...], seconds: float) -> list[Shown]:
    """Play in this process and note every frame."""
    shown: list[Shown] = []
    draw = Canvas.draw

    def noting(
        canvas: Canvas, tiles: Sequence[Tile], playback: Playback, message: str = ""
    ) -> None:
        began = time.perf_counter()
        draw(canvas, tiles, playback, message)
        now, together = time.perf_counter(), playback.together
        shown.append(Shown(now, now - began, together.episode, together.steps))

    Canvas.draw = noting  # type: ignore[method-assign]
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        request = WindowRequest(contenders=contenders, options=PlayOptions(episodes=10_000))
        play_in_window(request, tell=lambda _: None, stop=stop)
    finally:
        timer.cancel()
        Canvas.draw = draw  # type: ignore[method-assign]
    return shown


def _figures(shown: Sequence[Shown], fps: float) -> str:
    """Columns of the table, of frames within an episode: not of the rests between two."""
    pairs = [(old, new) for old, new in pairwise(shown) if old.episode == new.episode]
    moved = [(old, new) for old, new in pairs if new.step > old.step]
    gaps = sorted(new.at - old.at for old, new in moved)
    not_drawn = sum(new.step - old.step - 1 for old, new in moved)
    late = sum(gap > 1.5 / fps for gap in gaps)
    p99 = gaps[min(len(gaps) - 1, int(0.99 * len(gaps)))]
    cost = median(frame.cost for frame in shown)
    return (
        f"{len(gaps)} | {not_drawn} | {late} | {1e3 * median(gaps):.1f} | {1e3 * p99:.1f} | "
        f"{1e3 * cost:.1f}"
    )


if __name__ == "__main__":
    main()
