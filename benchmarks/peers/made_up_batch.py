"""A batch of CartPole's form for the measurements of one update; the same for every program.

What is in it can be learned a little: advantages depend on action and observation, returns on the
observation, both with noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OBSERVATION_SIZE, N_ACTIONS = 4, 2
SEED = 0


def make(size: int) -> dict[str, NDArray[np.generic]]:
    """Observations [B, 4], actions [B], standardised advantages [B] and returns [B]."""
    rng = np.random.default_rng(SEED)
    observations = rng.normal(size=(size, OBSERVATION_SIZE)).astype(np.float32)
    actions = rng.integers(N_ACTIONS, size=size)
    side = 2 * actions - 1
    advantages = side * np.sin(observations[:, 2]) + rng.normal(size=size)
    advantages = (advantages - advantages.mean()) / advantages.std()
    returns = 20 + 5 * np.cos(observations[:, 0]) - 3 * observations[:, 2] ** 2
    returns = returns + rng.normal(size=size)
    return {
        "observations": observations,
        "actions": actions,
        "advantages": advantages.astype(np.float32),
        "returns": returns.astype(np.float32),
    }
