"""Policy files of every kind, and what becomes of them in hostile hands.

A mutation takes a random source and the files' bytes and returns other bytes. Those of the archive
keep its checksums right, so that what they change reaches the checks behind them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import torch
from gymnasium import spaces

from tests.policy_samples import saved_policy
from trpotui.policy_file import policy_bytes
from trpotui.policy_file.payload import NETWORK, NETWORK_1, payload

VERSION_1 = Path(__file__).parent.parent / "policy_of_version_1.pt"
ADDED = NETWORK.keys() - NETWORK_1.keys()
"""What version 1 of the format did not say."""
NUMBERS = spaces.Box(-8, 8, (3,))
VECTOR = {"observation_space": NUMBERS, "action_space": spaces.Box(-2, 2, (2,))}
IMAGES = spaces.Box(0, 255, (36, 36, 1), np.uint8)
NESTED = spaces.Dict({"a": NUMBERS, "b": spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)])})
KINDS = {
    "mlp": {},
    "normalised": {**VECTOR, "normalized": True},
    "relu without layers": {**VECTOR, "hidden_sizes": (), "activation": "relu"},
    "multi discrete": {"action_space": spaces.MultiDiscrete([2, 3])},
    "multi binary": {"action_space": spaces.MultiBinary(3)},
    "nested": {"observation_space": NESTED, "environment_kwargs": {"size": [1, {"x": None}]}},
    "cnn": {"observation_space": IMAGES, "network": "cnn", "hidden_sizes": ()},
    "gru": {"network": "gru", "memory_size": 3},
    "lstm": {**VECTOR, "network": "lstm", "memory_size": 3},
    "state dependent": {**VECTOR, "exploration": "state_dependent"},
    "gsde": {**VECTOR, "exploration": "gsde", "sde_interval": 4},
}
"""A policy of every kind of network, exploration and space, as `saved_policy` makes them."""
MARKER = "a text to be replaced"


def content_of(kind: str) -> dict:
    """What the file of a kind holds, before it is saved."""
    settings = {"hidden_sizes": (4,), "config": {"x": MARKER, "nested": {"sizes": [4]}}}
    return payload(saved_policy(**{**settings, **KINDS[kind]}))


def as_version_1(content: dict) -> dict:
    """The content as the first version of the format had it."""
    network = {key: value for key, value in content["network"].items() if key not in ADDED}
    return content | {"format_version": 1, "network": network}


def as_torch_saves(content: object) -> bytes:
    """A file of this content, whatever it is."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def real_files() -> list[bytes]:
    """Files that are read: of every kind in version 2, and of version 1 where that had the kind."""
    files = [
        policy_bytes(saved_policy(**{"hidden_sizes": (4,), **kind})) for kind in KINDS.values()
    ]
    files += [as_torch_saves(as_version_1(content_of(kind))) for kind in ("mlp", "normalised")]
    return [*files, VERSION_1.read_bytes()]


# bytes


def flip(random: Random, data: bytes, _: bytes) -> bytes:
    """Some bits, or some bytes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        position = random.randrange(len(changed))
        changed[position] ^= random.choice((1 << random.randrange(8), random.randrange(1, 256)))
    return bytes(changed)


def cut(random: Random, data: bytes, _: bytes) -> bytes:
    """A part is missing: the end, the beginning, or some of the middle."""
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return random.choice((data[:start], data[start:], data[:start] + data[end:]))


def splice(random: Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of another."""
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def repeat(random: Random, data: bytes, _: bytes) -> bytes:
    """A part is there again, or many times."""
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 1, 5)) + data[end:]


def overwrite(random: Random, data: bytes, _: bytes) -> bytes:
    """A part is something else: zeros, ones, noise, or a number at one of its limits."""
    start = random.randrange(len(data))
    length = min(random.choice((1, 4, 8, 64)), len(data) - start)
    number = random.choice((0, 1, 2**31 - 1, 2**31, 2**63, 2**64 - 1, len(data)))
    filling = random.choice(
        (bytes(length), b"\xff" * length, random.randbytes(length), struct.pack("<Q", number))
    )
    return data[:start] + filling[:length] + data[start + length :]


HOSTILE_NAMES = (
    *("../evil", "/etc/x", "archive/data/../x", "archive/code/evil.py", "archive/constants.pkl"),
    *("archive/.data/serialization_id", "archive/data/99999999", "archive/data.pkl", "", "\x00"),
)
OF_BYTES = (flip, cut, splice, repeat, overwrite)


# archives


