"""`trpotui play --record`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trpotui.cli.files import check_output, write_output
from trpotui.errors import RequestError

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed, PlayOptions
    from trpotui.recording.options import RecordOptions
    from trpotui.viewing.contenders import Contender


def record_options(
    path: Path | None,
    *,
    size: str | None,
    fps: float | None,
    seconds: float | None,
    frames: int | None,
    overlay: bool | None,
    inputs: Sequence[Path],
) -> RecordOptions | None:
    """How to record, checked before an episode is played; None when nothing is to be recorded.

    Raises:
        RequestError: an option is wrong, the file cannot be written, or there is no encoder for it.
    """
    if path is None:
        given = {"--size": size, "--fps": fps, "--seconds": seconds, "--frames": frames}
        given |= {"--no-overlay" if overlay is False else "--overlay": overlay}
        for option, value in given.items():
            if value is not None:
                raise RequestError(f"{option} is for a recording: add --record FILE")
        return None

    from trpotui.config import build
    from trpotui.recording.options import SUFFIXES, RecordOptions, check_encoder, size_of

    check_output(path, "--record", suffixes=SUFFIXES, inputs=inputs)
    check_encoder(path)
    # on a sheet the facts would be too small to read
    overlay = path.suffix.lower() != ".png" if overlay is None else overlay
    values = {"overlay": overlay, "fps": fps, "seconds": seconds, "frames": frames}
    sides = {} if size is None else size_of(size)
    return build(RecordOptions, {**values, **sides}, what="option")


def record_to(
    path: Path,
    contenders: Sequence[Contender],
    options: PlayOptions,
    recording: RecordOptions,
    show: Callable[[EpisodePlayed], None],
) -> str:
    """Play and record; returns a sentence about what was written.

    Raises:
        TrpotuiError: nothing was written, and nothing is left of it.
    """
    from trpotui.progress_bar import ending_in_order, progress_bar
    from trpotui.recording.session import most_frames, record

    most = most_frames(contenders[0], options, recording, path)
    played: list[EpisodePlayed] = []  # a line that is printed would break up the bar
    with ending_in_order() as go_on:
        with progress_bar("frames", most) as bar:

            def progress(frames: int) -> None:
                go_on()
                bar(frames)

            report = played.append
            made = record(contenders, options, recording, path, report=report, progress=progress)
        for episode in played:
            show(episode)
        write_output(path, made.data)
    what = f"{made.frames:,} frames of {made.width} x {made.height}, {made.seconds:.1f} s"
    if path.suffix.lower() == ".png":
        what = f"a sheet of frames from {made.frames:,} steps"
    cut = "; it ends before the episodes do, see --seconds and --frames" if made.cut else ""
    return f"wrote {path}: {what}, {len(made.data) / 1000:,.0f} kB{cut}"
