"""Policies with memory: as they collect, learn, are scored, kept and shown."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from memory_environments import DELAY, PositionsOfCartPole, RepeatTheCue

from tests.policy_samples import random_arrays, saved_policy
from trpotui.episodes import EpisodePlayer, PlayOptions, play_without_window
from trpotui.inspection import facts_of
from trpotui.policy_file import read_policy, write_policy
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.architecture import PolicySpec
from trpotui.rl.environments import BatchedEnvironment, make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.learner import Learner
from trpotui.rl.policy import Policy
from trpotui.rl.surrogate import Surrogate
from trpotui.rl.trainer import train

MODES = list(AutoresetMode)
GAMMA = 0.9
VARIED = {"gru": 0, "lstm": 2}
"""Seeds of random weights with which episodes of CartPole differ in length."""

either_kind = pytest.mark.parametrize("kind", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])


class Noise(gymnasium.Env):
    """Random observations and rewards; every other episode is cut off, the others terminate."""

    observation_space = spaces.Box(-5, 5, (2,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, rank: int) -> None:
        self._rank, self._episode = rank, 0

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._episode += 1
        self._t = 0
        return self._observe(), {}

    def step(self, _):
        self._t += 1
        over = self._t == 2 + (self._episode + self._rank) % 3
        cut = (self._episode + self._rank) % 2 == 0
        reward = float(self.np_random.normal())
        return self._observe(), reward, over and not cut, over and cut, {}

    def _observe(self):
        return self.np_random.normal(size=2).astype(np.float32)


class Keeper:
    """A store that keeps the last policy."""

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.saved = saved

    def save_checkpoint(self, state):
        pass


def noises(mode, n_envs=3):
    makers = [lambda rank=rank: Noise(rank) for rank in range(n_envs)]
    return BatchedEnvironment(SyncVectorEnv(makers, autoreset_mode=mode), name="Noise")


@dataclasses.dataclass
class Lived:
    """What happened in one iteration of a learner."""

    policy: Policy
    rollout: object
    parameters: np.ndarray
    batch: object
    again: torch.Tensor
    kl_and_gain: tuple[float, float]


class Watched:
    """A learner that says what it collected and from what it learned."""

    def __init__(self, make_config, mode, kind, n_envs=3, algorithm="trpo", **hyper):
        values = {"network": kind, "memory_size": 5, "gamma": GAMMA, "rollout_steps": 7} | hyper
        config = dataclasses.replace(
            make_config("Noise-v0", n_envs=n_envs),
            algorithm=algorithm,
            hyperparameters=load_algorithm(algorithm).hyperparameter_type(**values),
        )
        self.learner = Learner(config, noises(mode, n_envs), torch.device("cpu"))
        self._acted = []
        act, self._update = self.learner.experience.session.act, self.learner._update

        def recorded(inputs, starts):
            self._acted.append(self.learner.experience.session.parameters(inputs, starts))
            return act(inputs, starts)

        collect = self.learner.experience.collector.collect

        def collected(*arguments, **options):
            self._rollout = collect(*arguments, **options)
            return self._rollout

        self.learner.experience.session.act = recorded
        self.learner.experience.collector.collect = collected
        self.learner._update = self._updated

    def _updated(self, batch, interrupt):
        actor = self.learner.actor
        self._again = actor(batch.inputs)
        self._kl_and_gain = Surrogate(actor, batch, interrupt).kl_and_gain()
        self._batch = batch
        return self._update(batch, interrupt)

    def iterate(self) -> Lived:
        policy = self.learner.snapshot()
        self._acted.clear()
        stats = self.learner.iterate(lambda: None).stats
        assert stats.kl > 0  # the policy did move
        rollout = copy.deepcopy(self._rollout)
        return Lived(
            policy, rollout, np.stack(self._acted), self._batch, self._again, self._kl_and_gain
        )


@either_kind
class TestLearning:
    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("normalized", [False, True])
    def test_silent_bug_12_what_is_updated_is_what_collected(
        self, make_config, kind, mode, normalized
    ):
        watched = Watched(make_config, mode, kind, normalize_observations=normalized)
        for _ in range(4):
            lived = watched.iterate()
            valid = lived.rollout.valid
            assert len(lived.batch.inputs) == int(valid.sum())
            assert np.allclose(lived.again, lived.parameters[valid], atol=1e-5)
            assert lived.kl_and_gain == (0.0, 0.0)
        assert not lived.rollout.starts[0].all()  # some episodes went on from before
        assert any(state.any() for state in lived.batch.inputs.states.values())
        assert bool(lived.rollout.valid.all()) == (mode is not AutoresetMode.NEXT_STEP)

    @pytest.mark.parametrize("mode", MODES)
    def test_silent_bug_06_value_of_a_successor_is_met_with_what_was_remembered(
        self, make_config, kind, mode
    ):
        watched = Watched(make_config, mode, kind, advantage="td", normalize_advantages=False)
        state, truncated = None, 0
        for _ in range(3):
            lived = watched.iterate()
            rollout = lived.rollout
            critic = lived.policy.critic_network
            state = critic.no_memory(3) if state is None else state

            def met(inputs, before, critic=critic):
                features, after = critic.features(inputs, before)
                return critic.outputs(critic.latent(features))[:, 0], after

            values, following = [], []
            for t in range(rollout.steps + 1):
                before = np.where(rollout.starts[t][:, None], np.float32(0.0), state)
                value, after = met(rollout.inputs[t], before)
                values.append(value)
                if t < rollout.steps:
                    state = after
                    following.append(
                        {
                            n: float(met(row[None], state[[n]])[0][0])
                            for (at, n), row in zip(
                                rollout.final_positions, rollout.final_inputs, strict=True
                            )
                            if at == t
                        }
                    )
            successors = np.stack(values[1:])
            for t, finals in enumerate(following):
                for n, value in finals.items():
                    assert rollout.truncated[t, n]
                    assert abs(value - successors[t, n]) > 1e-6
                    successors[t, n] = value
                    truncated += 1
            targets = rollout.rewards + GAMMA * successors * ~rollout.terminated
            valid = rollout.valid
            assert np.allclose(lived.batch.values, np.stack(values[:-1])[valid], atol=1e-5)
            assert np.allclose(lived.batch.targets, targets[valid], atol=1e-5)
        assert (truncated > 0) == (mode is not AutoresetMode.NEXT_STEP)

    @pytest.mark.parametrize("algorithm", ["trpo", "ppo"])
    @pytest.mark.parametrize("n_envs", [1, 2])
    def test_few_environments_are_enough_and_all_of_both_cells_learns(
        self, make_config, kind, algorithm, n_envs
    ):
        watched = Watched(make_config, AutoresetMode.NEXT_STEP, kind, n_envs, algorithm)
        networks = watched.learner.actor, watched.learner.critic
        before = copy.deepcopy([network.named for network in networks])
        for _ in range(3):
            watched.iterate()
        for old, network in zip(before, networks, strict=True):
            assert torch.isfinite(network.parameters).all()
            for name, array in network.named.items():
                assert not torch.equal(array, old[name]), name

    def test_new_episodes_of_a_resumed_run_begin_with_empty_memory(self, make_config, kind):
        watched = Watched(make_config, AutoresetMode.SAME_STEP, kind)
        for _ in range(2):
            watched.iterate()
        assert any(state.any() for state in watched.learner.experience.memory().values())
        resumed = Watched(make_config, AutoresetMode.SAME_STEP, kind)
        resumed.learner.restore(watched.learner.state())
        lived = resumed.iterate()
        assert not any(state.any() for state in lived.batch.inputs.states.values())
        assert lived.rollout.starts[0].all()
        assert lived.kl_and_gain == (0.0, 0.0)

    def test_whole_episodes_can_be_collected(self, register, make_config, kind):
        config = make_config(
            register(RepeatTheCue),
            hyper={"network": kind, "memory_size": 4, "rollout_episodes": 2},
            n_envs=3,
            total_steps=400,
        )
        events = list(train(config))
        assert events[-1].steps >= 300


def random_policy(kind, environment_id, *, seed=0):
    environments = make_environments(environment_id, {}, n_envs=1)
    spec = PolicySpec(
        environment_id=environment_id,
        environment_kwargs={},
        observation_space=environments.observation_space,
        action_space=environments.action_space,
        hidden_sizes=(6,),
        activation="tanh",
        network=kind,
        memory_size=7,
    )
    environments.close()
    rng = np.random.default_rng(seed)
    return Policy(
        spec=spec,
        actor=random_arrays(spec.actor_shapes, rng, 0.6),
        critic=random_arrays(spec.critic_shapes, rng, 0.6),
        moments=None,
    )


def along_an_episode(policy, rows):
    """Distribution parameters and values at each of some rows [T, D] of one episode."""
    session = policy.session(1)
    seen = []
    for t, row in enumerate(rows):
        starts = np.array([t == 0])
        seen += [session.parameters(row[None], starts)[0], session.values(row[None], starts)]
        session.act(row[None], starts)
    return np.concatenate(seen)


READ_AND_ACT = """
import sys
import numpy as np
from test_memory import along_an_episode
from trpotui.policy_file import read_policy
policy = read_policy(sys.argv[1]).policy
rows = policy.network_inputs(np.load(sys.argv[2]))
sys.stdout.buffer.write(along_an_episode(policy, rows).tobytes())
"""


@either_kind
class TestFrozen:
    @pytest.mark.slow
    def test_silent_bug_10_a_saved_policy_acts_the_same_in_a_fresh_process(
        self, register, make_config, kind, tmp_path
    ):
        config = make_config(
            register(RepeatTheCue),
            hyper={"network": kind, "memory_size": 6, "normalize_observations": True},
        )
        list(train(config, store=(store := Keeper())))
        observations = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
        np.save(tmp_path / "observations.npy", observations)
        write_policy(tmp_path / "policy.pt", store.saved)
        policy = store.saved.policy
        expected = along_an_episode(policy, policy.network_inputs(observations))
        command = [sys.executable, "-c", READ_AND_ACT]
        found = subprocess.run(
            [*command, str(tmp_path / "policy.pt"), str(tmp_path / "observations.npy")],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert found.returncode == 0, found.stderr.decode()
        assert found.stdout == expected.tobytes()
        # it is memory that is at stake: the same rows as first ones of episodes are something else
        alone = [along_an_episode(policy, [row]) for row in policy.network_inputs(observations)]
        assert not np.allclose(np.concatenate(alone), expected, atol=1e-4)

    def test_another_process_of_the_program_gets_the_same(self, register, kind):
        policy = random_policy(kind, register(RepeatTheCue))
        rows = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
        same = Policy.from_bytes(policy.to_bytes())
        assert same.spec == policy.spec
        assert along_an_episode(same, rows).tobytes() == along_an_episode(policy, rows).tobytes()

    def test_many_episodes_at_once_are_each_of_them_alone(self, register, kind):
        environment_id = register(PositionsOfCartPole, max_episode_steps=200)
        policy = random_policy(kind, environment_id, seed=VARIED[kind])
        together, alone = (make_environments(environment_id, {}, n_envs=n) for n in (8, 1))
        scores = evaluate(policy, together, episodes=20, seed=3)
        assert len(set(scores.returns)) > 3
        assert evaluate(policy, alone, episodes=20, seed=3).returns == scores.returns
        played = play_without_window(policy, PlayOptions(episodes=20, seed=3))
        assert tuple(episode.episode_return for episode in played) == scores.returns
        together.close()
        alone.close()

    def test_a_player_looks_ahead_without_remembering_it(self, register, kind):
        policy = random_policy(kind, register(RepeatTheCue))
        player = EpisodePlayer(policy, PlayOptions(seed=4))
        for episode in (1, 2):
            player.start(episode)
            rows, looks = [], []
            while not player.ended:
                rows.append(policy.network_inputs(player.observation[None])[0])
                first, again = player.outlook(), player.outlook()
                assert np.array_equal(first[0], again[0])
                assert first[1] == again[1]
                looks += [first[0], np.array([first[1]], np.float32)]
                player.step()
            assert player.steps == DELAY + 1
            assert np.array_equal(np.concatenate(looks), along_an_episode(policy, rows))
        player.close()

    def test_a_file_keeps_and_shows_it(self, kind, tmp_path):
        saved = saved_policy(network=kind, memory_size=5, normalized=True)
        write_policy(tmp_path / "policy.pt", saved)
        policy = read_policy(tmp_path / "policy.pt").policy
        assert policy.spec == saved.policy.spec
        for name, array in saved.policy.actor.items():
            assert array.tobytes() == policy.actor[name].tobytes()
        facts = facts_of(saved)
        assert facts["network"] == kind
        assert facts["memory cells"] == 5
        assert facts_of(saved_policy())["memory cells"] is None


@pytest.mark.slow
@either_kind
def test_a_cue_is_repeated_ten_steps_later(register, make_config, kind):
    hyper = {
        "network": kind,
        "memory_size": 16,
        "hidden_sizes": (16,),
        "rollout_steps": 4 * (DELAY + 1),
        "max_kl": 0.03,
        "cg_damping": 0.01,
    }
    environment_id = register(RepeatTheCue)
    config = make_config(environment_id, hyper=hyper, n_envs=16, total_steps=15_000)
    list(train(config, store=(store := Keeper())))
    environments = make_environments(environment_id, {}, n_envs=50)
    score = evaluate(store.saved.policy, environments, episodes=50, seed=0).score
    environments.close()
    assert score.mean == 1.0
