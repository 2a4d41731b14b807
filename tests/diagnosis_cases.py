"""Runs with one thing wrong, each beside one that is like it and in order."""

import math
from dataclasses import replace

from scripted_run import accepted_step, refused_step, started, update_finished, wave

from trpotui.diagnosis import Kind, Severity
from trpotui.diagnosis.finding import WINDOW
from trpotui.diagnosis.learning import SAME_UPDATES, STILL_UPDATES
from trpotui.events import EpisodesFinished, LineSearchTry, RejectReason
from trpotui.telemetry import RunState, fold

UNSOLVED = {"solved_at": None}


def run(reports, **start):
    """The state after these updates, with an episode for each that tells a return."""
    state = fold(RunState(), started(**(UNSOLVED | start)))
    for report in reports:
        if report.return_mean is not None:
            returns = (report.return_min, report.return_max)
            state = fold(
                state, EpisodesFinished(steps=report.steps, returns=returns, lengths=(1, 1))
            )
        state = fold(state, report)
    return state


def reports(count, step=None, **numbers):
    """`count` updates; a function among the arguments is called with the update's number."""

    def at(value, update):
        return value(update) if callable(value) else value

    return [
        update_finished(
            update,
            step=at(step, update),
            **{name: at(value, update) for name, value in numbers.items()},
        )
        for update in range(1, count + 1)
    ]


def refusals(count, reason=RejectReason.KL_TOO_LARGE):
    """Five steps taken, then so many refused."""
    return run(reports(5 + count, lambda k: refused_step(k, reason=reason) if k > 5 else None))


def scaled(*, kl=1.0, gain=1.0, fraction=1.0, tries=()):
    """Steps of a healthy run with one thing changed."""

    def step(update):
        healthy = accepted_step(update)
        return replace(
            healthy,
            kl=kl * healthy.kl,
            surrogate_gain=gain * healthy.surrogate_gain,
            step_fraction=fraction,
            tries=(*tries, *healthy.tries),
        )

    return step


def attempt(reason):
    return LineSearchTry(fraction=1.0, kl=0.02, gain=0.0, reject_reason=reason)


def residual(value, iterations=10):
    def step(update):
        return replace(accepted_step(update), cg_residuals=(*[1.0] * iterations, value))

    return step


def still(update):
    return 100.0 + 10.0 * wave(update)


def returns(mean, spread=1.0):
    """Numbers of an update whose episodes returned `mean`, give or take `spread`."""
    return {
        "return_mean": mean,
        "return_min": lambda k: mean(k) - spread,
        "return_max": lambda k: mean(k) + spread,
    }


TOO_FAR = attempt(RejectReason.KL_TOO_LARGE)
NO_GAIN = attempt(RejectReason.NO_GAIN)
FLAT = returns(lambda _: -200.0, spread=0.0)
SIGMA = 0.5 * math.log(2 * math.pi * math.e)
"""The entropy of one Gaussian action with sigma 1, in nats."""
FALLING = {"entropy": lambda k: SIGMA - 0.1 * (k - 1)}
PARTS = {"distribution": "multi_categorical", "action_size": 9}
ONE, TWO = ({"distribution": "gaussian", "action_size": size} for size in (1, 2))


def shrinking(count, nats):
    """The state of a run whose two Gaussian actions lose so many nats together at each update."""
    entropy = {"entropy": lambda k: 2 * SIGMA - nats * (k - 1)}
    return run(reports(count, **entropy, **returns(still)), **TWO)


