"""The numbers beside a policy's picture: what it thinks, and how it does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.widget import Widget

from trpotui.tui.scenes import Scene
from trpotui.viewing.choices import Choices, Normal, Probabilities

if TYPE_CHECKING:
    from trpotui.viewing.facts import Facts

EIGHTHS = " ▏▎▍▌▋▊▉█"
ROOMY, WIDE = 10, 44
"""Lines below which those of a scene are put together where there are so many columns."""
FEWEST_ACTIONS = 2
"""Lines that the actions get however low the widget is."""
LONGEST_NAME = 12
"""Letters of an action's name."""


class PolicyFacts(Widget):
    """Action probabilities, value, return so far and the episodes that have ended."""

    def __init__(self) -> None:
        super().__init__()
        self._scene: Scene | None = None
        self._mode = ""
        self._returns: Sequence[float] = ()

    def show(self, scene: Scene, mode: str) -> None:
        """Draw a scene; `mode` says how it is played (speed, pause)."""
        self._scene, self._mode, self._returns = scene, mode, scene.returns
        self.refresh()

    def show_returns(self, returns: Sequence[float]) -> None:
        """Draw the returns of episodes that are shown elsewhere."""
        self._scene, self._returns = None, returns
        self.refresh()

    def render(self) -> Text:
        """The facts that fit, the most important first."""
        width, height = self.size
        if self._scene is None:
            lines = returns_lines(self._returns, width, mean=True)
        else:
            lines = scene_lines(self._scene, self._mode, width=width, height=height)
        return Text("\n").join(lines[:height])


def scene_lines(scene: Scene, mode: str, *, width: int, height: int) -> list[Text]:
    """A scene in lines of `width` cells."""
    facts = scene.facts
    lines = _course(scene, mode, brief=height < ROOMY and width >= WIDE)
    below = returns_lines(scene.returns, width, mean=scene.same_policy)
    room = height - len(lines) - len(below) - 2  # two blank lines
    actions = action_lines(facts, width, most=max(room, FEWEST_ACTIONS))
    roomy = room >= len(actions)
    room -= len(actions) + 1
    seen = observation_lines(facts.observation, width, most=room) if room > 1 else []
    for section in (actions, seen, below):
        lines += [Text(), *section] if section and roomy else section
    return lines


def _course(scene: Scene, mode: str, *, brief: bool) -> list[Text]:
    """How it is played, and how the episode goes."""
    facts = scene.facts
    of = f" of {scene.episodes:,}" if scene.episodes is not None else ""
    step = f"step {facts.step:,}{' · ended' if facts.ended else ''}"
    total = Text.assemble("return ", (number(facts.total), "bold"))
    value = Text.assemble("value  ", ("–" if facts.value is None else f"{facts.value:.3g}", "bold"))
    if facts.followed is not None:
        value.append_text(Text.assemble("  → came ", (f"{facts.followed.total:.3g}", "bold")))
    if brief:
        episode = Text(f"episode {facts.episode:,}{of}   {step}")
        return [Text.assemble(episode, (f"   {mode}", "dim")), Text("   ").join([total, value])]
    if facts.reward is not None:
        total.append(f"   reward {facts.reward:.4g}")
    episode = Text.assemble(f"episode {facts.episode:,}{of}", (f" · seed {facts.seed}", "dim"))
    return [Text(mode, style="dim"), episode, Text(step), total, value]


def observation_lines(values: Sequence[tuple[str, float]], width: int, *, most: int) -> list[Text]:
    """A line per number of the observation, or as many as there may be."""
    shown = values if len(values) <= most else values[: most - 1]
    label = min(max((len(name) for name, _ in shown), default=0), max(width - 9, 1))
    lines = [Text(f" {name[:label]:<{label}} {value:+.3g}", style="dim") for name, value in shown]
    if len(shown) < len(values):
        lines.append(Text(f"  … {len(values) - len(shown)} more", style="dim"))
    return lines


