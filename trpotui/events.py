"""What a run tells the world: frozen records of plain numbers, never tensors.

`trpotui.rl.trainer.train` yields them; the command line, the app and the run directory read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class StopReason(StrEnum):
    """Why a run ended."""

    STEPS_REACHED = "steps_reached"
    EPISODES_REACHED = "episodes_reached"
    SOLVED = "solved"
    STOPPED = "stopped"


class RejectReason(StrEnum):
    """Why a step, or one try of its line search, was refused."""

    KL_TOO_LARGE = "kl_too_large"
    NO_GAIN = "no_gain"
    NOT_FINITE = "not_finite"
    ZERO_GRADIENT = "zero_gradient"
    NOT_POSITIVE_CURVATURE = "not_positive_curvature"


@dataclass(frozen=True, kw_only=True)
class LineSearchTry:
    """One candidate of the line search: old parameters + fraction * full step."""

    fraction: float
    kl: float
    """D_KL(old || candidate) over the whole batch, in nats: its mean, or the largest where that is
    what is constrained."""
    gain: float
    """Surrogate at the candidate minus surrogate at the old parameters."""
    reject_reason: RejectReason | None
    """None when this candidate was taken."""


@dataclass(frozen=True, kw_only=True)
class TrustRegionStep:
    """One natural-gradient step, in the symbols of the TRPO paper (appendix C).

    g is the gradient of the surrogate, H the damped Fisher matrix, x the solution of H x = g.
    """

    max_kl: float
    """delta, in nats."""
    grad_norm: float
    g_dot_x: float
    x_h_x: float
    step_scale: float
    """beta = sqrt(2 delta / x^T H x): the full step is beta x."""
    expected_gain: float
    """g^T (fraction beta x): what the linear model promised for the step that was kept."""
    cg_residuals: tuple[float, ...]
    """||H x_k - g|| / ||g|| after 0, 1, 2, ... conjugate-gradient iterations."""
    tries: tuple[LineSearchTry, ...]
    accepted: bool
    step_fraction: float
    """Share of the full step that was kept; 0 when it was refused."""
    kl: float
    """D_KL(old || kept) in nats, reduced over the states as the constraint is (mean or largest);
    0 when the step was refused, because the old policy was kept."""
    surrogate_gain: float
    reject_reason: RejectReason | None


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """The first event of a run: what is about to be trained."""

    algorithm: str
    environment_id: str
    device: str
    seed: int
    total_steps: int
    n_envs: int
    steps_per_update: int | None
    """None where an update takes whole episodes, however long they are."""
    actor_parameters: int
    critic_parameters: int
    distribution: str
    """Of the actions, e.g. `categorical` or `gaussian`."""
    action_size: int
    """Outputs of the actor: the actions of a choice, the dimensions of a vector."""
    solved_at: float | None
    """Mean evaluation return at which the environment counts as solved; None when it has none."""
    first_update: int
    """Updates already done when the run started: 0, or more after a resume."""
    first_step: int
    total_episodes: int = 0
    """Episodes that end the run too; 0 when steps alone do."""


@dataclass(frozen=True, kw_only=True)
class EpisodesFinished:
    """The episodes that ended during one rollout, in the order in which they ended."""

    steps: int
    """Environment steps of the run after that rollout."""
    returns: tuple[float, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class UpdateFinished:
    """One update. A value that does not apply to the algorithm is None."""

    update: int
    steps: int
    episodes: int
    """Episodes finished since the run began."""
    seconds: float
    """Training time so far, pauses excluded."""
    steps_per_second: float
    """Environment steps per second of this update, its rollout included."""
    return_mean: float | None
    """Over the episodes that ended in this rollout; None when none did. Likewise below."""
    return_min: float | None
    return_max: float | None
    length_mean: float | None
    kl: float
    """Mean D_KL(old || new) over the whole batch, in nats, whatever the algorithm constrains; 0
    when the old policy was kept."""
    entropy: float
    """Mean entropy of the policy that collected the rollout, in nats."""
    value_loss: float | None
    """Mean squared error of the critic on its targets after its fit."""
    explained_variance: float
    """1 - Var(targets - values) / Var(targets) of the values that the advantages were made of."""
    grad_norm: float
    """Of the actor's gradient before it is clipped; the mean over an update's steps."""
    reject_reason: RejectReason | None = None
    """Why the whole update of the actor was refused and the old policy kept; None when it was
    not."""
    surrogate_gain: float | None = None
    """Surrogate over the whole batch after the update minus before, in units of the advantages."""
    max_kl: float | None = None
    """delta, in nats: what a trust region bounds."""
    largest_kl: float | None = None
    """D_KL(old || new) in nats of the state where it is largest, where that is what counts."""
    target_kl: float | None = None
    """Nats that a penalty is adapted to, or beyond which the passes over a batch stop."""
    penalty: float | None = None
    """Coefficient of the KL with which this update was made: C or beta."""
    learning_rate: float | None = None
    """Of the actor in this update, annealed."""
    clip_range: float | None = None
    """Of the ratio in this update, annealed."""
    clip_fraction: float | None = None
    """Share of the batch whose ratio has left the clip range by the end of the update."""
    epochs: int | None = None
    """Passes over the batch that the actor made; fewer than asked for where `stopped_early`."""
    stopped_early: bool | None = None
    """Whether target_kl ended the passes."""
    trust_region: TrustRegionStep | None = None

    @property
    def accepted(self) -> bool:
        """Whether the new policy was kept."""
        return self.reject_reason is None


@dataclass(frozen=True, kw_only=True)
class EvaluationFinished:
    """Greedy episodes of the policy as it was after `update`."""

    update: int
    steps: int
    episodes: int
    mean: float
    std: float
    minimum: float
    maximum: float
    is_best: bool
    solved: bool


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """Everything needed to go on from `update` is on disk."""

    update: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class HyperparametersChanged:
    """Hyperparameters were changed while the run goes on, from the update after `update`."""

    update: int
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that the person should know and that is no number: a fallback, a failed write."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Discontinuity(Notice):
    """A resumed run goes on, but not as if nothing had happened."""

    update: int
    """Updates done before."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunFinished:
    """The last event of a run that was not ended by an exception."""

    reason: StopReason
    update: int
    steps: int
    episodes: int
    seconds: float
    best_mean: float | None
    """Mean return of the best evaluation; None when there was no evaluation."""
    best_std: float | None
    best_episodes: int | None


