"""Which messages and participants a conversation has, and what hangs on a message: 8 bytes a row in memory.

DuckDB's planner does not use an index for "the last n of a conversation": at a million messages that scan takes 17 to
23 ms, fetching 50 rows by their key 5 ms.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial


class Timeline:
    """The `seq` of every row by its parent, in order. Loaded behind the first answers; changes never wait."""

    def __init__(self) -> None:
        self._seqs: dict[str, array[int]] = {}
        self._early: list[Callable[[], None]] = []
        self._loaded = asyncio.Event()

    def load(self, stored: Iterable[tuple[str, list[int]]]) -> None:
        """Take what the database had; what changed meanwhile follows, in its order."""
        self._seqs = {parent: array("q", sorted(seqs)) for parent, seqs in stored}
        early, self._early = self._early, []
        self._loaded.set()
        for change in early:
            change()

    @property
    def loaded(self) -> bool:
        """Whether what was stored is there."""
        return self._loaded.is_set()

    async def ready(self) -> None:
        """Wait until what was stored is loaded."""
        if not self._loaded.is_set():  # waiting for what is there would cost a pass of the loop
            await self._loaded.wait()

    def add(self, parent: str, seq: int) -> None:
        """Note a new row; `seq` only grows."""
        if not self._loaded.is_set():
            self._early.append(partial(self.add, parent, seq))
            return
        seqs = self._seqs.setdefault(parent, array("q"))
        if not seqs or seqs[-1] < seq:
            seqs.append(seq)

    def remove(self, parent: str, seq: int) -> None:
        """Drop one row."""
        if not self._loaded.is_set():
            self._early.append(partial(self.remove, parent, seq))
            return
        seqs = self._seqs.get(parent, array("q"))
        place = bisect_left(seqs, seq)
        if place < len(seqs) and seqs[place] == seq:
            del seqs[place]
        if not seqs:
            self._seqs.pop(parent, None)

    def forget(self, parent: str) -> None:
        """Drop a deleted parent."""
        if not self._loaded.is_set():
            self._early.append(partial(self.forget, parent))
            return
        self._seqs.pop(parent, None)

    def of(self, parent: str) -> Sequence[int]:
        """All rows of a parent, ascending: as they are now, not a copy."""
        return self._seqs.get(parent, ())

    def before(self, parent: str, seq: int | None, limit: int) -> tuple[array[int], bool]:
        """The last `limit` rows (ascending) below `seq`, and whether there are earlier ones."""
        seqs = self._seqs.get(parent, array("q"))
        end = len(seqs) if seq is None else bisect_left(seqs, seq)
        start = max(0, end - limit)
        return seqs[start:end], start > 0

    def after(self, parent: str, seq: int) -> array[int]:
        """The rows above `seq`, ascending."""
        seqs = self._seqs.get(parent, array("q"))
        return seqs[bisect_right(seqs, seq) :]

    def count(self) -> int:
        """How many rows there are, as far as they are loaded."""
        return sum(map(len, self._seqs.values()))
