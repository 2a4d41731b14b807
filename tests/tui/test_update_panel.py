"""The panel of the last update, for algorithms with a trust region and for those without."""

from __future__ import annotations

import asyncio
import dataclasses
import math

import pytest
from textual.app import App

from tests.scripted_run import accepted_step, refused_step, started, training, update_finished
from trpotui.events import Event, RejectReason, UpdateFinished
from trpotui.telemetry import RunState, fold_all
from trpotui.tui.widgets.update_panel import UpdatePanel, ascent_text, outcome_text, sparkline

PLAIN = dataclasses.replace(
    update_finished(3), trust_region=None, max_kl=None, kl=0.0065, surrogate_gain=0.0123
)


def seen(state: RunState, width: int = 34) -> str:
    """The lines of the panel on a terminal of this width."""

    async def main() -> str:
        app = App[None]()
        async with app.run_test(size=(width, 40)) as pilot:
            panel = UpdatePanel()
            await app.mount(panel)
            panel.show(state)
            await pilot.pause()
            strips = app.screen._compositor.render_strips()
            return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)

    return asyncio.run(main())


def after(*events: Event) -> RunState:
    return fold_all([started(), *events])


def test_before_a_run_it_says_how_to_start_one():
    assert "no update yet: s starts a run" in seen(RunState(), 60)
    assert "starts" not in seen(after(), 60)
    assert "no update yet" in seen(after(), 60)


def test_a_trust_region_step_is_told_in_the_symbols_of_the_paper():
    step = accepted_step(9, backtracks=1)
    text = seen(after(update_finished(9, step=step)))
    for part in (
        f"gᵀx {step.g_dot_x:.3g}",
        f"xᵀHx {step.x_h_x:.3g}",
        f"β = √(2δ/xᵀHx) = {step.step_scale:.3g}",
        "in 10",
        f"tried 1.00 ✗ KL {step.tries[0].kl:.3g} > δ",
        f"0.80 ✓ KL {step.kl:.3g}",
        f"gain {step.surrogate_gain:.3g}, exp. {step.expected_gain:.3g}",
        f"KL {step.kl:.3g} of δ 0.01",
        "entropy",
    ):
        assert part in text, part


def test_a_refused_step_says_why_and_what_to_try():
    text = seen(fold_all(training(9, refused=range(3, 10))), 60)
    assert "7 steps refused in a row" in text
    assert "✗ refused: KL > δ" in text
    assert "KL 0 of δ 0.01" in text


@pytest.mark.parametrize("width", [34, 120])
def test_an_update_without_a_trust_region_tells_what_applies_to_it(width):
    update = dataclasses.replace(
        PLAIN,
        target_kl=0.015,
        clip_range=0.2,
        clip_fraction=0.118,
        epochs=7,
        stopped_early=True,
        learning_rate=3e-4,
        grad_norm=0.5123,
    )
    text = seen(after(update), width)
    for part in (
        "KL 0.0065 (target 0.015)",
        "gain 0.0123",
        "clip ±0.2: 12% beyond it",
        "7 passes, stopped early",
        "learning rate 3e-4",
        "gradient norm 0.512",
        "explained var.",
    ):
        assert part in text, part
    assert "gᵀx" not in text


def test_what_does_not_apply_is_left_out():
    lines = ascent_text(dataclasses.replace(PLAIN, surrogate_gain=None)).plain.split("\n")
    assert [line.split()[0] for line in lines] == ["KL", "gradient"]
    one = ascent_text(dataclasses.replace(PLAIN, epochs=1, stopped_early=False)).plain
    assert "1 pass\n" in one
    penalty = ascent_text(dataclasses.replace(PLAIN, penalty=1.25, largest_kl=0.0231)).plain
    assert "largest KL 0.0231" in penalty
    assert "penalty 1.25 per nat" in penalty


@pytest.mark.parametrize("reason", RejectReason)
def test_every_refusal_has_a_reason_in_words(reason):
    refused: UpdateFinished = dataclasses.replace(PLAIN, reject_reason=reason)
    assert ascent_text(refused).plain.split("\n")[-1].startswith("✗ refused: ")
    step = refused_step(3, reason=reason)
    assert "✗ refused: " in seen(after(update_finished(3, step=step, reject_reason=reason)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 0.0])
def test_no_number_stops_the_panel(value):
    step = dataclasses.replace(
        accepted_step(3), kl=value, surrogate_gain=value, x_h_x=value, cg_residuals=(1.0, value)
    )
    assert outcome_text(step).plain
    assert len(sparkline(step.cg_residuals)) == 2
    bad = dataclasses.replace(PLAIN, kl=value, clip_range=0.2, clip_fraction=value)
    assert ascent_text(bad).plain
    assert seen(after(update_finished(3, step=step, entropy=value, explained_variance=value)))
