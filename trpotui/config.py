"""A run's configuration: frozen dataclasses whose fields carry their unit, range and meaning.

The command line, the presets, the saved JSON and the app's form all derive from these fields, so
each setting is explained once, here. Values are validated by pydantic; `build` turns its complaints
into one sentence.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Annotated, Any, Literal, TypeVar

import annotated_types
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from trpotui.errors import RequestError

STRICT = ConfigDict(allow_inf_nan=False, extra="forbid")

C = TypeVar("C")


def _sizes(value: object) -> object:
    """Accept `64,64` from a command line beside a list from TOML or JSON."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


HiddenSizes = Annotated[
    tuple[Annotated[int, Field(ge=1, le=4096)], ...],
    BeforeValidator(_sizes),
    Field(max_length=8),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SharedHyperparameters:
    """What every algorithm of the family has: rollout, advantages, networks and critic."""

    rollout_steps: int = Field(
        default=128, ge=1, le=1_000_000, description="steps per environment and update"
    )
    rollout_episodes: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="whole episodes per environment and update; 0: rollout_steps steps instead",
    )
    gamma: float = Field(default=0.99, ge=0, le=1, description="discount per step")
    advantage: Literal["gae", "td", "n_step", "monte_carlo"] = Field(
        default="gae",
        description="how advantages are estimated: generalised advantage estimation, one step and "
        "then the critic, n_steps and then the critic, or the whole return",
    )
    gae_lambda: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="decay of generalised advantage estimation; 0 one-step, 1 Monte Carlo",
    )
    n_steps: int = Field(
        default=5, ge=1, le=1_000_000, description="rewards before the critic's value in n_step"
    )
    hidden_sizes: HiddenSizes = Field(
        default=(64, 64), description="width of each hidden layer of actor and critic, e.g. 64,64"
    )
    activation: Literal["tanh", "relu"] = Field(
        default="tanh", description="nonlinearity of the hidden layers"
    )
    network: Literal["mlp", "cnn", "gru", "lstm"] = Field(
        default="mlp",
        description="what comes before the hidden layers: nothing, the convolutional network of "
        "Mnih et al. 2015 for images, or a recurrent cell that remembers",
    )
    memory_size: int = Field(
        default=64, ge=1, le=4096, description="cells of a recurrent network (gru, lstm)"
    )
    orthogonal_init: bool = Field(
        default=True,
        description="orthogonal initial weights with a small policy head; else uniform ones",
    )
    exploration: Literal["independent", "state_dependent", "gsde"] = Field(
        default="independent",
        description="where a Gaussian policy's log sigma comes from: parameters of its own, the "
        "network's outputs, or generalised state-dependent exploration",
    )
    sde_interval: int = Field(
        default=1, ge=1, le=1_000_000, description="steps for which gsde keeps its noise"
    )
    logit_clip: float = Field(
        default=0.0, ge=0, le=1000, description="bound on a discrete policy's logits; 0 for none"
    )
    initial_log_std: float = Field(
        default=0.0,
        ge=-10,
        le=2,
        description="log sigma of a Gaussian policy at the start; 0 is half the action range",
    )
    normalize_observations: bool = Field(
        default=False, description="standardise observations by their running mean and deviation"
    )
    observation_clip: float = Field(
        default=10.0, gt=0, le=1000, description="bound on normalised observations, in deviations"
    )
    normalize_advantages: bool = Field(
        default=True, description="centre and scale the advantages of a batch"
    )
    reward_shift: float = Field(
        default=0.0,
        ge=-1e6,
        le=1e6,
        description="added to rewards before they are scaled; what is shown stays as it is",
    )
    reward_scale: float = Field(
        default=1.0, gt=0, le=1e6, description="rewards are multiplied by this before learning"
    )
    normalize_rewards: bool = Field(
        default=False,
        description="divide rewards by the running deviation of their discounted sum",
    )
    reward_clip: float = Field(
        default=10.0, gt=0, le=1e6, description="bound on the size of normalised rewards"
    )
    critic: Literal["gauss_newton", "adam"] = Field(
        default="gauss_newton",
        description="how the critic is fitted: a Gauss-Newton step by conjugate gradient, or Adam",
    )
    critic_iterations: int = Field(
        default=10, ge=1, le=1000, description="conjugate-gradient iterations of a Gauss-Newton fit"
    )
    critic_damping: float = Field(
        default=0.1, gt=0, le=1e6, description="damping of the critic's Gauss-Newton matrix"
    )
    critic_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the batch that the Gauss-Newton matrix is made of; 0 for 4,096 "
        "samples of a larger one; gradient and loss are those of all of it",
    )
    critic_learning_rate: float = Field(
        default=1e-3, gt=0, le=1, description="learning rate of the critic when it is adam"
    )
    critic_epochs: int = Field(
        default=20, ge=1, le=1000, description="passes over the batch when the critic is adam"
    )
    critic_minibatches: int = Field(
        default=4, ge=1, le=10_000, description="minibatches per pass when the critic is adam"
    )


def shared_field(name: str, *, default: object) -> Any:
    """A field of `SharedHyperparameters` as it is, but for its default in one algorithm."""
    fields: dict[str, FieldInfo] = SharedHyperparameters.__pydantic_fields__  # type: ignore[attr-defined]
    info = copy(fields[name])
    info.default = default
    return info


FIXED_WHILE_RUNNING = (
    "rollout_steps",
    "rollout_episodes",
    "hidden_sizes",
    "activation",
    "network",
    "memory_size",
    "orthogonal_init",
    "exploration",
    "sde_interval",
    "logit_clip",
    "initial_log_std",
    "normalize_observations",
    "observation_clip",
    "normalize_rewards",
    "optimizer",
    "adam_epsilon",
    "initial_penalty",
)
"""Hyperparameters that shape what is already built when a run has started."""