Event = (
    RunStarted
    | EpisodesFinished
    | UpdateFinished
    | EvaluationFinished
    | CheckpointSaved
    | HyperparametersChanged
    | Notice
    | RunFinished
)


def evaluation_metrics(evaluation: EvaluationFinished) -> dict[str, float]:
    """What the evaluation after an update adds to its line."""
    return {"eval_return": evaluation.mean, "eval_std": evaluation.std}


def metrics_row(
    report: UpdateFinished, evaluation: EvaluationFinished | None
) -> dict[str, float | int | bool | str]:
    """One line of metrics.jsonl: keys that do not apply are absent."""
    step = report.trust_region
    row: dict[str, float | int | bool | str | None] = {
        "update": report.update,
        "steps": report.steps,
        "episodes": report.episodes,
        "seconds": round(report.seconds, 6),
        "steps_per_second": round(report.steps_per_second, 1),
        "return_mean": report.return_mean,
        "return_min": report.return_min,
        "return_max": report.return_max,
        "length_mean": report.length_mean,
        "kl": report.kl,
        "max_kl": report.max_kl,
        "largest_kl": report.largest_kl,
        "target_kl": report.target_kl,
        "penalty": report.penalty,
        "surrogate_gain": report.surrogate_gain,
        "accepted": report.accepted,
        "reject_reason": report.reject_reason,
        "grad_norm": report.grad_norm,
        "learning_rate": report.learning_rate,
        "clip_range": report.clip_range,
        "clip_fraction": report.clip_fraction,
        "epochs": report.epochs,
        "stopped_early": report.stopped_early,
        "entropy": report.entropy,
        "value_loss": report.value_loss,
        "explained_variance": report.explained_variance,
    }
    if step is not None:
        row |= {
            "expected_gain": step.expected_gain,
            "step_fraction": step.step_fraction,
            "backtracks": max(len(step.tries) - 1, 0),
            "cg_residual": step.cg_residuals[-1] if step.cg_residuals else None,
        }
    if evaluation is not None:
        row |= evaluation_metrics(evaluation)
    return {key: value for key, value in row.items() if value is not None}
