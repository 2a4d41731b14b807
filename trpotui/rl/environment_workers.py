"""Environments that run alone, in processes of their own: for those whose steps are slow.

Each process has some of them. Which one an environment is in changes nothing of what it does.

Legend: N environments.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trpotui.errors import RequestError
from trpotui.imports import imported_modules
from trpotui.rl.observations import Observations, chosen, leaves_of, mapped
from trpotui.rl.steps import Start, Step, constant
from trpotui.rl.worker_channel import SharedStep, shared_memory
from trpotui.rl.worker_handle import FAULTS, WorkerHandle

START_SECONDS = 120.0
"""To start the processes and make the environments in, at least."""
CLOSE_SECONDS = 2.0
"""To close the environments in; processes that still live then are killed."""


class WorkerEnvironments:
    """N environments in several processes.

    Args:
        spec: of the environment.
        kwargs: its keyword arguments.
        n_envs: N.
        workers: processes; no more than N are started.
        timeout: seconds after which a process that has not answered counts as hanging.

    Raises:
        RequestError: the environment cannot be described to other processes.
        Exception: whatever making it raises there.
    """

    seeds_each = True

    def __init__(
        self,
        spec: gymnasium.envs.registration.EnvSpec,
        kwargs: Mapping[str, Any],
        *,
        n_envs: int,
        workers: int,
        timeout: float,
    ) -> None:
        pickled = described(spec, kwargs)
        self.n_envs = n_envs
        self.only_resets = self._none = constant(n_envs, False)
        self._all = constant(n_envs, True)
        self._timeout, self._patience = timeout, f"{timeout:g} s (env_timeout)"
        self._starts: list[Start] = [{}] * n_envs
        self._memory = shared_memory()
        self._workers: list[WorkerHandle] = []
        rows = np.array_split(np.arange(n_envs), min(workers, n_envs))
        try:
            for number, own in enumerate(rows, start=1):
                name = f"worker process {number} of {len(rows)}"
                self._workers.append(WorkerHandle(name, range(own[0], own[-1] + 1), self._memory))
            self.observation_space, self.action_space = self._make(pickled)
            leaves_of(self.observation_space)  # which refuses what is not supported
            self._shared = SharedStep.within(
                self._memory, self.observation_space, self.action_space, n_envs, reserve=True
            )
            self._ask("share", lambda own: (self._memory, n_envs, own[0]))
        except BaseException:
            self.close()
            raise

    def reset(self, seed: int | Sequence[int]) -> Observations:
        """Begin all episodes: see `EnvironmentForm`."""
        seeds = range(seed, seed + self.n_envs) if isinstance(seed, int) else seed
        parts = self._ask("reset", lambda own: ([seeds[n] for n in own],))
        self._starts = [start for part in parts for start in part]
        return self._observations()

    def step(self, actions: NDArray[Any]) -> Step:
        """Take one action [N, ...] in each environment."""
        shared = self._shared
        shared.actions[:] = actions
        deadline = time.monotonic() + self._timeout
        for worker in self._workers:
            worker.send(b"", deadline)
        ends = False
        for worker, begun in zip(
            self._workers, self._answers(deadline, self._patience), strict=True
        ):
            if begun is not None:
                ends = True
                for n, start in begun.items():
                    self._starts[worker.rows[n]] = start
        observations, rewards, none = self._observations(), shared.rewards.copy(), self._none
        if not ends:
            return Step(observations, observations, rewards, none, none, self._all, none, none)
        terminated, truncated = shared.terminated.copy(), shared.truncated.copy()
        ended = terminated | truncated
        successors = chosen(ended, shared.finals, observations)
        return Step(
            successors, observations, rewards, terminated, truncated, self._all, ended, ended
        )

    def remember(self, *, seed_episodes: bool) -> None:
        """From now on know how each episode began: see `SingleForm`."""
        self._ask("remember", lambda _: (seed_episodes,))

    def starts(self) -> list[Start]:
        """How the open episode of each environment began [N]."""
        return list(self._starts)

    def restart(
        self,
        starts: Sequence[Start],
        actions: Sequence[NDArray[Any]],
        interrupt: Callable[[], None],
    ) -> tuple[Observations, NDArray[np.float64]]:
        """Begin the episodes once more: see `SingleForm`."""
        parts = self._ask(
            "restart",
            lambda own: ([starts[n] for n in own], [actions[n] for n in own]),
            interrupt=interrupt,
        )
        self._starts = list(starts)
        return self._observations(), np.concatenate(parts)

    def close(self) -> None:
        """Close the environments and end the processes."""
        for worker in self._workers:
            worker.let_go()
        deadline = time.monotonic() + CLOSE_SECONDS
        for worker in self._workers:
            worker.end(deadline)
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _make(self, pickled: bytes) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Make the environments in their processes; their spaces."""
        modules = imported_modules()
        first, *others = self._ask(
            "make", lambda own: (modules, pickled, len(own)), least=START_SECONDS
        )
        for other in others:
            if other != first:
                raise ValueError(f"its copies have different spaces: {first} and {other}")
        observation_space, action_space = first
        return observation_space, action_space

    def _observations(self) -> Observations:
        return mapped(np.copy, self._shared.observations)

    def _ask(
        self,
        name: str,
        arguments: Callable[[range], tuple[Any, ...]],
        *,
        least: float = 0.0,
        interrupt: Callable[[], None] | None = None,
    ) -> list[Any]:
        """What every process answers to a question.

        Args:
            name: of the question.
            arguments: of it, given the rows of a process.
            least: seconds that it may take in any case.
            interrupt: called again and again while waiting, which has no end then; what it raises
                leaves nothing to do but to close.
        """
        patience = f"{least:g} s" if least > self._timeout else self._patience
        deadline = time.monotonic() + max(self._timeout, least)
        for worker in self._workers:
            worker.send(pickle.dumps((name, arguments(worker.rows))), deadline)
        return self._answers(None if interrupt is not None else deadline, patience, interrupt)

    def _answers(
        self,
        deadline: float | None,
        patience: str,
        interrupt: Callable[[], None] | None = None,
    ) -> list[Any]:
        """What every process answers; raises what went wrong in the first one where it did."""
        answers, faults = [], []
        for worker in self._workers:  # all of them: an answer left unread would be the next one's
            try:
                answers.append(worker.answer(deadline, patience, interrupt))
            except FAULTS as fault:
                faults.append(fault)
        if faults:
            raise faults[0]
        return answers


def described(spec: gymnasium.envs.registration.EnvSpec, kwargs: Mapping[str, Any]) -> bytes:
    """A registered environment and its keyword arguments, for another process.

    Raises:
        RequestError: they cannot be.
    """
    if os.name != "posix":
        raise RequestError("worker processes need a POSIX system: use --env-workers 0")
    import cloudpickle  # noqa: PLC0415 - a run without them does without

    try:
        return bytes(cloudpickle.dumps((spec, dict(kwargs))))
    except Exception as error:
        raise RequestError(
            f"environment {spec.id} cannot be sent to worker processes "
            f"({type(error).__name__}: {error}): use --env-workers 0"
        ) from error
