"""Environments that run alone, against gymnasium's own vector of them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from worker_environments import FAULTS, Maze

from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.observations import mapped
from trpotui.rl.single_environments import SingleEnvironments
from trpotui.rl.steps import Step

CLASSIC = [
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
]
TOYS = ["FrozenLake-v1", "Taxi-v4", "Blackjack-v1", "CliffWalking-v1"]
"""Of which observations are numbers, or tuples of them."""


class Quick(gymnasium.Wrapper):
    """Ends episodes early, whichever way."""

    def reset(self, **keywords):
        self._t = 0
        return self.env.reset(**keywords)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._t += 1
        late = self._t >= 7
        return observation, reward, terminated or (late and self._t % 2), truncated or late, info


class Loose(gymnasium.Env):
    """Hands out what is only nearly of its space, as many environments do, and in one array."""

    observation_space = spaces.Box(-100, 100, (2,), np.float32)
    action_space = spaces.MultiDiscrete([3, 2])

    def __init__(self) -> None:
        self._shown = np.zeros(2, np.float32)

    def _observation(self):
        kinds = [np.array, list, tuple, lambda values: np.array(values, np.float16)]
        values = [float(self._t), float(self._place)]
        if self._t % 5 == 4:
            self._shown[:] = values
            return self._shown
        return kinds[self._t % 5](values)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t, self._place = 0, float(self.np_random.normal())
        return self._observation(), {}

    def step(self, action):
        self._t += 1
        self._place += float(action.sum())
        reward = (1, True, np.float32(0.25), np.float64(-3), np.array(2.0))[self._t % 5]
        terminated = (False, np.False_, 0)[self._t % 3]
        return self._observation(), reward, terminated, np.bool_(self._t >= 8), {}


def theirs(make, count: int) -> BatchedEnvironment:
    vector = SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.SAME_STEP)
    return BatchedEnvironment(vector, name="it")


def ours(make, count: int) -> BatchedEnvironment:
    return BatchedEnvironment(SingleEnvironments([make() for _ in range(count)]), name="it")


def sampled(space: spaces.Space[Any], steps: int, count: int) -> np.ndarray:
    space.seed(3)
    return np.array([[space.sample() for _ in range(count)] for _ in range(steps)])


def listed(tree: Any) -> Any:
    """With types and shapes, so that equal means the same bits."""
    return mapped(lambda leaf: (leaf.tolist(), str(leaf.dtype), leaf.shape), tree)


def told(environments: BatchedEnvironment, actions: np.ndarray, seed: Any) -> list[Any]:
    """All that it says; arrays are looked at only at the end, when later steps cannot matter."""
    kept: list[Any] = [environments.reset(seed=seed)]
    for action in actions:
        step = environments.step(action)
        finished = np.array(environments.take_finished_episodes())
        kept += [*step, finished, environments.counts()["lengths"]]
    environments.close()
    return list(map(listed, kept))


def assert_same(make, count: int, actions: np.ndarray) -> None:
    for seed in (5, list(range(9, 9 - count, -1))):
        one, other = (told(form(make, count), actions, seed) for form in (theirs, ours))
        assert one == other


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("environment_id", [*CLASSIC, *TOYS])
def test_steps_are_those_of_gymnasium(environment_id, count):
    def make():
        made = gymnasium.make(environment_id, disable_env_checker=True)
        return Quick(made) if environment_id in TOYS else made

    actions = sampled(make().action_space, 60 if environment_id in TOYS else 250, count)
    assert_same(make, count, actions)


@pytest.mark.parametrize("count", [1, 4])
def test_observations_of_several_parts_too(count):
    assert_same(Maze, count, sampled(spaces.Discrete(3), 80, count))


@pytest.mark.filterwarnings("error")
def test_what_is_nearly_of_its_space_is_taken_as_gymnasium_takes_it():
    assert_same(Loose, 2, sampled(Loose.action_space, 60, 2))


class Reusing(gymnasium.Env):
    """Writes every observation into the same array; an episode has three steps."""

    observation_space = spaces.Box(-100, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._shown = np.zeros(1, np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._shown[0] = 0
        return self._shown, {}

    def step(self, _):
        self._shown[0] += 1
        return self._shown, 1.0, self._shown[0] == 3, False, {}


def test_an_array_that_the_reset_overwrites_is_kept_as_it_was():
    environments = ours(Reusing, 2)
    environments.reset(seed=0)
    steps = [environments.step(np.zeros(2, np.int64)) for _ in range(4)]
    assert [step.successors[1, 0] for step in steps] == [1, 2, 3, 1]
    assert [step.observations[1, 0] for step in steps] == [1, 2, 0, 1]


def test_nobody_can_write_into_what_all_steps_share():
    environments = ours(Reusing, 2)
    environments.reset(seed=0)
    step = environments.step(np.zeros(2, np.int64))
    for name in ("terminated", "truncated", "valid", "starts", "ended"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(step, name)[0] = True
    assert step._fields == Step._fields


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("action", FAULTS)
def test_a_fault_is_named_with_step_and_field(action, at):
    environments = ours(Maze, 3)
    environments.reset(seed=1)
    for _ in range(2):
        environments.step(np.zeros(3, np.int64))
    actions = np.zeros(3, np.int64)
    actions[at] = action
    with pytest.raises(EnvironmentFaultError) as fault:
        environments.step(actions)
    assert str(fault.value) == f"it: {FAULTS[action]}"


@pytest.mark.parametrize(
    ("observation", "what"),
    [
        (np.zeros(3, np.float32), "observation has shape (3,), not (2,)"),
        (np.zeros((), np.float32), "observation has shape (), not (2,)"),
        (np.zeros((1, 2), np.float32), "observation has shape (1, 2), not (2,)"),
        (np.zeros(1, np.float32), "observation has shape (1,), not (2,)"),
        (np.zeros(2, np.complex64), "observation has dtype complex64, not float32"),
        (np.array([1e300, 0]), "observation is not finite"),
        ("ab", "observation has shape (), not (2,)"),
        (None, "observation has shape (), not (2,)"),
        ([0.0, [1.0]], "observation is no array"),
    ],
)
@pytest.mark.parametrize("when", ["reset", "step 1"])
def test_nothing_is_made_to_fit(observation, what, when):
    """Assigning a row of one element to a row of two would repeat it."""

    class Odd(Reusing):
        observation_space = spaces.Box(-100, 100, (2,), np.float32)

        def reset(self, **_):
            return observation if when == "reset" else np.zeros(2, np.float32), {}

        def step(self, _):
            return observation, 0.0, False, False, {}

    environments = ours(Odd, 1)
    with pytest.raises(EnvironmentFaultError) as fault:  # noqa: PT012
        environments.reset(seed=0)
        environments.step(np.zeros(1, np.int64))
    assert str(fault.value) == f"it: {when}: {what}"


@pytest.mark.parametrize("number", [3, -1, 1.5, np.float32(1), np.array([1])])
def test_a_number_that_is_none_of_its_space_is_refused(number):
    class Numbered(Reusing):
        observation_space = spaces.Discrete(3)

        def reset(self, **_):
            return number, {}

    with pytest.raises(EnvironmentFaultError, match=r"it: reset: observation (is|has)"):
        ours(Numbered, 2).reset(seed=0)


def test_copies_with_other_spaces_are_refused(register):
    made = []

    class Growing(Reusing):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            self.action_space = spaces.Discrete(1 + len(made))

    with pytest.raises(RequestError, match="cannot be made: its copies have different spaces"):
        make_environments(register(Growing), {}, n_envs=2)
