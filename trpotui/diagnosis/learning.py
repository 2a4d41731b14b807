"""What can be wrong with the policy, the critic, the returns and the device."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import fmean, median

from trpotui.diagnosis.finding import WINDOW, Evidence, Finding, Kind, Severity
from trpotui.events import RunStarted
from trpotui.run_log import return_text

COLLAPSED_ENTROPY = 0.1
"""Share of a uniform policy's entropy below which a discrete one is almost deterministic."""
SHRUNK_SIGMA = 0.05
"""Share of its first value below which a Gaussian policy's mean sigma is as good as gone."""
STEEP_FALL = 1.0
"""Nats that the entropy of each Gaussian action loses within a window when sigma collapses."""
POOR_CRITIC = -0.05
"""Explained variance; between this and 0 the critic is useless, but no worse than a constant."""
STILL_UPDATES = 100
"""Updates with finished episodes over which returns that stand still are worth a word."""
SAME_UPDATES = 30
"""Likewise, if all episodes returned the same."""
FEW_RETURNS = 10
"""Updates with finished episodes that it takes to say whether returns improve at all."""
CLEAR_DIFFERENCE = 2.0
"""Standard errors between two means."""
SMALL_WORK = 5e6
"""Samples times actor parameters of an update. An update is about a thousand operations on tensors:
below this a CPU does their arithmetic in the time that a GPU takes to be told of them."""


