"""One meaning of "done" over all autoreset modes, and data that is refused."""

from __future__ import annotations

from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.rl.collector import Collector
from trpotui.rl.environments import (
    FEWEST_NATIVE,
    BatchedEnvironment,
    make_environments,
    registered_spec,
)
from trpotui.rl.learner import Learner
from trpotui.rl.rollout import Rollout
from trpotui.rl.spaces import ActionDecoder

MODES = list(AutoresetMode)


class Ledger(gymnasium.Env):
    """Observation (episode, t); the reward is a function of both and of the action.

    Episodes last 3, 1, 4, 2 steps in turn and end by termination, truncation, or both.
    """

    observation_space = spaces.Box(0, 1e6, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, rank: int = 0) -> None:
        self._episode, self._t = 1000 * rank, 0

    @staticmethod
    def reward(episode, t, action):
        return 7.0 * episode + 3.0 * t + 0.25 * action

    @staticmethod
    def length(episode):
        return (3, 1, 4, 2)[int(episode) % 4]

    @staticmethod
    def ends(episode):
        return ((True, False), (False, True), (True, True))[int(episode) % 3]

    def _observation(self):
        return np.array([self._episode, self._t], np.float32)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._episode, self._t = self._episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        reward = self.reward(self._episode, self._t, int(action))
        self._t += 1
        over = self._t >= self.length(self._episode)
        flags = self.ends(self._episode) if over else (False, False)
        return self._observation(), reward, *flags, {}


def ledgers(mode: AutoresetMode, count: int = 3, **kwargs) -> BatchedEnvironment:
    makers = [lambda rank=rank: Ledger(rank) for rank in range(count)]
    return BatchedEnvironment(SyncVectorEnv(makers, autoreset_mode=mode, **kwargs), name="Ledger")


def choose(observations: np.ndarray) -> np.ndarray:
    """A policy that is a function of the observation alone."""
    return (observations.sum(axis=1) % 3).astype(np.int64)


def transitions(environments: BatchedEnvironment, steps: int) -> list[list[tuple]]:
    """What each environment's valid rows say, in their order."""
    rows: list[list[tuple]] = [[] for _ in range(environments.n_envs)]
    observations = environments.reset(seed=0).copy()
    for _ in range(steps):
        actions = choose(observations)
        step = environments.step(actions)
        for n in np.flatnonzero(step.valid):
            rows[n].append(
                (
                    tuple(observations[n].tolist()),
                    int(actions[n]),
                    float(step.rewards[n]),
                    tuple(step.successors[n].tolist()),
                    bool(step.terminated[n]),
                    bool(step.truncated[n]),
                )
            )
        observations = step.observations.copy()  # the environment may reuse its own
    return rows


