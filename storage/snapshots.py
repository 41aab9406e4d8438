"""Published snapshots of the system of record: a database file that anybody may read while the hub writes."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import duckdb

from storage.blocks import Stopped
from storage.errors import Unavailable
from storage.publication import Publication, Published
from storage.writer import Writer

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it is looked whether there is something to publish. A burst of writes is over by then."""
REST = 5
"""So many times as long as the last copy took there is no other one, unless somebody asks."""
LAST_SECONDS = 10.0
"""What the last snapshot may take when the hub ends."""

__all__ = ["Published", "Snapshots"]


class Snapshots:
    """Keeps `analytics.duckdb` current: at most `max_age` seconds old while data changes, 0 for only when asked.

    `before_first` is done once, before the first publication of this hub: it may change what is not of the writer.
    """

    def __init__(
        self, writer: Writer, directory: Path, max_age: float, before_first: Callable[[], Awaitable[object]]
    ) -> None:
        self.listeners: list[Callable[[Published], None]] = []
        """Who hears of each publication; must not block."""
        self.directory = directory
        self._writer = writer
        self._before_first: Callable[[], Awaitable[object]] | None = before_first
        self._max_age = max_age
        self._files = Publication(directory)
        self._error: str | None = None
        self._current: Published | None = None
        with self._noted():
            self._current = self._files.adopt()
        self._covered = -1
        """How many commits of this hub the current one shows; less than none for one of an earlier hub."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="one-snapshot")
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Published] | None = None
        self._stopped = threading.Event()
        self._due = self._rested = 0.0
        self._seconds = 0.0

    async def latest(self, *, fresh: bool = False) -> Published:
        """The current snapshot; `fresh`: one that shows everything that was acknowledged before this call.

        It is made now when there is none. Callers at the same time share one copy.

        Raises:
            Unavailable: it cannot be made; the text says why.
        """
        if self._current is None or (fresh and self._is_behind()):
            return await self._published_next()
        with self._noted():
            self._files.drop_log()
        return self._shown(self._current)

    async def follow(self) -> None:
        """Publish when data has changed, never more often than `max_age` and the time of a copy allow. Never ends.

        What somebody spoilt or locked is replaced sooner: only the time of a copy counts.
        """
        while self._max_age:
            await anyio.sleep(max(min(LOOK_SECONDS, self._max_age), self._rested - time.monotonic()))
            if not self._files.in_place() or (time.monotonic() >= self._due and self._is_behind()):
                try:
                    await self._published_next()
                except Unavailable:
                    continue  # noted
            with self._noted():
                self._files.drop_log()

    def status(self) -> dict[str, Any]:
        """Facts for `one-mcp status`: times in epoch milliseconds, ages in seconds, sizes in bytes."""
        facts: dict[str, Any] = {}
        if self._current is not None:
            shown = self._shown(self._current)
            age = max(0, time.time_ns() // 1_000_000 - shown.as_of) / 1000
            facts = {"asOf": shown.as_of, "ageSeconds": round(age, 1), "path": str(shown.path)}
            facts |= {"bytes": self._files.size(), "copySeconds": round(self._seconds, 3)}
        return facts if self._error is None else {**facts, "error": self._error}

    @property
    def alarm(self) -> str | None:
        """Why the last snapshot could not be made."""
        return self._error

    def _is_behind(self) -> bool:
        return self._covered != self._writer.commits or not self._files.in_place()

    def _shown(self, current: Published) -> Published:
        # What nothing was committed after is the state of now.
        return current if self._is_behind() else replace(current, as_of=time.time_ns() // 1_000_000)

    # -- publishing --------------------------------------------------------------------------------------------------

    async def _published_next(self) -> Published:
        """What the next run publishes. A run under way may lack what its caller wrote."""
        if self._next is None:
            self._next = asyncio.create_task(self._run())
            self._next.add_done_callback(_retrieve)  # all who wait for it may have been cancelled
        return self._shown(await asyncio.shield(self._next))

    async def _run(self) -> Published:
        async with self._turn:
            self._next = None  # who comes now waits for the one after this
            if self._current is not None and not self._is_behind():
                return self._current
            if self._stopped.is_set():
                raise Unavailable("The hub is stopping; try again in a moment.")
            started = time.monotonic()
            with self._noted():
                await self._publish()
            ended = time.monotonic()
            self._rested = ended + REST * (ended - started)
            self._due = max(started + self._max_age, self._rested)
            if self._error is not None or self._current is None:
                raise Unavailable(f"No snapshot could be published: {self._error}")
            return self._current

    async def _publish(self) -> None:
        if self._before_first is not None:
            await self._before_first()
            self._before_first = None
        async with self._writer.checkpointed() as checkpoint:
            began = time.monotonic()
            copy = self._copying(checkpoint.as_of)
            self._current = await asyncio.get_running_loop().run_in_executor(self._thread, copy)
            self._covered, self._error = checkpoint.commits, None
            for listener in self.listeners:
                listener(self._current)
            self._seconds = time.monotonic() - began
        log.debug("published %s in %.3f s, %s bytes", self._current, self._seconds, self._files.copied_bytes)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """What goes wrong with the files is told by the status: the hub goes on."""
        try:
            yield
        except (OSError, Unavailable, duckdb.Error) as error:
            self._error = error.message if isinstance(error, Unavailable) else str(error)
            log.error("no snapshot was published: %s", self._error)

    def _copying(self, as_of: int) -> Callable[[], Published]:
        def copy() -> Published:
            try:
                return self._files.publish(as_of, self._stopped.is_set)
            except Stopped:
                raise Unavailable("The hub is stopping; try again in a moment.") from None

        return copy

    # -- the end -----------------------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Let go of the writer, whatever it takes: a copy under way is given up, and none is begun."""
        self._stopped.set()
        async with self._turn:
            pass

    async def last(self) -> None:
        """Publish once more what is there when nobody writes any more."""
        self._stopped.clear()
        try:
            if self._max_age and self._is_behind():
                with anyio.move_on_after(LAST_SECONDS) as limit:
                    await self._published_next()
                if limit.cancelled_caught:
                    log.warning("the last snapshot was given up after %s s", LAST_SECONDS)
        except Unavailable:
            return  # noted
        finally:
            await self.settle()

    def close(self) -> None:
        """After the database was closed."""
        self._thread.shutdown()
        self._files.close()


def _retrieve(task: asyncio.Task[Published]) -> None:
    if not task.cancelled():
        task.exception()
