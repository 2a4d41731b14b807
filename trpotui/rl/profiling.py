"""Where the time of a run goes.

While a profile watches, the methods below count their time; otherwise they are left as they are,
so that nobody else pays for it. What a section calls belongs to it, whatever it is: the steps of an
evaluation are no steps of training. The update alone gives up what its parts count.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

GRADIENT = "gradient"
"""What an update does beside its parts: the surrogate, its gradient, and the steps along it."""
EVENTS, REST = "events", "the rest"
SECTIONS = {
    "environment": ["recorded_environment:RecordedEnvironment.step"],
    "policy": ["acting:Session.act", "acting:Session.parameters"],
    "advantages": ["learner:Learner._appraise"],
    GRADIENT: ["learner:Learner._update"],
    "Fisher products": ["surrogate:Surrogate.fisher_product"],
    "line search, KL": ["surrogate:Surrogate.kl_and_gain"],
    "critic": ["critic_fit:CriticFit.__call__", "critic_fit:Loss.wait"],
    "evaluation": ["evaluation:Evaluator.__call__"],
    "saving": ["saving:Saver.save", "saving:Saver.save_policy", "saving:Saver.remember"],
}
"""The methods of each, as `module of trpotui.rl:Class.method`."""


class Profile:
    """Seconds of each section of a run.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._open: str | None = None
        self._counted = dict.fromkeys([*SECTIONS, EVENTS], 0.0)
        self._total = 0.0

    @property
    def seconds(self) -> dict[str, float]:
        """Of each section, with what belongs to none; together they are the whole."""
        return self._counted | {REST: self._total - sum(self._counted.values())}

    def over(self, events: Iterator[T]) -> Iterator[T]:
        """The events of a run, watched from its first line to its last."""
        began = self._clock()
        with self._watching():
            try:
                for event in events:
                    handed_out = self._clock()
                    yield event
                    self._counted[EVENTS] += self._clock() - handed_out
            finally:
                self._total += self._clock() - began

    @contextmanager
    def _watching(self) -> Iterator[None]:
        kept: list[tuple[type, str, Any]] = []
        try:
            for section, paths in SECTIONS.items():
                for path in paths:
                    owner, name = _method(path)
                    method = owner.__dict__[name]
                    kept.append((owner, name, method))
                    setattr(owner, name, self._timed(section, method))
            yield
        finally:
            for owner, name, method in kept:
                setattr(owner, name, method)

    def _timed(self, section: str, method: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(method)
        def timed(*arguments: Any, **keywords: Any) -> T:
            around = self._open
            if around not in {None, GRADIENT}:
                return method(*arguments, **keywords)
            self._open, began = section, self._clock()
            try:
                return method(*arguments, **keywords)
            finally:
                spent = self._clock() - began
                self._open = around
                self._counted[section] += spent
                if around is not None:
                    self._counted[around] -= spent

        return timed


def _method(path: str) -> tuple[type, str]:
    module, _, name = path.partition(":")
    owner, _, method = name.partition(".")
    return getattr(importlib.import_module(f"trpotui.rl.{module}"), owner), method


def table(seconds: dict[str, float]) -> str:
    """Sections with their seconds and shares, as lines."""
    whole = sum(seconds.values())
    width = max(map(len, seconds))
    lines = [
        f"{name:<{width}}  {spent:9.3f} s  {100 * spent / whole if whole else 0:5.1f} %"
        for name, spent in seconds.items()
    ]
    return "\n".join([*lines, f"{'in all':<{width}}  {whole:9.3f} s  100.0 %"])