class TestOneMeaningOfDone:
    @pytest.mark.parametrize("mode", MODES)
    def test_silent_bug_05_every_valid_row_is_a_transition_of_one_episode(self, mode):
        environments = ledgers(mode)
        for rows in transitions(environments, 40):
            assert len(rows) >= 25
            for (episode, t), action, reward, successor, terminated, truncated in rows:
                assert reward == Ledger.reward(episode, t, action)
                assert successor == (episode, t + 1)
                over = t + 1 == Ledger.length(episode)
                terminal, cut = Ledger.ends(episode) if over else (False, False)
                assert terminated == terminal
                assert truncated == (cut and not terminal)
        environments.close()

    def test_silent_bug_05_same_transitions_whatever_the_mode(self):
        rows = {}
        for mode in MODES:
            environments = ledgers(mode)
            rows[mode] = transitions(environments, 60)
            environments.close()
        for n in range(3):
            count = min(len(rows[mode][n]) for mode in MODES)
            assert count >= 40
            first, second, third = (rows[mode][n][:count] for mode in MODES)
            assert first == second == third

    @pytest.mark.parametrize("mode", MODES)
    def test_no_transition_is_lost_or_invented(self, mode):
        environments = ledgers(mode, count=1)
        (rows,) = transitions(environments, 40)
        environments.close()
        for before, after in pairwise(rows):
            (episode, t), (next_episode, next_t) = before[0], after[0]
            ended = before[4] or before[5]
            assert (next_episode, next_t) == ((episode + 1, 0) if ended else (episode, t + 1))
        resets = sum(row[4] or row[5] for row in rows)
        if mode is AutoresetMode.NEXT_STEP:
            assert len(rows) == 40 - resets
        else:
            assert len(rows) == 40

    @pytest.mark.parametrize("mode", MODES)
    def test_finished_episodes_have_their_returns_and_lengths(self, mode):
        environments = ledgers(mode)
        rows = transitions(environments, 40)
        returns, lengths = environments.take_finished_episodes()
        expected = []
        for one in rows:
            total, length = 0.0, 0
            for _, _, reward, _, terminated, truncated in one:
                total, length = total + reward, length + 1
                if terminated or truncated:
                    expected.append((total, length))
                    total, length = 0.0, 0
        assert sorted(zip(returns, lengths, strict=True)) == sorted(expected)
        assert environments.take_finished_episodes() == ([], [])
        environments.close()

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
    def test_reset_forgets_what_was_before(self, mode, steps):
        environments = ledgers(mode, count=1)
        transitions(environments, steps)  # into an episode, to its end, or just past it
        (rows,) = transitions(environments, 6)
        returns, lengths = environments.take_finished_episodes()
        end = next(i for i, row in enumerate(rows) if row[4] or row[5])
        assert [row[0][1] for row in rows[: end + 1]] == list(range(end + 1))
        assert (returns[0], lengths[0]) == (sum(row[2] for row in rows[: end + 1]), end + 1)
        environments.close()

    def test_rows_that_a_masked_reset_does_not_repeat_come_from_the_step(self):
        class Forgetful(SyncVectorEnv):
            def reset(self, *, seed=None, options=None):
                mask = None if options is None else options["reset_mask"]
                observations, info = super().reset(seed=seed, options=options)
                if mask is not None:
                    observations[~mask] = 0.0
                return observations, info

        makers = [lambda rank=rank: Ledger(rank) for rank in range(3)]
        vector = Forgetful(makers, autoreset_mode=AutoresetMode.DISABLED)
        environments = BatchedEnvironment(vector, name="Ledger")
        reference = ledgers(AutoresetMode.DISABLED)
        assert transitions(environments, 30) == transitions(reference, 30)
        environments.close()
        reference.close()

    @pytest.mark.parametrize("mode", MODES)
    def test_environments_that_reuse_their_buffer_keep_the_true_successors(self, mode):
        reusing, copying = ledgers(mode, copy=False), ledgers(mode)
        assert transitions(reusing, 30) == transitions(copying, 30)
        reusing.close()
        copying.close()

    def test_vector_environment_without_a_mode_is_refused(self):
        vector = SyncVectorEnv([Ledger])
        del vector.metadata["autoreset_mode"]
        with pytest.raises(RequestError, match=r"Ledger: .*autoreset_mode"):
            BatchedEnvironment(vector, name="Ledger")
        vector.close()


class TestNativeCartPole:
    def test_silent_bug_05_valid_rows_obey_the_physics_and_the_rest_are_resets(self):
        environments = make_environments("CartPole-v1", {}, n_envs=8)
        single = CartPoleEnv()
        single.reset(seed=0)
        observations = environments.reset(seed=3)
        rng = np.random.default_rng(0)
        ended_before = np.zeros(8, dtype=bool)
        ends = 0
        for _ in range(120):
            actions = rng.integers(0, 2, 8)
            step = environments.step(actions)
            assert np.array_equal(step.valid, ~ended_before)
            for n in range(8):
                if not step.valid[n]:
                    assert np.abs(step.successors[n]).max() <= 0.05
                    assert not step.terminated[n]
                    assert not step.truncated[n]
                    continue
                single.state = tuple(observations[n].astype(np.float64))
                single.steps_beyond_terminated = None
                successor, _, terminated, _, _ = single.step(int(actions[n]))
                np.testing.assert_allclose(step.successors[n], successor, rtol=1e-5, atol=1e-6)
                assert step.terminated[n] == terminated
            ended_before = step.terminated | step.truncated
            ends += int(ended_before.sum())
            observations = step.observations
        returns, lengths = environments.take_finished_episodes()
        assert returns == [float(length) for length in lengths]
        assert len(returns) == ends > 20
        environments.close()

    def test_time_limit_of_the_registration_truncates(self):
        # a controller that keeps the pole up until the limit
        environments = make_environments("CartPole-v1", {}, n_envs=2)
        observations = environments.reset(seed=0)
        for _ in range(500):
            actions = (observations @ np.array([0.1, 0.5, 5.0, 1.0]) > 0).astype(np.int64)
            step = environments.step(actions)
            observations = step.observations
        assert step.truncated.all()
        assert not step.terminated.any()
        assert environments.take_finished_episodes() == ([500.0, 500.0], [500, 500])
        environments.close()


