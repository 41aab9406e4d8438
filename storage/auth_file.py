"""`auth.duckdb`: every row in memory, every change durable before anybody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar, cast

import anyio
import duckdb

from storage.auth_tables import AUTH_TABLES, OWN_AUTH_TABLES, AccessToken, AuthSession
from storage.database import Database, open_file
from storage.migrate import migrate
from storage.migrations import AUTH_MIGRATIONS
from storage.row import Row, by_name, column_list, columns

R = TypeVar("R", bound=Row)

_TABLES: tuple[type[Row], ...] = (*AUTH_TABLES, *OWN_AUTH_TABLES)
_LOOKUPS = frozenset(
    {
        "access_hash",
        "account_id",
        "code",
        "client_id",
        "email",
        "hash",
        "identifier",
        "owner_id",
        "provider_account_id",
        "session_id",
        "user_id",
        "verifier",
    }
)
"""Python names of the fields by which rows are found."""
_CHECKPOINT_COMMITS = 1_000
USE_NOTED_EVERY_MS = 60_000

log = logging.getLogger(__name__)


def now_ms() -> int:
    """The time in epoch ms."""
    return time.time_ns() // 1_000_000


def digest(secret: str) -> str:
    """What is stored of a random secret. It has at least 256 bits, so a plain hash suffices."""
    return hashlib.sha256(secret.encode()).hexdigest()


class AuthFile:
    """The rows of `auth.duckdb`. There are few, so all are in memory; one change is made at a time."""

    def __init__(self, database: Database, rows: list[Row]) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._rows: dict[type[Row], dict[str, Row]] = {table: {} for table in _TABLES}
        self._found: dict[tuple[type[Row], str, str], dict[str, None]] = defaultdict(dict)
        self._next_seq = max((max(row.seq, row.rev) for row in rows), default=0) + 1
        self._commits = 0
        self._uses: dict[tuple[type[Row], str], int] = {}
        self._noting: asyncio.Task[None] | None = None
        for row in rows:
            self._put(row)

    @classmethod
    def open(cls, directory: Path, memory_limit: str) -> AuthFile:
        """Open the file of a data directory, migrated and readable by its owner only.

        Raises:
            StorageFault: the file cannot be used.
        """
        path = directory / "auth.duckdb"
        connection = open_file(path, memory_limit)
        path.chmod(0o600)
        migrate(connection, path, AUTH_MIGRATIONS)
        rows: list[Row] = []
        for table in _TABLES:
            stored = connection.execute(f'SELECT {column_list(table)} FROM "{table.table}" ORDER BY seq').fetchall()
            rows += [table.loaded(values) for values in stored]
        return cls(Database(connection, read_threads=1), rows)

    @property
    def tables(self) -> tuple[type[Row], ...]:
        """Every table of the file."""
        return _TABLES

    def all(self, table: type[R]) -> list[R]:
        """Every row of a table, in the order they were made."""
        return cast("list[R]", list(self._rows[table].values()))

    def get(self, table: type[R], row_id: str) -> R | None:
        """The row of that id."""
        return cast("R | None", self._rows[table].get(row_id))

    def where(self, table: type[R], field: str, value: str) -> list[R]:
        """The rows whose field (a Python name) has that value, in the order they were made."""
        assert field in _LOOKUPS, field
        rows = self._rows[table]
        return cast("list[R]", [rows[row_id] for row_id in self._found.get((table, field, value), ())])

    @contextlib.asynccontextmanager
    async def change(self, now: int) -> AsyncIterator[AuthChange]:
        """One change of any number of rows, made when the block ends without an error. Nobody else changes meanwhile.

        `now` (epoch ms) is the time of the rows it makes.
        """
        async with self._lock:
            change = AuthChange(self, now)
            yield change
            if not change.steps:
                return
            # What is being committed is also published, whoever gave up waiting.
            with anyio.CancelScope(shield=True):
                await self._database.write(lambda connection: self._commit(connection, change.steps))
                for before, after in change.steps:
                    self._publish(before, after)

    def note_use(self, row: AccessToken | AuthSession, now: int) -> None:
        """Have it stored soon that a token or a session was used at `now`; at most once a minute for each.

        Nobody waits for it: when hundreds come at once after a pause, each would wait for the notes of all.
        """
        key = (type(row), row.id)
        if now - (row.last_used_time or 0) <= USE_NOTED_EVERY_MS or key in self._uses:
            return
        self._uses[key] = now
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._note_uses())
            self._noting.add_done_callback(_log_failure)

    async def _note_uses(self) -> None:
        while self._uses:
            uses = dict(self._uses)
            try:
                async with self.change(now_ms()) as change:
                    for (table, row_id), used in uses.items():
                        row = self.get(table, row_id)
                        if row is not None:
                            change.update(row, last_used_time=used)
            finally:
                for key in uses:
                    del self._uses[key]

    def take_seq(self) -> int:
        """The next number of a row or a change."""
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        return seq

    def _commit(self, connection: duckdb.DuckDBPyConnection, steps: list[tuple[Row | None, Row | None]]) -> None:
        connection.begin()
        try:
            for before, after in steps:
                connection.execute(*_statement(before, after))
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
        self._commits += 1
        if self._commits % _CHECKPOINT_COMMITS == 0:
            connection.execute("CHECKPOINT")

    def _publish(self, before: Row | None, after: Row | None) -> None:
        if before is not None:
            for key in _keys(before):
                self._found[key].pop(before.id, None)
                if not self._found[key]:
                    del self._found[key]
        if after is not None:
            self._put(after)
        elif before is not None:
            del self._rows[type(before)][before.id]

    def _put(self, row: Row) -> None:
        self._rows[type(row)][row.id] = row
        for key in _keys(row):
            self._found[key][row.id] = None

    async def close(self) -> None:
        """Close the file."""
        if self._noting is not None:
            await asyncio.wait([self._noting])
        await self._database.close()


class AuthChange:
    """What one change does, row by row: what is stored before and after."""

    def __init__(self, file: AuthFile, now: int) -> None:
        self._file = file
        self.now = now
        self.steps: list[tuple[Row | None, Row | None]] = []

    def insert(self, table: type[R], **fields: Any) -> R:
        """A new row."""
        seq = self._file.take_seq()
        own = {"id": f"{table.prefix}_{seq}", "seq": seq, "rev": seq, "created_at": self.now}
        row = table.model_validate({**own, **fields})
        self.steps.append((None, row))
        return row

    def update(self, row: R, **fields: Any) -> R:
        """The row with other values. Once in a change, and not of a row that the change made."""
        after = row.changed(**fields, rev=self._file.take_seq())
        self.steps.append((row, after))
        return after

    def delete(self, row: Row) -> None:
        """The end of a row."""
        self.steps.append((row, None))


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("when tokens were last used could not be stored", exc_info=task.exception())


def _keys(row: Row) -> list[tuple[type[Row], str, str]]:
    values = ((name, getattr(row, name)) for name in _LOOKUPS & type(row).model_fields.keys())
    return [(type(row), name, value) for name, value in values if value is not None]


def _statement(before: Row | None, after: Row | None) -> tuple[str, list[Any]]:
    if after is None:
        assert before is not None
        return f'DELETE FROM "{before.table}" WHERE seq = ?', [before.seq]
    if before is None:
        return f'INSERT INTO "{after.table}" VALUES ({", ".join("?" * len(columns(type(after))))})', after.stored()
    old = before.stored()
    changed = [
        (column.name, value)
        for column, value, known in zip(columns(type(after)), after.stored(), old, strict=True)
        if value != known
    ]
    assert {name for name, _ in changed} <= by_name(type(after)).keys()
    sets = ", ".join(f'"{name}" = ?' for name, _ in changed)
    return f'UPDATE "{after.table}" SET {sets} WHERE seq = ?', [*(value for _, value in changed), after.seq]
