"""What a policy file might hold, made up by hypothesis from what real ones do."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.faults.judge import MODULE
from tests.faults.mutations import KINDS, as_version_1, content_of

TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers(9_990, 10_010).map("x".__mul__),
    st.sampled_from(
        [
            *(f"{MODULE}:Evil-v0", "GymV26Environment-v0", "CartPole-v1", "nan", "gru", "tanh"),
            *("\x1b[31m", "[bold]", "a\nb", "\ud800", "float32", "float64", "Box", "Dict"),
        ]
    ),
)
WHOLE = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**31, 2**62, 2**63, 2**64, -(2**63), 10**12, 4096, 4097, 10**30]),
)
SINGLE = st.one_of(
    st.none(), st.booleans(), WHOLE, st.floats(), st.complex_numbers(), TEXTS, st.binary(max_size=8)
)
TENSORS = [
    lambda: torch.zeros(4),
    lambda: torch.full((4, 4), float("nan")),
    lambda: torch.full((4,), -float("inf")),
    lambda: torch.zeros(1).expand(10**12),
    lambda: torch.zeros(4, 4).t(),
    lambda: torch.zeros(8)[::2],
    lambda: torch.zeros(8)[4:],
    lambda: torch.zeros(4, dtype=torch.float64),
    lambda: torch.full((4,), 1e300, dtype=torch.float64),
    lambda: torch.zeros(4, dtype=torch.complex64),
    lambda: torch.zeros(4, dtype=torch.float16),
    lambda: torch.zeros(4, dtype=torch.int64),
    lambda: torch.zeros(4, dtype=torch.bool),
    lambda: torch.zeros(4).to_sparse(),
    lambda: torch.zeros(4, requires_grad=True),
    lambda: torch.nn.Parameter(torch.zeros(4)),
    lambda: torch.zeros(4, device="meta"),
    lambda: torch.zeros(0),
    lambda: torch.zeros(()),
    lambda: np.zeros(4),
    lambda: np.float32(1),
]
VALUES = st.recursive(
    SINGLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXTS, WHOLE), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)
NEW = st.one_of(VALUES, st.integers(0, len(TENSORS) - 1).map(lambda which: TENSORS[which]()))
EXTRA = st.sampled_from(
    ["kwargs", "type", "shape", "parts", "dtype", "extra", "log_std", "0.weight"]
)


def places_in(content: object, levels: int = 6) -> Iterator[tuple[Any, ...]]:
    """The path of every part of nested dicts and lists, which may hold themselves."""
    parts: Any = content.items() if isinstance(content, dict) else ()
    if isinstance(content, list):
        parts = enumerate(content)
    for key, part in parts if levels else ():
        yield (key,)
        yield from ((key, *rest) for rest in places_in(part, levels - 1))


CONTENT = {kind: content_of(kind) for kind in KINDS}


@st.composite
def contents(draw: Any) -> dict:
    """A real content with one to three parts replaced, missing, moved or joined by others."""
    content = copy.deepcopy(CONTENT[draw(st.sampled_from(list(KINDS)))])
    if draw(st.booleans()):
        content = as_version_1(content)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        places = list(places_in(content))
        *way, last = draw(st.sampled_from(places))
        holder = content
        for key in way:
            holder = holder[key]
        what = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "move"]))
        if what == "replace":
            holder[last] = draw(NEW)
        elif what == "remove":
            del holder[last]
        elif what == "move":
            *other_way, other = draw(st.sampled_from(places))
            with contextlib.suppress(KeyError, IndexError, TypeError):
                found = content
                for key in (*other_way, other):
                    found = found[key]
                holder[last] = found  # perhaps itself, or what holds it
        elif isinstance(holder, dict):
            holder[draw(EXTRA)] = draw(NEW)
        else:
            holder.append(draw(NEW))
    return content
