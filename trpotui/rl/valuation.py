"""A rollout as networks are given it, and what the critic says of it.

Legend: T steps, N environments, D observation features, S state features, F final observations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trpotui.rl.networks import Critic
from trpotui.rl.rollout import Float32, Rollout
from trpotui.rl.sequences import Inputs, Sequences


def network_inputs(
    rollout: Rollout, valid: NDArray[np.bool_], states: Mapping[str, Tensor], device: torch.device
) -> Inputs:
    """The rows of a rollout that networks are to learn from.

    Args:
        rollout: T steps of N environments.
        valid: [T, N]; which of their rows.
        states: memory [N, S] of `actor` and `critic` before the first row; empty without memory.
            It is data: who learns from the sequences begins with what was remembered then,
            whatever the parameters have become.
        device: where the networks are.
    """
    rows = rollout.inputs[:-1]
    if not states:
        return torch.from_numpy(rows[valid]).to(device)
    return Sequences(
        rows=torch.from_numpy(rows).to(device),
        starts=torch.from_numpy(rollout.starts[:-1]).to(device),
        valid=torch.from_numpy(valid).to(device),
        states=states,
    )


def rollout_values(
    critic: Critic, rollout: Rollout, state: Tensor | None, device: torch.device
) -> tuple[Float32, Float32, Tensor | None]:
    """What the critic says of a rollout.

    Args:
        critic: with or without memory.
        rollout: T steps of N environments.
        state: the critic's memory [N, S] before the first row; None without memory.
        device: where the critic is.

    Returns:
        Values of all inputs [T + 1, N]; values [F] of the final ones; and the memory [N, S] before
        the last row, which is the first one of the next rollout.
    """
    inputs = torch.from_numpy(rollout.inputs).to(device)
    final = inputs.new_empty(0, inputs.shape[2])
    if rollout.final_inputs:
        final = torch.from_numpy(np.stack(rollout.final_inputs)).to(device)
    if state is None:
        all_values: Float32 = critic(torch.cat([inputs.flatten(0, 1), final]))[:, 0].cpu().numpy()
        count = len(all_values) - len(final)
        return all_values[:count].reshape(rollout.starts.shape), all_values[count:], None
    values, states = critic.along(inputs, torch.from_numpy(rollout.starts).to(device), state)
    final_values = values.new_empty(1, 0)
    if len(final):
        # met with what was remembered behind the row before: row t + 1 is of another episode
        before = torch.stack([states[t, n] for t, n in rollout.final_positions])
        final_values, _ = critic.along(
            final[None], torch.zeros(1, len(final), dtype=torch.bool, device=device), before
        )
    return values.cpu().numpy(), final_values[0].cpu().numpy(), states[-2]
