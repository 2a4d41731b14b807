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
from trpotui.errors import EnvironmentFaultError, RequestError, RunError
from trpotui.rl.algorithm import Batch, UpdateStats
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.appraisal import Appraisal, History, appraise
from trpotui.rl.architecture import PolicySpec
from trpotui.rl.checkpoint import as_arrays, as_tensors
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.experience import Experience
from trpotui.rl.networks import Actor, Critic, numpy_arrays
from trpotui.rl.normalization import ObservationMoments
from trpotui.rl.policy import Policy
from trpotui.rl.recorded_environment import RecordedEnvironment
from trpotui.rl.rollout import Rollout
from trpotui.rl.sequences import Inputs
from trpotui.rl.valuation import network_inputs, rollout_values

SAME_POLICY_KL = 1e-5
"""Nats by which the policy that collects and the policy that updates may differ: rounding."""


@dataclasses.dataclass(frozen=True)
class Iteration:
    """One rollout and the update made of it."""

    stats: UpdateStats
    explained_variance: float
    steps: int
    """Transitions of the rollout that were learned from."""
    returns: list[float]
    """Undiscounted returns of the episodes that ended in it, in the order in which they did."""
    lengths: list[int]
    """Steps of those episodes."""
    cut_off: int
    """Episodes that a rollout of whole ones did not wait for any longer."""


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
            network=h.network,
            memory_size=h.memory_size,
            exploration=h.exploration,
            sde_interval=h.sde_interval,
            logit_clip=h.logit_clip,
        )
        self._device = device
        if h.network == "cnn" and h.normalize_observations:
            raise RequestError(
                "normalize_observations is not for network cnn, which scales images by itself"
            )
        # independent streams of one seed: environments, actions, weights and shuffling
        seeds = np.random.SeedSequence([config.seed, first_update]).spawn(3)
        self._rng = np.random.default_rng(seeds[0])
        self._generator = torch.Generator().manual_seed(int(seeds[1].generate_state(1)[0]))
        self.actor = Actor(
            self.spec,
            initial_log_std=h.initial_log_std,
            orthogonal=h.orthogonal_init,
            generator=self._generator,
            device=device,
        )
        self.critic = Critic(
            self.spec, orthogonal=h.orthogonal_init, generator=self._generator, device=device
        )
        self.algorithm = algorithm(self.actor, self.critic, h, self._generator)
        self.moments = (
            ObservationMoments.initial(self.spec.observation_size, clip=h.observation_clip)
            if h.normalize_observations
            else None
        )
        self._history = History.initial(environments.n_envs, normalize_rewards=h.normalize_rewards)
        self.experience = Experience(
            config,
            RecordedEnvironment.of(environments, seed_episodes=config.seed_episodes),
            self.live_policy(),
            rng=self._rng,
            seeds=seeds[2],
            device=device,
        )

    def live_policy(self) -> Policy:
        """The policy as it is now; on a CPU it shares the networks' memory and follows them."""
        return Policy(
            spec=self.spec,
            actor=numpy_arrays(self.actor.named),
            critic=numpy_arrays(self.critic.named),
            moments=self.moments,
        )

    def snapshot(self) -> Policy:
        """A copy of the policy that later updates do not change."""
        return self.live_policy().copy()

    @torch.no_grad()
    def iterate(self, interrupt: Callable[[], None], remaining: float = 1.0) -> Iteration:
        """Collect a rollout, make its advantages, update on it, then learn its moments.

        Args:
            interrupt: called between costly steps; what it raises abandons the iteration.
            remaining: share of the run that is left, from 1 down to 0.

        Raises:
            TrpotuiError: and whatever else it raises, the learner's state is then that of before,
                and no other iteration can follow.
        """
        before = self.experience.position()
        try:
            return self._iterate(interrupt, remaining)
        except EnvironmentFaultError as fault:
            # the same actions would lead to the same fault
            lost = f"the environment failed ({fault})"
            self.experience.go_back(dataclasses.replace(before, environments=lost))
            raise
        except BaseException:
            self.experience.go_back(before)
            raise

    def _iterate(self, interrupt: Callable[[], None], remaining: float) -> Iteration:
        memory = self.experience.memory()
        rollout = self.experience.collect(self.live_policy().actor_network, self.moments, interrupt)
        self._check_same_policy(rollout, memory)
        appraisal = self._appraise(rollout)
        inputs = network_inputs(rollout, rollout.valid, memory, self._device)
        batch = self._make_batch(rollout, inputs, appraisal, remaining)
        stats = self._update(batch, interrupt)
        self._history = appraisal.history
        if self.moments is not None:
            # only now: the rollout and its update saw one and the same policy. What the new moments
            # change is not part of the KL that is reported; it is large for the first few updates
            # and fades as the count grows
            self.moments = self.moments.merged(rollout.rows[:-1][rollout.valid])
        return Iteration(
            stats,
            appraisal.explained_variance,
            len(batch.inputs),
            rollout.returns,
            rollout.lengths,
            rollout.cut_off,
        )

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

    def _appraise(self, rollout: Rollout) -> Appraisal:
        """Advantages and targets of the valid rows."""
        values, final_values, self.experience.critic_memory = rollout_values(
            self.critic, rollout, self.experience.critic_memory, self._device
        )
        return appraise(
            rollout, values, final_values, self._history, self.algorithm.hyperparameters
        )

    def _make_batch(
        self, rollout: Rollout, inputs: Inputs, appraisal: Appraisal, remaining: float
    ) -> Batch:
        return Batch(
            inputs=inputs,
            actions=self._tensor(rollout.actions[rollout.valid]),
            advantages=self._tensor(appraisal.advantages),
            targets=self._tensor(appraisal.targets),
            values=self._tensor(appraisal.values),
            remaining=remaining,
        )

    def _check_same_policy(self, rollout: Rollout, memory: Mapping[str, Tensor]) -> None:
        """D_KL(pi that collected || pi to update) must be 0 at the start of every update."""
        collected = self._tensor(rollout.first_parameters).double()
        all_first = np.ones_like(rollout.valid[:1])
        first = network_inputs(rollout.first(1), all_first, memory, self._device)
        current = self.actor(first).double()
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
        return {
            "actor": self.actor.parameters.cpu().clone(),
            "critic": self.critic.parameters.cpu().clone(),
            "algorithm": self.algorithm.state(),
            "hyperparameters": json.dumps(dataclasses.asdict(self.algorithm.hyperparameters)),
            "moments": as_tensors(None if self.moments is None else self.moments.state()),
            "history": self._history.state(),
            # as text: the state holds integers of 128 bits
            "rng": json.dumps(self._rng.bit_generator.state),
            "generator": self._generator.get_state(),
            "experience": as_tensors(self.experience.state()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, but for the episodes, which `rebuild` goes on with."""
        self.actor.parameters.copy_(state["actor"])
        self.critic.parameters.copy_(state["critic"])
        self.algorithm.restore(state["algorithm"])
        self._replace(json.loads(state["hyperparameters"]))
        if self.moments is not None:
            self.moments = self.moments.restored(as_arrays(state["moments"]))
        self._history = self._history.restored(state["history"])
        self._rng.bit_generator.state = json.loads(state["rng"])
        self._generator.set_state(state["generator"])

    def rebuild(self, state: Mapping[str, Any], interrupt: Callable[[], None]) -> None:
        """Go on in the episodes of what `state` returned, in the place of new ones.

        Args:
            state: the learner's.
            interrupt: called before every step that it takes.

        Raises:
            RebuildError: it cannot be done, which leaves new episodes.
        """
        self.experience.rebuild(as_arrays(state["experience"]), interrupt)

    def _tensor(self, array: NDArray[Any] | None) -> Tensor:
        assert array is not None
        return torch.from_numpy(array).to(self._device)
