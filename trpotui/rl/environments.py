"""Gymnasium environments behind one batched interface with one meaning of "done".

Legend: N environments.

Vector environments differ in when they reset a finished episode (gymnasium's `AutoresetMode`).
Here every step says the same four things, whatever the mode: the true successor observation, what
ended, which observation to act on next, and which rows were real transitions at all.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from trpotui.config import did_you_mean
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.rl.episode_counts import EpisodeCounts
from trpotui.rl.observations import (
    LeafCheck,
    Observations,
    UnfitObservationError,
    all_finite,
    check_row,
    check_rows,
    checked,
    chosen,
    mapped,
    put,
)

Bools = NDArray[np.bool_]

RESERVED_ARGUMENTS = ("render_mode", "vectorization_mode", "vector_kwargs", "num_envs", "wrappers")
"""Keyword arguments of gymnasium's `make` and `make_vec` that are not the environment's own."""
FEWEST_NATIVE = 4
"""Copies from which on a native vector form is quicker: a step of CartPole's takes 28 µs however
many they are, of one, two and three single ones 10, 16 and 21 µs."""


@dataclass(frozen=True)
class Step:
    """What one step of N environments brought."""

    successors: Observations
    """Observations that the actions led to [N, ...]; at the end of an episode the final one."""
    observations: Observations
    """Observations to act on next [N, ...]: the successors, or a new episode's first. The same
    object as `successors` where nothing differs."""
    rewards: NDArray[np.float64]
    terminated: Bools
    """The episode reached a terminal state: the value of the successor is zero."""
    truncated: Bools
    """The episode was cut off and not terminated: the successor keeps its value."""
    valid: Bools
    """False where the environment only reset and ignored the action: no transition happened."""
    starts: Bools
    """The observation to act on next is the first of an episode."""


class BatchedEnvironment:
    """N copies of an environment, with finished episodes counted and data checked.

    Args:
        environments: a vector environment that says its autoreset mode in its metadata.
        name: how errors name it.

    Raises:
        EnvironmentFaultError: from `reset` and `step`, when the environment raises or hands out
            data of a wrong shape or type, or that is not finite. Environment, step and field are
            named; nothing of that step is handed on.
    """

    def __init__(self, environments: VectorEnv[Any, Any, Any], *, name: str) -> None:
        self._environments = environments
        self.name = name
        self.n_envs = environments.num_envs
        self.observation_space = environments.single_observation_space
        self.action_space = environments.single_action_space
        self._mode = environments.metadata.get("autoreset_mode")
        if not isinstance(self._mode, AutoresetMode):
            raise RequestError(
                f"{name}: its vector environment does not say when it resets finished episodes "
                "(metadata 'autoreset_mode')"
            )
        self._one_array = not isinstance(self.observation_space, spaces.Dict | spaces.Tuple)
        self._check_rows = partial(check_rows, count=self.n_envs)
        self._all_valid, self._only_resets = np.ones(self.n_envs, bool), np.zeros(self.n_envs, bool)
        self._episodes = EpisodeCounts(self.n_envs)
        self._steps, self._closed = 0, False

    def reset(self, *, seed: int | Sequence[int]) -> Observations:
        """Start every environment anew and return the first observations [N, ...].

        Args:
            seed: one seed of the whole vector, or one for each environment; a native vector
                environment draws all its copies from one generator and takes the first.
        """
        if not isinstance(seed, int) and not self.seeds_each:
            seed = seed[0]
        self._episodes.clear()
        self._only_resets[:] = False
        try:
            # SyncVectorEnv takes a list of seeds, which VectorEnv's signature does not say
            seeds: Any = seed if isinstance(seed, int) else list(seed)
            observations, _ = self._environments.reset(seed=seeds)
        except Exception as error:
            raise EnvironmentFaultError(self._raised("reset", error)) from error
        return self._checked_observations(observations, "reset")

    @property
    def seeds_each(self) -> bool:
        """Whether each copy takes a seed of its own."""
        return isinstance(self._environments.unwrapped, gymnasium.vector.SyncVectorEnv)

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        self._steps += 1
        try:
            observations, rewards, terminated, truncated, info = self._environments.step(actions)
        except Exception as error:
            raise EnvironmentFaultError(self._raised(f"step {self._steps}", error)) from error
        observations = self._checked_observations(observations, f"step {self._steps}")
        self._check_scalars(rewards, terminated, truncated)
        truncated = truncated & ~terminated
        ended = terminated | truncated
        valid, starts = self._all_valid, ended
        successors = observations
        if self._mode is AutoresetMode.NEXT_STEP:
            starts = self._only_resets
            valid = ~starts
            self._only_resets = ended
        elif ended.any():
            successors, observations = self._reset_now(observations, ended, info)
        self._episodes.add(rewards, ended=ended, valid=valid)
        return Step(successors, observations, rewards, terminated, truncated, valid, starts)

    def take_finished_episodes(self) -> tuple[list[float], list[int]]:
        """Returns and lengths of the episodes that ended since the last call."""
        return self._episodes.take_finished()

    def counts(self) -> dict[str, Any]:
        """What is counted of the open episodes, as numbers and arrays [N]."""
        more = {"only_resets": self._only_resets.copy(), "steps": self._steps}
        return {**self._episodes.state(), **more}

    def set_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from what `counts` returned, in the same episodes."""
        self._episodes.restore(counts)
        self._only_resets = counts["only_resets"].copy()
        self._steps = counts["steps"]

    def close(self) -> None:
        """Close the environments; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._environments.close()

    def _reset_now(
        self, observations: Observations, ended: Bools, info: Mapping[str, Any]
    ) -> tuple[Observations, Observations]:
        """True successors, and the observations to act on, of a step that ended episodes."""
        successors = mapped(np.copy, observations)  # the reset may write into the same arrays
        if self._mode is AutoresetMode.DISABLED:
            try:
                fresh, _ = self._environments.reset(options={"reset_mask": ended.copy()})
            except Exception as error:
                raise EnvironmentFaultError(self._raised("reset", error)) from error
            fresh = self._checked_observations(fresh, "reset")
            # rows that were not reset are taken from the step: a reset need not repeat them
            return successors, chosen(ended, fresh, successors)
        for index in np.flatnonzero(ended):
            final = self._checked(info["final_obs"][index], check_row, f"step {self._steps}")
            put(successors, int(index), final)
        return successors, observations

    def _checked_observations(self, observations: object, when: str) -> Observations:
        return self._checked(observations, self._check_rows, when)

    def _checked(self, observations: object, check: LeafCheck, when: str) -> Observations:
        try:
            if self._one_array:  # most environments: a step should not cost more than it must
                return check(self.observation_space, observations, "observation")
            return checked(self.observation_space, observations, check)
        except UnfitObservationError as fault:
            raise self._fault(when, fault.name, fault.what) from None

    def _check_scalars(self, rewards: Any, terminated: Any, truncated: Any) -> None:
        when = f"step {self._steps}"
        for field, value in (
            ("reward", rewards),
            ("terminated", terminated),
            ("truncated", truncated),
        ):
            if not isinstance(value, np.ndarray) or value.shape != (self.n_envs,):
                shape = getattr(value, "shape", type(value).__name__)
                raise self._fault(when, field, f"has shape {shape}, not ({self.n_envs},)")
        for field, value in (("terminated", terminated), ("truncated", truncated)):
            if value.dtype != np.bool_:
                raise self._fault(when, field, f"has dtype {value.dtype}, not bool")
        if rewards.dtype.kind not in "fiub":
            raise self._fault(when, "reward", f"has dtype {rewards.dtype}, not a number's")
        if not all_finite(rewards):
            raise self._fault(when, "reward", "is not finite")

    def _fault(self, when: str, field: str, what: str) -> EnvironmentFaultError:
        return EnvironmentFaultError(f"{self.name}: {when}: {field} {what}")

    def _raised(self, when: str, error: Exception) -> str:
        return f"{self.name}: {when} raised {type(error).__name__}: {error}"


def make_environments(
    environment_id: str, kwargs: Mapping[str, Any], *, n_envs: int
) -> BatchedEnvironment:
    """N copies of a registered environment: its native vector form, or a vector of single ones.

    Of few copies the latter, also where there is a form of its own.

    Raises:
        RequestError: the id is unknown (with the nearest ones), its package is missing, or it does
            not accept the keyword arguments.
    """
    spec = registered_spec(environment_id)
    for name in kwargs:
        if name in RESERVED_ARGUMENTS:
            raise RequestError(f"{name} is this program's to choose, no setting of an environment")
    native = has_native_form(spec) and n_envs >= FEWEST_NATIVE
    form: dict[str, Any] = {}
    if not native:
        form = {
            "vectorization_mode": "sync",
            "vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP},
            "disable_env_checker": True,  # every step is checked here
        }
    try:
        with _quietly():
            vector = gymnasium.make_vec(environment_id, num_envs=n_envs, **form, **kwargs)
    except Exception as error:
        raise RequestError(cannot_be_made(environment_id, error)) from error
    return BatchedEnvironment(vector, name=environment_id)


def has_native_form(spec: gymnasium.envs.registration.EnvSpec) -> bool:
    """Whether an environment has a vector form of its own."""
    return spec.vector_entry_point is not None and not spec.additional_wrappers


def make_single_environment(
    environment_id: str, kwargs: Mapping[str, Any]
) -> gymnasium.Env[Any, Any]:
    """One copy of a registered environment, without gymnasium's own checker.

    Args:
        environment_id: of the environment.
        kwargs: its keyword arguments.

    Raises:
        RequestError: as `make_environments`.
    """
    registered_spec(environment_id)
    try:
        with _quietly():
            return gymnasium.make(environment_id, disable_env_checker=True, **kwargs)
    except Exception as error:
        raise RequestError(cannot_be_made(environment_id, error)) from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without gymnasium's warnings about its versions, which are nothing a run can change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def registered_spec(environment_id: str) -> gymnasium.envs.registration.EnvSpec:
    """The registration of an environment, never importing a module that an id names.

    Raises:
        RequestError: it is not registered; the sentence names the nearest ids that are.
    """
    spec = gymnasium.registry.get(environment_id)
    if spec is None:
        raise RequestError(
            f"unknown environment '{environment_id}'"
            f"{did_you_mean(environment_id, gymnasium.registry)}"
        )
    return spec


def cannot_be_made(environment_id: str, error: Exception) -> str:
    """The sentence for an environment whose construction raised `error`."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"environment {environment_id} cannot be made: {reason}"
