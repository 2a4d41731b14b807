"""Episodes of one policy, or of several side by side, played into an encoder."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym

from trpotui.episodes import EpisodePlayed, EpisodePlayer, PlayOptions
from trpotui.errors import RequestError
from trpotui.pacing import HOLD_SECONDS
from trpotui.recording.encoder import Encoder, Picture, Shot, encoder_for
from trpotui.recording.options import FASTEST_GIF, RecordOptions
from trpotui.recording.pictures import Scene
from trpotui.recording.timing import FrameClock, usual_fps
from trpotui.viewing.contenders import Contender
from trpotui.viewing.rewind import MOST_REMEMBERED, RewindablePlayer
from trpotui.viewing.together import Together

FASTEST_MP4 = 60.0
"""Frames per second of a file for which no other number was asked."""
LONGEST = 600.0
"""Seconds of a file for which no other number was asked: some episodes never end."""
USUAL_PICTURES = 12
"""Frames of each episode on a sheet for which no other number was asked."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A file that is ready to be written, and what it holds."""

    data: bytes
    width: int
    """Of a frame in the file [pixels]."""
    height: int
    """Likewise."""
    frames: int
    """Of the file; of a sheet, steps that were seen."""
    seconds: float
    """That they take."""
    cut: bool
    """Whether a limit ended it before the last episode did."""


def record(
    contenders: Sequence[Contender],
    options: PlayOptions,
    recording: RecordOptions,
    path: Path,
    *,
    report: Callable[[EpisodePlayed], None],
    progress: Callable[[int], None],
) -> Recorded:
    """Play episodes on the same seeds and encode what is seen; nothing is written.

    Args:
        contenders: of one environment.
        options: what is played; `speed` is that of the file.
        recording: how.
        path: whose suffix says into what.
        report: called with each episode that was recorded to its end.
        progress: told of the frames so far.

    Raises:
        RequestError: the environment cannot be made or has no picture, or a number does not fit.
        RunError: the environment, a policy or the encoder failed.
    """
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(_without_display())
        players = []
        for contender in contenders:
            players.append(contender.player(options, render_mode="rgb_array"))
            cleanup.callback(players[-1].close)
        plan = _Plan(players[0].fps * options.speed, recording, path)
        titles = [contender.title for contender in contenders]
        scene = Scene(players, titles, recording, is_sheet=plan.is_sheet)
        encoder = encoder_for(path, fps=plan.fps, most_pictures=plan.most_pictures)
        session = _Session(scene, encoder, plan, episodes=options.episodes, progress=progress)
        for episode in range(1, options.episodes + 1):
            for played in session.play(episode):
                report(played)
            if session.is_full:
                break
        height, width = session.shape
        return Recorded(
            data=encoder.finish(),
            width=width + (width % 2 if plan.has_even_sides else 0),
            height=height + (height % 2 if plan.has_even_sides else 0),
            frames=session.frames,
            seconds=session.frames / plan.fps,
            cut=session.is_full and not session.is_whole,
        )


def most_frames(
    contender: Contender, options: PlayOptions, recording: RecordOptions, path: Path
) -> int:
    """Frames that a recording has at most, as far as that is known before it is made."""
    spec = contender.policy.spec
    steps = dict(spec.environment_kwargs).get("max_episode_steps")
    if steps is None and spec.environment_id in gym.registry:
        steps = gym.registry[spec.environment_id].max_episode_steps
    with contextlib.closing(EpisodePlayer(contender.policy, options)) as player:
        plan = _Plan(player.fps * options.speed, recording, path)
    if not isinstance(steps, int):
        return plan.most_frames
    each = (steps + 1) * plan.fps / plan.steps_per_second + HOLD_SECONDS * plan.fps
    return min(plan.most_frames, math.ceil(options.episodes * each))


