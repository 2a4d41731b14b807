"""Every kind of space from training to the file, the evaluation and the player."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from trpotui.episodes import PlayOptions, play_without_window
from trpotui.errors import EnvironmentFaultError, RequestError
from trpotui.events import RunStarted, UpdateFinished
from trpotui.policy_file import check_environment, read_policy, write_policy
from trpotui.rl.environments import make_environments
from trpotui.rl.evaluation import evaluate
from trpotui.rl.policy import Policy
from trpotui.rl.trainer import check, train

BITS, KEYS = spaces.MultiBinary((2, 1)), spaces.MultiDiscrete([[2, 3]], start=[[1, -2]])
OBSERVATIONS = {
    "multi_discrete": KEYS,
    "multi_binary": BITS,
    "tuple": spaces.Tuple([spaces.Discrete(3, start=-1), spaces.Box(-2, 2, (2,), np.float64)]),
    "dict": spaces.Dict(
        [("z", spaces.Tuple([BITS, KEYS])), ("a", spaces.Box(0, 255, (2, 2), np.uint8))]
    ),
}
ACTIONS = {
    "discrete": spaces.Discrete(3, start=-1),
    "multi_discrete": spaces.MultiDiscrete([[2, 3], [4, 2]], start=[[0, -1], [7, 0]]),
    "multi_binary": spaces.MultiBinary((2, 2)),
    "box": spaces.Box(-2, 1, (2, 1), np.float32),
}
PAIRS = [
    ("multi_discrete", "discrete"),
    ("multi_binary", "box"),
    ("tuple", "multi_binary"),
    ("dict", "multi_discrete"),
    ("dict", "multi_binary"),
    ("tuple", "multi_discrete"),
]


class Panel(gymnasium.Env):
    """Random observations, and rewards that depend on them and on the action."""

    def __init__(self, observations: str, actions: str, spoilt: bool = False) -> None:
        self.observation_space = OBSERVATIONS[observations]
        self.action_space = ACTIONS[actions]
        self._spoilt = spoilt

    def _observation(self):
        # not the space's own samples: they do not come from the seed of the reset
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        observation = self.observation_space.sample()
        if self._spoilt and self._t == 2:
            return None
        flat = gymnasium.spaces.flatten(self.observation_space, observation).astype(np.float64)
        self._seen = flat @ np.arange(len(flat)) % 5
        return observation

    def reset(self, *, seed=None, **_):
        super().reset(seed=seed)
        self._t = 0
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self._t += 1
        reward = float(np.ravel(action) @ np.cos(self._seen + np.arange(np.size(action))))
        terminated = bool(self.np_random.random() < 0.2)
        return self._observation(), reward, terminated, False, {}


class Keeper:
    """A store that keeps the last policy."""

    def append_metrics(self, row):
        pass

    def save_policy(self, saved, *, best):  # noqa: ARG002
        self.saved = saved

    def save_checkpoint(self, state):
        pass


@pytest.fixture(params=PAIRS, ids="-".join)
def kinds(request) -> dict[str, str]:
    return dict(zip(("observations", "actions"), request.param, strict=True))


@pytest.mark.parametrize("normalized", [False, True])
def test_trained_saved_read_evaluated_and_played(
    register, make_config, tmp_path, kinds, normalized
):
    environment_id = register(Panel, max_episode_steps=6)
    config = make_config(
        environment_id,
        hyper={"normalize_observations": normalized},
        environment_kwargs=kinds,
        n_envs=3,
        total_steps=3 * 16 * 5,
    )
    keeper = Keeper()
    events = list(train(config, store=keeper))
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    assert len(updates) == 5
    assert all(0 <= update.kl <= config.hyperparameters.max_kl * (1 + 1e-5) for update in updates)
    assert any(update.accepted for update in updates)
    (started,) = (event for event in events if isinstance(event, RunStarted))
    assert started.distribution == keeper.saved.policy.decoder.distribution

    path = tmp_path / "policy.pt"
    write_policy(path, keeper.saved)
    saved = read_policy(path)
    check_environment(saved, path)
    assert saved.policy.spec == keeper.saved.policy.spec
    environments = make_environments(environment_id, kinds, n_envs=4)
    scores = [
        evaluate(policy, environments, episodes=10, seed=5).returns
        for policy in (
            keeper.saved.policy,
            saved.policy,
            Policy.from_bytes(saved.policy.to_bytes()),
        )
    ]
    environments.close()
    assert scores[0] == scores[1] == scores[2]
    assert len(set(scores[0])) > 5
    played = list(play_without_window(saved.policy, PlayOptions(episodes=10, seed=5)))
    assert [episode.episode_return for episode in played] == pytest.approx(scores[0], abs=1e-4)
    sampled = PlayOptions(episodes=10, seed=5, stochastic=True)
    twice = [list(play_without_window(saved.policy, sampled)) for _ in range(2)]
    assert twice[0] == twice[1] != played


def test_same_seed_trains_the_same(register, make_config, kinds):
    environment_id = register(Panel, max_episode_steps=6)
    entropies = []
    for seed in (0, 0, 1):
        config = make_config(environment_id, environment_kwargs=kinds, seed=seed)
        updates = [event for event in train(config) if isinstance(event, UpdateFinished)]
        entropies.append([update.entropy for update in updates])
    assert entropies[0] == entropies[1] != entropies[2]


@pytest.mark.parametrize(
    ("actions", "entropy"),
    [
        ("discrete", math.log(3)),
        ("multi_discrete", math.log(2 * 3 * 4 * 2)),
        ("multi_binary", math.log(2**4)),
    ],
)
def test_a_new_policy_hardly_prefers_any_action(register, make_config, actions, entropy):
    config = make_config(
        register(Panel, max_episode_steps=6),
        environment_kwargs={"observations": "tuple", "actions": actions},
    )
    update = next(event for event in train(config) if isinstance(event, UpdateFinished))
    assert update.entropy == pytest.approx(entropy, rel=0.02)


def test_playing_an_environment_that_changes_the_form_of_its_observations(
    register, make_config, kinds
):
    environment_id = register(Panel, max_episode_steps=6)
    keeper = Keeper()
    list(train(make_config(environment_id, environment_kwargs=kinds, seed=4), store=keeper))
    spec = keeper.saved.policy.spec
    object.__setattr__(spec, "environment_kwargs", kinds | {"spoilt": True})
    with pytest.raises(
        EnvironmentFaultError, match=r"returned an observation that .* in step 2 of"
    ):
        list(play_without_window(keeper.saved.policy, PlayOptions(episodes=20)))


@pytest.mark.parametrize(
    ("observation_space", "action_space", "said"),
    [
        (spaces.Text(4), spaces.Discrete(2), "observation space Text("),
        (spaces.Dict({"a": spaces.Text(4)}), spaces.Discrete(2), "its part a is Text("),
        (spaces.Discrete(2), spaces.Tuple([spaces.Discrete(2)]), "action space Tuple("),
        (spaces.Discrete(2), spaces.Box(0, 3, (2,), np.int64), "action space Box(0, 3, (2,), int"),
    ],
)
def test_a_run_with_an_unsupported_space_is_refused_before_it_starts(
    register, make_config, observation_space, action_space, said
):
    class Unsupported(Panel):
        def __init__(self) -> None:
            self.observation_space, self.action_space = observation_space, action_space

    config = make_config(register(Unsupported))
    with pytest.raises(RequestError) as refusal:
        check(config)
    assert said in str(refusal.value)
    assert "is not supported" in str(refusal.value)
    assert "actions Discrete, MultiDiscrete, MultiBinary, or Box of floats" in str(refusal.value)