def collapsed_entropy(evidence: Evidence) -> Finding | None:
    """The policy has all but stopped exploring, short of the goal; needs a full window."""
    first = evidence.state.first_entropy
    if first is None or len(evidence.recent) < WINDOW or evidence.solved:
        return None
    if evidence.started.distribution == "gaussian":
        return _collapsed_sigma(evidence, first)
    uniform = _uniform_entropy(evidence.started, first)
    now = median(update.entropy for update in evidence.recent[-WINDOW // 2 :])
    if uniform is None or now >= COLLAPSED_ENTROPY * uniform:
        return None
    size = evidence.step_size
    return Finding(
        kind=Kind.ENTROPY,
        severity=Severity.WARNING,
        title=f"the policy is almost deterministic (entropy {now:.2f} of {uniform:.2f} nats)",
        advice=(
            "it hardly explores any more and seldom recovers by itself. Unless its returns are "
            f"what you want, {size.shorten} and raise rollout_steps in a new run, so that it "
            "commits later and on more evidence"
        ),
        settings=(size.setting, "rollout_steps"),
    )


def _uniform_entropy(started: RunStarted, first: float) -> float | None:
    """The entropy of a policy that prefers nothing, in nats; None where it is not known."""
    if started.distribution == "categorical":
        return math.log(started.action_size)
    return None if started.first_update else first  # of a choice in several parts


def _collapsed_sigma(evidence: Evidence, first: float) -> Finding | None:
    """Sigma is tiny or falls steeply, while the returns do not improve.

    The entropy of a Gaussian policy is the sum over actions of log sigma, and a constant.
    """
    dimensions = evidence.started.action_size
    entropies = [update.entropy for update in evidence.recent]
    now = median(entropies[-WINDOW // 2 :])
    share = math.exp(min((now - first) / dimensions, 0.0))
    is_steep = entropies[0] - entropies[-1] > STEEP_FALL * dimensions
    means = _mean_returns(evidence)[-2 * WINDOW :]
    if (share >= SHRUNK_SIGMA and not is_steep) or len(means) < FEW_RETURNS or _improves(means):
        return None
    how = f"fast, to {share:.0%}" if is_steep else f"to {share:.1%}"
    size = evidence.step_size
    since = "at the resumption" if evidence.started.first_update else "at first"
    return Finding(
        kind=Kind.ENTROPY,
        severity=Severity.WARNING,
        title=f"sigma has shrunk {how} of what it was {since}, and the returns do not improve",
        advice=(
            f"the policy hardly explores any more. Unless its returns are what you want, "
            f"{size.shorten}, or raise rollout_steps or initial_log_std, in a new run"
        ),
        settings=(size.setting, "rollout_steps", "initial_log_std"),
    )


def poor_critic(evidence: Evidence) -> Finding | None:
    """A full window of explained variance below zero, while there is something to explain."""
    returns = evidence.state.recent_returns
    if len(evidence.recent) < WINDOW or evidence.solved or len(set(returns)) < 2:
        return None
    explained = median(update.explained_variance for update in evidence.recent)
    if not explained < POOR_CRITIC:
        return None
    return Finding(
        kind=Kind.CRITIC,
        severity=Severity.WARNING,
        title=f"the critic is worse than a constant (explained variance {explained:.2f})",
        advice=(
            "its estimates add noise to the advantages. With the gauss_newton critic raise "
            "critic_iterations or lower critic_damping; with adam raise critic_epochs or change "
            "critic_learning_rate; more rollout_steps help both"
        ),
        settings=(
            "critic_iterations",
            "critic_damping",
            "critic_epochs",
            "critic_learning_rate",
            "rollout_steps",
        ),
    )


def still_returns(evidence: Evidence) -> Finding | None:
    """The halves of a long window do not differ by more than their spread explains."""
    means = _mean_returns(evidence)[-STILL_UPDATES:]
    if evidence.solved or len(means) < SAME_UPDATES:
        return None
    size = evidence.step_size
    if _all_alike(evidence):
        return Finding(
            kind=Kind.RETURNS,
            severity=Severity.WARNING,
            title=f"every episode of {len(means)} updates returned {return_text(means[-1])}",
            advice=(
                "there is nothing to learn from while all episodes are alike: raise rollout_steps "
                f"so that more is tried between updates, {size.shorten} to keep exploring for "
                "longer, or shape the reward"
            ),
            settings=("rollout_steps", size.setting),
        )
    if len(means) < STILL_UPDATES or _moves(means):
        return None
    return Finding(
        kind=Kind.RETURNS,
        severity=Severity.HINT,
        title=f"the return stands still at {return_text(fmean(means))} for {len(means)} updates",
        advice=(
            f"this may be as good as it gets. If not: {size.lengthen} for larger steps, raise "
            "rollout_steps for a less noisy gradient, or look at gamma and gae_lambda: "
            "1 / (1 - gamma) steps is how far the policy looks ahead"
        ),
        settings=(size.setting, "rollout_steps", "gamma", "gae_lambda"),
    )


def _all_alike(evidence: Evidence) -> bool:
    """Whether no episode of the updates at hand returned anything else than the others."""
    least = {update.return_min for update in evidence.updates}
    most = {update.return_max for update in evidence.updates}
    return len((least | most) - {None}) == 1


def _mean_returns(evidence: Evidence) -> list[float]:
    """Of the updates in which episodes finished."""
    return [update.return_mean for update in evidence.updates if update.return_mean is not None]


def _improves(means: list[float]) -> bool:
    """Whether the later half is clearly better than the earlier one."""
    half = len(means) // 2
    return _standard_errors(means[:half], means[half:]) >= CLEAR_DIFFERENCE


def _moves(means: list[float]) -> bool:
    """Whether any two quarters clearly differ: a fall and a recovery are no standstill either."""
    size = len(means) // 4
    quarters = [means[i * size : (i + 1) * size] for i in range(4)]
    differences = [_standard_errors(a, b) for a, b in combinations(quarters, 2)]
    return max(map(abs, differences)) >= CLEAR_DIFFERENCE


def _standard_errors(early: list[float], late: list[float]) -> float:
    """By how many of them the mean of `late` is above that of `early` (Welch 1947)."""
    rise = fmean(late) - fmean(early)
    error = math.sqrt(_squared_error(early) + _squared_error(late))
    if error > 0.0:
        return rise / error
    return math.copysign(math.inf, rise) if rise else 0.0


def _squared_error(values: list[float]) -> float:
    """Of their mean."""
    mean = fmean(values)
    squares = sum((value - mean) ** 2 for value in values)
    return squares / (len(values) - 1) / len(values)


def slow_device(evidence: Evidence) -> Finding | None:
    """Little arithmetic on a device that is slow to start any; needs a few updates."""
    started = evidence.started
    if not started.device.startswith(("cuda", "mps")) or len(evidence.updates) < 5:
        return None
    last = evidence.updates[-1]
    done = (last.steps - started.first_step) // (last.update - started.first_update)
    steps = started.steps_per_update or done  # of whole episodes: as many as there were
    if steps * started.actor_parameters >= SMALL_WORK:
        return None
    return Finding(
        kind=Kind.DEVICE,
        severity=Severity.HINT,
        title=(
            f"{started.device} may be slower than the CPU for {started.actor_parameters:,} "
            f"parameters and {steps:,} samples an update"
        ),
        advice=(
            "starting an operation there costs more than its arithmetic: compare the steps per "
            "second of a run with --device cpu. Greater hidden_sizes or more rollout_steps give "
            "the device more to do"
        ),
        settings=("hidden_sizes", "rollout_steps"),
    )
