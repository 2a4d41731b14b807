"""The order in which a window plays episodes, without a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trpotui.episodes import EpisodePlayed
from trpotui.pacing import Pace
from trpotui.viewer.protocol import PlaybackChanged
from trpotui.viewing.by_hand import HandControl
from trpotui.viewing.together import Rewindable, Together


class Playback:
    """Plays so many episodes, one after the other, as the person wishes.

    Args:
        players: what is stepped, side by side.
        episodes: how many to play.
        speed: the multiple of the environment's own frame rate to begin with.
        report: called with each episode that has ended, at once.
        hand: what a person does who plays one of the players; None where nobody does.
        hand_place: of that player.
    """

    def __init__(
        self,
        players: Sequence[Rewindable],
        *,
        episodes: int,
        speed: float,
        report: Callable[[EpisodePlayed], None],
        hand: HandControl | None = None,
        hand_place: int = 0,
    ) -> None:
        self.together = Together(players, report=report, action_of=self._action_of)
        self.hand = hand
        self._hand_place = hand_place
        self.episodes = episodes
        self.pace = Pace(speed)
        self.finished = False
        self.overlay = True
        self._start(1)

    def advance(self, seconds: float, *, out_of_time: Callable[[], bool]) -> bool:
        """Step as often as the seconds that have passed ask for; true when anything moved."""
        if self.finished or self._waits():
            return False
        return self.pace.advance(
            self.together,
            seconds,
            out_of_time=lambda: out_of_time() or self._waits(),
            end=lambda: None,
            begin_next=self._begin_next,
        )

    def until_next_step(self) -> float:
        """Seconds until `advance` has something to do; infinite while paused."""
        return self.pace.until_next_step(self.together)

    def heed_hand(self) -> bool:
        """Begin an episode that waits for the person, who has pressed a key; true if so."""
        ready = self.hand is not None and self.hand.is_pressed
        if ready and self.pace.paused and self.together.steps == 0:
            self.pace.paused = False
            return True
        return False

    def next_episode(self) -> None:
        """Begin the next episode, whether or not this one has ended; after the last, finish."""
        self.pace.skip_rest()
        self._begin_next()

    def restart(self) -> None:
        """Begin this episode anew, with the same seed."""
        self.pace.skip_rest()
        self._start(self.together.episode)

    def step(self) -> str:
        """Pause, and take one step; a sentence for the person where there is none to take."""
        self._hold()
        if self.together.ended:
            return "the episode is over: n begins the next one"
        if self._waits():
            return "it is your turn: press one of your keys"
        self.together.step()
        return self.together.notice

    def back(self) -> str:
        """Pause, and take one step back; a sentence for the person where that is not possible."""
        self._hold()
        self.together.back()
        return self.together.notice

    def toggle_sampling(self) -> None:
        """Sample the steps to come, or take the likeliest action."""
        self.together.stochastic = not self.together.stochastic

    def toggle_overlay(self) -> None:
        """Show the facts, or the pictures alone."""
        self.overlay = not self.overlay

    def state(self, *, full_screen: bool = False) -> PlaybackChanged:
        """What the window is doing now."""
        return PlaybackChanged(
            paused=self.pace.paused,
            speed=self.pace.speed,
            episode=self.together.episode,
            step=self.together.steps,
            stochastic=self.together.stochastic,
            overlay=self.overlay,
            full_screen=full_screen,
        )

    def _hold(self) -> None:
        self.pace.paused = True
        self.pace.skip_rest()

    def _begin_next(self) -> bool:
        self.finished = self.together.episode >= self.episodes
        if not self.finished:
            self._start(self.together.episode + 1)
        return not self.finished

    def _start(self, episode: int) -> None:
        self.together.start(episode)
        if self.hand is not None:
            self.hand.reset()
            self.pace.paused = True  # until the person is ready

    def _waits(self) -> bool:
        """Whether it is the person's turn, in an environment that stands still until then."""
        return self.hand is not None and self.hand.is_awaited and not self.together.ended

    def _action_of(self, place: int) -> Any:
        return self.hand.action() if self.hand is not None and place == self._hand_place else None
