"""What a policy file's pickle may do: build plain data and ordinary tensors, and nothing else.

`torch.load(weights_only=True)` imports nothing, but a pickle of a few bytes still makes it call
`bytearray(10**12)`, import a codec, or hash nested tuples for years. So every instruction is
followed here first without being carried out.
"""

from __future__ import annotations

import enum
import pickletools
from collections.abc import Iterator

from trpotui.policy_file.values import RefusedError, foreign, shown, too_large

MAX_INSTRUCTIONS = 1_000_000


class _StandIn(enum.Enum):
    """Takes the place of what torch would build, while a pickle is only being followed."""

    LIST = enum.auto()
    DICT = enum.auto()
    HOOKS = enum.auto()
    STORAGE = enum.auto()
    TENSOR = enum.auto()
    REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
    ORDERED_DICT = "collections OrderedDict"
    FLOAT32 = "torch FloatStorage"
    FLOAT64 = "torch DoubleStorage"


_VALUES = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
_CONSTANTS = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "EMPTY_LIST": _StandIn.LIST,
    "EMPTY_DICT": _StandIn.DICT,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def check_pickle(data: bytes) -> None:
    """Let only those pickles pass that build plain data and ordinary tensors.

    The instructions are followed without carrying any of them out. Names other than the four that
    a policy needs, keys that are no strings, and calls that do not rebuild a tensor are refused.

    Raises:
        RefusedError: the pickle is too large, malformed, or does anything else.
    """
    machine = _PickleMachine()
    try:
        for count, (name, argument) in enumerate(_instructions(data)):
            if count > MAX_INSTRUCTIONS:
                too_large()
            machine.follow(name, argument)
    except (LookupError, ValueError, TypeError, Warning) as error:
        # a warning: pickletools decodes an old kind of text, where warnings are errors
        raise RefusedError("is damaged: its pickle is malformed") from error


class _PickleMachine:
    """A pickle's stack and memo, on which stand-ins take the place of what would be built."""

    def __init__(self) -> None:
        self._stack: list[object] = []
        self._outer: list[list[object]] = []
        self._memo: dict[object, object] = {}

    def follow(self, name: str, argument: object) -> None:
        """Take one instruction into account, or refuse it."""
        if name in _VALUES or name in _CONSTANTS:
            self._stack.append(_CONSTANTS.get(name, argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif name in _TUPLES:
            self._stack.append(self._popped(_TUPLES[name]))
        elif name == "TUPLE":
            items = self._since_mark()  # first: it puts back the stack from before the mark
            self._stack.append(items)
        elif name == "MARK":
            self._outer.append(self._stack)
            self._stack = []
        elif name in ("APPEND", "APPENDS"):
            self._fill(self._popped(1) if name == "APPEND" else self._since_mark(), _StandIn.LIST)
        elif name in ("SETITEM", "SETITEMS"):
            self._fill(self._popped(2) if name == "SETITEM" else self._since_mark(), _StandIn.DICT)
        elif name == "GLOBAL":
            self._stack.append(_named(argument))
        elif name == "BINPERSID":
            self._stack.append(_storage(self._stack.pop()))
        elif name == "REDUCE":
            function, arguments = self._popped(2)
            self._stack.append(_called(function, arguments))
        elif name not in ("PROTO", "STOP") or argument not in (None, 2):
            foreign(f"its pickle uses {name} {shown(argument)}, which no policy file does")

    def _popped(self, count: int) -> tuple[object, ...]:
        items = [self._stack.pop() for _ in range(count)]
        return tuple(reversed(items))

    def _since_mark(self) -> tuple[object, ...]:
        items, self._stack = tuple(self._stack), self._outer.pop()
        return items

    def _fill(self, items: tuple[object, ...], container: _StandIn) -> None:
        """Put items into the list, or keys and values into the dict, that lies below them."""
        if self._stack[-1] is not container:
            foreign("its pickle fills something other than a list or a dict")
        # a key is hashed, and hashing tuples nested 60 deep can take years
        if container is _StandIn.DICT and not all(type(key) is str for key in items[::2]):
            foreign("its pickle holds a key that is no text")


def _named(name: object) -> _StandIn:
    """The stand-in of an imported name, which is one of the four that a tensor needs."""
    needed = [member for member in _StandIn if member.value == name]
    if not needed:
        foreign(f"its pickle names {shown(name).replace(' ', '.')}, which no policy needs")
    return needed[0]


def _storage(description: object) -> _StandIn:
    """The stand-in of a storage that is described as torch describes those of the CPU."""
    if (
        type(description) is not tuple
        or [type(part) for part in description] != [str, _StandIn, str, str, int]
        or (description[0], description[3]) != ("storage", "cpu")
        or description[1] not in (_StandIn.FLOAT32, _StandIn.FLOAT64)
    ):
        foreign("its pickle describes a storage in a way of its own")
    return _StandIn.STORAGE


def _called(function: object, arguments: object) -> _StandIn:
    """The stand-in of a call's result; only tensors are rebuilt, with empty backward hooks."""
    if function is _StandIn.ORDERED_DICT and type(arguments) is tuple and not arguments:
        return _StandIn.HOOKS
    if function is _StandIn.REBUILD_TENSOR and type(arguments) is tuple and len(arguments) == 6:
        storage, offset, size, stride, requires_grad, hooks = arguments
        lengths = [size, stride]
        if (
            (storage, requires_grad, hooks) == (_StandIn.STORAGE, False, _StandIn.HOOKS)
            and type(offset) is int
            and all(type(part) is tuple for part in lengths)
            and all(type(length) is int for part in lengths for length in part)
        ):
            return _StandIn.TENSOR
    return foreign("its pickle calls something other than the rebuilding of a tensor")


def _instructions(data: bytes) -> Iterator[tuple[str, object]]:
    """Name and argument of each instruction of a pickle, which ends where the data ends."""
    position: int | None = None
    for opcode, argument, start in pickletools.genops(data):
        yield opcode.name, argument
        position = start
    if position != len(data) - 1:
        raise ValueError("something follows the pickle")
