"""Puts the storage together: opens and recovers the file, and hands out views and the writer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from storage.analytics_views import describe
from storage.database import Database, open_file
from storage.digests import KNOWLEDGE_DIGEST
from storage.directory import prepare
from storage.embedding import Embedder, NoEmbedder
from storage.errors import StorageFault
from storage.fields import to_timestamp
from storage.index.opening import Index
from storage.migrate import migrate
from storage.migrations import MIGRATIONS
from storage.row import Row, column_list, columns
from storage.snapshots import Snapshots
from storage.sql import Limits, SqlRunner
from storage.store import Store
from storage.tables import TABLES, Conversation, Knowledge, Message, User
from storage.timeline import Timeline
from storage.view import View
from storage.writer import Writer

log = logging.getLogger(__name__)

WARM = 10_000
"""So many conversations are brought into memory behind the first answers, as far as the budget of the cache goes."""
WARM_PAGES = 1_000
"""Of so many conversations the newest page as well."""
WARM_SLICE, WARM_RESTS = 10, 9
"""It rests so many times as long as it works, 7 s at a million messages: whoever reads meanwhile is hardly delayed."""
READ_AHEAD, READ_AHEAD_SLICE = 1_000_000, 65_536
"""So many commits back messages are brought into DuckDB's memory, as far as its limit goes: 0.6 s and 150 MB for a
million. Fifty scattered rows, each in another block, then take 4 instead of 10 ms."""
LOAD_AFTER_SECONDS = 0.3
"""The first answers come from the file; what later ones take from memory is loaded behind them."""
NO_EMBEDDER = NoEmbedder()
LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Options:
    """How the storage is run; `config.toml` says what each means. Sizes are in bytes, times in seconds.

    `vector_dims` is the length of vectors that callers may bring along, None where any will do.
    """

    memory_limit: str = "1GB"
    read_threads: int = 2
    rows_bytes: int = 96 << 20
    messages_bytes: int = 128 << 20
    checkpoint_rows: int = 20_000
    checkpoint_idle_seconds: float = 1.0
    snapshot_seconds: float = 0.0
    zone: str = ""
    embedder: Embedder = NO_EMBEDDER
    vector_dims: int | None = None
    unload_idle_seconds: float = 900.0
    query: Limits = LIMITS
    query_rows: int = 1_000
    query_bytes: int = 256 << 10


class Engine:
    """The open system of record of one data directory."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self.store = store
        self.writer = writer
        self._committing: asyncio.Task[None]
        self._loading: list[asyncio.Task[None]] = []

    @classmethod
    def open(cls, directory: Path, options: Options, on_failure: Callable[[str], None]) -> Engine:
        """Open `one.duckdb`, migrated and recovered. Call it once, from the loop's thread.

        `on_failure` is called with a reason when the file fails while it is in use.

        Raises:
            StorageFault: the directory or the file cannot be used; nothing was changed.
        """
        prepare(directory)
        path = directory / "one.duckdb"
        connection = open_file(path, options.memory_limit)
        try:
            migrate(connection, path, MIGRATIONS)
            next_seq, last_time = _counters(connection)
            message_times = _unfolded(connection)
            aliased = [name for (name,) in connection.execute('SELECT DISTINCT "table" FROM aliases').fetchall()]
        except StorageFault:
            connection.close()
            raise
        except duckdb.Error as error:
            connection.close()
            raise StorageFault(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
        index = Index(directory, options.embedder, options.vector_dims, options.unload_idle_seconds)
        store = Store(
            Database(connection, options.read_threads),
            rows_bytes=options.rows_bytes,
            messages_bytes=options.messages_bytes,
            next_seq=next_seq,
            message_times=message_times,
            aliased=aliased,
            index=index,
            zone=ZoneInfo(options.zone) if options.zone else None,
        )
        writer = Writer(
            store,
            directory,
            next_seq=next_seq,
            last_time=last_time,
            checkpoint_rows=options.checkpoint_rows,
            checkpoint_idle=options.checkpoint_idle_seconds,
            on_failure=on_failure,
        )
        store.snapshots = Snapshots(
            writer, directory, options.snapshot_seconds, before_first=partial(store.database.write, describe)
        )
        store.sql = SqlRunner(
            store.snapshots, directory, options.query, max_rows=options.query_rows, max_bytes=options.query_bytes
        )
        return cls(store, writer)

    def view(self) -> View:
        """The committed state, for reading."""
        return View(self.store)

    def start(self) -> None:
        """Begin to commit, and load in the background what reads will need."""
        self._committing = self._begin(self.writer.commit_loop())
        self._loading = [self._begin(self._load()), self._begin(self._drop_old_receipts())]

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.writer.fail(error)

    async def _load(self) -> None:
        await asyncio.sleep(LOAD_AFTER_SECONDS)
        await self.store.due.load()
        messages: tuple[tuple[type[Row], str], Timeline] = ((Message, "conversation_id"), self.store.pages.timeline)
        for (table, field), timeline in (*self.store.timelines.items(), messages):
            parent = table.model_fields[field].alias
            timeline.load(
                await self.store.database.select(f'SELECT "{parent}", list(seq) FROM "{table.table}" GROUP BY ALL')
            )
        digests = await self.store.database.select(f'SELECT {KNOWLEDGE_DIGEST} FROM "{Knowledge.table}"')
        self.store.known_texts.load(digest for (digest,) in digests)
        await self._read_ahead()

    async def warm(self) -> None:
        """Bring into memory what is read next most likely: the conversations with the newest messages.

        It leaves most of the time to those who ask for something.
        """
        recent = await self.store.database.select(
            f'SELECT _id FROM "{Conversation.table}" ORDER BY "lastMessageTime" DESC NULLS LAST LIMIT {WARM}'
        )
        ids = [row_id for (row_id,) in recent]
        for begin in range(0, len(ids), WARM_SLICE):
            started = time.monotonic()
            slice_ = ids[begin : begin + WARM_SLICE]
            room = await self.store.warm(slice_)
            if begin < WARM_PAGES:
                await self.store.pages.warm(slice_)
            elif not room:
                return
            await asyncio.sleep(WARM_RESTS * (time.monotonic() - started))

    async def _read_ahead(self) -> None:
        """Read the blocks of the newest messages, so that the first who asks does not wait for them."""
        read = ", ".join(f'"{column.name}"' for column in columns(Message) if column.name != "vector")
        newest = self.store.last_seq
        for end in range(newest, max(0, newest - READ_AHEAD), -READ_AHEAD_SLICE):
            started = time.monotonic()
            try:
                await self.store.database.select(
                    f'SELECT max(hash({read})) FROM "{Message.table}" WHERE seq > ? AND seq <= ?',
                    [end - READ_AHEAD_SLICE, end],
                )
            except duckdb.Error as error:  # a damaged block, or too little memory: who asks for such a row is told
                log.warning("older messages are not read ahead: %s", str(error).splitlines()[0])
                return
            await asyncio.sleep(time.monotonic() - started)

    async def _drop_old_receipts(self) -> None:
        now = to_timestamp(time.time_ns() // 1_000_000)
        await self.store.database.write(
            lambda connection: connection.execute("DELETE FROM requests WHERE keptUntil < ?", [now])
        )

    async def close(self) -> None:
        """Make everything that was accepted durable, publish it, and close the file."""
        await self.store.sql.close()
        snapshots = self.store.snapshots
        await snapshots.settle()
        await self.writer.close()
        for task in self._loading:
            task.cancel()
        await asyncio.gather(self._committing, *self._loading, return_exceptions=True)
        await snapshots.last()
        await self.store.index.close()
        await self.store.database.close()
        snapshots.close()

    async def first_user(self) -> User | None:
        """The user that was made first: the local owner."""
        rows = await self.store.database.select(f'SELECT {column_list(User)} FROM "{User.table}" ORDER BY seq LIMIT 1')
        return User.loaded(rows[0]) if rows else None


def _counters(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    parts = " UNION ALL ".join(
        f'SELECT max(seq) AS s, max(rev) AS r, max("createdAt") AS t FROM "{t.table}"' for t in TABLES
    )
    ((last_seq, last_time),) = connection.execute(
        "SELECT greatest(coalesce(max(s), 0), coalesce(max(r), 0), "
        "coalesce((SELECT value::BIGINT FROM meta WHERE name = 'seq'), 0)), coalesce(epoch_ms(max(t)), 0) "
        f"FROM ({parts})"
    ).fetchall()
    return last_seq + 1, last_time


def _unfolded(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The derived times of conversations that got messages after the last fold."""
    return dict(
        connection.execute(
            f'SELECT "conversationId", epoch_ms(max("createdAt")) FROM "{Message.table}" '
            "WHERE seq >= coalesce((SELECT value::BIGINT FROM meta WHERE name = 'folded'), 0) GROUP BY ALL"
        ).fetchall()
    )
