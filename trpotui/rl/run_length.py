"""When a run is over."""

from __future__ import annotations

from trpotui.config import RunConfig
from trpotui.events import StopReason
from trpotui.rl.checkpoint import Progress
from trpotui.rl.collector import LONGEST_WAIT
from trpotui.rl.environments import registered_spec


class RunLength:
    """How long a run is: so many environment steps, or so many episodes if they come first.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig) -> None:
        h = config.hyperparameters
        self.total_steps = config.total_steps
        """May be changed while the run goes on."""
        self.total_episodes = config.total_episodes
        """0 where steps alone end the run."""
        self.steps_per_update = None if h.rollout_episodes else config.n_envs * h.rollout_steps
        """None where an update takes whole episodes, however long they are."""
        self.episodes_per_update = config.n_envs * h.rollout_episodes or None
        """None where an update takes steps, however many episodes end among them."""

    def end(self, progress: Progress) -> StopReason | None:
        """Why there is no further update; None while there is one, and before the first.

        One that would take the run beyond its length is not begun, where that can be told before.
        """
        if progress.update == 0:
            return None
        if progress.steps + (self.steps_per_update or 1) > self.total_steps:
            return StopReason.STEPS_REACHED
        episodes = progress.episodes + (self.episodes_per_update or 1)
        if self.total_episodes and episodes > self.total_episodes:
            return StopReason.EPISODES_REACHED
        return None

    def remaining(self, progress: Progress) -> float:
        """Share of the run that is left, from 1 to 0: of its steps or episodes, what is less."""
        left = 1.0 - progress.steps / self.total_steps
        if self.total_episodes:
            left = min(left, 1.0 - progress.episodes / self.total_episodes)
        return max(left, 0.0)


def expected_samples(config: RunConfig) -> int:
    """Samples of an update; of whole episodes, as many as they may become."""
    h = config.hyperparameters
    if not h.rollout_episodes:
        return config.n_envs * h.rollout_steps
    limit = registered_spec(config.environment_id).max_episode_steps or LONGEST_WAIT
    return config.n_envs * h.rollout_episodes * limit
