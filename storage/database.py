"""The DuckDB file: one thread that writes, a few that read, each with connections of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from storage.errors import StorageFault

T = TypeVar("T")

STORAGE_VERSION = "v1.2.0"
"""Files that DuckDB 1.2 and later can read; the default of 2.0 is refused by 1.4 and 1.5."""


ROW_GROUP_ROWS = 16_384
"""A checkpoint writes the last group of rows anew. With DuckDB's 122,880 of 400 bytes each that takes 0.1 s, 0.26 at
most; with these 0.02 and 0.05, and a fifth of the bytes. Groups that a file already has stay as they are."""

LEFT_OUT = "in_clause"
"""Of the optimizer: a list of values stays a filter of the scan. Joined, it is found no sooner, and each query leaves
2 kB in the queue of blocks to evict, which DuckDB clears from 37 MB on."""


def open_file(path: Path, memory_limit: str) -> duckdb.DuckDBPyConnection:
    """Open (or create) a database file for writing.

    Raises:
        StorageFault: the file is damaged, foreign, or open in another program.
    """
    config: dict[str, Any] = {
        "memory_limit": memory_limit,
        "threads": 1,
        "async_threads": 0,  # eight by default, for reads ahead that a file on this machine does not gain from
        "disabled_optimizers": LEFT_OUT,
        "wal_autocheckpoint": "1TB",  # checkpoints block commits: we choose when
    }
    connection = _connect(path, ":memory:", **config)
    location, name = str(path).replace("'", "''"), path.stem
    options = f"STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    try:
        connection.execute(f"ATTACH '{location}' AS \"{name}\" ({options})")
        connection.execute(f'USE "{name}"')
    except duckdb.Error as error:
        connection.close()
        raise StorageFault(_reason(path, error)) from error
    return connection


def open_to_read(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database file that no hub has open, without changing anything.

    Raises:
        StorageFault: the file is damaged, foreign, or open in another program.
    """
    return _connect(path, str(path), read_only=True)


def _connect(path: Path, database: str, *, read_only: bool = False, **config: Any) -> duckdb.DuckDBPyConnection:
    if _is_foreign(path):  # DuckDB would look for an extension that reads it
        raise StorageFault(f"{path} is not a DuckDB database. Move it away, or choose another directory with --data.")
    config |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    try:
        return duckdb.connect(database, read_only=read_only, config=config)
    except duckdb.Error as error:
        raise StorageFault(_reason(path, error)) from error


def _is_foreign(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:  # not there yet, or DuckDB will say what is wrong
        return False
    return head != b"" and head[8:] != b"DUCK"


def _reason(path: Path, error: duckdb.Error) -> str:
    text = str(error)
    first_line = text.splitlines()[0] if text else type(error).__name__
    if "Could not set lock" in text:
        return f"{path} is open in another program; close it there (it is not safe to share: use analytics.duckdb)."
    return f"{path} cannot be opened: {first_line} Move it away or restore a copy; it was left as it is."


class Database:
    """Runs functions on the writer's connection or on a reader's cursor, each in its own thread."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, read_threads: int) -> None:
        self.connection = connection
        ((self._name,),) = connection.execute("SELECT current_database()").fetchall()
        self.unoptimized = self._cursor()
        """A second connection of the writer, for statements in which there is nothing to optimize."""
        self.unoptimized.execute("SET SESSION enable_optimizer = false")
        self._local = threading.local()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="one-writer")
        self._readers = ThreadPoolExecutor(read_threads, thread_name_prefix="one-reader")

    async def write(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `work` in the writer's thread; one at a time, in the order of the calls."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, self.connection)

    async def read(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Run `work` in a reader's thread; it sees what is committed when it starts."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._with_cursor, work)

    async def select(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return await self.read(lambda cursor: cursor.execute(sql, parameters).fetchall())

    def _with_cursor(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        cursor = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self._cursor()
        return work(cursor)

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self.connection.cursor()
        cursor.execute(f'USE "{self._name}"')
        return cursor

    async def close(self) -> None:
        """Finish what runs, checkpoint and close the file."""
        # Readers first: DuckDB refuses to close a connection that a read, whoever gave up waiting for it, still uses.
        await asyncio.get_running_loop().run_in_executor(None, self._readers.shutdown)
        try:
            await self.write(self._close)
        finally:
            self._writer.shutdown()

    def _close(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.unoptimized.close()
        connection.close()
