"""Copies that are moved by known equations, against the same copies stepped one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.wrappers import OrderEnforcing, TimeAwareObservation, TimeLimit
from numpy.testing import assert_array_equal

from trpotui.rl.copies import KNOWN_RELEASES, make_copies
from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.moved_together import MovedTogether, known_of
from trpotui.rl.observations import UnfitObservationError
from trpotui.rl.recorded_environment import RecordedEnvironment
from trpotui.rl.single_environments import SingleEnvironments

KNOWN = ["Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
RANDOM, PUSHING = 310, 400
"""Steps of either kind."""
Make = Callable[[], gymnasium.Env[Any, Any]]


def maker(environment_id: Any, **keywords: Any) -> Make:
    return partial(gymnasium.make, environment_id, disable_env_checker=True, **keywords)


def moved(make: Make, count: int) -> MovedTogether:
    made = [make() for _ in range(count)]
    known = known_of(made[0], count)
    assert known is not None
    return MovedTogether(made, known)


def single(make: Make, count: int) -> SingleEnvironments:
    return SingleEnvironments([make() for _ in range(count)])


class Actions:
    """Some a while, also beyond the bounds; after `RANDOM` steps such as reach the goal."""

    def __init__(self, environments: SingleEnvironments | BatchedEnvironment) -> None:
        self._space = environments.action_space
        self._n_envs = environments.n_envs
        self._rng = np.random.default_rng(environments.n_envs)
        self._now = self._drawn()

    def at(self, t: int, observations: Any) -> Any:
        if t >= RANDOM:
            return self._pushing(observations)
        if t % 4 == 0:
            self._now = self._drawn()
        return self._now

    def _drawn(self) -> Any:
        if isinstance(self._space, gymnasium.spaces.Discrete):
            return self._rng.integers(self._space.n, size=self._n_envs)
        normal = self._rng.normal(size=(self._n_envs, 1))
        return (normal * 1.5 * self._space.high).astype(np.float32)

    def _pushing(self, observations: Any) -> Any:
        """With the last velocity, which drives any of them up."""
        forward = observations[:, -1:] > 0
        if isinstance(self._space, gymnasium.spaces.Discrete):
            return np.where(forward[:, 0], 2, 0)
        return np.where(forward, np.float32(0.97), np.float32(-0.97))


def assert_same_step(one: Any, other: Any) -> None:
    for ours, known in zip(one, other, strict=True):
        assert (ours.dtype, ours.shape) == (known.dtype, known.shape)
        assert ours.tobytes() == known.tobytes()


@pytest.mark.parametrize("count", [1, 2, 9])
@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(maker(name, max_episode_steps=300), id=name) for name in KNOWN),
        pytest.param(maker("Pendulum-v1", g=9.81), id="on earth"),
        pytest.param(maker("MountainCar-v0", goal_velocity=0.03), id="fast"),
        pytest.param(
            maker("MountainCarContinuous-v0", goal_velocity=0.03, max_episode_steps=300),
            id="fast, continuous",
        ),
        *(pytest.param(maker(name, max_episode_steps=7), id=f"short {name}") for name in KNOWN),
        *(pytest.param(maker(name, max_episode_steps=1), id=f"tiny {name}") for name in KNOWN),
        *(pytest.param(maker(name, max_episode_steps=-1), id=f"long {name}") for name in KNOWN),
    ],
)
def test_steps_are_those_of_single_ones_to_the_last_bit(make: Make, count: int) -> None:
    ours, known = moved(make, count), single(make, count)
    observations = known.reset(5)
    assert_array_equal(ours.reset(5), observations)
    actions = Actions(known)
    limit = known.envs[0].spec.max_episode_steps
    is_short = limit is not None and limit < 10
    terminated = truncated = 0
    for t in range(50 if is_short else RANDOM + PUSHING):
        action = actions.at(t, observations)
        expected = known.step(action)
        assert_same_step(ours.step(action), expected)
        observations = expected.observations
        terminated += expected.terminated.sum()
        truncated += expected.truncated.sum()
    assert (truncated > 0) == (limit is not None)
    assert (terminated > 0) != (is_short or "Pendulum" in known.envs[0].spec.id)


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_step_returned_is_not_written_again(name: str) -> None:
    environments = moved(maker(name, max_episode_steps=9), 4)
    observations = environments.reset(0)
    actions = Actions(environments)
    kept = []
    for t in range(30):
        step = environments.step(actions.at(t, observations))
        kept.append((step, [array.copy() for array in step]))
    for step, then in kept:
        assert_same_step(step, then)


@pytest.mark.parametrize("name", KNOWN)
def test_of_an_episode_only_the_first_step_is_the_environments_own(name: str) -> None:
    environments = moved(maker(name, max_episode_steps=5), 3)
    own: list[int] = []
    for n, step in enumerate(environments._steps):

        def counted(action: Any, *, n: int = n, step: Any = step) -> Any:
            own.append(n)
            return step(action)

        environments._steps[n] = counted
    observations = environments.reset(0)
    actions = Actions(environments)
    for t in range(12):  # three episodes of each
        environments.step(actions.at(t, observations))
    assert own == [0, 1, 2] * 3


@pytest.mark.parametrize("seed_episodes", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_they_are_set_up_again_as_they_were(name: str, seed_episodes: bool) -> None:
    def recorded() -> RecordedEnvironment:
        made = moved(maker(name, max_episode_steps=11), 3)
        return RecordedEnvironment(made, name=name, seed_episodes=seed_episodes)

    first, again = recorded(), recorded()
    observations: Any = first.reset(seed=4)
    actions = Actions(first)
    for t in range(30):  # among them a moment when episodes have just begun
        position = first.position().plain()
        again.reset(seed=99)
        assert_array_equal(again.rebuild(position, lambda: None), observations)
        for ahead in range(14):
            action = actions.at(t + ahead, observations)
            step = first.step(action)
            assert_same_step(again.step(action), step)
            observations = step.observations


@pytest.mark.parametrize("name", KNOWN)
def test_many_copies_are_moved_together_and_one_is_not(name: str) -> None:
    assert isinstance(make_copies(name, {}, count=12), MovedTogether)
    assert not isinstance(make_copies(name, {}, count=1), MovedTogether)


def test_another_release_of_gymnasium_steps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gymnasium.__version__.rpartition(".")[0] in KNOWN_RELEASES
    monkeypatch.setattr(gymnasium, "__version__", "9.9.0")
    assert not isinstance(make_copies("Acrobot-v1", {}, count=20), MovedTogether)


class OwnAcrobot(AcrobotEnv):
    """Of another class, which may do something else."""


def own(entry_point: Any) -> Make:
    spec = gymnasium.envs.registration.EnvSpec("Own-v0", entry_point=entry_point)
    return maker(spec)


def moon(**keywords: Any) -> gymnasium.Env[Any, Any]:
    return PendulumEnv(g=1.62, **keywords)


@pytest.mark.parametrize(
    "make",
    [
        maker("CartPole-v1"),
        maker("Pendulum-v1", render_mode="rgb_array"),
        maker("Pendulum-v1", g="9.81"),
        maker("Pendulum-v1", g=np.float64(9.81)),
        maker("Pendulum-v1", g=10**400),
        maker("Pendulum-v1", g=float("nan")),
        maker("MountainCar-v0", goal_velocity=[0.0, 0.01]),
        maker("MountainCarContinuous-v0", goal_velocity=0.0700000001),
        PendulumEnv,
        own(OwnAcrobot),
        own(moon),
        lambda: TimeLimit(maker("Acrobot-v1")(), 20),
        lambda: TimeAwareObservation(maker("Acrobot-v1")()),
    ],
)
def test_what_is_not_known_is_stepped_one_by_one(make: Make) -> None:
    assert known_of(make(), 4) is None


def test_a_changed_class_is_stepped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_of(maker("Acrobot-v1")(), 4) is not None
    monkeypatch.setattr(AcrobotEnv, "_terminal", lambda _: False)
    assert known_of(maker("Acrobot-v1")(), 4) is None


@pytest.mark.parametrize(("name", "value"), [("torque_noise_max", 0.5), ("book_or_nips", "nips")])
def test_acrobots_with_other_equations_are_not_known(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AcrobotEnv, name, value)
    assert known_of(maker("Acrobot-v1")(), 4) is None


class Uncopied(str):
    """Has no copy, and with it no spec of an environment that was made by it."""

    def __deepcopy__(self, _: object) -> Uncopied:
        raise TypeError("there is only one")


@pytest.mark.filterwarnings("ignore:.*An exception occurred")
def test_a_limit_holds_however_it_came_about() -> None:
    def inside() -> gymnasium.Env[Any, Any]:
        bare = maker("Acrobot-v1", max_episode_steps=-1)().unwrapped
        return OrderEnforcing(TimeLimit(bare, 6))

    def uncopied() -> gymnasium.Env[Any, Any]:
        made = inside()
        made.unwrapped.spec.entry_point = Uncopied(made.unwrapped.spec.entry_point)
        assert made.spec is None
        return made

    for make in (inside, uncopied):
        ours, known = moved(make, 2), single(make, 2)
        assert_array_equal(ours.reset(1), known.reset(1))
        truncated = 0
        for _ in range(20):
            action = np.zeros(2, dtype=np.int64)
            expected = known.step(action)
            assert_same_step(ours.step(action), expected)
            truncated += expected.truncated.sum()
        assert truncated == 6


@pytest.mark.parametrize("name", KNOWN)
def test_worker_processes_move_theirs_together_too(name: str) -> None:
    ours = make_environments(name, {}, n_envs=24, workers=2)
    known = BatchedEnvironment(single(maker(name), 24), name=name)
    try:
        observations: Any = known.reset(seed=3)
        assert_array_equal(ours.reset(seed=3), observations)
        actions = Actions(known)
        for t in range(60):
            action = actions.at(t, observations)
            expected = known.step(action)
            assert_same_step(ours.step(action), expected)
            observations = expected.observations
    finally:
        ours.close()


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCar-v0"])
def test_an_action_that_there_is_not_is_refused(name: str) -> None:
    environments = moved(maker(name), 4)
    environments.reset(0)
    environments.step(np.zeros(4, dtype=np.int64))
    with pytest.raises(IndexError):
        environments.step(np.array([0, 3, 0, 0]))


@pytest.mark.parametrize("name", ["MountainCarContinuous-v0", "Pendulum-v1"])
def test_an_action_that_is_no_number_is_told(name: str) -> None:
    environments = moved(maker(name), 4)
    environments.reset(0)
    environments.step(np.zeros((4, 1), dtype=np.float32))
    with pytest.raises(UnfitObservationError, match="observation is not finite"):
        environments.step(np.full((4, 1), np.nan, dtype=np.float32))
