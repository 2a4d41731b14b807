"""`trpotui export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trpotui.cli.application import Debug, app
from trpotui.cli.files import check_output, write_output
from trpotui.cli.policies import PolicyPath
from trpotui.errors import RequestError

if TYPE_CHECKING:
    from trpotui.export import Exported
    from trpotui.rl.policy import SavedPolicy

SUFFIXES = {
    "--onnx": (".onnx",),
    "--torchscript": (".pt", ".ts", ".torchscript"),
    "--numpy": (".npz",),
}


@app.command()
def export(
    file: PolicyPath,
    onnx: Annotated[
        Path | None,
        typer.Option(metavar="FILE.onnx", help="For ONNX runtimes; pip install 'trpotui[onnx]'."),
    ] = None,
    torchscript: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.ts",
            help="For torch.jit.load and libtorch. PyTorch advises against TorchScript in new "
            "programs; --onnx lasts longer.",
        ),
    ] = None,
    numpy: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Arrays, for the example in trpotui's README."),
    ] = None,
    debug: Debug = False,
) -> int:
    """Write a policy for programs without trpotui, checked on 1,000 observations.

    Input: "observations", float32 [N, D], encoded as gymnasium's flatten does it; normalisation is
    inside. Outputs: "actions", the greedy ones as the environment takes them, and "parameters",
    float32 [N, K]: the logits of discrete actions, or means and log sigmas side by side. A network
    with memory has one more of each: "state" [N, S], zeros where an episode begins, and
    "next_state". A file is kept only if every number agrees with the policy's to 1e-5, relative
    above 1.
    """
    asked = {"--onnx": onnx, "--torchscript": torchscript, "--numpy": numpy}
    outputs = {option: path for option, path in asked.items() if path is not None}
    if not outputs:
        raise RequestError(f"say what to write: {', '.join(asked)}, or several of them")
    for option, path in outputs.items():
        check_output(path, option, suffixes=SUFFIXES[option], inputs=[file])
    if len({path.resolve() for path in outputs.values()}) < len(outputs):
        raise RequestError("two exports would go to the same file")

    from trpotui.policy_file import read_policy
    from trpotui.terminal import Printer

    saved = read_policy(file)
    exported = {option: _exported(option, saved) for option in outputs}
    out = Printer(sys.stdout)
    for option, path in outputs.items():
        write_output(path, exported[option].data)
        out.line(
            f"wrote {path}: on 1,000 observations the largest difference from the policy is "
            f"{exported[option].difference:.2g}"
        )
    return 0


def _exported(option: str, saved: SavedPolicy) -> Exported:
    from trpotui.export import to_arrays, to_onnx, to_torchscript

    exports = {"--onnx": to_onnx, "--torchscript": to_torchscript, "--numpy": to_arrays}
    return exports[option](saved)
