"""Gymnasium environments behind one batched interface with one meaning of "done".

Legend: N environments.

Vector environments differ in when they reset a finished episode (gymnasium's `AutoresetMode`).
Here every step says the same four things, whatever the mode: the true successor observation, what
ended, which observation to act on next, and which rows were real transitions at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import gymnasium
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from trpotui.config import did_you_mean
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.rl.copies import is_known_release, make_copies
from trpotui.rl.environment_workers import WorkerEnvironments, described
from trpotui.rl.episode_counts import EpisodeCounts
from trpotui.rl.observations import Observations, UnfitObservationError
from trpotui.rl.single_environments import SingleEnvironments, quietly
from trpotui.rl.steps import (
    Bools,
    EnvironmentForm,
    RaisedElsewhereError,
    SingleForm,
    Step,
    WorkerLostError,
    constant,
)
from trpotui.rl.vector_form import VectorForm

__all__ = ["BatchedEnvironment", "Bools", "Step", "make_environments"]

T = TypeVar("T")

RESERVED_ARGUMENTS = ("render_mode", "vectorization_mode", "vector_kwargs", "num_envs", "wrappers")
"""Keyword arguments of gymnasium's `make` and `make_vec` that are not the environment's own."""
FEWEST_NATIVE = 4
"""Copies from which on a native vector form is taken. CartPole's is quicker from 3 on: its step
takes 16 µs for 2 to 8 copies, that of single ones 10, 15, 22 and 29 µs for 1 to 4."""
QUICKER_FORMS = {
    "gymnasium.envs.classic_control.cartpole:CartPoleVectorEnv": (
        "trpotui.rl.cartpole:InPlaceCartPole"
    )
}
"""Entry points of native vector forms, and of those that do the same in less time."""


class BatchedEnvironment:
    """N copies of an environment, with finished episodes counted and data checked.

    Args:
        environments: a vector environment that says its autoreset mode in its metadata, or single
            ones.
        name: how errors name it.

    Raises:
        EnvironmentFaultError: from `reset` and `step`, when the environment raises or hands out
            data of a wrong shape or type, or that is not finite. Environment, step and field are
            named; nothing of that step is handed on.
    """

    def __init__(self, environments: VectorEnv[Any, Any, Any] | SingleForm, *, name: str) -> None:
        self._environments = environments
        self._form: EnvironmentForm = (
            VectorForm(environments, name=name)
            if isinstance(environments, VectorEnv)
            else environments
        )
        self.name = name
        self.n_envs = self._form.n_envs
        self.observation_space = self._form.observation_space
        self.action_space = self._form.action_space
        self._all, self._none = constant(self.n_envs, True), constant(self.n_envs, False)
        self._episodes = EpisodeCounts(self.n_envs)
        self._steps, self._closed = 0, False

    def reset(self, *, seed: int | Sequence[int]) -> Observations:
        """Start every environment anew and return the first observations [N, ...].

        Args:
            seed: one seed of the whole vector, or one for each environment; a native vector
                environment draws all its copies from one generator and takes the first.
        """
        self._episodes.clear()
        try:
            return self._form.reset(seed)
        except Exception as error:
            raise self._fault("reset", error) from error

    @property
    def seeds_each(self) -> bool:
        """Whether each copy takes a seed of its own."""
        return self._form.seeds_each

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        self._steps += 1
        try:
            step = self._form.step(actions)
        except Exception as error:
            raise self._fault(f"step {self._steps}", error) from error
        self._episodes.add(
            step.rewards,
            ended=None if step.ended is self._none else step.ended,
            valid=None if step.valid is self._all else step.valid,
        )
        return step

    def take_finished_episodes(self) -> tuple[list[float], list[int]]:
        """Returns and lengths of the episodes that ended since the last call."""
        return self._episodes.take_finished()

    def counts(self) -> dict[str, Any]:
        """What is counted of the open episodes, as numbers and arrays [N]."""
        more = {"only_resets": self._form.only_resets.copy(), "steps": self._steps}
        return {**self._episodes.state(), **more}

    def set_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from what `counts` returned, in the same episodes."""
        self._episodes.restore(counts)
        self._form.only_resets = counts["only_resets"].copy()
        self._steps = counts["steps"]

    def close(self) -> None:
        """Close the environments; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self._form.close()

    def _fault(self, when: str, error: Exception) -> EnvironmentFaultError:
        """The sentence for what went wrong."""
        what = f" raised {type(error).__name__}: {error}"
        if isinstance(error, UnfitObservationError | WorkerLostError):
            what = f": {error}"
        elif isinstance(error, RaisedElsewhereError):
            what = f" raised {error.kind}: {error}"
        return EnvironmentFaultError(f"{self.name}: {when}{what}")


def make_environments(
    environment_id: str,
    kwargs: Mapping[str, Any],
    *,
    n_envs: int,
    workers: int = 0,
    timeout: float = 60.0,
) -> BatchedEnvironment:
    """N copies of a registered environment: its native vector form, or what `make_copies` makes.

    Of few copies the latter, also where there is a form of its own.

    Args:
        environment_id: of the environment.
        kwargs: its keyword arguments.
        n_envs: N.
        workers: processes that step them; 0 does it in this one.
        timeout: seconds after which such a process counts as hanging.

    Raises:
        RequestError: the id is unknown (with the nearest ones), its package is missing, or it does
            not accept the keyword arguments; or as `check_workers`.
    """
    spec = _spec_for(environment_id, kwargs)
    if workers:
        check_workers(environment_id, kwargs, n_envs=n_envs)
        made: WorkerEnvironments | SingleEnvironments = _made(
            environment_id,
            lambda: WorkerEnvironments(
                spec, kwargs, n_envs=n_envs, workers=workers, timeout=timeout
            ),
        )
    elif _steps_natively(spec, n_envs):
        vector = _made(environment_id, lambda: _native_form(spec, kwargs, n_envs=n_envs))
        return BatchedEnvironment(vector, name=environment_id)
    else:
        made = _made(environment_id, lambda: make_copies(environment_id, kwargs, count=n_envs))
    return BatchedEnvironment(made, name=environment_id)


def check_workers(environment_id: str, kwargs: Mapping[str, Any], *, n_envs: int) -> None:
    """Find out whether other processes can step an environment.

    Raises:
        RequestError: they cannot, or it would be slower and another run: the copies of a native
            vector form share their randomness.
    """
    spec = _spec_for(environment_id, kwargs)
    if _steps_natively(spec, n_envs):
        raise RequestError(
            f"{n_envs} copies of {environment_id} are stepped together by a vector form of its "
            "own, which no worker process can do faster: use --env-workers 0"
        )
    described(spec, kwargs)


def _spec_for(
    environment_id: str, kwargs: Mapping[str, Any]
) -> gymnasium.envs.registration.EnvSpec:
    spec = registered_spec(environment_id)
    for name in kwargs:
        if name in RESERVED_ARGUMENTS:
            raise RequestError(f"{name} is this program's to choose, no setting of an environment")
    return spec


def _steps_natively(spec: gymnasium.envs.registration.EnvSpec, n_envs: int) -> bool:
    return has_native_form(spec) and n_envs >= FEWEST_NATIVE


def has_native_form(spec: gymnasium.envs.registration.EnvSpec) -> bool:
    """Whether an environment has a vector form of its own."""
    return spec.vector_entry_point is not None and not spec.additional_wrappers


def _native_form(
    spec: gymnasium.envs.registration.EnvSpec, kwargs: Mapping[str, Any], *, n_envs: int
) -> VectorEnv[Any, Any, Any]:
    entry_point = spec.vector_entry_point
    if isinstance(entry_point, str) and is_known_release():
        entry_point = QUICKER_FORMS.get(entry_point, entry_point)
    made = dataclasses.replace(spec, vector_entry_point=entry_point)
    return gymnasium.make_vec(made, n_envs, **kwargs)


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
    return _made(
        environment_id,
        lambda: gymnasium.make(environment_id, disable_env_checker=True, **kwargs),
    )


def _made(environment_id: str, make: Callable[[], T]) -> T:
    """What `make` returns; whatever it raises is the request's fault."""
    try:
        with quietly():
            return make()
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(cannot_be_made(environment_id, error)) from error


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
    kind = error.kind if isinstance(error, RaisedElsewhereError) else type(error).__name__
    reason = " ".join(str(error).split()) or kind
    return f"environment {environment_id} cannot be made: {reason}"
