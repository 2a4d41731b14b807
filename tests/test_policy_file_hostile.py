"""Policy files that were made to do harm, each built for real."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from gymnasium import spaces
from policy_samples import saved_policy

from trpotui.errors import PolicyFileError
from trpotui.policy_file import policy_bytes, read_policy
from trpotui.policy_file.checks import checked
from trpotui.policy_file.payload import (
    payload,
)
from trpotui.policy_file.values import RefusedError

MARKER = "a text to be replaced"
SAVED = saved_policy(config={"x": MARKER})
GAUSSIAN = saved_policy(
    observation_space=spaces.Box(-8, 8, (3,)),
    action_space=spaces.Box(-2, 2, (1,)),
    normalized=True,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "policy.pt"


def refusal(path) -> str:
    """The sentence of the refusal, which must neither take long nor take memory."""
    tracemalloc.start()
    began = time.thread_time()
    try:
        with pytest.raises(PolicyFileError) as caught:
            read_policy(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6 + 5 * path.stat().st_size
    assert time.thread_time() - began < 10
    return checked_message(path, caught.value)


def refusal_without_counting(path) -> str:
    """As `refusal`, where counting the memory of a million steps would take seconds."""
    with pytest.raises(PolicyFileError) as caught:
        read_policy(path)
    return checked_message(path, caught.value)


def checked_message(path, error) -> str:
    message = str(error)
    assert message.startswith(f"{path} is ")
    assert message.isprintable()
    assert "[" not in message
    return message


def archive(entries: dict[str, bytes] | list[tuple[str, bytes]], **options) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as file:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            file.writestr(name, content)
    return buffer.getvalue()


def entries_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def as_torch_saves(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_instructions(instructions: bytes) -> bytes:
    """A policy file whose pickle makes something else of the text in its configuration."""
    entries = entries_of(policy_bytes(SAVED))
    text = b"X" + struct.pack("<I", len(MARKER)) + MARKER.encode()
    assert entries["archive/data.pkl"].count(text) == 1
    entries["archive/data.pkl"] = entries["archive/data.pkl"].replace(text, instructions)
    return archive(entries)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", 100_000 + index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", 100_000 + index)


def test_the_helpers_make_a_file_that_is_read(path):
    path.write_bytes(archive(entries_of(policy_bytes(SAVED))))
    assert read_policy(path).config == {"x": MARKER}
    path.write_bytes(with_instructions(text("another")))
    assert read_policy(path).config == {"x": "another"}
    path.write_bytes(as_torch_saves(payload(SAVED)))
    assert read_policy(path).config == {"x": MARKER}


# code and names


class Runs:
    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self):
        return os.system, (self._command,)


def test_code_in_a_pickle_does_not_run(path, tmp_path):
    marker = tmp_path / "was-run"
    path.write_bytes(as_torch_saves(payload(SAVED) | {"config": Runs(f"touch {marker}")}))
    assert "its pickle names posix.system, which no policy needs" in refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("builtins bytearray", b"J\xff\xff\xff\x7f\x85"),
        ("_codecs encode", text("a") + text("zlib") + b"\x86"),
        ("collections Counter", b")"),
        ("torch Size", b")"),
        ("torch.nn.parameter Parameter", b")"),
        ("torch._utils _rebuild_sparse_tensor", b")"),
        ("torch.serialization _get_layout", text("torch.strided") + b"\x85"),
    ],
)
def test_names_that_torch_would_call_are_refused(path, name, arguments):
    call = b"c" + name.replace(" ", "\n").encode() + b"\n" + arguments + b"R"
    path.write_bytes(with_instructions(call))
    assert f"its pickle names {name.replace(' ', '.')}" in refusal(path)


ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x20tQ"
HOOKS = ORDERED_DICT + b")R"


@pytest.mark.parametrize(
    "instructions",
    [
        ORDERED_DICT + b"]\x85R",
        ORDERED_DICT + b"NR",
        REBUILD + b")R",
        REBUILD + b"(" + STORAGE + b"K\x00K\x20\x85K\x01\x85\x89" + HOOKS + b"}tR",
        REBUILD + b"(NK\x00K\x20\x85K\x01\x85\x89" + HOOKS + b"tR",
        REBUILD + b"(" + STORAGE + b"]K\x20\x85K\x01\x85\x89" + HOOKS + b"tR",
        REBUILD + b"(" + STORAGE + b"K\x00]K\x01\x85\x89" + HOOKS + b"tR",
        REBUILD + b"(" + STORAGE + b"K\x00K\x20\x85G" + b"\x00" * 8 + b"\x85\x89" + HOOKS + b"tR",
        REBUILD + b"(" + STORAGE + b"K\x00K\x20\x85K\x01\x85\x88" + HOOKS + b"tR",
        REBUILD + b"(" + STORAGE + b"K\x00K\x20\x85K\x01\x85\x89}tR",
        text("storage") + b")R",
        text("storage") + b"(" + STORAGE + b"K\x00K\x20\x85K\x01\x85\x89" + HOOKS + b"tR",
    ],
)
def test_calls_that_are_not_the_rebuilding_of_a_plain_tensor_are_refused(path, instructions):
    path.write_bytes(with_instructions(instructions))
    assert "its pickle calls something other than" in refusal(path)


@pytest.mark.parametrize(
    "change",
    [
        (text("cpu"), text("cuda")),
        (text("storage"), text("module")),
        (b"ctorch\nFloatStorage\n", REBUILD),
        (b"K\x20tQ", b"G" + b"\x00" * 8 + b"tQ"),
        (b"K\x20tQ", b"tQ"),
        (text("0"), b")\x85"),
    ],
)
def test_storages_that_are_described_otherwise_are_refused(path, change):
    assert change[0] in STORAGE
    path.write_bytes(with_instructions(STORAGE.replace(*change)))
    assert "describes a storage in a way of its own" in refusal(path)


@pytest.mark.parametrize(
    ("instructions", "name"),
    [
        (b"]}b", "BUILD"),
        (b"\x8f", "EMPTY_SET"),
        (b"U\x01a", "SHORT_BINSTRING"),
        (b"S'd'\n", "STRING"),
        (b"\x80\x04N", "PROTO"),
        (b"c__main__\nX\n)\x81", "GLOBAL"),
        (b"]0", "POP"),
        (b"\x8b\x01\x00\x00\x00\x01", "LONG4"),
    ],
)
def test_instructions_that_no_policy_needs_are_refused(path, instructions, name):
    path.write_bytes(with_instructions(instructions))
    expected = "its pickle names __main__.X" if name == "GLOBAL" else f"its pickle uses {name} "
    assert expected in refusal(path)


@pytest.mark.parametrize(
    "instructions",
    [
        b"",
        b"t",
        b"(",
        b"S'\\d'\n",
        b"\x86",
        get(1),
        b"Xtext",
        b"\xff",
        b"N.",
        b"]a",
        b"K",
        b"(K\x01u",
    ],
)
def test_a_malformed_pickle_is_refused(path, instructions):
    path.write_bytes(with_instructions(instructions))
    assert refusal(path)


def test_what_follows_a_pickle_is_not_ignored(path):
    entries = entries_of(policy_bytes(SAVED))
    entries["archive/data.pkl"] += b"more"
    path.write_bytes(archive(entries))
    assert "its pickle is malformed" in refusal(path)


def test_pickles_changed_anywhere_are_read_or_refused_and_nothing_else(path):
    entries = entries_of(policy_bytes(GAUSSIAN))
    pickled = entries["archive/data.pkl"]
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.permutation(len(pickled))[:500]:
        changed = bytearray(pickled)
        changed[position] = rng.integers(256)
        path.write_bytes(archive(entries | {"archive/data.pkl": bytes(changed)}))
        try:
            saved = read_policy(path)
        except PolicyFileError:
            refused += 1
        else:
            assert np.isfinite(saved.policy.actor["0.weight"]).all()
    assert 300 < refused < 500


# depth, cycles and numbers of things


def test_a_list_nested_20000_deep(path):
    path.write_bytes(with_instructions(b"]" * 20_000 + b"a" * 19_999))
    assert "nested too deeply" in refusal(path)


def test_a_tuple_nested_20000_deep(path):
    path.write_bytes(with_instructions(b")" + b"\x85" * 20_000))
    assert "nested too deeply" in refusal(path)


def test_a_list_that_contains_itself(path):
    path.write_bytes(with_instructions(b"]" + put(0) + get(0) + b"a"))
    assert "nested too deeply" in refusal(path)


def test_a_list_of_the_same_list_twice_and_so_on(path):
    doubled = b"".join(b"](" + get(level) * 2 + b"e" + put(level + 1) for level in range(25))
    path.write_bytes(with_instructions(b"(]" + put(0) + doubled + b"t"))
    assert "larger than any policy" in refusal_without_counting(path)


def test_a_key_that_takes_years_to_hash(path):
    doubled = b"".join(get(level) * 2 + b"\x86" + put(level + 1) for level in range(60))
    path.write_bytes(with_instructions(b"}()" + put(0) + doubled + b"Nu"))
    assert "holds a key that is no text" in refusal(path)


def test_a_storage_whose_key_takes_years_to_hash(path):
    doubled = b"".join(get(level) * 2 + b"\x86" + put(level + 1) for level in range(60))
    storage = STORAGE.replace(text("0"), get(60))
    path.write_bytes(with_instructions(b"()" + put(0) + doubled + storage + b"t"))
    assert "describes a storage in a way of its own" in refusal(path)


def test_too_many_instructions(path):
    path.write_bytes(with_instructions(b"N" + b"q\0" * 1_000_001))
    assert "larger than any policy" in refusal_without_counting(path)


# tensors


def with_bias(tensor) -> dict:
    content = payload(SAVED)
    content["actor"]["0.bias"] = tensor
    return content


def test_a_tensor_of_a_million_million_elements_in_four_bytes(path):
    data = as_torch_saves(with_bias(torch.zeros(1).expand(10**12)))
    assert len(data) < 20_000
    path.write_bytes(data)
    assert torch.load(path, weights_only=True)["actor"]["0.bias"].numel() == 10**12
    assert "actor.0.bias has the shape (1000000000000,) instead of (8,)" in refusal(path)


def test_a_tensor_whose_elements_are_all_the_same_one(path):
    path.write_bytes(as_torch_saves(with_bias(torch.zeros(1).expand(8))))
    assert "actor.0.bias does not hold its elements one after the other" in refusal(path)


def test_a_storage_that_the_archive_does_not_hold(path):
    entries = entries_of(policy_bytes(SAVED))
    del entries["archive/data/0"]
    path.write_bytes(archive(entries))
    assert "PyTorch cannot load it" in refusal(path)


def test_a_storage_that_is_declared_larger_than_it_is(path):
    entries = entries_of(policy_bytes(SAVED))
    entries["archive/data/0"] = entries["archive/data/0"][:-4]
    path.write_bytes(archive(entries))
    assert "PyTorch cannot load it" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(path, value):
    path.write_bytes(as_torch_saves(with_bias(torch.full((8,), value))))
    assert "actor.0.bias holds a number that is not finite" in refusal(path)


def test_a_number_that_float32_would_make_infinite(path):
    path.write_bytes(as_torch_saves(with_bias(torch.full((8,), 1e300, dtype=torch.float64))))
    assert "is of type torch.float64 instead of torch.float32" in refusal(path)


def test_a_complex_tensor(path):
    bias = torch.zeros(8, dtype=torch.complex64)
    path.write_bytes(as_torch_saves(with_bias(bias)))
    assert "its pickle names torch.ComplexFloatStorage" in refusal(path)
    with pytest.raises(RefusedError, match="complex64 instead of"):
        checked(with_bias(bias))


def test_an_inconsistent_sparse_tensor(path):
    indices, values = torch.tensor([[999]]), torch.zeros(1)
    bias = torch.sparse_coo_tensor(indices, values, (8,), check_invariants=False)
    path.write_bytes(as_torch_saves(with_bias(bias)))
    assert "its pickle names torch._utils._rebuild_sparse_tensor" in refusal(path)
    with pytest.raises(RefusedError, match="not an ordinary tensor"):
        checked(with_bias(bias))


@pytest.mark.parametrize(
    ("bias", "reason"),
    [
        (torch.zeros(8, requires_grad=True), "not an ordinary tensor"),
        (torch.nn.Parameter(torch.zeros(8)), "not an ordinary tensor"),
        (torch.zeros(8, device="meta"), "not an ordinary tensor"),
        (torch._neg_view(torch.zeros(8)), "not an ordinary tensor"),
        (torch.zeros(8, dtype=torch.int32), "int32 instead of"),
        (torch.zeros(8, dtype=torch.float16), "float16 instead of"),
        (torch.zeros(9)[:8], "one after the other"),
        (torch.zeros(16)[::2], "one after the other"),
        (torch.zeros(8, 1), "has the shape"),
        (torch.zeros(()), "has the shape"),
        (torch.zeros(0), "has the shape"),
        (np.zeros(8, np.float32), "not an ordinary tensor"),
        ([0.0] * 8, "not an ordinary tensor"),
        (None, "not an ordinary tensor"),
    ],
)
def test_what_is_no_ordinary_tensor_of_its_shape(bias, reason):
    with pytest.raises(RefusedError, match=reason):
        checked(with_bias(bias))


def test_a_transposed_weight_is_not_taken_for_one_of_its_shape():
    content = payload(SAVED)
    content["actor"]["1.weight"] = content["actor"]["1.weight"].t()
    with pytest.raises(RefusedError, match="one after the other"):
        checked(content)


# the archive


def test_a_deflated_archive_is_not_inflated(path):
    entries = entries_of(policy_bytes(SAVED)) | {"archive/data/0": bytes(40_000_000)}
    path.write_bytes(archive(entries, compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 100_000
    assert "its archive is compressed or encrypted" in refusal(path)


def test_an_entry_that_claims_to_be_larger_than_the_file(path):
    data = bytearray(archive(entries_of(policy_bytes(SAVED))))
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 20 : directory + 28] = struct.pack("<LL", 2**31, 2**31)
    path.write_bytes(data)
    assert "larger than the file" in refusal(path)


def test_an_encrypted_entry(path):
    data = bytearray(archive(entries_of(policy_bytes(SAVED))))
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert "compressed or encrypted" in refusal(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice(path):
    entries = list(entries_of(policy_bytes(SAVED)).items())
    path.write_bytes(archive([*entries, ("archive/data.pkl", b"another")]))
    assert "holds an entry twice" in refusal(path)


@pytest.mark.parametrize(
    "name",
    [
        "archive/../../x",
        "archive/data/../0",
        "../x",
        "/etc/x",
        "other/data/0",
        "archive\\x",
        "archive/data/0x",
        "archive/data/",
        "archive/code/__torch__.py",
        "archive/constants.pkl",
        "archive/.a/../b",
        "archive/[red]\x1b[31m",
        "archive/data/\u0661",
    ],
)
def test_an_entry_that_torch_does_not_write(path, name):
    path.write_bytes(archive(entries_of(policy_bytes(SAVED)) | {name: b""}))
    assert "which no policy file does" in refusal(path)


def test_a_name_that_ends_at_a_zero_byte_is_seen_as_a_whole(path):
    data = archive(entries_of(policy_bytes(SAVED)) | {"archive/data/99@.py": b""})
    path.write_bytes(data.replace(b"data/99@.py", b"data/99\0.py"))
    assert "holds 'archive/data/99?.py'" in refusal(path)


def test_a_directory_of_more_entries_than_memory_should_hold(path):
    entries = entries_of(policy_bytes(SAVED))
    path.write_bytes(archive(entries | {f"archive/data/{10**8 + i}": b"" for i in range(35_000)}))
    assert "larger than any policy" in refusal(path)


def test_a_directory_whose_size_is_only_in_its_64_bit_record(path):
    data = bytearray(policy_bytes(SAVED))
    at = data.rfind(b"PK\x06\x06") + 40
    assert struct.unpack_from("<Q", data, at)[0] < 10_000
    data[at : at + 8] = struct.pack("<Q", 2**40)
    path.write_bytes(data)
    assert "larger than any policy" in refusal(path)


@pytest.mark.parametrize("after", [b"\0", b"PK\x05\x06" + bytes(17), b"a comment"])
def test_what_follows_the_archive_is_not_ignored(path, after):
    path.write_bytes(policy_bytes(SAVED) + after)
    assert "the end of its archive is missing" in refusal(path)


def test_two_archives_in_one_file(path):
    path.write_bytes(policy_bytes(saved_policy(hidden_sizes=(4,))) + policy_bytes(SAVED))
    assert "not where it should be" in refusal(path)


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04123456PK\x05\x06\x00\x00",
        b"PK\x03\x04\x00\x00PK\x06\x06PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18),
        b"PK\x03\x04" + bytes(4) + b"PK\x05\x06" + bytes(6) + b"PK\x06\x07" + bytes(8),
        b"PK\x05\x06" + bytes(18),
    ],
)
def test_an_archive_that_is_too_short_for_its_own_records(path, data):
    path.write_bytes(data)
    assert refusal(path)


def test_a_missing_64_bit_record(path):
    data = policy_bytes(SAVED)
    at = data.rfind(b"PK\x06\x06")
    path.write_bytes(data[:at] + b"PK\0\0" + data[at + 4 :])
    assert "the directory of its archive is missing" in refusal(path)
