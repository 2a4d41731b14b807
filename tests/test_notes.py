"""The presets `notes` and `notes-demo`: the experiments of the study notes, value by value."""

from __future__ import annotations

import itertools

import gymnasium
import pytest

from trpotui import cli
from trpotui.errors import RequestError
from trpotui.events import RunFinished, StopReason, UpdateFinished
from trpotui.presets import load_preset, preset_names
from trpotui.rl.optimizers import Adam
from trpotui.rl.trainer import train
from trpotui.run_request import RunRequest, make_config

ALL = {
    "n_envs": 1,
    "rollout_episodes": 1,
    "stop_when_solved": False,
    "hidden_sizes": (128,),
    "activation": "relu",
    "orthogonal_init": False,
    "network": "mlp",
    "advantage": "gae",
    "normalize_observations": False,
    "normalize_advantages": False,
    "normalize_rewards": False,
    "critic": "adam",
    "critic_minibatches": 1,
}
TRPO = {
    "backtrack_factor": 0.5,
    "max_backtracks": 15 - 1,  # and the full step
    "cg_iterations": 10,
    "cg_damping": 0.1,
    "kl_reduction": "mean",
    "fisher_share": 0.0,
    "acceptance_ratio": 0.0,
    "critic_epochs": 1,
    "critic_learning_rate": 1e-2,
}
PPO = {
    "epochs": 10,
    "critic_epochs": 10,
    "minibatches": 1,
    "clip_range": 0.2,
    "normalize_minibatches": False,
    "anneal_learning_rate": False,
    "anneal_clip_range": False,
    "adam_epsilon": 1e-8,
    "max_grad_norm": 0.0,
    "entropy_coef": 0.0,
    "value_clip": 0.0,
    "target_kl": 0.0,
}
CARTPOLE = {"total_episodes": 500, "reward_shift": 0.0, "reward_scale": 1.0, "gamma": 0.98}
PENDULUM = {
    "total_episodes": 2000,
    "reward_shift": 8.0,
    "reward_scale": 1 / 8,
    "gamma": 0.9,
    "gae_lambda": 0.9,
}
EXPERIMENTS = {
    ("CartPole-v0", "trpo", "notes"): CARTPOLE
    | TRPO
    | {"gae_lambda": 0.95, "max_kl": 5e-4, "logit_clip": 0.0},
    ("CartPole-v0", "trpo", "notes-demo"): CARTPOLE
    | TRPO
    | {
        "gae_lambda": 0.0,
        "max_kl": 5e-4,
        "logit_clip": 20.0,
        "cg_damping": 0.0,
        "critic_learning_rate": 4.5e-2,
    },
    ("CartPole-v0", "ppo", "notes"): CARTPOLE
    | PPO
    | {
        "gae_lambda": 0.95,
        "learning_rate": 1e-3,
        "critic_learning_rate": 1e-2,
        "logit_clip": 0.0,
    },
    ("Pendulum-v1", "trpo", "notes"): PENDULUM | TRPO | {"max_kl": 5e-5},
    ("Pendulum-v1", "ppo", "notes"): PENDULUM
    | PPO
    | {"learning_rate": 1e-4, "critic_learning_rate": 5e-3},
}
experiments = pytest.mark.parametrize(("environment", "algorithm", "preset"), EXPERIMENTS)


def config_of(environment, algorithm, preset, **settings):
    return make_config(
        RunRequest(
            environment_id=environment, algorithm=algorithm, preset=preset, settings=settings
        )
    )


@experiments
def test_every_value_is_that_of_the_notes(environment, algorithm, preset):
    config = config_of(environment, algorithm, preset)
    expected = ALL | EXPERIMENTS[environment, algorithm, preset]
    actual = {
        name: getattr(config if hasattr(config, name) else config.hyperparameters, name)
        for name in expected
    }
    assert actual == expected


@experiments
def test_nothing_is_set_that_is_not_checked_here(environment, algorithm, preset):
    _, values = load_preset(environment, algorithm, preset)
    checked = ALL | EXPERIMENTS[environment, algorithm, preset]
    assert set(values) - set(checked) == {"total_steps", "eval_every"}


@experiments
def test_the_episodes_end_the_run_and_not_the_steps(environment, algorithm, preset):
    config = config_of(environment, algorithm, preset)
    longest = gymnasium.spec(environment).max_episode_steps
    assert config.total_steps > config.total_episodes * longest


@experiments
def test_an_update_takes_one_episode(environment, algorithm, preset, monkeypatch):
    steps, step = [], Adam.step

    def counted(self, *arguments, **named):
        steps.append(self)
        return step(self, *arguments, **named)

    monkeypatch.setattr(Adam, "step", counted)
    config = config_of(environment, algorithm, preset, total_episodes=4, eval_every=0)
    *events, end = train(config)
    updates = [event for event in events if isinstance(event, UpdateFinished)]
    assert [event.episodes for event in updates] == [1, 2, 3, 4]
    lengths = [update.length_mean for update in updates]
    assert [update.steps for update in updates] == list(itertools.accumulate(lengths))
    assert isinstance(end, RunFinished)
    assert end.reason is StopReason.EPISODES_REACHED
    # of the critic alone, or of the critic and the actor
    assert len(steps) == 4 * (1 if algorithm == "trpo" else 10 + 10)


def test_the_experiments_run_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = ["--preset", "notes", "--env", "CartPole-v0", "--algo", "trpo"]
    short = ["--set", "total_episodes=3", "--set", "eval_every=0", "--run-dir", "run"]
    assert cli.run(["train", "--no-ui", "--quiet", *named, *short]) == 0
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


def test_other_algorithms_and_environments_have_none_of_that_name():
    assert preset_names("CartPole-v0", "trpo") == ["default", "tuned", "notes", "notes-demo"]
    assert preset_names("CartPole-v0", "ppo") == ["default", "tuned", "notes"]
    assert preset_names("Pendulum-v1", "trpo") == ["default", "tuned", "notes"]
    for environment, algorithm in (("CartPole-v0", "npg"), ("CartPole-v1", "trpo")):
        with pytest.raises(RequestError, match=r"unknown preset 'notes' .*there are: default, "):
            config_of(environment, algorithm, "notes")
