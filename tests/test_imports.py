"""What may import what, seen from fresh interpreters (the layers are checked by import-linter)."""

import subprocess
import sys

import pytest

SCREENS = ["textual", "textual_plotext", "plotext", "typer", "pygame", "rich"]
CORE = [
    "trpotui.rl.trainer",
    "trpotui.rl.algorithms.trpo",
    "trpotui.events",
    "trpotui.config",
    "trpotui.telemetry",
]


def modules_after(code: str) -> set[str]:
    """Top-level names of what a fresh interpreter has imported after running `code`."""
    script = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_core_imports_no_screen_and_torch_where_it_needs_it():
    """One interpreter for all of them: to import torch is most of what each would cost."""
    found = modules_after("\n".join(f"import {module}" for module in CORE))
    assert not found & set(SCREENS)
    assert "torch" in found


@pytest.mark.parametrize(
    "module", ["trpotui.viewer", "trpotui.telemetry", "trpotui.rl.policy", "trpotui.plots.text"]
)
def test_acting_and_showing_need_no_torch(module):
    assert "torch" not in modules_after(f"import {module}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["eval", "--help"],
        ["export", "--help"],
        ["plot", "--help"],
        ["--version"],
    ],
)
def test_help_waits_for_nothing_heavy(arguments):
    code = (
        "import contextlib, io\nfrom trpotui.cli import run\n"
        f"with contextlib.redirect_stdout(io.StringIO()): code = run({arguments!r})\n"
        "assert code == 0"
    )
    assert not modules_after(code) & {"torch", "gymnasium", "numpy", "textual", "pygame"}


@pytest.mark.parametrize("network", ["mlp", "gru"])
@pytest.mark.parametrize("algorithm", ["trpo", "ppo"])
def test_training_imports_nothing_of_torchs_compiler(network, algorithm):
    """It is 800 modules, sympy among them, with which a run would begin seconds later."""
    code = (
        "import sys\nfrom trpotui.rl.trainer import train\n"
        "from trpotui.run_request import RunRequest, make_config\n"
        f"request = RunRequest(algorithm={algorithm!r}, total_steps=64, n_envs=2, "
        f"settings={{'network': {network!r}, 'rollout_steps': 32, 'eval_every': 0}})\n"
        "list(train(make_config(request)))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    assert "sympy" not in modules_after(code)
