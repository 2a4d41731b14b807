"""Products of matrices: the quick way and the plain one, against float64."""

from __future__ import annotations

import sys

import pytest
import torch

from trpotui.rl import matrix_products
from trpotui.rl.matrix_products import affine, outer, times

SHAPES = [(512, 64, 64), (600, 33, 70), (2048, 256, 32), (1, 64, 64), (512, 64, 4), (512, 2, 64)]
"""Samples, outputs and inputs of a layer; the first three are large enough for the quick way."""


@pytest.fixture
def calls(monkeypatch):
    """How often the quick way is taken."""
    made = []
    real = matrix_products._linear
    monkeypatch.setattr(
        matrix_products, "_linear", lambda *arguments: made.append(1) or real(*arguments)
    )
    return made


def close(ours, expected):
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, quick, calls, monkeypatch):
    samples, n, m = shape
    # torch without oneDNN has the plain way only
    monkeypatch.setattr(matrix_products, "PREFERRED", quick and matrix_products.ONEDNN)
    generator = torch.Generator().manual_seed(0)
    # as they come: views of one vector, at any place in it
    vector = torch.randn(n * m + n + 1, generator=generator)
    weight, bias = vector[1 : n * m + 1].view(n, m), vector[n * m + 1 :]
    inputs = torch.randn(samples, m, generator=generator)
    flowing = torch.randn(samples, n, generator=generator)
    gradient = torch.full((n * m + 3,), torch.nan)
    close(affine(inputs, weight, bias), inputs.double() @ weight.double().T + bias.double())
    close(times(flowing, weight), flowing.double() @ weight.double())
    outer(flowing, inputs, out=gradient[2:-1].view(n, m))
    close(gradient[2:-1].view(n, m), flowing.double().T @ inputs.double())
    assert gradient.isnan().sum() == 3
    taken = quick and matrix_products.ONEDNN and shape in SHAPES[:3]
    assert len(calls) == (3 if taken else 0)


def test_several_at_once(calls, monkeypatch):
    monkeypatch.setattr(matrix_products, "PREFERRED", matrix_products.ONEDNN)
    generator = torch.Generator().manual_seed(0)
    flowing, weight = (
        torch.randn(*shape, generator=generator) for shape in [(3, 300, 64), (64, 64)]
    )
    close(times(flowing, weight), flowing.double() @ weight.double())
    assert len(calls) == matrix_products.ONEDNN


def test_other_types_go_the_plain_way(calls, monkeypatch):
    monkeypatch.setattr(matrix_products, "PREFERRED", matrix_products.ONEDNN)
    inputs, weight = torch.randn(512, 64).double(), torch.randn(64, 64).double()
    torch.testing.assert_close(affine(inputs, weight, weight[0]), inputs @ weight.T + weight[0])
    assert not calls


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t: 85\n", True),
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: no GenuineIntel\n", False),
        ("processor\t: 0\nBogoMIPS\t: 243.75\n", False),
        (None, False),
    ],
)
def test_whose_processor_it_is(told, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert matrix_products.is_intels(tmp_path / "cpuinfo") == expected