class TestMaking:
    def test_time_limit_of_a_registered_environment_truncates(self, register):
        environment_id = register(Endless, max_episode_steps=3)
        environments = make_environments(environment_id, {}, n_envs=2)
        environments.reset(seed=0)
        truncated = [environments.step(np.zeros(2, np.int64)).truncated[0] for _ in range(6)]
        assert truncated == [False, False, True, False, False, True]
        environments.close()

    def test_keyword_arguments_reach_every_copy(self, register):
        environments = make_environments(register(Endless), {"offset": 4.0}, n_envs=3)
        assert environments.reset(seed=0)[:, 1].tolist() == [4.0] * 3
        environments.close()

    @pytest.mark.parametrize(
        ("wrong", "meant"),
        [
            ("CartPol-v1", "CartPole-v1"),
            ("cartpole-v1", "CartPole-v1"),
            ("Pendulum", "Pendulum-v1"),
            ("MountainCarContinous-v0", "MountainCarContinuous-v0"),
        ],
    )
    def test_unknown_id_gives_the_nearest_names(self, wrong, meant):
        with pytest.raises(RequestError) as refusal:
            make_environments(wrong, {}, n_envs=1)
        assert f"'{wrong}'" in str(refusal.value)
        assert f"'{meant}'" in str(refusal.value)

    def test_module_named_by_an_id_is_never_imported(self):
        with pytest.raises(RequestError, match="unknown environment"):
            registered_spec("antigravity:Anything-v0")
        import sys

        assert "antigravity" not in sys.modules

    def test_keyword_argument_that_is_not_accepted_is_a_request_error(self):
        with pytest.raises(RequestError, match=r"Pendulum-v1 cannot be made: .*wind"):
            make_environments("Pendulum-v1", {"wind": 3}, n_envs=1)

    def test_constructor_that_raises_is_a_request_error(self, register):
        def broken():
            raise ImportError("no module named mujoco")

        environment_id = register(broken)
        with pytest.raises(RequestError, match=f"{environment_id} cannot be made: .*mujoco"):
            make_environments(environment_id, {}, n_envs=1)

    def test_closing_twice_closes_once(self, register):
        Endless.closed = 0
        environments = make_environments(register(Endless), {}, n_envs=3)
        environments.close()
        environments.close()
        assert Endless.closed == 3

    def test_closing_twice_closes_a_native_vector_environment_once(self):
        vector = Native({})
        environments = BatchedEnvironment(vector, name="Native")
        environments.close()
        environments.close()
        assert vector.closes == 1

    def test_seeds_decide_the_first_observations(self):
        environments = make_environments("Pendulum-v1", {}, n_envs=3)
        first = environments.reset(seed=[5, 6, 7])
        assert np.array_equal(first, environments.reset(seed=5))
        assert np.array_equal(first[1:], environments.reset(seed=[6, 7, 8])[:2])
        environments.close()

    def test_native_vector_environment_takes_the_first_seed(self):
        environments = make_environments("CartPole-v1", {}, n_envs=FEWEST_NATIVE)
        assert not environments.seeds_each
        seeds = list(range(5, 5 + FEWEST_NATIVE))
        assert np.array_equal(environments.reset(seed=seeds), environments.reset(seed=5))
        assert not np.array_equal(environments.reset(seed=5), environments.reset(seed=6))
        environments.close()


