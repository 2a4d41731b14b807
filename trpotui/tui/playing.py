"""A policy played for a pane of the terminal, in a thread of its own and without a widget.

`Playing.run` is the body of the thread. It hands out immutable scenes, ten a second at most; what
the person does to it (pace, next episode, sampling) any thread may do.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from trpotui.errors import RequestError, TrpotuiError
from trpotui.pacing import LONGEST_GAP, Pace
from trpotui.tui.scenes import Scene, Trouble, choice_of

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayer
    from trpotui.rl.policy import Policy
    from trpotui.tui.frames import Frame
    from trpotui.tui.policy_sources import PolicySource

FRAME_SECONDS = 0.1
"""Between two scenes: a terminal far away takes no more."""
STEPPING_SECONDS = 0.02
"""That one scene's steps may take; what is not done by then is dropped."""
REST = 3.0
"""Seconds of rest for each second of work: the learner needs the same interpreter."""
REFRESH_SECONDS = 3.0
"""After which a policy that is still learning is copied again, also amid an episode."""
UNSEEN_SECONDS = 0.25
"""Between two looks at whether anybody sees the pane."""
MOST_RETURNS = 1000
"""Episodes that are remembered."""


class Playing:
    """Plays the newest policy of a source, episode after episode, until it is stopped.

    Args:
        source: where policies come from.
        stochastic: sample actions instead of taking the likeliest.
        seed: of the first episode; each next one adds 1.
    """

    def __init__(self, source: PolicySource, *, stochastic: bool = False, seed: int = 0) -> None:
        self.pace = Pace()
        self.stochastic = stochastic
        self._source = source
        self._seed = seed
        self._skip = False
        self._stop = threading.Event()
        # what follows belongs to the thread
        self._player: EpisodePlayer | None = None
        self._policy: Policy | None = None
        self._name = ""
        self._mixed = False
        self._returns: tuple[float, ...] = ()
        self._has_picture = True
        self._renewed = -math.inf

    @property
    def mode(self) -> str:
        """How it is played, in a few words."""
        words = ["sampled" if self.stochastic else "greedy"]
        if self.pace.speed != 1.0:
            words.append(f"{self.pace.speed:g}×")
        if self.pace.paused:
            words.append("‖ paused")
        return " · ".join(words)

    def stop(self) -> None:
        """End the thread soon."""
        self._stop.set()

    def next_episode(self) -> None:
        """Begin the next episode, whether or not this one has ended."""
        self._skip = True

    def run(self, *, seen: Callable[[], bool], publish: Callable[[Scene | Trouble], None]) -> None:
        """Play until `stop`.

        Args:
            seen: whether anybody sees the pane; nothing is stepped while nobody does.
            publish: called with each scene, and at last with what went wrong if anything did.
        """
        draw_nowhere()
        before = monotonic()
        try:
            while not self._stop.is_set():
                began = monotonic()
                rest = UNSEEN_SECONDS
                if seen():
                    if scene := self.advance(began - before):
                        publish(scene)
                    spent = monotonic() - began
                    rest = max(FRAME_SECONDS - spent, REST * min(spent, LONGEST_GAP))
                before = began
                self._stop.wait(rest)
        except TrpotuiError as error:
            publish(Trouble(str(error)))
        except Exception as error:  # noqa: BLE001 - the end of the thread: the pane tells of it
            publish(Trouble(f"unexpected {type(error).__name__}: {error}"))
        finally:
            self.close()

    def advance(self, seconds: float) -> Scene | None:
        """Play for that long; None when there is nothing new to see.

        Raises:
            TrpotuiError: the policy or its environment cannot be played.
        """
        moved = self._renew()
        player = self._player
        if player is None:
            return None
        if self._skip:
            self._skip = False
            self.pace.skip_rest()
            moved = _start_next(player)
        deadline = perf_counter() + STEPPING_SECONDS
        moved |= self.pace.advance(
            player,
            seconds,
            out_of_time=lambda: perf_counter() > deadline,
            end=lambda: self._end(player),
            begin_next=lambda: _start_next(player),
        )
        return self._scene(player) if moved else None

    def close(self) -> None:
        """Close the environment."""
        if self._player is not None:
            self._player.close()
            self._player = None

    def _renew(self) -> bool:
        """Take a newer policy if there is one; true when another episode has begun by that."""
        if monotonic() - self._renewed > REFRESH_SECONDS:
            self._ask()
        newest = self._source.take()
        if newest is not None:
            self._mixed = bool(self._name)
            self._policy, self._name = newest
        policy, player = self._policy, self._player
        if policy is None:
            return False
        if (
            player is not None
            and player.options.stochastic == self.stochastic
            and player.policy.spec == policy.spec
        ):
            player.policy = policy
            return False
        self._make_player(policy)
        return True

    def _make_player(self, policy: Policy) -> None:
        from trpotui.episodes import EpisodePlayer, PlayOptions  # noqa: PLC0415 - gymnasium

        self.close()
        options = PlayOptions(seed=self._seed, stochastic=self.stochastic)
        self._player = EpisodePlayer(policy, options, render_mode="rgb_array")
        self._returns, self._mixed, self._has_picture = (), False, True
        self.pace.skip_rest()
        self._player.start(1)

    def _ask(self) -> None:
        self._renewed = monotonic()
        self._source.ask()

    def _end(self, player: EpisodePlayer) -> None:
        self._returns = (*self._returns, player.total)[-MOST_RETURNS:]
        self._ask()

    def _scene(self, player: EpisodePlayer) -> Scene:
        parameters, value = player.outlook()
        return Scene(
            frame=self._frame(player),
            environment_id=player.environment_id,
            name=self._name,
            choice=choice_of(player.policy, parameters),
            value=value,
            episode=player.episode,
            step=player.steps,
            total=player.total,
            ended=player.ended,
            stochastic=player.options.stochastic,
            returns=self._returns,
            same_policy=not self._mixed,
        )

    def _frame(self, player: EpisodePlayer) -> Frame | None:
        if self._has_picture:
            try:
                return player.frame()
            except RequestError:
                self._has_picture = False
        return None


def _start_next(player: EpisodePlayer) -> bool:
    player.start(player.episode + 1)
    return True


def draw_nowhere() -> None:
    """Let pygame draw pictures in this process without ever touching a display or a sound card.

    Off the main thread macOS would abort, and without a display SDL would try the console. Only the
    C library is told, so that a window opened as a child process inherits none of it.
    """
    for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"):
        os.putenv(name, "dummy")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
