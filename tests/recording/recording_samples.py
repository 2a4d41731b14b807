"""An environment whose pictures tell the step, and policies for it."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, ClassVar

import av
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from PIL import Image, ImageSequence

from tests.policy_samples import saved_policy
from trpotui.policy_file import write_policy
from trpotui.recording.encoder import Picture, Shot

HEIGHT, WIDTH = 40, 60
FPS = 20
OBSERVATIONS = spaces.Box(-1, 1, (2,), np.float32)


class Telling(gym.Env[Any, Any]):
    """Its picture at step t has grey 5 t and a block of colour t further on; reward t at step t.

    An episode of seed s has `length` + s steps. `at` a step it does what `fault` says.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": FPS}
    observation_space = OBSERVATIONS
    action_space = spaces.Discrete(2)
    fault: ClassVar[Any] = None
    """Called with the number of each step."""
    closed: ClassVar[int] = 0

    def __init__(self, render_mode: str | None = None, length: int = 6) -> None:
        self.render_mode = render_mode
        self.length = length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # noqa: ARG002
        super().reset(seed=seed)
        self.seed, self.t = seed or 0, 0
        return self._observation(), {}

    def step(self, action: Any) -> Any:  # noqa: ARG002
        self.t += 1
        if Telling.fault is not None:
            Telling.fault(self.t)
        ends = self.t >= self.length + self.seed
        return self._observation(), float(self.t), ends, False, {}

    def render(self) -> Picture:
        return picture_of(self.t)

    def close(self) -> None:
        Telling.closed += 1

    def _observation(self) -> Any:
        return np.array([self.t / 1000, 0], np.float32)


gym.register("Telling-v0", entry_point=Telling)


def picture_of(step: int) -> Picture:
    picture = np.full((HEIGHT, WIDTH, 3), 5 * step % 250, dtype=np.uint8)
    left = 3 * step % (WIDTH - 10)
    picture[10:20, left : left + 10] = (250, step % 256, 20)
    return picture


def step_of(picture: Any, *, tolerance: int = 0) -> int:
    """The step that a picture of at most 50 steps shows."""
    grey = int(np.asarray(picture)[HEIGHT - 2, 2, 0])
    step = round(grey / 5)
    assert abs(grey - 5 * step) <= tolerance
    return step


def signal_at(step: int, number: int) -> Any:
    """A fault: the process gets a signal."""

    def fault(t: int) -> None:
        if t == step:
            os.kill(os.getpid(), number)

    return fault


def telling_policy(length: int = 6) -> Any:
    return saved_policy(
        observation_space=OBSERVATIONS,
        environment_id="Telling-v0",
        environment_kwargs={"length": length},
        hidden_sizes=(2,),
        config={"algorithm": "trpo", "hyperparameters": {"gamma": 0.5}},
    )


def policy_file(folder: Path, name: str = "p.pt", length: int = 6) -> Path:
    path = folder / name
    write_policy(path, telling_policy(length))
    return path


def shots(pictures: list[Picture], frames: int = 1, episodes: int = 1) -> list[Shot]:
    """Each picture as a shot; the last one of each episode is marked."""
    each = len(pictures) // episodes
    return [
        Shot(
            draw=lambda picture=picture: picture,
            frames=frames,
            caption=f"step {i % each}",
            last=i % each == each - 1,
        )
        for i, picture in enumerate(pictures)
    ]


def gif_frames(data: bytes) -> list[tuple[Picture, float]]:
    """Each frame, and how long it is shown [ms]."""
    with Image.open(io.BytesIO(data)) as image:
        return [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(image)
        ]


def mp4_frames(data: bytes) -> tuple[list[Picture], float]:
    """All frames, and how many there are in a second."""
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return pictures, float(stream.average_rate)
