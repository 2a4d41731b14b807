"""The facts of one moment in three columns: what was seen, what is chosen, what it is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pygame

from trpotui.viewer.style import ACCENT, PANEL, QUIET, TEXT, TRACK, WARM, Ink
from trpotui.viewing.choices import Choice, Choices, Normal, Probabilities
from trpotui.viewing.facts import Facts

PANEL_LINES = 7
"""One of headings and six of facts."""


def draw_panel(surface: pygame.Surface, area: pygame.Rect, facts: Facts, ink: Ink) -> None:
    """Draw the panel into an area of PANEL_LINES lines and two margins."""
    surface.fill(PANEL, area)
    inner = area.inflate(-2 * ink.margin, -2 * ink.margin)
    gap = 2 * ink.margin
    width = (inner.width - 2 * gap) // 3
    draw = (_draw_observation, _draw_choice, _draw_worth)
    for index, column in enumerate(draw):
        place = pygame.Rect(inner.left + index * (width + gap), inner.top, width, inner.height)
        column(surface, place, facts, ink)


def _draw_observation(surface: pygame.Surface, area: pygame.Rect, facts: Facts, ink: Ink) -> None:
    lines = _lines(area, ink)
    _heading(surface, next(lines), "observation", ink)
    rows = facts.observation
    room = PANEL_LINES - 1
    shown = rows if len(rows) <= room else rows[: room - 1]
    for name, value in shown:
        _row(surface, next(lines), name, number(value), ink)
    if len(shown) < len(rows):
        _row(surface, next(lines), f"and {len(rows) - len(shown)} more", "", ink)
    if not rows:
        _row(surface, next(lines), "a picture, or parts", "", ink)


def _draw_choice(surface: pygame.Surface, area: pygame.Rect, facts: Facts, ink: Ink) -> None:
    lines = _lines(area, ink)
    heading = facts.mode if facts.choice is None else f"next action, {facts.mode}"
    _heading(surface, next(lines), heading, ink)
    bars = list(_bars(facts.choice, facts.action_names)) if facts.choice is not None else []
    room = PANEL_LINES - 2
    shown = bars if len(bars) <= room else bars[: room - 1]
    names_width = max((ink.width(bar.name) for bar in shown), default=0)
    for bar in shown:
        _draw_bar(surface, next(lines), bar, ink, names_width=names_width)
    if len(shown) < len(bars):
        _row(surface, next(lines), f"and {len(bars) - len(shown)} more", "", ink)
    line = next(lines)
    line.top = area.bottom - line.height
    _row(surface, line, "last action", facts.last_action.replace("-", "−"), ink)


def _draw_worth(surface: pygame.Surface, area: pygame.Rect, facts: Facts, ink: Ink) -> None:
    lines = _lines(area, ink)
    _heading(surface, next(lines), f"seed {facts.seed}", ink)
    rows = [
        ("step", str(facts.step)),
        ("reward", "none yet" if facts.reward is None else number(facts.reward)),
        ("return", number(facts.total)),
    ]
    for name, text in rows:
        _row(surface, next(lines), name, text, ink)
    if facts.value is None:
        return
    unit = "" if facts.value_known else " (its own unit)"
    _row(surface, next(lines), "estimate" + unit, number(facts.value), ink, colour=ACCENT)
    if facts.followed is not None:
        _row(surface, next(lines), "followed", number(facts.followed.total), ink, colour=WARM)
        if facts.followed.beyond:
            _row(surface, next(lines), "  past the limit", number(facts.followed.beyond), ink)
    elif facts.value_known:
        _row(surface, next(lines), "followed", "at the end", ink, colour=QUIET)


class _Bar:
    """A line of the distribution: from `start` to `end` of the track's width, and a mark."""

    def __init__(
        self, name: str, text: str, start: float, end: float, mark: float | None = None
    ) -> None:
        self.name, self.text = name, text
        self.start, self.end = _within(start), _within(end)
        self.mark = None if mark is None else _within(mark)