class Endless(gymnasium.Env):
    """Observation (t, offset), reward 1, no end; goes wrong at one step in the way asked for."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)
    closed = 0

    def __init__(self, offset: float = 0.0, fault: str = "", at: int = 3) -> None:
        self._offset, self._fault, self._at = offset, fault, at
        if "float64" in fault:
            self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)

    def _observation(self):
        return np.array([self._t, self._offset], self.observation_space.dtype)

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        observation = self._observation()
        if self._fault == "exception in reset":
            raise RuntimeError("the simulator is gone")
        if self._fault == "nan in reset":
            observation[1] = np.nan
        return observation, {}

    def step(self, _):
        self._t += 1
        observation, reward, terminated = self._observation(), 1.0, False
        if self._t == self._at:
            if self._fault == "exception":
                raise RuntimeError("the simulator is gone")
            observation, reward, terminated = self._spoilt(observation, reward)
        return observation, reward, terminated, False, {}

    def _spoilt(self, observation, reward):
        final = self._fault.startswith("final")
        match self._fault.removeprefix("final ").removeprefix("float64 "):
            case "nan":
                observation[1] = np.nan
            case "inf":
                observation[0] = -np.inf
            case "1e300":
                observation[0] = 1e300
            case "shape":
                observation = np.zeros(3, np.float32)
            case "short":
                observation = np.zeros(1, np.float32)
            case "nan reward":
                reward = np.nan
            case "inf reward":
                reward = np.inf
            case "1e300 reward":
                reward = 1e300
        return observation, reward, final

    def close(self):
        type(self).closed += 1


SINGLE_FAULTS = {
    "nan": "observation",
    "inf": "observation",
    "float64 nan": "observation",
    "float64 inf": "observation",
    "float64 1e300": "observation",
    "shape": "",
    "short": "",
    "nan reward": "reward",
    "inf reward": "reward",
    "1e300 reward": "reward",
    "exception": "RuntimeError: the simulator is gone",
    "final nan": "observation",
    "final float64 1e300": "observation",
    "final shape": "observation",
    "final short": "observation",
    "final nan reward": "reward",
}
"""Fault to what its message must name besides environment and step. Gymnasium itself trips over a
wrong shape among single environments, and says so in its own words."""


class Native(VectorEnv):
    """Two copies in one vector environment that hands on whatever it is told to at one step."""

    def __init__(self, fault: dict, at: int = 3) -> None:
        self.num_envs = 2
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space = spaces.Box(-10, 10, (3,), np.float32)
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, 2)
        self.action_space = batch_space(self.single_action_space, 2)
        self._fault, self._at, self._t, self.closes = fault, at, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        return self._fault.get("reset", np.zeros((2, 3), np.float32)), {}

    def step(self, _):
        self._t += 1
        fault = self._fault if self._t == self._at else {}
        return (
            fault.get("observation", np.zeros((2, 3), np.float32)),
            fault.get("reward", np.ones(2)),
            fault.get("terminated", np.zeros(2, np.bool_)),
            fault.get("truncated", np.zeros(2, np.bool_)),
            {},
        )

    def close(self, **_):  # without marking itself as closed, as gymnasium's CartPole does
        self.closes += 1


NATIVE_FAULTS = [
    ("observation", np.full((2, 3), np.nan, np.float32)),
    ("observation", np.full((2, 3), np.inf, np.float32)),
    ("observation", np.zeros((2, 4), np.float32)),
    ("observation", np.zeros((3, 3), np.float32)),
    ("observation", np.zeros(3, np.float32)),
    ("observation", np.zeros((2, 3, 1), np.float32)),
    ("observation", np.zeros((2, 3), np.float64)),
    ("observation", np.zeros((2, 3), np.int64)),
    ("observation", [[0.0] * 3] * 2),
    ("observation", None),
    ("reward", np.array([1.0, np.nan])),
    ("reward", np.array([-np.inf, 1.0])),
    ("reward", np.array([1.0, 1e300])),
    ("reward", np.ones((2, 1))),
    ("reward", np.ones(3)),
    ("reward", 1.0),
    ("reward", [1.0, 1.0]),
    ("reward", np.ones(2, np.complex128)),
    ("reward", np.array([1.0, None])),
    ("terminated", np.zeros(2)),
    ("terminated", np.zeros((2, 1), np.bool_)),
    ("terminated", [False, False]),
    ("truncated", np.zeros(2, np.int64)),
    ("truncated", np.zeros(1, np.bool_)),
    ("truncated", False),
]


class Tired:
    """A policy that always takes the first action."""

    def act(self, inputs, _):
        return np.zeros(len(inputs), dtype=np.int64)

    def parameters(self, inputs, _):
        return np.zeros((len(inputs), 2), dtype=np.float32)


def collect_until_fault(environments: BatchedEnvironment, size: int) -> tuple[str, Rollout]:
    rollout = Rollout.empty(
        8,
        environments.n_envs,
        size=size,
        decoder=ActionDecoder(spaces.Discrete(2)),
        normalized=False,
    )
    collector = Collector(environments, environments.reset(seed=0), rollout)
    with pytest.raises(EnvironmentFaultError) as fault:
        collector.collect(Tired(), None)
    environments.close()
    return str(fault.value), rollout


class TestSilentBug15:
    @pytest.mark.parametrize("fault", SINGLE_FAULTS)
    def test_silent_bug_15_faulty_environment_is_named_with_step_and_field(self, register, fault):
        environment_id = register(Endless)
        environments = make_environments(environment_id, {"fault": fault, "at": 3}, n_envs=2)
        message, rollout = collect_until_fault(environments, 2)
        assert message.startswith(f"{environment_id}: step 3")
        assert SINGLE_FAULTS[fault] in message
        assert np.isfinite(rollout.rows).all()
        assert rollout.rows[:3, :, 0].T.tolist() == [[0.0, 1.0, 2.0]] * 2
        assert not rollout.rows[3:].any()
        assert rollout.rewards.T.tolist() == [[1.0, 1.0, 0, 0, 0, 0, 0, 0]] * 2

    @pytest.mark.parametrize(("field", "value"), NATIVE_FAULTS)
    def test_silent_bug_15_each_field_of_a_native_environment_is_checked(self, field, value):
        environments = BatchedEnvironment(Native({field: value}), name="Native-v0")
        message, rollout = collect_until_fault(environments, 3)
        assert message.startswith(f"Native-v0: step 3: {field} ")
        assert np.isfinite(rollout.rewards).all()
        assert not rollout.rewards[2:].any()

    @pytest.mark.parametrize(
        ("fault", "named"),
        [("exception in reset", "the simulator is gone"), ("nan in reset", "observation")],
    )
    def test_silent_bug_15_faulty_reset_is_named(self, register, fault, named):
        environment_id = register(Endless)
        environments = make_environments(environment_id, {"fault": fault}, n_envs=2)
        with pytest.raises(EnvironmentFaultError, match=f"^{environment_id}: reset.*{named}"):
            environments.reset(seed=0)
        environments.close()

    @pytest.mark.parametrize(
        "value", [np.zeros((2, 4), np.float32), np.full((2, 3), np.nan, np.float32)]
    )
    def test_silent_bug_15_native_reset_is_checked(self, value):
        environments = BatchedEnvironment(Native({"reset": value}), name="Native-v0")
        with pytest.raises(EnvironmentFaultError, match=r"^Native-v0: reset: observation "):
            environments.reset(seed=0)

    def test_silent_bug_15_index_outside_a_discrete_observation_is_refused(self):
        class Outside(Native):
            def __init__(self):
                super().__init__({"observation": np.array([4, 5])}, at=1)
                self.single_observation_space = spaces.Discrete(3, start=2)
                self.observation_space = batch_space(self.single_observation_space, 2)

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed, options=options)
                return np.array([2, 4]), {}

        environments = BatchedEnvironment(Outside(), name="Native-v0")
        environments.reset(seed=0)
        with pytest.raises(EnvironmentFaultError, match="observation is outside 2 to 4"):
            environments.step(np.zeros(2, np.int64))

    @pytest.mark.parametrize("fault", SINGLE_FAULTS)
    def test_silent_bug_15_nothing_of_it_is_learned(self, register, make_config, fault):
        config = make_config(
            register(Endless),
            hyper={"normalize_observations": True, "rollout_steps": 4},
            environment_kwargs={"fault": fault, "at": 7},
        )
        environments = make_environments(
            config.environment_id, config.environment_kwargs, n_envs=config.n_envs
        )
        learner = Learner(config, environments, torch.device("cpu"))
        learner.iterate(lambda: None)
        moments, actor = learner.moments, learner.actor.parameters.clone()
        critic = learner.critic.parameters.clone()
        assert moments.count == 8
        with pytest.raises(EnvironmentFaultError):
            learner.iterate(lambda: None)
        environments.close()
        assert learner.moments is moments
        assert torch.equal(learner.actor.parameters, actor)
        assert torch.equal(learner.critic.parameters, critic)
        assert learner.experience.collector._environments.take_finished_episodes() == ([], [])

    def test_numbers_within_float32_pass(self, register):
        environments = make_environments(register(Endless), {"offset": 3e38}, n_envs=1)
        assert np.isfinite(environments.reset(seed=0)).all()
        environments.close()
