"""A policy played for a pane of the terminal, in a thread of its own and without a widget.

`Playing.run` is the body of the thread. It hands out immutable scenes, a few a second; what the
person does to it (pace, steps, other episodes, sampling) any thread may do, and is done at once.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, NamedTuple

from trpotui.errors import RequestError, RunError, TrpotuiError
from trpotui.pacing import LONGEST_GAP, Pace
from trpotui.tui.no_window import draw_nowhere
from trpotui.tui.scenes import Over, Scene, Trouble

if TYPE_CHECKING:
    from trpotui.episodes import EpisodePlayed
    from trpotui.tui.frames import Frame
    from trpotui.tui.policy_sources import NamedPolicy, PolicySource
    from trpotui.viewing.rewind import RewindablePlayer

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
"""Episodes that are remembered where there is no end to them."""

Publish = Callable[[Scene | Trouble | Over], None]


class Tempo(NamedTuple):
    """Seconds between two scenes, and of rest for each second of work."""

    frame_seconds: float
    rest: float


class Playing:
    """Plays the newest policy of a source, episode after episode, until it is stopped.

    Args:
        source: where policies come from.
        stochastic: sample actions instead of taking the likeliest.
        seed: of the first episode; each next one adds 1.
        episodes: after which it is over; by default it never is.
        speed: the multiple of the environment's own frame rate to begin with.
        tempo: by default one that leaves a learner in the same process its time.
    """

    def __init__(
        self,
        source: PolicySource,
        *,
        stochastic: bool = False,
        seed: int = 0,
        episodes: int | None = None,
        speed: float = 1.0,
        tempo: Tempo | None = None,
    ) -> None:
        self.pace = Pace(speed)
        self.stochastic = stochastic
        self._source = source
        self._seed = seed
        self._episodes = episodes
        self._tempo = tempo or Tempo(FRAME_SECONDS, REST)
        self._requests: deque[Callable[[RewindablePlayer], bool]] = deque()
        self._awake = threading.Event()
        self._stopping = False
        # what follows belongs to the thread
        self._player: RewindablePlayer | None = None
        self._newest: NamedPolicy | None = None
        self._mixed = False
        self._played: dict[int, EpisodePlayed] = {}
        self._is_over = False
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

    @property
    def played(self) -> tuple[EpisodePlayed, ...]:
        """The episodes that ran to their end, each once; to be asked for when the thread is not."""
        return tuple(self._played.values())

    # what any thread may ask for

    def stop(self) -> None:
        """End the thread soon."""
        self._stopping = True
        self._awake.set()

    def toggle_pause(self) -> None:
        """Hold the steps, or let them go on."""
        self.pace.toggle_pause()
        self._awake.set()

    def step(self) -> None:
        """Hold, and act once; an episode that has ended stays as it is."""
        self.pace.paused = True
        self._ask_for(self._forward)

    def step_back(self) -> None:
        """Hold, and go back to before the last step, if there was one."""
        self.pace.paused = True
        self._ask_for(self._back)

    def restart(self) -> None:
        """Begin this episode again, with its seed."""
        self._ask_for(lambda player: self._begin(player, player.episode))

    def next_episode(self) -> None:
        """Begin the next episode, whether or not this one has ended; after the last it is over."""
        self._ask_for(self._begin_next)

    def toggle_stochastic(self) -> None:
        """Sample the actions that are to come, or take the likeliest."""
        self.stochastic = not self.stochastic
        self._awake.set()

    def _ask_for(self, request: Callable[[RewindablePlayer], bool]) -> None:
        self._requests.append(request)
        self._awake.set()

    # the thread

    def run(self, *, seen: Callable[[], bool], publish: Publish) -> None:
        """Play until `stop`, or until it is over.

        Args:
            seen: whether anybody sees the pane; nothing is stepped while nobody does.
            publish: called with each scene, and at last with what went wrong if anything did.
        """
        draw_nowhere()
        try:
            self._loop(seen, publish)
        except TrpotuiError as error:
            publish(Trouble(str(error), error))
        except Exception as error:  # noqa: BLE001 - the end of the thread: the pane tells of it
            message = f"unexpected {type(error).__name__}: {error}"
            publish(Trouble(message, RunError(message)))
        finally:
            self.close()

    def _loop(self, seen: Callable[[], bool], publish: Publish) -> None:
        before = monotonic()
        while True:
            self._awake.clear()  # before the look at what may set it
            if self._stopping:
                return
            began = monotonic()
            rest = UNSEEN_SECONDS
            if seen():
                if scene := self.advance(began - before):
                    publish(scene)
                if self._is_over:
                    publish(Over())
                    return
                spent = monotonic() - began
                frame, share = self._tempo
                rest = max(frame - spent, share * min(spent, LONGEST_GAP))
            before = began
            self._awake.wait(max(rest, 0.0))

    def advance(self, seconds: float) -> Scene | None:
        """Play for that long; None when there is nothing new to see.

        Raises:
            TrpotuiError: the policy or its environment cannot be played.
        """
        moved = self._renew()
        player = self._player
        if player is None:
            return None
        while self._requests and not self._is_over:
            moved |= self._requests.popleft()(player)
        if self._is_over:
            return None
        deadline = perf_counter() + STEPPING_SECONDS
        moved |= self.pace.advance(
            player,
            seconds,
            out_of_time=lambda: perf_counter() > deadline,
            end=lambda: self._end(player),
            begin_next=lambda: self._begin_next(player),
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
        if (newest := self._source.take()) is not None:
            self._mixed = self._newest is not None
            self._newest = newest
        if self._newest is None:
            return False
        policy, player = self._newest.policy, self._player
        if player is None or player.policy.spec != policy.spec:
            self._make_player(self._newest)
            return True
        if player.policy is not policy:
            player.player.follow(policy)
        if player.stochastic != self.stochastic:
            player.stochastic = self.stochastic
            self._mixed |= bool(self._played or player.steps)
            return True
        return False

    def _make_player(self, newest: NamedPolicy) -> None:
        from trpotui.episodes import EpisodePlayer, PlayOptions  # noqa: PLC0415 - gymnasium
        from trpotui.viewing.rewind import RewindablePlayer  # noqa: PLC0415 - likewise

        self.close()
        options = PlayOptions(seed=self._seed, stochastic=self.stochastic)
        player = EpisodePlayer(newest.policy, options, render_mode="rgb_array")
        self._player = RewindablePlayer(player, units=newest.units)
        self._played, self._mixed, self._has_picture = {}, False, True
        self._begin(self._player, 1)

    def _begin(self, player: RewindablePlayer, episode: int) -> bool:
        self.pace.skip_rest()
        player.start(episode)
        return True

    def _begin_next(self, player: RewindablePlayer) -> bool:
        self._is_over = self._episodes is not None and player.episode >= self._episodes
        return not self._is_over and self._begin(player, player.episode + 1)

    def _forward(self, player: RewindablePlayer) -> bool:
        if player.ended:
            return False
        player.step()
        if player.ended:
            self._end(player)
        return True

    def _back(self, player: RewindablePlayer) -> bool:
        self.pace.skip_rest()
        player.back()
        return True  # if only to say why not

    def _ask(self) -> None:
        self._renewed = monotonic()
        self._source.ask()

    def _end(self, player: RewindablePlayer) -> None:
        self._played[player.episode] = player.result()
        if self._episodes is None and len(self._played) > MOST_RETURNS:
            del self._played[next(iter(self._played))]
        self._ask()

    def _scene(self, player: RewindablePlayer) -> Scene:
        from trpotui.viewing.facts import facts_of  # noqa: PLC0415 - gymnasium

        assert self._newest is not None
        return Scene(
            facts=facts_of(player),
            frame=self._frame(player),
            name=self._newest.name,
            returns=tuple(one.episode_return for one in self._played.values()),
            same_policy=not self._mixed,
            episodes=self._episodes,
            notice=player.notice,
        )

    def _frame(self, player: RewindablePlayer) -> Frame | None:
        if self._has_picture:
            try:
                return player.frame()
            except RequestError:
                self._has_picture = False
        return None