class _Plan:
    """How steps become frames.

    Args:
        steps_per_second: that are to be seen.
        recording: what was asked for.
        path: of the file.
    """

    def __init__(self, steps_per_second: float, recording: RecordOptions, path: Path) -> None:
        suffix = path.suffix.lower()
        self.is_sheet = suffix == ".png"
        self.has_even_sides = suffix == ".mp4"
        self.steps_per_second = steps_per_second
        fastest = FASTEST_GIF if suffix == ".gif" else FASTEST_MP4
        if self.is_sheet:
            if recording.fps is not None:
                raise RequestError("--fps is for a .gif or .mp4: a .png shows steps, not time")
            self.fps = steps_per_second
        else:
            self.fps = recording.fps or usual_fps(steps_per_second, fastest)
        if self.is_sheet and recording.frames == 1:
            raise RequestError("--frames 1: a .png shows the first and the last step, 2 at least")
        if suffix == ".gif" and self.fps > FASTEST_GIF:
            raise RequestError(
                f"--fps {self.fps:g}: browsers show no more than {FASTEST_GIF:g} frames per second "
                "of a .gif"
            )
        self.most_pictures = recording.frames or USUAL_PICTURES
        self.most_frames = max(1, round((recording.seconds or LONGEST) * self.fps))
        if recording.frames is not None and not self.is_sheet:
            self.most_frames = min(self.most_frames, recording.frames)


class _Session:
    """Plays episodes until the file has all the frames that it may have."""

    def __init__(
        self,
        scene: Scene,
        encoder: Encoder,
        plan: _Plan,
        *,
        episodes: int,
        progress: Callable[[int], None],
    ) -> None:
        self.frames = 0
        self.shape = (0, 0)
        self.is_whole = False
        """Whether the last episode has been shown to its end."""
        self._scene = scene
        self._encoder = encoder
        self._episodes = episodes
        self._plan = plan
        self._progress = progress

    @property
    def is_full(self) -> bool:
        """Whether no more frames may follow."""
        return self.frames >= self._plan.most_frames

    def play(self, episode: int) -> list[EpisodePlayed]:
        """Play an episode with every policy; the results of those that came to its end."""
        clock = FrameClock(self._plan.steps_per_second, self._plan.fps)
        played: list[EpisodePlayed] = []
        together = Together(self._scene.players, report=played.append)
        together.start(episode)
        if self._scene.tells_the_future:
            for player in self._scene.players:
                _look_ahead(player)
        while True:
            ended = together.ended
            due = clock.tick()
            if ended:
                # as a window does: time to see how it ended
                hold = 0 if self._plan.is_sheet else round(HOLD_SECONDS * self._plan.fps)
                due = max(due, 1) + hold
            self._show(due, ended=ended)
            if ended or self.is_full:
                break
            together.step()
        self.is_whole = ended and episode == self._episodes
        return played

    def _show(self, due: int, *, ended: bool) -> None:
        due = min(due, self._plan.most_frames - self.frames)
        if due == 0:
            return
        self.frames += due
        shot = Shot(
            draw=self._draw,
            frames=due,
            caption=self._scene.caption(numbered=self._episodes > 1),
            last=ended or self.is_full,
        )
        self._encoder.add(shot)
        self._progress(self.frames)

    def _draw(self) -> Picture:
        picture = self._scene.picture()
        height, width, _ = picture.shape
        self.shape = (height, width)
        return picture


def _look_ahead(player: RewindablePlayer) -> None:
    """Play an episode to its end and go back, so that what follows each step is known.

    Where it does not end, or does not repeat, it is begun anew and nothing is known.
    """
    if player.units is None or not player.units.known:
        return
    while not player.ended and player.steps < MOST_REMEMBERED:
        player.step()
    if not player.ended or not player.rewind():
        player.restart()


@contextlib.contextmanager
def _without_display() -> Iterator[None]:
    """Let pygame, in which many environments draw, look for neither screen nor sound card."""
    quiet = {
        "SDL_VIDEODRIVER": "dummy",
        "SDL_AUDIODRIVER": "dummy",
        "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    }
    before = {name: os.environ.get(name) for name in quiet}
    os.environ.update(quiet)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
