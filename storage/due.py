"""Reminders that are to fire, in the order of their times, and those that fired and were not read yet."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import anyio

from storage.batch import Changes
from storage.database import Database
from storage.row import column_list
from storage.tables import Reminder


class Due:
    """Every reminder that is pending or fired, by id. `load` reads them; from then on they are kept current."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[str, int] = {}
        self._order: list[tuple[int, int, str]] = []
        self._fired: dict[str, dict[str, None]] = {}
        self._early: list[Changes] = []
        self._loaded = anyio.Event()
        self.changed = anyio.Event()
        """Set when another reminder may be the next one; whoever waits for it replaces it."""

    async def load(self) -> None:
        """Read what is stored."""
        rows = await self._database.select(
            f"SELECT {column_list(Reminder)} FROM \"{Reminder.table}\" WHERE status IN ('pending', 'fired') "
            'ORDER BY "firedAt", seq'
        )
        for row in rows:
            self._take(Reminder.loaded(row))
        early, self._early = self._early, []
        self._loaded.set()
        for changes in early:
            self.follow(changes)
        self.changed.set()

    async def fired(self, member: str) -> Sequence[str]:
        """The ids of reminders of a user or an agent that fired and were not read, in the order in which they fired."""
        await self._loaded.wait()
        return list(self._fired.get(member, ()))

    def next_time(self) -> int | None:
        """When the next reminder is due (epoch ms)."""
        while self._order and self._pending.get(self._order[0][2]) != self._order[0][0]:
            heapq.heappop(self._order)  # of a reminder that has changed since
        return self._order[0][0] if self._order else None

    def until(self, moment: int, limit: int) -> list[str]:
        """The ids of at most `limit` reminders that are due at a time, the earliest first."""
        due: dict[str, tuple[int, int, str]] = {}
        while len(due) < limit and (at := self.next_time()) is not None and at <= moment:
            entry = heapq.heappop(self._order)
            due[entry[2]] = entry
        for entry in due.values():  # they stay until they have fired
            heapq.heappush(self._order, entry)
        return list(due)

    def follow(self, changes: Changes) -> None:
        """Take what a batch changed."""
        if Reminder not in changes.rows:
            return
        if not self._loaded.is_set():
            self._early.append(changes)
            return
        for row in changes.inserted(Reminder):
            self._take(row)
        for before, after in changes.updated(Reminder):
            self._drop(before)
            self._take(after)
        for gone in changes.deleted(Reminder):
            self._drop(gone)
        self.changed.set()

    def _take(self, reminder: Reminder) -> None:
        if reminder.status == "fired":
            self._fired.setdefault(_member(reminder), {})[reminder.id] = None
        elif reminder.status == "pending":
            self._pending[reminder.id] = reminder.remind_at
            heapq.heappush(self._order, (reminder.remind_at, reminder.seq, reminder.id))

    def _drop(self, reminder: object) -> None:
        assert isinstance(reminder, Reminder)
        self._pending.pop(reminder.id, None)
        fired = self._fired.get(_member(reminder), {})
        fired.pop(reminder.id, None)
        if not fired:
            self._fired.pop(_member(reminder), None)


def _member(reminder: Reminder) -> str:
    return reminder.user_id or reminder.agent_id or ""
