"""A vector environment of gymnasium's, whenever it resets its finished episodes.

Legend: N environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from trpotui.errors import RequestError
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
from trpotui.rl.steps import Bools, Step, constant


class VectorForm:
    """N copies that a vector environment steps together.

    Args:
        environments: the vector environment; it says its autoreset mode in its metadata.
        name: how errors name it.

    Raises:
        RequestError: it does not say its mode.
    """

    def __init__(self, environments: VectorEnv[Any, Any, Any], *, name: str) -> None:
        self._environments = environments
        self.n_envs = environments.num_envs
        self.observation_space = environments.single_observation_space
        self.action_space = environments.single_action_space
        self._mode = environments.metadata.get("autoreset_mode")
        if not isinstance(self._mode, AutoresetMode):
            raise RequestError(
                f"{name}: its vector environment does not say when it resets finished episodes "
                "(metadata 'autoreset_mode')"
            )
        self.seeds_each = isinstance(environments.unwrapped, SyncVectorEnv)
        self._one_array = not isinstance(self.observation_space, spaces.Dict | spaces.Tuple)
        self._check_rows = partial(check_rows, count=self.n_envs)
        self._shape = (self.n_envs,)
        self._all, self._none = constant(self.n_envs, True), constant(self.n_envs, False)
        self.only_resets = self._none

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes: see `EnvironmentForm`."""
        if not isinstance(seed, int):
            # a native form draws all its copies from one generator. SyncVectorEnv takes a list of
            # seeds, which VectorEnv's signature does not say
            seed = list(seed) if self.seeds_each else seed[0]
        self.only_resets = self._none
        observations, _ = self._environments.reset(seed=seed)  # type: ignore[arg-type]
        return self._checked(observations, self._check_rows)

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        observations, rewards, terminated, truncated, info = self._environments.step(actions)
        observations = self._checked(observations, self._check_rows)
        self._check_scalars(rewards, terminated, truncated)
        ended = self._none
        if np.count_nonzero(terminated) or np.count_nonzero(truncated):
            truncated = truncated & ~terminated
            ended = terminated | truncated
        else:
            terminated = truncated = ended
        valid, starts = self._all, ended
        successors = observations
        if self._mode is AutoresetMode.NEXT_STEP:
            starts, self.only_resets = self.only_resets, ended
            if starts is not self._none:
                valid = ~starts
        elif ended is not self._none:
            successors, observations = self._reset_now(observations, ended, info)
        return Step(successors, observations, rewards, terminated, truncated, valid, starts, ended)

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()

    def _reset_now(
        self, observations: Observations, ended: Bools, info: Mapping[str, Any]
    ) -> tuple[Observations, Observations]:
        """True successors, and the observations to act on, of a step that ended episodes."""
        successors = mapped(np.copy, observations)  # the reset may write into the same arrays
        if self._mode is AutoresetMode.DISABLED:
            fresh, _ = self._environments.reset(options={"reset_mask": ended.copy()})
            fresh = self._checked(fresh, self._check_rows)
            # rows that were not reset are taken from the step: a reset need not repeat them
            return successors, chosen(ended, fresh, successors)
        for index in np.flatnonzero(ended):
            final = self._checked(info["final_obs"][index], check_row)
            put(successors, int(index), final)
        return successors, observations

    def _checked(self, observations: object, check: LeafCheck) -> Observations:
        if self._one_array:  # most environments: a step should not cost more than it must
            return check(self.observation_space, observations, "observation")
        return checked(self.observation_space, observations, check)

    def _check_scalars(self, rewards: Any, terminated: Any, truncated: Any) -> None:
        for field, value, kinds, kind in (
            ("reward", rewards, "fiub", "a number's"),
            ("terminated", terminated, "b", "bool"),
            ("truncated", truncated, "b", "bool"),
        ):
            if not isinstance(value, np.ndarray) or value.shape != self._shape:
                shape = getattr(value, "shape", type(value).__name__)
                raise UnfitObservationError(field, f"has shape {shape}, not {self._shape}")
            if value.dtype.kind not in kinds:
                raise UnfitObservationError(field, f"has dtype {value.dtype}, not {kind}")
        if not all_finite(rewards):
            raise UnfitObservationError("reward", "is not finite")
