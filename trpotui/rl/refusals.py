"""Updates that would have made a parameter NaN or infinite: refused, counted, told, and enough."""

from __future__ import annotations

import math

from trpotui.errors import RunError
from trpotui.events import RejectReason, UpdateFinished

MOST_IN_A_ROW = 10
"""Refused updates after which a run stops: what it learns from will not become finite again."""


class Refusals:
    """How many updates in a row were refused because a number was not finite."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self.total = 0

    def count(self, report: UpdateFinished) -> str | None:
        """Take an update into account.

        Returns:
            What is to be told of it, if it was refused.

        Raises:
            RunError: it is the last one in a row that a run may have.
        """
        who = _refused(report)
        if who is None:
            self.in_a_row = 0
            return None
        self.in_a_row += 1
        self.total += 1
        if self.in_a_row >= MOST_IN_A_ROW:
            raise RunError(
                f"{self.in_a_row} updates in a row would have made {who} NaN or infinite and were "
                "refused; the policy of before them is saved: smaller steps (max_kl, "
                "learning_rate) or normalize_rewards may help"
            )
        return (
            f"update {report.update} would have made {who} NaN or infinite and was refused "
            f"({self.in_a_row} in a row, {self.total} in all; the run stops at {MOST_IN_A_ROW} in "
            "a row)"
        )


def _refused(report: UpdateFinished) -> str | None:
    """Whose parameters would not be finite: the policy's, the critic's, or those of both."""
    actor = report.reject_reason is RejectReason.NOT_FINITE
    critic = report.value_loss is not None and not math.isfinite(report.value_loss)
    if actor and critic:
        return "policy and critic"
    if actor or critic:
        return "the policy" if actor else "the critic"
    return None
