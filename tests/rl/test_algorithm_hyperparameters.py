"""No dead knobs: every declared hyperparameter of every algorithm changes what is learned."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from algorithm_samples import BY_PASSES, NAMES, Push

from trpotui.config import FIXED_WHILE_RUNNING, SharedHyperparameters, field_names
from trpotui.events import Notice, UpdateFinished
from trpotui.rl.algorithms import load_algorithm
from trpotui.rl.control import Control
from trpotui.rl.trainer import train

pytestmark = pytest.mark.slow


class Knob(NamedTuple):
    """A value that must make a difference."""

    value: object
    where: dict = {}  # noqa: RUF012
    """Other settings, without which the field has nothing to say."""
    kind: str = "discrete"
    """Of the actions."""


ADAM = {"critic": "adam"}
SHARED = {
    "rollout_steps": Knob(24, {"rollout_episodes": 0}),
    "rollout_episodes": Knob(2),
    "gamma": Knob(0.5),
    "advantage": Knob("td"),
    "gae_lambda": Knob(0.0, {"advantage": "gae"}),
    "n_steps": Knob(2, {"advantage": "n_step"}),
    "hidden_sizes": Knob((9,)),
    "activation": Knob("relu"),
    "network": Knob("gru"),
    "memory_size": Knob(5, {"network": "gru"}),
    "orthogonal_init": Knob(False),
    "exploration": Knob("state_dependent", kind="continuous"),
    "sde_interval": Knob(4, {"exploration": "gsde"}, kind="continuous"),
    "logit_clip": Knob(0.01),
    "initial_log_std": Knob(-1.0, kind="continuous"),
    "normalize_observations": Knob(True),
    "observation_clip": Knob(0.3, {"normalize_observations": True}),
    "normalize_advantages": Knob(False),
    "reward_shift": Knob(3.0),
    "reward_scale": Knob(0.1),
    "normalize_rewards": Knob(True),
    "reward_clip": Knob(0.1, {"normalize_rewards": True}),
    "critic": Knob("adam"),
    "critic_iterations": Knob(1),
    "critic_damping": Knob(1.0),
    "critic_share": Knob(0.4),
    "critic_learning_rate": Knob(0.02, ADAM),
    "critic_epochs": Knob(3, ADAM),
    "critic_minibatches": Knob(1, ADAM),
}
NATURAL = {
    "cg_iterations": Knob(1),
    "cg_damping": Knob(1.0),
}
SEARCHING = {"max_kl": 0.5, "acceptance_ratio": 0.95, "cg_damping": 1e-3}
FAST = {"learning_rate": 0.05}
"""Ratios leave the clip range."""
PASSES = {
    "learning_rate": Knob(1e-3),
    "anneal_learning_rate": Knob(False),
    "adam_epsilon": Knob(0.01),
    "epochs": Knob(3),
    "minibatches": Knob(2),
    "normalize_minibatches": Knob(False),
    "entropy_coef": Knob(0.1),
    "max_grad_norm": Knob(0.01),
    "normalize_advantages": Knob(False, {"normalize_minibatches": False}),
}
OWN = {
    "reinforce": {
        "baseline": Knob(False),
        "optimizer": Knob("sgd"),
        "learning_rate": Knob(0.1),
        "anneal_learning_rate": Knob(True),
    },
    "a2c": {
        "optimizer": Knob("adam"),
        "learning_rate": Knob(0.1),
        "anneal_learning_rate": Knob(False),
        "entropy_coef": Knob(0.1),
        "max_grad_norm": Knob(0.01),
    },
    "npg": NATURAL | {"max_kl": Knob(0.002), "fisher_share": Knob(0.4)},
    "trpo": NATURAL
    | {
        "max_kl": Knob(0.002),
        "kl_reduction": Knob("max", {"cg_damping": 1e-3}),
        "fisher_share": Knob(0.4),
        "backtrack_factor": Knob(0.4, SEARCHING),
        "max_backtracks": Knob(0, SEARCHING),
        "acceptance_ratio": Knob(0.0, SEARCHING),
    },
    "trpo_penalty": NATURAL
    | {
        "coefficient": Knob(7.0),
        "target_kl": Knob(0.5),
        "backtrack_factor": Knob(0.4, {"coefficient": 0.05}),
        "max_backtracks": Knob(0, {"coefficient": 0.05}),
    },
    "ppo": PASSES
    | {
        "clip_range": Knob(0.02, FAST),
        "anneal_clip_range": Knob(True, FAST),
        "value_clip": Knob(1e-3, ADAM),
        "target_kl": Knob(1e-6, FAST),
    },
    "ppo_penalty": PASSES
    | {
        "target_kl": Knob(0.5, FAST),
        "initial_penalty": Knob(50.0, FAST),
        "beta_update": Knob("fixed", FAST),
        "dual_rate": Knob(1000.0, FAST | {"beta_update": "dual"}),
    },
}
CASES = [
    (name, field)
    for name in NAMES
    for field in field_names(load_algorithm(name).hyperparameter_type)
]
OWN_CASES = [
    (name, field) for name, field in CASES if field not in field_names(SharedHyperparameters)
]


def knob(name: str, field: str) -> Knob:
    return OWN[name].get(field) or SHARED[field]


@pytest.fixture(scope="module")
def learned():
    """What was learned by settings that several fields are compared with."""
    return {}


@pytest.fixture
def run(register, make_config, learned):
    """Train for six updates, changing `live` after the second; what was learned, and notices."""

    def made(name, kind, hyper, live=None):
        key = (name, kind, tuple(sorted(hyper.items())), tuple((live or {}).items()))
        if key not in learned:
            passes = {"epochs": 2, "minibatches": 3} if name in BY_PASSES else {}
            config = make_config(
                register(Push),
                algorithm=name,
                hyper=passes | hyper,
                environment_kwargs={"kind": kind},
                n_envs=4,
                total_steps=64 * 6,
            )
            control, found, notices = Control(), [], []
            for event in train(config, control):
                if isinstance(event, UpdateFinished):
                    found.append(numbers(event))
                    if event.update == 2 and live:
                        control.change(live)
                elif isinstance(event, Notice):
                    notices.append(event.message)
            learned[key] = found[:6], notices
        return learned[key]

    return made


def numbers(event: UpdateFinished) -> tuple:
    """What is learned, and nothing that a setting only passes through."""
    return (
        *(event.kl, event.surrogate_gain, event.entropy, event.grad_norm, event.value_loss),
        *(event.explained_variance, event.return_mean),
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_listed(name):
    own = set(field_names(load_algorithm(name).hyperparameter_type)) - {*SHARED}
    assert own == {*OWN[name]} - {*SHARED}
    assert set(SHARED) == set(field_names(SharedHyperparameters))


@pytest.mark.parametrize(("name", "field"), CASES)
def test_no_dead_knobs(run, name, field):
    value, where, kind = knob(name, field)
    default = getattr(load_algorithm(name).hyperparameter_type(**where), field)
    assert default != value
    assert run(name, kind, where)[0] != run(name, kind, where | {field: value})[0]


@pytest.mark.parametrize(("name", "field"), OWN_CASES)
def test_change_while_running_takes_effect_or_is_refused(run, name, field):
    value, where, kind = knob(name, field)
    unchanged, _ = run(name, kind, where)
    changed, notices = run(name, kind, where, live={field: value})
    assert len(changed) == len(unchanged) >= 4
    assert changed[:2] == unchanged[:2]
    fixed = field in FIXED_WHILE_RUNNING
    assert [field in notice for notice in notices] == [True] * fixed
    assert (changed[2:] == unchanged[2:]) == fixed
