"""Where rollouts come from: environments, the session that acts in them, and what both carry on.

Legend: N environments, S state features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trpotui.config import RunConfig
from trpotui.rl.acting import ActorArrays, Session
from trpotui.rl.collector import Boundary, Collector
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy
from trpotui.rl.recorded_environment import EnvironmentPosition, RecordedEnvironment
from trpotui.rl.replay import RebuildError
from trpotui.rl.rollout import FIRST_CAPACITY, Rollout


@dataclass(frozen=True)
class Position:
    """Where the experience of a run is between two rollouts; later ones do not change it."""

    rng: Mapping[str, Any]
    session: Mapping[str, Any]
    critic_memory: Tensor | None
    boundary: Boundary
    environments: EnvironmentPosition | str
    """Or why it is not known how they could be set up again."""


class Experience:
    """N environments and whoever acts in them.

    Args:
        config: of the run.
        environments: N of them, reset here.
        policy: of the first rollout.
        rng: of actions, and of the seeds with which whole episodes begin.
        seeds: of the first episodes.
        device: of the critic's memory.
    """

    def __init__(
        self,
        config: RunConfig,
        environments: RecordedEnvironment,
        policy: Policy,
        *,
        rng: np.random.Generator,
        seeds: np.random.SeedSequence,
        device: torch.device,
    ) -> None:
        h, n_envs = config.hyperparameters, environments.n_envs
        self._environments = environments
        self._rng = rng
        self._device = device
        # seeds below 2^31: some environments take no larger ones
        self._seeds = (seeds.generate_state(n_envs) >> 1).tolist()
        self.session = Session(policy.actor_network, None, n_envs=n_envs, rng=rng)
        rollout = Rollout.empty(
            FIRST_CAPACITY if h.rollout_episodes else h.rollout_steps,
            n_envs,
            size=policy.spec.observation_size,
            decoder=policy.decoder,
            normalized=policy.moments is not None,
            dtype=policy.spec.row_dtype,
        )
        self.collector = Collector(
            environments,
            environments.reset(seed=self._seeds),
            rollout,
            episodes=h.rollout_episodes,
            rng=rng,
        )
        self.critic_memory: Tensor | None = None
        """[N, S] before the next row; None of a critic without memory."""
        if policy.spec.has_memory:
            self.critic_memory = torch.zeros(n_envs, policy.spec.state_size, device=device)
        self._gone_back: Position | None = None

    def collect(
        self,
        actor: ActorArrays,
        moments: ObservationMoments | None,
        interrupt: Callable[[], None],
    ) -> Rollout:
        """The next rollout, which `actor` acts in. The arguments are those of `Collector.collect`.

        Whatever it raises, `go_back` has to follow.
        """
        self.session.follow(actor)
        return self.collector.collect(self.session, moments, interrupt=interrupt)

    def memory(self) -> dict[str, Tensor]:
        """What actor and critic remember [N, S] before the next row; nothing without memory."""
        if self.critic_memory is None:
            return {}
        actor = self.session.states["actor"]
        assert actor is not None
        return {
            "actor": torch.from_numpy(actor).to(self._device),
            "critic": self.critic_memory,
        }

    def position(self) -> Position:
        """Where it is now, between two rollouts."""
        return self._gone_back or Position(
            self._rng.bit_generator.state,
            self.session.state(),
            self.critic_memory,
            self.collector.boundary(),
            self._environments.position(),
        )

    def go_back(self, position: Position) -> None:
        """Forget the rollout that was begun at a position, for good: no other one can follow.

        The environments themselves have gone on, but another process can set them up as they were.
        """
        self._rng.bit_generator.state = position.rng
        self._gone_back = position

    def state(self) -> dict[str, Any]:
        """What another process needs to go on in the same episodes: plain data and arrays."""
        position = self.position()
        memory, environments = position.critic_memory, position.environments
        lost: str | None = None
        found: dict[str, Any] = {}
        if isinstance(environments, str):
            lost = environments
        elif not position.boundary.unfinished:
            try:
                found = environments.plain()
            except RebuildError as error:
                lost = str(error)
        return {
            "session": dict(position.session),
            "critic_memory": None if memory is None else memory.cpu().numpy().copy(),
            "boundary": position.boundary.plain(),
            "environments": found,
            "lost": lost,
        }

    def rebuild(self, state: Mapping[str, Any], interrupt: Callable[[], None]) -> None:
        """Go on in the episodes of `state`, in the place of those that have just begun.

        Args:
            state: what `state` returned, in this process or another.
            interrupt: called before every step that it takes.

        Raises:
            RebuildError: it cannot be done; it goes on in new episodes.
        """
        if state["lost"] is not None:
            raise RebuildError(state["lost"])
        boundary = Boundary(**state["boundary"])
        if not boundary.unfinished:  # else the next rollout begins new episodes by itself
            try:
                self._rebuild_environments(state["environments"], boundary, interrupt)
            except RebuildError:
                self.collector.meet(self._environments.reset(seed=self._seeds))
                raise
        self.collector.go_on(boundary)
        self.session.restore(state["session"])
        if state["critic_memory"] is not None:
            self.critic_memory = torch.from_numpy(state["critic_memory"]).to(self._device)

    def _rebuild_environments(
        self, state: Mapping[str, Any], boundary: Boundary, interrupt: Callable[[], None]
    ) -> None:
        """Set the environments up as they were, so that what they show is the boundary's rows."""
        self.collector.meet(self._environments.rebuild(state, interrupt))
        if not np.array_equal(self.collector.boundary().rows, boundary.rows):
            raise RebuildError("with the same actions, what is observed of it differs")
