"""What a diagnosis finds, and what it may look at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from trpotui.events import RunStarted, TrustRegionStep, UpdateFinished
from trpotui.telemetry import RunState

WINDOW = 20
"""Updates that a median is taken over, and the fewest that most checks need."""


class Severity(IntEnum):
    """How much it matters; the greater, the worse."""

    HINT = 1
    """The run could do better, or may be as good as it gets."""
    WARNING = 2
    """The run is unlikely to get where it should."""
    SERIOUS = 3
    """Nothing is being learned, or soon nothing will be."""


class Kind(StrEnum):
    """What was found; a diagnosis holds each at most once."""

    NOT_FINITE = "not_finite"
    REFUSED = "refused"
    ENTROPY = "entropy"
    CRITIC = "critic"
    RETURNS = "returns"
    GAIN = "gain"
    RESIDUAL = "residual"
    SMALL_KL = "small_kl"
    DEVICE = "device"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or may be."""

    kind: Kind
    severity: Severity
    title: str
    """What was seen, with its numbers, as a clause without a full stop."""
    advice: str
    """What to try, likewise: `title: advice` reads as one sentence."""
    settings: tuple[str, ...] = ()
    """The hyperparameters that the advice names."""


class StepSize(NamedTuple):
    """What says how far an update may go, with the words for changing it."""

    setting: str
    shorten: str
    lengthen: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a check looks at."""

    state: RunState
    started: RunStarted
    updates: list[UpdateFinished]
    """Since hyperparameters were last changed by hand, as many as the state keeps."""
    recent: list[UpdateFinished]
    """The last `WINDOW` of them."""
    steps: list[TrustRegionStep]
    """The trust-region steps of those."""
    kept: list[TrustRegionStep]
    """The last `WINDOW` that were accepted, of twice as many."""
    solved: bool
    """The returns are, or once were, where the environment says they should be."""

    @property
    def step_size(self) -> StepSize:
        """Of the run's algorithm, which is known by what its updates report."""
        last = self.updates[-1]
        name = "max_kl"
        if last.max_kl is None and last.learning_rate is not None:
            name = "learning_rate"
        elif last.max_kl is None and last.target_kl is not None:
            name = "target_kl"
        elif last.max_kl is None and last.penalty is not None:
            return StepSize("coefficient", "raise coefficient", "lower coefficient")
        return StepSize(name, f"lower {name}", f"raise {name}")
