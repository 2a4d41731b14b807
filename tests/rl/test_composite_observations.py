"""Dict and Tuple observations through the batched environment, in every autoreset mode."""

from __future__ import annotations

from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trpotui.errors import EnvironmentFaultError
from trpotui.rl.collector import Collector
from trpotui.rl.environments import BatchedEnvironment
from trpotui.rl.rollout import Rollout
from trpotui.rl.spaces import ActionDecoder, ObservationEncoder

MODES = list(AutoresetMode)


class Ledger(gymnasium.Env):
    """Observation (episode, t, their parities); the reward is a function of them and the action.

    Episodes last 3, 1, 4, 2 steps in turn and end by termination, truncation, or both.
    """

    observation_space = spaces.Dict(
        {
            "place": spaces.Tuple([spaces.Box(0, 1e6, (1, 1), np.float64), spaces.Discrete(5)]),
            "odd": spaces.MultiBinary(2),
        }
    )
    action_space = spaces.MultiDiscrete([3, 2], start=[0, -1])

    def __init__(self, rank: int = 0) -> None:
        self._episode, self._t = 1000 * rank, 0

    @staticmethod
    def read(row):
        """Episode and step that an encoded observation tells."""
        episode, t = int(row[2]), int(row[3:8].argmax())
        assert row[3:8].sum() == 1
        assert row[:2].tolist() == [episode % 2, t % 2]
        return episode, t

    @staticmethod
    def reward(episode, t, action):
        return 7.0 * episode + 3.0 * t + 0.25 * action[0] + 0.5 * action[1]

    @staticmethod
    def length(episode):
        return (3, 1, 4, 2)[episode % 4]

    @staticmethod
    def ends(episode):
        return ((True, False), (False, True), (True, True))[episode % 3]

    def _observation(self):
        odd = np.array([self._episode % 2, self._t % 2], np.int8)
        return {"place": (np.full((1, 1), float(self._episode)), self._t), "odd": odd}

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._episode, self._t = self._episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        assert action in self.action_space
        reward = self.reward(self._episode, self._t, action.tolist())
        self._t += 1
        over = self._t >= self.length(self._episode)
        flags = self.ends(self._episode) if over else (False, False)
        return self._observation(), reward, *flags, {}


def ledgers(mode: AutoresetMode, **kwargs) -> BatchedEnvironment:
    makers = [lambda rank=rank: Ledger(rank) for rank in range(3)]
    return BatchedEnvironment(SyncVectorEnv(makers, autoreset_mode=mode, **kwargs), name="Ledger")


def transitions(environments: BatchedEnvironment, steps: int) -> list[list[tuple]]:
    """What each environment's valid rows say, in their order."""
    encoder = ObservationEncoder(environments.observation_space)
    decoder = ActionDecoder(environments.action_space)
    said: list[list[tuple]] = [[] for _ in range(environments.n_envs)]
    rows = encoder.encode(environments.reset(seed=0))
    for t in range(steps):
        raw = np.stack([np.arange(3) % 3, (np.arange(3) + t) % 2], axis=1)
        step = environments.step(decoder.decode(raw))
        successors = encoder.encode(step.successors)
        for n in np.flatnonzero(step.valid):
            said[n].append(
                (
                    Ledger.read(rows[n]),
                    decoder.decode(raw)[n].tolist(),
                    float(step.rewards[n]),
                    Ledger.read(successors[n]),
                    bool(step.terminated[n]),
                    bool(step.truncated[n]),
                )
            )
        rows = encoder.encode(step.observations)
    return said


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_silent_bug_05_every_valid_row_is_a_transition_of_one_episode(mode, copy):
    environments = ledgers(mode, copy=copy)
    for said in transitions(environments, 40):
        assert len(said) >= 25
        for (episode, t), action, reward, successor, terminated, truncated in said:
            assert reward == Ledger.reward(episode, t, action)
            assert successor == (episode, t + 1)
            over = t + 1 == Ledger.length(episode)
            terminal, cut = Ledger.ends(episode) if over else (False, False)
            assert terminated == terminal
            assert truncated == (cut and not terminal)
        for before, after in pairwise(said):
            episode, t = before[0]
            ended = before[4] or before[5]
            assert after[0] == ((episode + 1, 0) if ended else (episode, t + 1))
    environments.close()


class Choosing:
    """A policy whose action is a function of the row alone."""

    def act(self, inputs, _):
        return np.stack([inputs[:, 2] % 3, inputs[:, 2] % 2], axis=1).astype(np.int64)

    def parameters(self, inputs, _):
        return np.zeros((len(inputs), 5), dtype=np.float32)


