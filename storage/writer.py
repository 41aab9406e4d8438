"""The single writer: requests run one at a time in memory, what they stage becomes durable in batches.

A request runs inline in its own task while it holds the turn. When it ends well its changes join the open batch; the
commit loop writes one batch while the next one fills. Nothing is acknowledged before its batch is durable.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import duckdb

from storage.audit_log import Act, Entry, fold_audit
from storage.batch import Batch, Changes, Receipt
from storage.commit import Committer
from storage.directory import RESERVE_BYTES
from storage.errors import Conflict, Unavailable
from storage.receipts import Key, Receipts
from storage.row import Result
from storage.spent import SPENT
from storage.store import Store
from storage.tables import RESULTS
from storage.transaction import Miss, Question, Transaction

R = TypeVar("R", bound=Result)
log = logging.getLogger(__name__)

LINGER_PASSES = 8
"""Passes of the loop that a batch may wait for while each brings another request."""

RUNS = 6
"""How often a request is run when it asks for rows that are not in memory; the last run waits for them in its turn."""

DISK_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A moment (epoch ms) at which the main file alone was all that was committed: so many commits, all below a seq."""

    as_of: int
    commits: int
    next_seq: int


class Writer:
    """Runs writing requests and commits what they stage.

    `next_seq` and `last_time` continue where the file ends; `checkpoint_rows` and `checkpoint_idle` (seconds) say when
    the log is folded into the main file; `on_failure` hears once when the file failed and nothing can be written.
    """

    def __init__(
        self,
        store: Store,
        directory: Path,
        *,
        next_seq: int,
        last_time: int,
        checkpoint_rows: int,
        checkpoint_idle: float,
        on_failure: Callable[[str], None],
    ) -> None:
        self.next_seq = next_seq
        self.commits = 0
        self.observers: list[Callable[[int, float], None]] = []
        """Who hears of each commit: of how many requests, and how many seconds it took."""
        self._store = store
        self._directory = directory
        self._last_time = last_time
        self._checkpoint_rows = checkpoint_rows
        self._checkpoint_idle = checkpoint_idle
        self._on_failure = on_failure
        self._committer = Committer(store.database)
        self._turn = asyncio.Lock()
        self._open = Batch()
        self._committing: Batch | None = None
        self._work = asyncio.Event()
        self._failure: str | None = None
        self._receipts = Receipts(store)
        self._refusing = False
        self._closing = False
        self._closed = asyncio.Event()
        # Of whoever asked for a checkpoint; once it is done there is none until they have finished.
        self._hold: asyncio.Future[Checkpoint] | None = None
        self._holders = asyncio.Lock()
        # What a crash left in the log or in memory only is folded at the first quiet moment.
        self._uncheckpointed = 1
        self._disk_checked = 0.0
        self._disk_free = RESERVE_BYTES

    # -- requests ----------------------------------------------------------------------------------------------------

    async def run(
        self, request: Callable[[Transaction], Awaitable[R]], key: Key | None = None, act: Act | None = None
    ) -> R:
        """Run one request and return its result once it is durable. A used `key` returns the first result again.

        What it writes is stored with the row of the audit log that `act` tells of; writes of the hub's own have none.

        Raises:
            DomainError: what the request raised; it left no trace.
            Conflict: the key was used with other arguments.
            Unavailable: the store cannot write.
        """
        if key is None:
            return await self._carry_out(request, None, act)
        async with self._receipts.held(key):
            receipt = await self._recall(key)
            if receipt is None:
                return await self._carry_out(request, key, act)
            if (spent := SPENT.get()) is not None:
                spent.stored = True
        if receipt.arguments != key.arguments:
            raise Conflict(f"The key '{key.name}' was used with other arguments. Use a new key for a new request.")
        return cast("R", RESULTS[receipt.kind].model_validate_json(receipt.result))

    async def _carry_out(self, request: Callable[[Transaction], Awaitable[R]], key: Key | None, act: Act | None) -> R:
        absent: set[Question] = set()
        for run in range(RUNS):
            try:
                result, batch = await self._take_turn(request, key, act, frozenset(absent), may_wait=run == RUNS - 1)
            except Miss as miss:
                if await miss.load() is None:
                    absent.add(miss.question)
                continue
            if batch is not None:
                began = time.perf_counter()
                await self._durable(batch)
                if (spent := SPENT.get()) is not None:
                    spent.commit += time.perf_counter() - began
            return result
        raise AssertionError("the last run never misses")

    async def _take_turn(
        self,
        request: Callable[[Transaction], Awaitable[R]],
        key: Key | None,
        act: Act | None,
        absent: frozenset[Question],
        *,
        may_wait: bool,
    ) -> tuple[R, Batch | None]:
        began = time.perf_counter()
        async with self._turn:
            self._check_writable()
            await self._drained(cascades=True)
            if (spent := SPENT.get()) is not None:
                spent.queue += time.perf_counter() - began
            transaction = Transaction(
                self._store,
                self._below(),
                seq=self.next_seq,
                now=self._now(),
                drained=self._drained,
                absent=absent,
                may_wait=may_wait,
            )
            result = await request(transaction)
            if key is not None:
                transaction.keep_receipt(key.text, key.arguments, result, transaction.now + key.keep_ms)
            return result, self._join(transaction, act)

    def _join(self, transaction: Transaction, act: Act | None) -> Batch | None:
        """Let what a request staged join the open batch. Returns the batch that must be durable for it to be true."""
        self._check_failure()
        if not transaction.changes:
            # What it saw of others' changes may not be durable yet.
            return self._open or self._committing
        self.next_seq, self._last_time = transaction.seq, transaction.now
        if act is not None:
            transaction.changes.audit.append(transaction.changes.entry(transaction.now, act))
        if (spent := SPENT.get()) is not None:
            spent.stored = True
        self._open.add(transaction.changes)
        self._work.set()
        return self._open

    async def note(self, act: Act, outcome: str, *, about: str | None = None, requests: int = 1) -> None:
        """Add a row to the audit log that goes with no write here, and return once it is durable.

        Raises:
            Unavailable: the store cannot write.
        """
        self._check_writable()
        batch = self._open
        batch.note(Entry(self._now(), act, outcome, about=about, requests=requests))
        self._work.set()
        await self._durable(batch)

    async def _durable(self, batch: Batch) -> None:
        await batch.done.wait()
        if batch.error is not None:
            raise Unavailable(f"Nothing was stored: {batch.error}")

    async def _drained(self, *, cascades: bool = False) -> None:
        """Wait until what is on its way is durable; with `cascades` only what must be committed alone."""
        for batch in (self._committing, self._open or None):
            if batch is not None and (batch.alone or not cascades):
                await batch.done.wait()
        self._check_failure()

    def _below(self) -> tuple[Changes, ...]:
        return (self._open,) if self._committing is None else (self._open, self._committing)

    def _now(self) -> int:
        return max(self._last_time, time.time_ns() // 1_000_000)

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise Unavailable(self._failure)

    def _check_writable(self) -> None:
        self._check_failure()
        if self._refusing:
            raise Unavailable("The hub is stopping; try again in a moment.")
        now = time.monotonic()
        if now - self._disk_checked > DISK_CHECK_SECONDS:
            self._disk_checked = now
            self._disk_free = shutil.disk_usage(self._directory).free
        if self._disk_free < RESERVE_BYTES:
            raise Unavailable(
                f"The disk of {self._directory} is full ({self._disk_free >> 20} MiB free). Nothing was stored; "
                "free some space and try again."
            )

    # -- idempotency -------------------------------------------------------------------------------------------------

    async def _recall(self, key: Key) -> Receipt | None:
        """What was answered to the key, once it is durable."""
        for batch in (self._open, self._committing):
            # Left behind by a request that was cancelled while it waited.
            if batch is not None and key.text in batch.receipts:
                await self._durable(batch)
                return batch.receipts[key.text]
        return await self._receipts.committed(key)

    # -- commits -----------------------------------------------------------------------------------------------------

    async def commit_loop(self) -> None:
        """Commit batches until `close`. Run as a task of the hub."""
        try:
            await self._commit_batches()
        finally:
            self._closed.set()
            self._refuse_hold()

    async def _commit_batches(self) -> None:
        while not (self._closing and not self._open):
            idle = not await self._has_work()
            if self._open:
                await self._linger()
            batch, self._open, self._work = self._open, Batch(), asyncio.Event()
            if batch:
                await self._commit(batch, self.next_seq)
            if self._hold is not None:
                await self._make_held_checkpoint(self._hold)
            elif idle or self._uncheckpointed >= self._checkpoint_rows:
                await self._checkpoint()
        if self._hold is None:
            await self._checkpoint()

    async def _has_work(self) -> bool:
        """Wait for requests; false when none came for so long that there is something to do."""
        try:
            async with asyncio.timeout(self._patience()):
                await self._work.wait()
        except TimeoutError:
            return False
        return True

    def _patience(self) -> float | None:
        """Seconds without a write after which there is something to do."""
        held = self._hold is not None and self._hold.done()
        return self._checkpoint_idle if self._uncheckpointed and not held else None

    async def _linger(self) -> None:
        """Let requests that are on their way join: a pass of the loop that brings none ends the wait."""
        for _ in range(LINGER_PASSES):
            before = self._open.requests
            await asyncio.sleep(0)
            if self._open.requests == before:
                return

    async def _commit(self, batch: Batch, next_seq: int) -> None:
        self._committing = batch
        began = time.perf_counter()
        try:
            await self._store.database.write(lambda _: self._committer.commit(batch, next_seq))
        except duckdb.Error as error:
            batch.error = _reason(error)
            self.fail(error)
        except BaseException as error:  # a defect ends the loop, and nobody may take the batch for stored
            batch.error = _reason(error)
            raise
        else:
            self._store.publish(batch, next_seq)
            self._uncheckpointed += sum(map(len, batch.rows.values())) + len(batch.audit)
            self.commits += 1
            for observer in self.observers:
                observer(batch.requests, time.perf_counter() - began)
        finally:
            self._committing = None
            batch.done.set()

    async def _checkpoint(self) -> bool:
        """Fold derived fields and the log into the main file; whether that could be done."""
        if not self._uncheckpointed or self._failure is not None:
            return False
        waiting, self._uncheckpointed = self._uncheckpointed, 0
        try:
            await self._store.fold()
            await self._store.database.write(fold_audit)
            await self._store.database.write(lambda _: self._committer.checkpoint())
        except duckdb.TransactionException as error:
            log.info("the checkpoint waits: %s", _reason(error))
            self._uncheckpointed = waiting
        except duckdb.Error as error:
            self.fail(error)
        else:
            return True
        return False

    @asynccontextmanager
    async def checkpointed(self) -> AsyncIterator[Checkpoint]:
        """Make a checkpoint at once, and none while this lasts: the main file stays as it is, commits go to the log.

        One at a time; the next one waits. After `close` nothing changes any more, and there is nothing to be made.

        Raises:
            Unavailable: the store failed.
        """
        async with self._holders:
            self._check_failure()
            if self._closing and self._closed.is_set():
                yield self._moment()
                return
            self._hold = asyncio.get_running_loop().create_future()
            self._work.set()
            try:
                yield await self._hold
            finally:
                self._hold = None
                self._work.set()

    async def _make_held_checkpoint(self, hold: asyncio.Future[Checkpoint]) -> None:
        if hold.done():
            return
        self._uncheckpointed = self._uncheckpointed or 1  # what is in the log may be no commit of ours
        if await self._checkpoint() and not hold.done():
            hold.set_result(self._moment())

    def _moment(self) -> Checkpoint:
        return Checkpoint(as_of=self._now(), commits=self.commits, next_seq=self._store.last_seq + 1)

    def fail(self, error: BaseException) -> None:
        """Refuse everything from now on, and say why."""
        if self._failure is not None:
            return
        reason = _reason(error)
        log.error("the database failed: %s", reason)
        self._failure = f"The database failed and the hub restarts: {reason}"
        self._refuse_hold()
        if self._open:
            self._open.error = reason
            self._open.done.set()
            self._open, self._work = Batch(), asyncio.Event()
        self._on_failure(reason)

    @property
    def refusal(self) -> str | None:
        """Why nothing can be written any more; None while this hub takes requests."""
        return self._failure or ("The hub is stopping." if self._refusing else None)

    def _refuse_hold(self) -> None:
        if self._hold is not None and not self._hold.done():
            self._hold.set_exception(Unavailable(self._failure or "The hub is stopping; try again in a moment."))

    async def close(self) -> None:
        """Refuse new requests and wait until everything that joined is durable and folded."""
        self._refusing = True
        async with self._turn:  # who is in the middle of a request may end it
            self._closing = True
        self._work.set()
        if self._failure is None:
            await self._closed.wait()


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