def _bars(choice: Choice, names: tuple[str, ...]) -> Iterator[_Bar]:
    if isinstance(choice, Probabilities):
        for index, value in enumerate(choice.values):
            name = names[index] if index < len(names) else f"action {choice.first + index}"
            yield _Bar(name, f"{100 * value:.0f} %", 0.0, value)
    elif isinstance(choice, Choices):
        for index, part in enumerate(choice.parts):
            best = max(range(len(part.values)), key=lambda i: part.values[i])
            share = part.values[best]
            yield _Bar(f"{index}: {part.first + best}", f"{100 * share:.0f} %", 0.0, share)
    else:
        yield from _normal_bars(choice, names)


def _normal_bars(choice: Normal, names: tuple[str, ...]) -> Iterator[_Bar]:
    """Mean and one sigma to each side of it, between the bounds or four sigmas."""
    for index, (mean, sigma) in enumerate(zip(choice.means, choice.sigmas, strict=True)):
        low, high = choice.lows[index], choice.highs[index]
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            low, high = -4 * (sigma or 1.0), 4 * (sigma or 1.0)
        start, end, mark = ((x - low) / (high - low) for x in (mean - sigma, mean + sigma, mean))
        name = names[index] if index < len(names) else f"a{index}"
        yield _Bar(name, f"{mean:.1f} ± {sigma:.2f}".replace("-", "−"), start, end, mark)


def _draw_bar(
    surface: pygame.Surface, line: pygame.Rect, bar: _Bar, ink: Ink, *, names_width: int
) -> None:
    text_width = ink.width("−0.0 ± 0.00" if "±" in bar.text else "100 %")
    name_width = min(names_width + ink.margin, (line.width - text_width) * 2 // 3)
    track = pygame.Rect(
        line.left + name_width,
        line.top + line.height // 4,
        max(1, line.width - name_width - text_width - ink.margin),
        max(2, line.height // 2),
    )
    name = ink.cut(bar.name, name_width - ink.margin // 2)
    ink.put(surface, name, line.midleft, QUIET, anchor="midleft")
    ink.put(surface, bar.text, line.midright, TEXT, anchor="midright")
    surface.fill(TRACK, track)
    left = track.left + round(bar.start * track.width)
    right = track.left + round(bar.end * track.width)
    surface.fill(ACCENT, (left, track.top, max(1, right - left), track.height))
    if bar.mark is not None:
        at = track.left + round(bar.mark * (track.width - 2))
        surface.fill(TEXT, (at, track.top - 1, 2, track.height + 2))


def _lines(area: pygame.Rect, ink: Ink) -> Iterator[pygame.Rect]:
    top = area.top
    while True:
        yield pygame.Rect(area.left, top, area.width, ink.line)
        top += ink.line


def _heading(surface: pygame.Surface, line: pygame.Rect, text: str, ink: Ink) -> None:
    ink.put(surface, ink.cut(text, line.width), line.midleft, TEXT, anchor="midleft")
    surface.fill(TRACK, (line.left, line.bottom - 1, line.width, 1))


def _row(
    surface: pygame.Surface,
    line: pygame.Rect,
    name: str,
    text: str,
    ink: Ink,
    *,
    colour: tuple[int, int, int] = TEXT,
) -> None:
    text = ink.cut(text, line.width)
    ink.put(surface, text, line.midright, colour, anchor="midright")
    room = line.width - (ink.width(text) + ink.margin if text else 0)
    ink.put(surface, ink.cut(name, room), line.midleft, QUIET, anchor="midleft")


def number(value: float) -> str:
    """A number in at most nine characters, with a minus sign as long as a plus."""
    size = abs(value)
    if not math.isfinite(value) or size >= 1e6:
        form = f"{value:.1e}"
    elif value == int(value):
        form = str(int(value))
    else:
        form = f"{value:.3f}" if size < 100 else f"{value:.1f}"
    return form.replace("-", "−")


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
