"""What the charts are about: which curves of a run each shows, and what its title says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from trpotui.series import Series
from trpotui.telemetry import RECENT_EPISODES, Curves, RunState
from trpotui.tui.widgets.axes import number
from trpotui.tui.widgets.plotting import SIGNS, Content, Curve, Kind, Role


class Group(NamedTuple):
    """Pieces of a title that stand together."""

    place: int
    separator: str


NAME = Group(0, " ")
SIGN = Group(1, "  ")
VALUE = Group(2, " · ")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a title."""

    rank: int
    """Where there is little room, pieces of a high rank are left out first."""
    text: str
    short: str = ""
    """The text where there is little room, if it is another one."""
    group: Group = VALUE
    role: Role | None = None
    """The sign of this role stands before it."""

    @property
    def sign(self) -> str:
        """What stands before the text."""
        return "" if self.role is None else f"{SIGNS[self.role]} "


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What one chart is about."""

    name: str
    short: str
    """The name where there is little room."""
    curves: Callable[[Curves], tuple[Curve, ...]]
    pieces: Callable[[RunState], list[Piece]]
    logarithmic: bool = False
    """The axis to begin with."""
    level: Callable[[RunState], float | None] = lambda _state: None
    floor: float | None = None

    def content(self, state: RunState) -> Content:
        """What a chart of this subject shows of a run."""
        started = state.started
        return Content(
            curves=self.curves(state.curves),
            level=self.level(state),
            floor=self.floor,
            first_step=0 if started is None else started.first_step,
            steps=state.steps,
            total_steps=state.planned_steps,
            ended=state.finished is not None or state.failure is not None,
            marks=tuple(state.marks),
        )

    def title(self, state: RunState, width: int, *, logarithmic: bool) -> list[tuple[Piece, str]]:
        """The pieces that fit into so many cells, each with what separates it from the one before.

        Args:
            state: of the run.
            width: cells.
            logarithmic: whether the axis is; the title says so.
        """
        pieces = [Piece(rank=-1, text=self.name, short=self.short, group=NAME), *self.pieces(state)]
        if logarithmic:
            pieces.append(Piece(rank=0, text="(log)", group=NAME))
        pieces.sort(key=lambda piece: piece.group.place)
        if _length(_joined(pieces)) > width:
            pieces = [replace(piece, text=piece.short or piece.text) for piece in pieces]
        while len(pieces) > 1 and _length(_joined(pieces)) > width:
            pieces.remove(max(pieces, key=lambda piece: piece.rank))
        return _joined(pieces)


def _joined(pieces: list[Piece]) -> list[tuple[Piece, str]]:
    separators = [""]
    for before, piece in pairwise(pieces):
        same = before.group is piece.group
        separators.append(piece.group.separator if same else " ─ ")
    return list(zip(pieces, separators, strict=True))


def _length(pieces: list[tuple[Piece, str]]) -> int:
    return sum(len(separator) + len(piece.sign) + len(piece.text) for piece, separator in pieces)


def _last(series: Series, unit: str = "") -> list[Piece]:
    if series.last is None:
        return []
    return [Piece(rank=3, text=number(series.last[1]) + unit)]


def _return_pieces(state: RunState) -> list[Piece]:
    line = "smoothed"
    if state.recent_mean is not None:
        line = f"last {RECENT_EPISODES}: {number(state.recent_mean)}"
    pieces = [
        Piece(rank=1, text=line, group=SIGN, role=Role.LINE),
        Piece(rank=4, text="episodes", group=SIGN, role=Role.DOTS),
    ]
    if state.evaluation is not None:
        best = "" if state.best is None else f"best {number(state.best.mean)}"
        text = f"evaluations, {best}" if best else "evaluations"
        pieces.append(Piece(rank=2, text=text, short=best, group=SIGN, role=Role.EVALUATION))
    if state.started is not None and state.started.solved_at is not None:
        solved = number(state.started.solved_at)
        text = f"solved at {solved}"
        pieces.append(Piece(rank=3, text=text, short=solved, group=SIGN, role=Role.LIMIT))
    return pieces


def _kl_pieces(state: RunState) -> list[Piece]:
    pieces = _last(state.curves.kl)
    if state.curves.max_kl.last is not None:
        text = f"δ {number(state.curves.max_kl.last[1])}"
        pieces.append(Piece(rank=1, text=text, group=SIGN, role=Role.LIMIT))
    if state.refused_total:
        text = f"{state.refused_total:,} refused"
        pieces.append(Piece(rank=2, text=text, group=SIGN, role=Role.REFUSED))
    return pieces


def _gain_pieces(state: RunState) -> list[Piece]:
    return [
        Piece(rank=1, text="actual", group=SIGN, role=Role.LINE),
        Piece(rank=2, text="expected", group=SIGN, role=Role.SECOND),
        *_last(state.curves.surrogate_gain),
    ]


def _course(series: Series) -> Curve:
    return Curve(series, Kind.COURSE, Role.LINE)


RETURN = Subject(
    name="return",
    short="return",
    curves=lambda curves: (
        Curve(curves.episodes, Kind.DOTS, Role.DOTS),
        Curve(curves.returns, Kind.MEAN, Role.LINE),
        Curve(curves.evaluation_mean, Kind.SIGNS, Role.EVALUATION),
    ),
    pieces=_return_pieces,
    level=lambda state: None if state.started is None else state.started.solved_at,
)
KL = Subject(
    name="KL per update",
    short="KL",
    curves=lambda curves: (
        Curve(curves.max_kl, Kind.LEVEL, Role.LIMIT),
        _course(curves.kl),
        Curve(curves.refused, Kind.SIGNS, Role.REFUSED),
    ),
    pieces=_kl_pieces,
    logarithmic=True,
)
ENTROPY = Subject(
    name="entropy",
    short="entropy",
    curves=lambda curves: (_course(curves.entropy),),
    pieces=lambda state: _last(state.curves.entropy, " nats"),
)
EXPLAINED_VARIANCE = Subject(
    name="explained variance",
    short="expl. var.",
    curves=lambda curves: (_course(curves.explained_variance),),
    pieces=lambda state: _last(state.curves.explained_variance),
    floor=-1.0,
)
VALUE_LOSS = Subject(
    name="value loss",
    short="value loss",
    curves=lambda curves: (_course(curves.value_loss),),
    pieces=lambda state: _last(state.curves.value_loss),
    logarithmic=True,
)
GAIN = Subject(
    name="surrogate gain",
    short="gain",
    curves=lambda curves: (
        _course(curves.surrogate_gain),
        Curve(curves.expected_gain, Kind.SIGNS, Role.SECOND),
    ),
    pieces=_gain_pieces,
)
SPEED = Subject(
    name="steps per second",
    short="steps/s",
    curves=lambda curves: (_course(curves.steps_per_second),),
    pieces=lambda state: _last(state.curves.steps_per_second),
)
SUBJECTS = (RETURN, KL, ENTROPY, EXPLAINED_VARIANCE, VALUE_LOSS, GAIN, SPEED)
"""The most important first."""
