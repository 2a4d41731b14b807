"""The end of a list that never stops growing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

T = TypeVar("T")


class Tail(Sequence[T], Generic[T]):
    """The last `limit` of all items ever appended, oldest first.

    A value, as `trpotui.series.Series` is: `appended` returns a new one and leaves the old as it
    was, in storage that both share. Append in one thread; any thread may read.

    Args:
        limit: most items kept.
    """

    __slots__ = ("_items", "_stop", "limit", "total")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self.limit = limit
        self._items: list[T] = []  # shared; this tail's own end at _stop
        self._stop = 0
        self.total = 0
        """Items ever appended, those no longer kept included."""

    def appended(self, item: T) -> Tail[T]:
        """This tail and one more item."""
        new: Tail[T] = Tail.__new__(Tail)
        new.limit = self.limit
        items, stop = self._items, self._stop
        if len(items) != stop or stop >= 2 * self.limit:  # another grew out of it, or it is long
            items = items[max(stop - self.limit, 0) : stop]
            stop = len(items)
        items.append(item)
        new._items = items
        new._stop = stop + 1
        new.total = self.total + 1
        return new

    def _kept(self) -> list[T]:
        return self._items[max(self._stop - self.limit, 0) : self._stop]

    def __len__(self) -> int:
        return min(self._stop, self.limit)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self._kept()[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tail):
            return NotImplemented
        return self is other or (
            (self.limit, self.total) == (other.limit, other.total) and self._kept() == other._kept()
        )

    def __hash__(self) -> int:
        return hash((self.limit, self.total))

    def __repr__(self) -> str:
        return f"Tail({self._kept()})"