LIVE_EDITS = "live_edits"
"""Key beside a saved configuration: what was changed while the run went on, as a list of `update`,
the number of updates done by then, and `values`, by name."""
FIRST_TOTAL_STEPS = "first_total_steps"
"""Key beside a saved configuration: its `total_steps` before the first of those edits changed it.
A schedule that spans the run depends on it."""
REPEATS = "repeats"
"""Key beside the configuration of a run that repeats another: that `run`, the `edits` that were
made to it, and `resumed_after`, how many updates, if it was resumed and that not exactly."""
NOT_EXACT = "not_exact"
"""Key beside a saved configuration: where the run was resumed, but not as if nothing had happened,
as a list of `update`, the number of updates done by then, and `reason`."""
BESIDE_CONFIG = (LIVE_EDITS, FIRST_TOTAL_STEPS, REPEATS, NOT_EXACT)
"""All that may lie beside the fields of a saved configuration."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """Everything that is needed to run it again."""

    algorithm: str = Field(default="trpo", description="the update rule")
    environment_id: str = Field(default="CartPole-v1", description="a Gymnasium environment id")
    environment_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the environment"
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="where the networks learn: auto, cpu, cuda, cuda:N or mps",
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of every source of randomness")
    total_steps: int = Field(
        default=100_000, ge=1, le=10**12, description="environment steps of the whole run"
    )
    total_episodes: int = Field(
        default=0, ge=0, le=10**12, description="episodes that end the run too; 0: steps alone do"
    )
    n_envs: int = Field(default=16, ge=1, le=65_536, description="environments stepped together")
    eval_every: int = Field(
        default=10, ge=0, le=10**9, description="updates between evaluations; 0 never evaluates"
    )
    eval_episodes: int = Field(
        default=20, ge=1, le=10_000, description="greedy episodes of an evaluation"
    )
    confirm_episodes: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="greedy episodes that must confirm an evaluation that looks solved: their mean "
        "less 1.5 standard errors must reach the threshold too",
    )
    stop_when_solved: bool = Field(
        default=True, description="end the run at the environment's registered reward threshold"
    )
    checkpoint_seconds: float = Field(
        default=30.0,
        gt=0,
        le=86_400,
        description="seconds between checkpoints; more where one takes over a hundredth of that",
    )
    checkpoint_updates: int = Field(
        default=0,
        ge=0,
        le=10**9,
        description="updates between checkpoints, whatever those cost; 0: seconds alone count",
    )
    seed_episodes: bool = Field(
        default=False,
        description="seed every training episode, so that runs can be resumed exactly of an "
        "environment that keeps its randomness to itself; a native vector form is not seeded",
    )
    env_workers: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="processes that step the environments, for those with slow steps; 0: this "
        "one does. What is learned does not depend on it",
    )
    env_timeout: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="seconds after which such a process that has not answered counts as hanging",
    )
    torch_threads: int = Field(
        default=0, ge=0, le=1024, description="torch threads; 0 chooses by batch and network size"
    )
    preset: str = Field(default="default", description="the preset that the values came from")
    hyperparameters: SharedHyperparameters = Field(
        default_factory=SharedHyperparameters, description="the algorithm's own settings"
    )


def build(cls: type[C], values: Mapping[str, object], *, what: str) -> C:
    """Make a configuration dataclass from untrusted values.

    Args:
        cls: `RunConfig` or a hyperparameter dataclass.
        values: field name to value; text is converted to the field's type.
        what: how the error names the thing, e.g. "hyperparameter of trpo".

    Raises:
        RequestError: an unknown name (with the nearest real one), a wrong type or a value out of
            range (with the range).
    """
    names = field_names(cls)
    for name in values:
        if name not in names:
            raise RequestError(f"unknown {what} '{name}'{did_you_mean(name, names)}")
    try:
        return cls(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        described = describe_field(cls, name)
        reason = f"{first['msg'].removeprefix('Input ').lower()} ({described})"
        if first["type"] == "string_pattern_mismatch":  # a pattern tells nobody anything
            reason = described
        raise RequestError(
            f"{what} {name}={_shown(values.get(name))} is not valid: {reason}"
        ) from None


def field_names(cls: type[Any]) -> list[str]:
    """Names of a configuration dataclass's fields, in their order."""
    return [field.name for field in dataclasses.fields(cls)]


def describe_field(cls: type[Any], name: str) -> str:
    """One line of help: the meaning, the range and the default of a field."""
    info: FieldInfo = cls.__pydantic_fields__[name]
    bounds = describe_range(info)
    return f"{info.description}; {bounds}" if bounds else str(info.description)


def describe_range(info: FieldInfo) -> str:
    """The accepted range of a field in words, e.g. `> 0, <= 10`; empty when it has none."""
    signs = {
        annotated_types.Gt: (">", "gt"),
        annotated_types.Ge: (">=", "ge"),
        annotated_types.Lt: ("<", "lt"),
        annotated_types.Le: ("<=", "le"),
    }
    parts = []
    for constraint in info.metadata:
        sign, attribute = signs.get(type(constraint), (None, None))
        if sign and attribute:
            bound = getattr(constraint, attribute)
            parts.append(f"{sign} {bound:,.0f}" if bound == int(bound) else f"{sign} {bound:,g}")
    return ", ".join(parts)


def did_you_mean(name: str, candidates: Iterable[str], *, most: int = 3) -> str:
    """The clause that names the nearest real names, or an empty string when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(f"'{by_lower[key]}'" for key in near) + "?"


def _shown(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
