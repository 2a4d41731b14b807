"""`trpotui export`: files that are right, or none."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.policy_samples import saved_policy
from trpotui.export.arrays import npz_bytes
from trpotui.policy_file import read_policy, write_policy

SAVED = Path(__file__).parents[2] / "saved_policies"
OUTPUTS = ["--onnx", "x.onnx", "--torchscript", "x.ts", "--numpy", "x.npz"]
TORCH_ALONE = """
import sys, warnings
for name in ("trpotui", "gymnasium"):
    sys.modules[name] = None
warnings.simplefilter("ignore")
import numpy as np, torch
actions, parameters = torch.jit.load("x.ts")(torch.from_numpy(np.load("rows.npy")))
np.save("actions.npy", actions.numpy())
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "name", [pytest.param("cartpole.pt", marks=pytest.mark.slow), "pendulum.pt"]
)
def test_all_forms_of_a_saved_policy_act_alike(trpotui, tmp_path, name):
    result = trpotui("export", SAVED / name, *OUTPUTS)
    assert result.returncode == 0, result.stderr
    assert names(tmp_path) == ["x.npz", "x.onnx", "x.ts"]
    for line, written in zip(result.stdout.splitlines(), ("x.onnx", "x.ts", "x.npz"), strict=True):
        assert line.startswith(f"wrote {written}: on 1,000 observations")
    policy = read_policy(SAVED / name).policy
    size = policy.spec.observation_size
    rows = np.random.default_rng(0).uniform(-1, 1, (50, size)).astype(np.float32)
    raw = policy.session(50).act(policy.network_inputs(rows), np.ones(50, dtype=np.bool_))
    expected = policy.decoder.decode(raw)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    np.testing.assert_allclose(
        session.run(["actions"], {"observations": rows})[0], expected, rtol=1e-5, atol=1e-5
    )
    np.save(tmp_path / "rows.npy", rows)
    subprocess.run([sys.executable, "-c", TORCH_ALONE], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "actions.npy"), expected, rtol=1e-5, atol=1e-5)


def test_a_policy_is_exported_where_its_environment_is_not_installed(trpotui, tmp_path):
    write_policy(tmp_path / "p.pt", saved_policy(environment_id="nowhere/Unknown-v7"))
    assert trpotui("export", "p.pt", "--numpy", "x.npz").returncode == 0
    assert "x.npz" in names(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "say what to write: --onnx, --torchscript, --numpy"),
        (["--onnx", "x.pt"], "--onnx takes a file that ends in .onnx, not x.pt"),
        (["--numpy", "x.npy"], "ends in .npz"),
        (["--torchscript", "x.onnx"], "ends in .pt or .ts or .torchscript"),
        (["--torchscript", "p.pt"], "would replace the policy"),
        (["--numpy", "missing/x.npz"], "does not exist"),
        (["--onnx", "folder.onnx"], "no regular file"),
        (["--numpy", "same.npz", "--onnx", "same.onnx"], "same file"),
    ],
)
def test_a_request_that_cannot_be_is_refused(trpotui, tmp_path, options, sentence):
    write_policy(tmp_path / "p.pt", saved_policy())
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "same.onnx").symlink_to("same.npz")
    before = names(tmp_path)
    result = trpotui("export", "p.pt", *options)
    assert result.returncode == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert names(tmp_path) == before
    read_policy(tmp_path / "p.pt")


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "folder"])
def test_a_file_that_is_no_policy_is_refused(trpotui, tmp_path, kind):
    path = tmp_path / "p.pt"
    if kind == "text":
        path.write_text("not a policy")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    before = names(tmp_path)
    result = trpotui("export", path, *OUTPUTS)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "p.pt" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert names(tmp_path) == before


def test_when_one_form_is_refused_none_is_written(trpotui, tmp_path):
    write_policy(tmp_path / "p.pt", saved_policy(network="lstm"))
    result = trpotui("export", "p.pt", *OUTPUTS)
    assert result.returncode == 2
    assert "network is lstm, with --onnx or --torchscript" in result.stderr
    assert names(tmp_path) == ["p.pt"]
    assert trpotui("export", "p.pt", *OUTPUTS[:4]).returncode == 0
    assert names(tmp_path) == ["p.pt", "x.onnx", "x.ts"]


def test_an_export_that_acts_otherwise_is_not_kept(trpotui, tmp_path, monkeypatch):
    write_policy(tmp_path / "p.pt", saved_policy())
    (tmp_path / "x.npz").write_text("old")
    other = npz_bytes(saved_policy(normalized=True))
    monkeypatch.setattr("trpotui.export.arrays.npz_bytes", lambda _: other)
    result = trpotui("export", "p.pt", "--numpy", "x.npz")
    assert result.returncode == 1
    assert "--numpy was not written, because it would not do what the policy does" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "x.npz").read_text() == "old"


def test_a_full_disk_keeps_the_old_file(trpotui, tmp_path, monkeypatch):
    write_policy(tmp_path / "p.pt", saved_policy())
    (tmp_path / "x.npz").write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = trpotui("export", "p.pt", "--numpy", "x.npz")
    assert result.returncode == 1
    assert "x.npz could not be written" in result.stderr
    assert "No space left" in result.stderr
    assert (tmp_path / "x.npz").read_text() == "old"
    assert names(tmp_path) == ["p.pt", "x.npz"]