CASES = {
    "refused": (
        Kind.REFUSED,
        Severity.WARNING,
        lambda: refusals(3),
        lambda: refusals(2),
    ),
    "refused for long": (
        Kind.REFUSED,
        Severity.SERIOUS,
        lambda: refusals(8),
        lambda: run(reports(8, lambda k: refused_step(k) if k % 3 else None)),
    ),
    "refused every other time": (
        Kind.REFUSED,
        Severity.WARNING,
        lambda: run(reports(WINDOW, lambda k: refused_step(k) if k % 2 else None)),
        lambda: run(reports(WINDOW, lambda k: refused_step(k) if k % 2 and k > 2 else None)),
    ),
    "not finite": (
        Kind.NOT_FINITE,
        Severity.WARNING,
        lambda: refusals(1, RejectReason.NOT_FINITE),
        lambda: refusals(1, RejectReason.NO_GAIN),
    ),
    "often not finite": (
        Kind.NOT_FINITE,
        Severity.SERIOUS,
        lambda: run(reports(9, value_loss=lambda k: math.nan if k > 6 else 1.0)),
        lambda: run(reports(9, value_loss=1e30)),
    ),
    "short full steps": (
        Kind.SMALL_KL,
        Severity.HINT,
        lambda: run(reports(WINDOW, scaled(kl=0.1))),
        lambda: run(reports(WINDOW, scaled(kl=0.5))),
    ),
    "steps shortened too far": (
        Kind.SMALL_KL,
        Severity.HINT,
        lambda: run(reports(WINDOW, scaled(kl=0.1, fraction=0.1, tries=(TOO_FAR,)))),
        lambda: run(reports(WINDOW - 1, scaled(kl=0.1, fraction=0.1, tries=(TOO_FAR,)))),
    ),
    "steps shortened for their gain": (
        Kind.SMALL_KL,
        Severity.HINT,
        lambda: run(reports(WINDOW, scaled(kl=0.1, fraction=0.1, tries=(NO_GAIN,)))),
        lambda: run(reports(WINDOW, scaled(kl=0.1, gain=0.1, fraction=0.1, tries=(NO_GAIN,)))),
    ),
    "small gain": (
        Kind.GAIN,
        Severity.HINT,
        lambda: run(reports(WINDOW, scaled(gain=0.1))),
        lambda: run(reports(WINDOW, scaled(gain=0.5))),
    ),
    "small gain between refusals": (
        Kind.GAIN,
        Severity.HINT,
        lambda: run(reports(2 * WINDOW, lambda k: (scaled(gain=0.1), refused_step)[k % 2](k))),
        lambda: run(reports(WINDOW, lambda k: (scaled(gain=0.1), refused_step)[k % 2](k))),
    ),
    "residual": (
        Kind.RESIDUAL,
        Severity.HINT,
        lambda: run(reports(WINDOW, residual(0.8))),
        lambda: run(reports(WINDOW, residual(0.3))),
    ),
    "critic": (
        Kind.CRITIC,
        Severity.WARNING,
        lambda: run(reports(WINDOW, explained_variance=lambda k: -0.4 + 0.3 * wave(k))),
        lambda: run(reports(WINDOW, explained_variance=lambda k: 0.3 * wave(k) + 0.05)),
    ),
    "critic with something to explain": (
        Kind.CRITIC,
        Severity.WARNING,
        lambda: run(reports(WINDOW, explained_variance=-0.4, **returns(still))),
        lambda: run(reports(WINDOW, explained_variance=-0.4, **FLAT)),
    ),
    "discrete entropy": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: run(reports(40, entropy=lambda k: math.log(3) * 0.9 ** (k - 1)), action_size=3),
        lambda: run(reports(40, entropy=lambda k: math.log(3) * 0.97 ** (k - 1)), action_size=3),
    ),
    "entropy of many actions": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: run(reports(WINDOW, entropy=0.6), action_size=1000),
        lambda: run(reports(WINDOW, entropy=0.6), action_size=2),
    ),
    "entropy of a choice in several parts": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: run(reports(40, entropy=lambda k: 3.0 * 0.9 ** (k - 1)), **PARTS),
        lambda: run(reports(40, entropy=lambda k: 3.0 * 0.97 ** (k - 1)), **PARTS),
    ),
    "sigma": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: shrinking(70, 0.10),
        lambda: shrinking(70, 0.09),
    ),
    "sigma in a hurry": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: shrinking(30, 0.11),
        lambda: shrinking(30, 0.10),
    ),
    "sigma for nothing": (
        Kind.ENTROPY,
        Severity.WARNING,
        lambda: run(reports(80, **FALLING, **returns(still)), **ONE),
        lambda: run(reports(80, **FALLING, **returns(lambda k: still(k) + k)), **ONE),
    ),
    "still returns": (
        Kind.RETURNS,
        Severity.HINT,
        lambda: run(reports(STILL_UPDATES, **returns(still))),
        lambda: run(reports(STILL_UPDATES, **returns(lambda k: still(k) + 0.1 * k))),
    ),
    "returns that fell and recovered": (
        Kind.RETURNS,
        Severity.HINT,
        lambda: run(reports(STILL_UPDATES, **returns(lambda k: 0.01 * still(k)))),
        lambda: run(reports(STILL_UPDATES, **returns(lambda k: still(k) - 30 * (38 < k <= 62)))),
    ),
    "equal returns": (
        Kind.RETURNS,
        Severity.WARNING,
        lambda: run(reports(SAME_UPDATES, **FLAT)),
        lambda: run(reports(SAME_UPDATES, **(FLAT | {"return_max": lambda k: -200.0 + (k == 7)}))),
    ),
    "device": (
        Kind.DEVICE,
        Severity.HINT,
        lambda: run(reports(5), device="cuda:0"),
        lambda: run(reports(5), device="cuda:0", actor_parameters=200_000),
    ),
    "device for whole episodes": (
        Kind.DEVICE,
        Severity.HINT,
        lambda: run(reports(5), device="cuda:0", steps_per_update=None),
        lambda: run(reports(5, steps=lambda k: k * 10**6), device="cuda:0", steps_per_update=None),
    ),
    "another device": (
        Kind.DEVICE,
        Severity.HINT,
        lambda: run(reports(5), device="mps"),
        lambda: run(reports(5), device="cpu"),
    ),
}