def action_lines(facts: Facts, width: int, *, most: int) -> list[Text]:
    """A line per action or component of it; of more than `most` the likeliest or first ones."""
    choice = facts.choice
    names = [name.removeprefix("action ")[:LONGEST_NAME] for name in facts.action_names]
    if choice is None:
        return []
    if isinstance(choice, Normal):
        lines = list(_normals(choice, names, width))
        order = list(range(len(choice.means)))
    elif isinstance(choice, Choices):
        lines, order = list(_likeliest(choice, width)), list(range(len(choice.parts)))
    else:
        lines = list(_bars(choice, names, width, greedy=facts.mode == "greedy"))
        order = sorted(range(len(lines)), key=lambda index: -_finite(choice.values[index]))
    if len(lines) <= most:
        return lines
    shown = [lines[index] for index in sorted(order[: most - 1])]
    return [*shown, Text(f"  … {len(lines) - len(shown)} more", style="dim")]


def _bars(
    choice: Probabilities, names: Sequence[str], width: int, *, greedy: bool
) -> Iterator[Text]:
    values = choice.values
    labels = names or [str(choice.first + index) for index in range(len(values))]
    label = max(len(name) for name in labels)
    room = max(width - label - 8, 1)
    best = max(range(len(values)), key=lambda i: _finite(values[i])) if greedy else None
    for index, value in enumerate(values):
        sign = "▸" if index == best else " "
        yield Text.assemble(
            (f"{sign}{labels[index]:>{label}} ", "bold" if index == best else ""),
            (f"{bar(value, room):<{room}}", "bold" if index == best else "dim"),
            f" {value:5.2f}",
        )


def _likeliest(choice: Choices, width: int) -> Iterator[Text]:
    """Number of a component, its likeliest choice, and how likely that is."""
    label = len(str(len(choice.parts) - 1))
    ends = [n for part in choice.parts for n in (part.first, part.first + len(part.values) - 1)]
    digits = max(len(str(number)) for number in ends)
    room = max(width - label - digits - 9, 1)
    for index, part in enumerate(choice.parts):
        finite = [_finite(value) for value in part.values]
        best = finite.index(max(finite))
        value = part.values[best]
        yield Text.assemble(
            f" {index:>{label}} ",
            (f"{part.first + best:>{digits}} {bar(value, room):<{room}}", "bold"),
            f" {value:5.2f}",
        )


def _normals(choice: Normal, names: Sequence[str], width: int) -> Iterator[Text]:
    labels = names or [str(index) for index in range(len(choice.means))]
    label = max(len(name) for name in labels)
    for name, mean, sigma, low, high in zip(
        labels, choice.means, choice.sigmas, choice.lows, choice.highs, strict=True
    ):
        numbers = f" {mean:+.2f} ± {sigma:.2f}"
        room = width - label - 2 - len(numbers)
        yield Text.assemble(
            f" {name:>{label}} ", (band(mean, sigma, low, high, room), "bold"), numbers
        )


def bar(share: float, width: int) -> str:
    """A bar of `share` of the width, to an eighth of a cell."""
    eighths = round(min(max(_finite(share), 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (EIGHTHS[rest] if rest else "")


def band(mean: float, sigma: float, low: float, high: float, width: int) -> str:
    """Where mean and mean ± sigma lie between the bounds, or around zero where there are none."""
    if width < 5 or not (math.isfinite(mean) and math.isfinite(sigma)):
        return ""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        high = max(1.0, abs(mean) + sigma)
        low = -high

    def place(value: float) -> int:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(share * (width - 1))

    cells = ["╌"] * width
    for cell in range(place(mean - sigma), place(mean + sigma) + 1):
        cells[cell] = "━"
    cells[place(mean)] = "●"
    return "".join(cells)


def returns_lines(returns: Sequence[float], width: int, *, mean: bool) -> list[Text]:
    """The latest returns, and what they are on average; nothing before an episode has ended."""
    if not returns:
        return []
    shown = ""
    for value in reversed(returns):
        longer = f"{number(value)} {shown}".strip()
        if len(longer) > max(width - 8, 1):
            break
        shown = longer
    lines = [Text.assemble(("returns ", "dim"), shown)]
    if mean:
        lines.append(Text(f"mean {summary(returns)}", style="bold"))
    return lines


def summary(returns: Sequence[float]) -> str:
    """Mean, population standard deviation and number of some returns."""
    average = sum(returns) / len(returns)
    spread = math.sqrt(sum((value - average) ** 2 for value in returns) / len(returns))
    return f"{average:.1f} ± {spread:.1f} of {len(returns)}"


def number(value: float) -> str:
    """A return in a few characters."""
    if not math.isfinite(value):
        return str(value)
    value = round(value, 1) + 0.0  # without a negative zero
    return f"{value:.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.1f}"


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
