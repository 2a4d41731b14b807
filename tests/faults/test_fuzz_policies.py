"""Files from strangers, by the thousand: each is a valid policy or is refused in one sentence.

500 of them by default, 20,000 with `-m slow`. Nothing is imported or run, and neither time nor
memory is without bound.
"""

from __future__ import annotations

import codecs
import contextlib
import itertools
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.faults.contents import contents
from tests.faults.judge import MODULE, Judge
from tests.faults.mutations import as_torch_saves, commands, mutated, real_files
from trpotui.errors import PolicyFileError
from trpotui.inspection import facts_of
from trpotui.policy_file import check_environment, read_policy

MUTATIONS, CONTENTS = 250, 250
"""Inputs of the default suite: mutated files, and files whose content was made up."""
SLOW_PARTS, SLOW_MUTATIONS, SLOW_CONTENTS = 8, 2000, 500
"""Of the slow suite: parts, and inputs of each kind in every part."""
CODECS = ("cp437", "raw_unicode_escape", "unicode_escape", "latin-1")
"""What Python imports by itself to decode an archive's names and old kinds of text in a pickle."""


@pytest.fixture
def judge(folder, monkeypatch) -> Judge:
    """With everything imported that reading real files needs."""
    monkeypatch.syspath_prepend(folder)
    made = Judge(folder)
    for codec in CODECS:
        codecs.lookup(codec)
    for data in real_files():
        made.path.write_bytes(data)
        saved = read_policy(made.path)
        facts_of(saved)
        with contextlib.suppress(PolicyFileError):
            check_environment(saved, made.path)
    return made


def mutations(judge: Judge, seed: int, count: int) -> None:
    files, hostile = real_files(), commands(judge.marker, MODULE)
    for number in range(count):
        data = mutated(Random(seed * 1_000_000 + number), files, hostile)
        try:
            judge(data)
        except BaseException as error:
            error.add_note(f"input {number} of seed {seed}, {len(data)} bytes")
            raise


def made_up(judge: Judge, count: int, *, derandomize: bool) -> None:
    examples = itertools.count()

    @settings(
        max_examples=count,
        derandomize=derandomize,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(content=contents())
    def fuzz(content: dict) -> None:
        try:
            made = as_torch_saves(content)
        except Exception:  # noqa: BLE001 - torch saves no such thing, so nobody can send it
            made = b""
        judge(made)
        next(examples)

    fuzz()
    assert next(examples) >= count


def test_mutated_files(judge):
    mutations(judge, seed=0, count=MUTATIONS)
    assert judge.count == MUTATIONS
    assert judge.valid >= 5
    assert judge.refused >= MUTATIONS // 2


def test_made_up_contents(judge):
    made_up(judge, CONTENTS, derandomize=True)
    assert judge.count >= CONTENTS
    assert judge.valid >= 5
    assert judge.refused >= CONTENTS // 2


def test_there_are_500_by_default_and_20_000_in_the_slow_suite():
    assert MUTATIONS + CONTENTS >= 500
    assert SLOW_PARTS * (SLOW_MUTATIONS + SLOW_CONTENTS) >= 20_000


@pytest.mark.slow
@pytest.mark.parametrize("part", range(SLOW_PARTS))
def test_twenty_thousand_files(judge, part):
    mutations(judge, seed=1 + part, count=SLOW_MUTATIONS)
    made_up(judge, SLOW_CONTENTS, derandomize=False)
    assert judge.count >= SLOW_MUTATIONS + SLOW_CONTENTS


def test_commands_would_leave_a_mark(judge):
    """The marker and the watch see what they are there for."""
    with judge.watch.reading(judge.path), pytest.raises(FileNotFoundError):
        open("/nowhere")  # noqa: PTH123, SIM115
    assert judge.watch.seen == ["open /nowhere"]
    __import__(MODULE)
    assert judge.marker.exists()
    del sys.modules[MODULE]
