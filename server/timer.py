"""Fires reminders when they are due: one task that sleeps until the next one."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import ClassVar, Protocol

import anyio

from storage.engine import Engine
from storage.errors import Unavailable
from storage.row import Result
from storage.tables import Reminder
from storage.transaction import Transaction

log = logging.getLogger(__name__)

AT_ONCE = 200
"""So many reminders fire with one request of the writer at most."""
LONGEST_MS = 3_600_000
"""Of a sleep: the machine may sleep meanwhile, and its clock may be set."""
RETRY_MS = 10_000


class Clock(Protocol):
    """What time it is, and waiting for a time."""

    def now(self) -> int:
        """Epoch milliseconds."""
        ...

    async def wait(self, changed: anyio.Event, ms: int | None) -> None:
        """Wait until `changed` is set, but no longer than `ms` milliseconds (None: for ever)."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    async def wait(self, changed: anyio.Event, ms: int | None) -> None:
        """See `Clock`."""
        with anyio.move_on_after(None if ms is None else ms / 1000):
            await changed.wait()


class Fired(Result):
    """How many reminders fired."""

    table: ClassVar[str] = "fired"

    count: int


class Timer:
    """Fires reminders. Which of them fired says their `status`, so that each does once, whatever happens to the hub."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self._engine = engine
        self._clock = clock if clock is not None else SystemClock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; those that are late fire at once."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Fire no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)  # of a failure the writer has heard

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._engine.writer.fail(error)

    async def _run(self) -> None:
        due, clock = self._engine.store.due, self._clock
        while True:
            due.changed = anyio.Event()
            moment, now = due.next_time(), clock.now()
            if moment is None:
                await clock.wait(due.changed, None)
            elif moment > now:
                await clock.wait(due.changed, min(moment - now, LONGEST_MS))
            elif not await self._fire(now):
                await clock.wait(due.changed, RETRY_MS)

    async def _fire(self, now: int) -> bool:
        """Fire what is due. False when nothing could be."""
        store = self._engine.store
        ids = store.due.until(now, AT_ONCE)
        await store.rows(ids, keep=True)

        async def request(tx: Transaction) -> Fired:
            count = 0
            for reminder_id in ids:
                row = await tx.find_row(reminder_id, Reminder)
                if row is not None and row.status == "pending" and row.remind_at <= now:
                    tx.update(row, status="fired", fired_at=now)
                    count += 1
            return Fired(count=count)

        try:
            return (await self._engine.writer.run(request)).count > 0
        except Unavailable as error:
            log.warning("%d reminders wait: %s", len(ids), error.message)
            return False
