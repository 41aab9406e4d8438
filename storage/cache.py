"""A least-recently-used map with a budget in bytes, and a guard against caching what a commit has overtaken."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from storage.row import Row

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_SIZED = (str, list, dict)


def row_size(row: Row) -> int:
    """Roughly the bytes a row takes in memory: an object, its dict, and its strings."""
    return 900 + sum([len(value) for value in row.__dict__.values() if type(value) in _SIZED])


def rows_size(rows: dict[str, Row]) -> int:
    """Roughly the bytes of a lookup's answer."""
    return 200 + sum(map(row_size, rows.values()))


class ByteBudget(Generic[K, V]):
    """Keeps the most recently used values whose sizes add up to at most `budget` bytes.

    `size` estimates a value's bytes in memory; it is asked once, when the value comes in. `evicted` hears of values
    that had to go.
    """

    def __init__(self, budget: int, size: Callable[[V], int], evicted: Callable[[V], None] | None = None) -> None:
        self.budget = budget
        self._evicted = evicted
        self.used = 0
        self.hits = 0
        self.misses = 0
        self._size = size
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, now the most recently used, or None."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V) -> None:
        """Keep `value`, and let go of the least recently used ones beyond the budget."""
        self._keep(key, value, self._size(value))

    def replace(self, key: K, value: V, grown: int) -> None:
        """Keep another state of a value that is there and has grown by so many bytes: sizing it anew may cost more."""
        self._keep(key, value, self._entries[key][1] + grown)

    def _keep(self, key: K, value: V, size: int) -> None:
        self.discard(key)
        if size > self.budget:
            if self._evicted is not None:
                self._evicted(value)
            return
        self._entries[key] = (value, size)
        self.used += size
        while self.used > self.budget:
            _, (gone, freed) = self._entries.popitem(last=False)
            self.used -= freed
            if self._evicted is not None:
                self._evicted(gone)

    def discard(self, key: K) -> None:
        """Forget the value, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used -= entry[1]

    def values(self) -> list[V]:
        """What is kept, the least recently used first."""
        return [value for value, _ in self._entries.values()]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.used = 0

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(slots=True, eq=False)
class Load:
    """A read of the database under way. `stale`: a commit changed what it reads, so it must not be cached.

    `late` are rows that came in meanwhile and belong to what it reads.
    """

    stale: bool = False
    late: list[Any] = field(default_factory=list)


class Loads:
    """Knows which reads are under way, so that a commit can tell them."""

    def __init__(self) -> None:
        self._running: dict[Hashable, list[Load]] = {}

    @contextmanager
    def track(self, key: Hashable) -> Iterator[Load]:
        """Around a read of what `key` names."""
        load = Load()
        running = self._running.setdefault(key, [])
        running.append(load)
        try:
            yield load
        finally:
            running.remove(load)
            if not running:
                self._running.pop(key, None)

    def touch(self, key: Hashable) -> None:
        """A commit changed what `key` names."""
        for load in self._running.get(key, ()):
            load.stale = True

    def add(self, key: Hashable, row: object) -> None:
        """A commit brought a row that belongs to what `key` names."""
        for load in self._running.get(key, ()):
            load.late.append(row)

    def touch_all(self) -> None:
        """A commit changed anything."""
        for loads in self._running.values():
            for load in loads:
                load.stale = True