@pytest.mark.parametrize("mode", MODES)
def test_silent_bug_06_final_inputs_are_those_of_the_episode_that_was_cut(mode):
    environments = ledgers(mode)
    rollout = Rollout.empty(
        20, 3, size=8, decoder=ActionDecoder(environments.action_space), normalized=False
    )
    collector = Collector(environments, environments.reset(seed=0), rollout)
    rollout = collector.collect(Choosing(), None)
    assert rollout.actions.shape == (20, 3, 2)
    assert rollout.actions.dtype == np.int64
    for t, n in np.argwhere(rollout.valid):
        episode, step = Ledger.read(rollout.rows[t, n])
        action = rollout.actions[t, n] + [0, -1]
        assert rollout.rewards[t, n] == Ledger.reward(episode, step, action.tolist())
    finals = dict(zip(rollout.final_positions, rollout.final_inputs, strict=True))
    assert bool(finals) == (mode is not AutoresetMode.NEXT_STEP)
    for (t, n), row in finals.items():
        episode, step = Ledger.read(rollout.rows[t, n])
        assert rollout.truncated[t, n]
        assert Ledger.read(row) == (episode, step + 1)
    environments.close()


class Faulty(Ledger):
    """Spoils one part of its observation at step 3 of all."""

    fault = ""
    final = False

    def __init__(self, rank: int = 0) -> None:
        super().__init__(rank)
        self._steps = 0

    def length(self, _):
        return 10**6

    def step(self, action):
        self._steps += 1
        observation, reward, terminated, truncated, info = super().step(action)
        if self._steps != 3:
            return observation, reward, terminated, truncated, info
        place, t = observation["place"]
        match self.fault:
            case "nan":
                place[:] = np.nan
            case "huge":
                place[:] = 1e300
            case "outside":
                t = 5
            case "bits":
                observation["odd"][:] = 2
            case "shape":
                place = np.zeros((1, 2))
            case "float":
                t = 1.5
            case "missing":
                del observation["odd"]
        observation["place"] = (place, t)
        if self.fault == "short":
            observation["place"] = (place,)
        return observation, reward, self.final, False, info


NAMED = {
    "nan": "observation.place.0 is not finite",
    "huge": "observation.place.0 is not finite",
    "outside": "observation.place.1 is outside 0 to 4",
    "bits": "observation.odd is outside 0 to 1",
}
FINAL = NAMED | {
    "shape": "observation.place.0 has shape (1, 2), not (1, 1)",
    "float": "observation.place.1 has dtype float64, not int64",
    "missing": "observation is no dict of odd, place",
    "short": "observation.place is no tuple of 2",
}


def faulty(monkeypatch, mode: AutoresetMode, fault: str, *, final: bool) -> str:
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr(Faulty, "final", final)
    vector = SyncVectorEnv([Faulty, Faulty], autoreset_mode=mode)
    environments = BatchedEnvironment(vector, name="Faulty-v0")
    environments.reset(seed=0)
    actions = np.zeros((2, 2), np.int64)
    for _ in range(2):
        environments.step(actions)
    with pytest.raises(EnvironmentFaultError) as caught:
        environments.step(actions)
    environments.close()
    return str(caught.value)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", NAMED)
def test_silent_bug_15_faulty_part_is_named(monkeypatch, mode, fault):
    message = faulty(monkeypatch, mode, fault, final=False)
    assert message == f"Faulty-v0: step 3: {NAMED[fault]}"


@pytest.mark.parametrize("fault", FINAL)
def test_silent_bug_15_faulty_part_of_a_final_observation_is_named(monkeypatch, fault):
    message = faulty(monkeypatch, AutoresetMode.SAME_STEP, fault, final=True)
    assert message == f"Faulty-v0: step 3: {FINAL[fault]}"


class TestNative:
    """A vector environment of its own may hand out anything."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"odd": None}, "observation.odd is NoneType, no array"),
            ({"odd": np.zeros((3, 2), np.int8)}, "observation.odd has shape (3, 2) for 2 env"),
            ({"odd": np.zeros((2, 3), np.int8)}, "observation.odd has shape (3,), not (2,)"),
            ({"odd": np.zeros((2, 2))}, "observation.odd has dtype float64, not int8"),
            ({"place": np.zeros((2, 2))}, "observation.place is no tuple of 2"),
            ({"place": (np.zeros((2, 1, 1)),)}, "observation.place is no tuple of 2"),
            ({"more": np.zeros(2)}, "observation is no dict of odd, place"),
        ],
    )
    def test_silent_bug_15_every_leaf_is_checked(self, change, said):
        class Native(SyncVectorEnv):
            def reset(self, *, seed=None, options=None):
                observations, info = super().reset(seed=seed, options=options)
                return observations | change, info

        vector = Native([Ledger, Ledger], autoreset_mode=AutoresetMode.SAME_STEP)
        environments = BatchedEnvironment(vector, name="Native-v0")
        with pytest.raises(EnvironmentFaultError) as caught:
            environments.reset(seed=0)
        assert str(caught.value).startswith(f"Native-v0: reset: {said}")
        environments.close()
