"""What learns: networks, algorithm, observation moments and experience, one iteration at a time.

Legend: T steps, N environments, B = valid rows of T * N, D observation features.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trpotui.config import FIXED_WHILE_RUNNING, RunConfig, build
from trpotui.errors import RequestError, RunError
from trpotui.rl.advantages import explained_variance, gae, standardize
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.networks import Actor, Critic, numpy_layers
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy
from trpotui.rl.rollout import Collector, Float32, Rollout
from trpotui.rl.spaces import PolicySpec

SAME_POLICY_KL = 1e-5
"""Nats by which the policy that collects and the policy that updates may differ: rounding."""


@dataclasses.dataclass(frozen=True)
class Iteration:
    """One rollout and the update made of it."""

    stats: UpdateStats
    explained_variance: float
    steps: int
    """Real transitions of the rollout."""


class Learner:
    """Collects, computes advantages and updates.

    Args:
        config: of the run.
        environments: N training environments; reset here.
        device: where the networks learn.
        first_update: updates already done; a resumed run draws other numbers than its beginning.
    """

    def __init__(
        self,
        config: RunConfig,
        environments: BatchedEnvironment,
        device: torch.device,
        *,
        first_update: int = 0,
    ) -> None:
        h = config.hyperparameters
        algorithm = load_algorithm(config.algorithm)
        if not isinstance(h, algorithm.hyperparameter_type):
            raise RequestError(
                f"{config.algorithm} needs {algorithm.hyperparameter_type.__name__}, "
                f"not {type(h).__name__}; trpotui.run_request.make_config chooses by itself"
            )
        self.spec = PolicySpec(
            environment_id=config.environment_id,
            environment_kwargs=config.environment_kwargs,
            observation_space=environments.observation_space,
            action_space=environments.action_space,
            hidden_sizes=h.hidden_sizes,
            activation=h.activation,
        )
        self._device = device
        # independent streams of one seed: environments, actions, weights and shuffling
        seeds = np.random.SeedSequence([config.seed, first_update]).spawn(3)
        self._rng = np.random.default_rng(seeds[0])
        self._generator = torch.Generator().manual_seed(int(seeds[1].generate_state(1)[0]))
        self.actor = Actor(
            self.spec.actor_sizes,
            h.activation,
            gaussian=self.spec.distribution == "gaussian",
            initial_log_std=h.initial_log_std,
            generator=self._generator,
            device=device,
        )
        self.critic = Critic(
            self.spec.critic_sizes, h.activation, generator=self._generator, device=device
        )
        self.algorithm = algorithm(self.actor, self.critic, h, self._generator)
        self.moments = (
            ObservationMoments.initial(self.spec.observation_size, clip=h.observation_clip)
            if h.normalize_observations
            else None
        )
        self._environments = environments
        self._collector = self._make_collector(seeds[2])

    def _make_collector(self, seeds: np.random.SeedSequence) -> Collector:
        policy = self.live_policy()
        rollout = Rollout.empty(
            self.algorithm.hyperparameters.rollout_steps,
            self._environments.n_envs,
            size=self.spec.observation_size,
            decoder=policy.decoder,
            normalized=self.moments is not None,
        )
        # seeds below 2^31: some environments take no larger ones
        states = (seeds.generate_state(self._environments.n_envs) >> 1).tolist()
        return Collector(self._environments, self._environments.reset(seed=states), rollout)

    def live_policy(self) -> Policy:
        """The policy as it is now; on a CPU it shares the networks' memory and follows them."""
        return Policy(
            spec=self.spec,
            actor=numpy_layers(self.actor.network),
            log_std=None if self.actor.log_std is None else self.actor.log_std.cpu().numpy(),
            critic=numpy_layers(self.critic.network),
            moments=self.moments,
        )

    def snapshot(self) -> Policy:
        """A copy of the policy that later updates do not change."""
        return self.live_policy().copy()

    @torch.no_grad()
    def iterate(self, interrupt: Callable[[], None]) -> Iteration:
        """Collect a rollout, make its advantages, update on it, then learn its moments."""
        rollout = self._collector.collect(
            self.live_policy(), self.moments, rng=self._rng, interrupt=interrupt
        )
        self._check_same_policy(rollout)
        batch, explained = self._make_batch(rollout)
        stats = self._update(batch, interrupt)
        if self.moments is not None:
            # only now: the rollout and its update saw one and the same policy. What the new moments
            # change is not part of the KL that is reported; it is large for the first few updates
            # and fades as the count grows
            self.moments = self.moments.merged(rollout.rows[:-1][rollout.valid])
        return Iteration(stats, explained, len(batch.inputs))

    def _update(self, batch: Batch, interrupt: Callable[[], None]) -> UpdateStats:
        """Update, or leave everything that learns as it was when that is interrupted."""
        actor, critic = self.actor.parameters.clone(), self.critic.parameters.clone()
        algorithm, generator = self.algorithm.state(), self._generator.get_state()
        try:
            return self.algorithm.update(batch, interrupt)
        except BaseException:
            self.actor.parameters.copy_(actor)
            self.critic.parameters.copy_(critic)
            self.algorithm.restore(algorithm)
            self._generator.set_state(generator)
            raise

    def _make_batch(self, rollout: Rollout) -> tuple[Batch, float]:
        """Advantages and targets of the valid rows, and the critic's explained variance."""
        h = self.algorithm.hyperparameters
        values, final_values = self._values(rollout)
        advantages = gae(
            rollout.rewards * np.float32(h.reward_scale),
            values[:-1],
            rollout.next_values(values, final_values),
            terminated=rollout.terminated,
            ended=rollout.ended,
            gamma=h.gamma,
            lam=h.gae_lambda,
        )
        valid = rollout.valid
        targets = (advantages + values[:-1])[valid]
        explained = explained_variance(values[:-1][valid], targets)
        chosen = advantages[valid]
        if h.normalize_advantages:
            chosen = standardize(chosen, scale=float(np.abs(targets).max(initial=0.0)))
        batch = Batch(
            inputs=self._tensor(rollout.inputs[:-1][valid]),
            actions=self._tensor(rollout.actions[valid]),
            advantages=self._tensor(chosen),
            targets=self._tensor(targets),
        )
        return batch, explained

    def _values(self, rollout: Rollout) -> tuple[Float32, Float32]:
        """The critic at all inputs [T + 1, N] and at the final ones, in one pass."""
        rows = rollout.inputs.reshape(-1, self.spec.observation_size)  # [(T + 1) * N, D]
        if rollout.final_inputs:
            rows = np.concatenate([rows, np.stack(rollout.final_inputs)])
        values: Float32 = self.critic(self._tensor(rows))[:, 0].cpu().numpy()
        shape = rollout.inputs.shape[:2]
        split = shape[0] * shape[1]
        return values[:split].reshape(shape), values[split:]

    def _check_same_policy(self, rollout: Rollout) -> None:
        """D_KL(pi that collected || pi to update) must be 0 at the start of every update."""
        collected = self._tensor(rollout.first_parameters).double()
        current = self.actor(self._tensor(rollout.inputs[0])).double()
        kl = float(self.actor.distribution.kl(old=collected, new=current).max())
        if not kl <= SAME_POLICY_KL:  # NaN too
            raise RunError(
                f"the policy to be updated is not the one that collected: they differ by {kl:g} "
                "nats; this is a defect of the program, please report it"
            )

    def change(self, values: Mapping[str, object]) -> None:
        """Replace hyperparameters by name.

        Raises:
            RequestError: an unknown name, a value out of range, or one that cannot change while
                the run goes on; nothing is changed.
        """
        for name in values:
            if name in FIXED_WHILE_RUNNING:
                raise RequestError(f"{name} cannot be changed while a run goes on")
        self._replace(values)

    def _replace(self, values: Mapping[str, object]) -> None:
        current = dataclasses.asdict(self.algorithm.hyperparameters)
        self.algorithm.hyperparameters = build(
            self.algorithm.hyperparameter_type, {**current, **values}, what="hyperparameter"
        )

    def state(self) -> dict[str, Any]:
        """What a resumed run needs of the learner, as plain data and tensors."""
        moments = None
        if self.moments is not None:
            moments = {
                "mean": torch.from_numpy(self.moments.mean.copy()),
                "variance": torch.from_numpy(self.moments.variance.copy()),
                "count": self.moments.count,
            }
        return {
            "actor": self.actor.parameters.cpu().clone(),
            "critic": self.critic.parameters.cpu().clone(),
            "algorithm": self.algorithm.state(),
            "hyperparameters": json.dumps(dataclasses.asdict(self.algorithm.hyperparameters)),
            "moments": moments,
            # as text: the state holds integers of 128 bits
            "rng": json.dumps(self._rng.bit_generator.state),
            "generator": self._generator.get_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned; the environments start new episodes."""
        self.actor.parameters.copy_(state["actor"])
        self.critic.parameters.copy_(state["critic"])
        self.algorithm.restore(state["algorithm"])
        self._replace(json.loads(state["hyperparameters"]))
        if self.moments is not None:
            self.moments = dataclasses.replace(
                self.moments,
                mean=state["moments"]["mean"].numpy(),
                variance=state["moments"]["variance"].numpy(),
                count=state["moments"]["count"],
            )
        self._rng.bit_generator.state = json.loads(state["rng"])
        self._generator.set_state(state["generator"])

    def _tensor(self, array: NDArray[Any] | None) -> Tensor:
        assert array is not None
        return torch.from_numpy(array).to(self._device)
