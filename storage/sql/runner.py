"""SQL for the hub: warm workers on the newest snapshot, a few queries at a time, none of them on the loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from storage.errors import DomainError, Unavailable
from storage.sql import copies
from storage.sql.errors import SqlError
from storage.sql.limits import Limits
from storage.sql.process import Worker

if TYPE_CHECKING:
    from storage.snapshots import Published, Snapshots

T = TypeVar("T")

WORKERS = 2
"""Queries at a time; more wait their turn."""
TURN_SECONDS = 5.0
"""Whoever runs is ended after the limit of a query, and has a worker to start and to clear away besides."""
LATELY_SECONDS = 300.0
"""For so long after a query the worker for the next one is kept ready, on each new snapshot."""
PREFIX = "hub-"
STOPPING = "The hub is stopping; try again in a moment."

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns as (name, DuckDB type), rows ready for JSON, whether there are more, the state they show (epoch ms)."""

    columns: list[tuple[str, str]]
    rows: list[list[Any]]
    truncated: bool
    as_of: int


@dataclass(slots=True)
class _Generation:
    """A snapshot's copy and the workers on it that have nothing to do."""

    published: Published
    copy: Path
    idle: list[Worker] = field(default_factory=list)
    busy: int = 0
    retired: bool = False


class SqlRunner:
    """Carries out statements of whoever may see everything. Nothing is started before the first one."""

    def __init__(self, snapshots: Snapshots, data_dir: Path, limits: Limits, *, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self._snapshots = snapshots
        self._data_dir = data_dir
        self._limits = limits
        self._max_bytes = max_bytes
        self._turns = asyncio.Semaphore(WORKERS)
        self._threads: ThreadPoolExecutor | None = None
        self._current: _Generation | None = None
        self._preparing = asyncio.Lock()
        self._behind: set[asyncio.Task[Any]] = set()
        self._workers: set[Worker] = set()
        self._last_use = float("-inf")
        self._closed = False
        snapshots.listeners.append(self._follow)

    @property
    def pids(self) -> list[int]:
        """The processes that are there for queries."""
        return [worker.pid for worker in self._workers]

    async def run(self, sql: str, *, max_rows: int, fresh: bool = False, audit: bool = False) -> Answer:
        """What one statement reads from the snapshot; with `fresh` from one that shows everything acknowledged so far.

        `audit`: it may read the audit log.

        Raises:
            SqlError: the statement is wrong, refused, or takes too much.
            Unavailable: no snapshot or no worker can be had, or too many others wait.
        """
        try:
            async with asyncio.timeout(self._limits.seconds + TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("Other queries are running, and many wait. Nothing was asked; try again.") from None
        try:
            generation = await self._generation(fresh=fresh)
            request = {"sql": sql, "max_rows": min(max_rows, self.max_rows), "audit": audit}
            return await self._run(generation, {**request, "max_bytes": self._max_bytes})
        finally:
            self._last_use = time.monotonic()
            self._turns.release()

    async def _run(self, generation: _Generation, request: dict[str, Any]) -> Answer:
        generation.busy += 1
        worker: Worker | None = None
        try:
            worker = await self._idle(generation)
            return await self._asked(worker, generation, request)
        finally:
            generation.busy -= 1
            with anyio.CancelScope(shield=True):
                await self._give_back(generation, worker)

    async def _idle(self, generation: _Generation) -> Worker:
        while True:
            while not generation.idle:
                await self._in_task(self._start_one(generation))
            worker = generation.idle.pop()
            if worker.is_alive:
                return worker
            await self._give_back(generation, worker)  # somebody killed it

    async def _asked(self, worker: Worker, generation: _Generation, request: dict[str, Any]) -> Answer:
        columns: list[tuple[str, str]] = []
        rows: list[list[Any]] = []

        def take(part: dict[str, Any] | bytes) -> None:
            if isinstance(part, dict):
                columns.extend((name, kind) for name, kind in part.get("columns", ()))
                rows.extend(part.get("rows", ()))

        try:
            end = await self._in_thread(lambda: worker.ask(request, take))
        except asyncio.CancelledError:  # nobody waits for the answer any more
            worker.end()
            raise
        except SqlError:
            if self._closed:
                raise Unavailable(STOPPING) from None
            raise
        if end["too_wide"]:
            text = f"One row is larger than the {self._max_bytes:,} bytes of an answer."
            raise SqlError("refused", f"{text} Select fewer columns, or left(column, 1000).", worker.tables)
        return Answer(columns, rows, end["truncated"], generation.published.as_of)

    async def _give_back(self, generation: _Generation, worker: Worker | None) -> None:
        if worker is not None and worker.is_alive and not generation.retired and not self._closed:
            generation.idle.append(worker)
        elif worker is not None:
            self._workers.discard(worker)
            await self._in_thread(worker.kill)
            if generation is self._current and not self._closed:
                self._begin(self._keep_spare())
        if generation.retired and not generation.busy:
            await self._in_thread(lambda: copies.remove(generation.copy))

    # -- generations -------------------------------------------------------------------------------------------------

    async def _generation(self, *, fresh: bool) -> _Generation:
        """The newest snapshot that can be asked. While the next one is prepared the last one answers."""
        published = await self._snapshots.latest(fresh=fresh)
        current = self._current
        if current is not None and (
            current.published.generation >= published.generation or (self._preparing.locked() and not fresh)
        ):
            if current.published.generation == published.generation:
                current.published = published  # without a write since, it shows a later moment, too
            return current
        return await self._in_task(self._prepared(published))

    async def _prepared(self, published: Published) -> _Generation:
        async with self._preparing:
            if self._current is not None and self._current.published.generation >= published.generation:
                return self._current
            if self._closed:
                raise Unavailable(STOPPING)
            copy = await self._copied(published)
            generation = _Generation(published, copy)
            try:
                await self._start_one(generation)
            except BaseException:
                copies.remove(copy)
                raise
            old, self._current = self._current, generation
            if old is not None:
                await self._retire(old)
            return generation

    async def _copied(self, published: Published) -> Path:
        try:
            return await self._in_thread(lambda: copies.copied(published.path, prefix=PREFIX))
        except OSError as error:
            raise Unavailable(f"The snapshot cannot be copied for a query: {error.strerror or error}.") from error

    async def _retire(self, generation: _Generation) -> None:
        generation.retired = True
        idle, generation.idle = generation.idle, []
        for worker in idle:
            self._workers.discard(worker)
            await self._in_thread(worker.kill)
        if not generation.busy:
            await self._in_thread(lambda: copies.remove(generation.copy))

    async def _start_one(self, generation: _Generation) -> None:
        if self._closed:
            raise Unavailable(STOPPING)

        def start() -> Worker:
            worker = Worker(generation.copy, self._limits)
            self._workers.add(worker)  # here, for whoever waits for it may be gone
            return worker

        await self._give_back(generation, await self._in_thread(start))

    # -- behind queries ----------------------------------------------------------------------------------------------

    def _follow(self, published: Published) -> None:
        """Have a worker ready on what was just published, if somebody asked lately."""
        if not self._closed and time.monotonic() - self._last_use < LATELY_SECONDS:
            self._begin(self._prepared(published))

    async def _keep_spare(self) -> None:
        """Have a worker ready where one was killed."""
        generation = self._current
        if generation is not None and not generation.retired and not generation.idle:
            await self._start_one(generation)

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        async def carry_out() -> None:
            try:
                await work
            except DomainError as error:  # the next query meets it again, and says so
                log.warning("no worker was kept ready: %s", error.message)

        self._task(carry_out())

    async def _in_task(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work that goes on when nobody waits for it any more: others will use what it makes."""
        return await asyncio.shield(self._task(work))

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            copies.remove_left_behind(self._data_dir, prefix=PREFIX)
            # Preparing must not wait for queries.
            self._threads = ThreadPoolExecutor(WORKERS + 2, thread_name_prefix="one-sql")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """End all workers at once, and remove what they had."""
        self._closed = True
        for task in list(self._behind):
            task.cancel()
        await asyncio.gather(*self._behind, return_exceptions=True)
        if self._threads is None:
            return
        for worker in list(self._workers):
            worker.end()
        await asyncio.to_thread(self._threads.shutdown)
        for worker in self._workers:  # one may have come meanwhile
            await asyncio.to_thread(worker.kill)
        copies.remove_left_behind(self._data_dir, prefix=PREFIX)