def entries_of(data: bytes) -> dict[str, bytes]:
    """The entries of a real file by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def archive(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


def change_pickle(random: Random, data: bytes, other: bytes) -> bytes:
    """The pickle is mutated as bytes are, or is that of another file."""
    entries = entries_of(data)
    name = next(name for name in entries if name.endswith("data.pkl"))
    foreign = next(part for key, part in entries_of(other).items() if key.endswith("data.pkl"))
    entries[name] = random.choice((*OF_BYTES, swap))(random, entries[name], foreign)
    return archive(list(entries.items()))


def swap(_: Random, __: bytes, other: bytes) -> bytes:
    """Something else altogether."""
    return other


def change_storage(random: Random, data: bytes, _: bytes) -> bytes:
    """A tensor's numbers are others, too many or too few."""
    entries = entries_of(data)
    name = random.choice([name for name in entries if "/data/" in name])
    content = entries[name]
    filling = random.choice((float("nan"), float("inf"), 3e38, -1.0, 0.0, 1e-45))
    entries[name] = random.choice(
        (
            flip(random, content, b"") if content else b"",
            content[: random.randrange(len(content) + 1)],
            content + random.randbytes(random.choice((1, 4, 400))),
            struct.pack("<f", filling) * (len(content) // 4),
            b"",
        )
    )
    return archive(list(entries.items()))


def change_entries(random: Random, data: bytes, other: bytes) -> bytes:
    """Entries are missing, exchanged, renamed, added, there twice, or compressed."""
    entries = list(entries_of(data).items())
    position = random.randrange(len(entries))
    name, content = entries[position]
    hostile = random.choice((*HOSTILE_NAMES, name.upper()))
    what = random.randrange(5)
    if what == 0:
        del entries[position]
    elif what == 1:
        entries[position] = (name, random.choice(list(entries_of(other).values())))
    elif what == 2:
        entries[position] = (hostile, content)
    elif what == 3:
        entries.insert(position, (hostile, random.choice((content, b"", b"x" * 100))))
    compression = zipfile.ZIP_DEFLATED if what == 4 else zipfile.ZIP_STORED
    return archive(entries, compression)


# pickles that do things


def commands(marker: Path, module: str) -> list[bytes]:
    """Instructions that would run a command, import a module or take all memory, if followed."""
    text = f"touch {marker}".encode()
    argument = b"X" + struct.pack("<I", len(text)) + text
    name = module.encode()
    huge = b"J\xff\xff\xff\x7f\x85"
    return [
        b"cposix\nsystem\n(" + argument + b"tR",
        b"cos\nsystem\n" + argument + b"\x85R",
        b"(" + argument + b"iposix\nsystem\n",
        b"(cposix\nsystem\n" + argument + b"o",
        b"cbuiltins\neval\n" + argument + b"\x85R",
        b"c__builtin__\nexec\n" + argument + b"\x85R",
        b"csubprocess\nPopen\n" + argument + b"\x85R",
        b"c" + name + b"\nEvil\n)R",
        b"c" + name + b"\nEvil\n)\x81}b",
        b"\x8c\x05posix\x8c\x06system\x93" + argument + b"\x85R",
        b"cnumpy.core.multiarray\n_reconstruct\n)R",
        b"ctorch\nload\n" + argument + b"\x85R",
        b"ctorch.hub\nload\n" + argument + argument + b"\x86R",
        b"cbuiltins\nbytearray\n" + huge + b"R",
        b"c_codecs\nencode\n" + argument + b"\x85R",
        b"ccollections\nOrderedDict\n)R}(K\x01K\x02ub",
        b"\x82\x01",
        b"Pevil\n",
        b"]" * 5000,
        b"(" * 5000,
        b"}" + b"(K\x01K\x02u" * 500,
    ]


def with_instructions(data: bytes, instructions: bytes) -> bytes:
    """The file with these instructions where its pickle had `MARKER`, or at its start."""
    entries = entries_of(data)
    name = next(name for name in entries if name.endswith("data.pkl"))
    text = b"X" + struct.pack("<I", len(MARKER)) + MARKER.encode()
    pickled = entries[name]
    if text in pickled:
        entries[name] = pickled.replace(text, instructions)
    else:
        entries[name] = pickled[:2] + instructions + b"0" + pickled[2:]
    return archive(list(entries.items()))


Mutation = Callable[[Random, bytes, bytes], bytes]
OF_ARCHIVES: tuple[Mutation, ...] = (change_pickle, change_pickle, change_storage, change_entries)


def mutated(random: Random, files: list[bytes], hostile: list[bytes]) -> bytes:
    """One of the files, or one that runs commands, after one to three mutations."""
    instructions = random.choice(hostile)
    data, other = random.choice(files), random.choice(files)
    first = random.randrange(10)
    if first == 0:
        data = with_instructions(data, instructions)
    elif first == 1:  # a command somewhere in the pickle
        entries = entries_of(data)
        name = next(name for name in entries if name.endswith("data.pkl"))
        position = random.randrange(len(entries[name]))
        entries[name] = entries[name][:position] + instructions + entries[name][position:]
        data = archive(list(entries.items()))
    elif first < 6:
        data = random.choice(OF_ARCHIVES)(random, data, other)
    else:
        data = random.choice(OF_BYTES)(random, data, other)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        if data:
            data = random.choice(OF_BYTES)(random, data, other)
    return data
