"""How trpotui does its work in a comparison of TRPO: what a row calls it, and its settings.

sb3-contrib and tianshou use the whole batch in every product and fit their critics by Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

from processes import setting_options

CG_ITERATIONS, CRITIC_EPOCHS, CRITIC_MINIBATCHES = 10, 10, 4
SHARE = 0.25
ITERATIONS = (f"cg_iterations={CG_ITERATIONS}",)


@dataclass(frozen=True)
class Variant:
    """One way for trpotui to do an update."""

    label: str
    settings: tuple[str, ...]
    share: float | None = 1.0
    """Of the batch, for products with a curvature; gradients and acceptance take all of it. None
    leaves it at the default."""

    @property
    def arguments(self) -> list[str]:
        """Of `ours.py`."""
        chosen = setting_options(self.settings)
        return chosen if self.share is None else [*chosen, "--share", str(self.share)]


VARIANTS = {
    "same": Variant(
        "same work",
        (
            *ITERATIONS,
            "critic=adam",
            f"critic_epochs={CRITIC_EPOCHS}",
            f"critic_minibatches={CRITIC_MINIBATCHES}",
        ),
    ),
    "full": Variant("Gauss-Newton critic, shares 1", (*ITERATIONS, "critic=gauss_newton")),
    "share": Variant(
        f"Gauss-Newton critic, shares {SHARE:g}", (*ITERATIONS, "critic=gauss_newton"), SHARE
    ),
    "default": Variant("our defaults", (), None),
}
MEASURED = ("same", "full", "share")
"""Those that are measured if none are named."""
