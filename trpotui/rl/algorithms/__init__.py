"""The algorithms by name. Reading the names costs no import of torch; `load_algorithm` does.

A new algorithm is one module with a class like `trpotui.rl.algorithm.Algorithm`, and one
line here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from trpotui.config import did_you_mean
from trpotui.errors import RequestError

if TYPE_CHECKING:
    from trpotui.rl.algorithm import Algorithm

ALGORITHMS = {
    "reinforce": "trpotui.rl.algorithms.reinforce:Reinforce",
    "a2c": "trpotui.rl.algorithms.a2c:A2c",
    "npg": "trpotui.rl.algorithms.npg:Npg",
    "trpo": "trpotui.rl.algorithms.trpo:Trpo",
    "trpo_penalty": "trpotui.rl.algorithms.trpo_penalty:TrpoPenalty",
    "ppo": "trpotui.rl.algorithms.ppo:Ppo",
    "ppo_penalty": "trpotui.rl.algorithms.ppo_penalty:PpoPenalty",
}


def load_algorithm(name: str) -> type[Algorithm]:
    """The class of an algorithm.

    Raises:
        RequestError: there is none of that name; the sentence lists those there are.
    """
    if name not in ALGORITHMS:
        raise RequestError(
            f"unknown algorithm '{name}'{did_you_mean(name, ALGORITHMS)} "
            f"(there are: {', '.join(sorted(ALGORITHMS))})"
        )
    module, _, attribute = ALGORITHMS[name].partition(":")
    algorithm: type[Algorithm] = getattr(importlib.import_module(module), attribute)
    return algorithm
