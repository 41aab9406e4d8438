"""The published snapshot: `analytics.duckdb`, a copy of the tables for analysts."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from storage.store import Store

NAME = "analytics.duckdb"


@dataclass(frozen=True, slots=True)
class Published:
    """Where the snapshot is, the state that it shows (epoch ms), and a number that grows with each publication."""

    path: Path
    as_of: int
    generation: int


class Snapshots:
    """Publishes the snapshot."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.listeners: list[Callable[[Published], None]] = []
        """Who hears of each publication; must not block."""
        self._store = store
        self._path = directory / NAME
        self._source = directory / "one.duckdb"
        self._published: Published | None = None
        self._turn = asyncio.Lock()

    async def latest(self, *, fresh: bool = False) -> Published:
        """The published snapshot; published before when there is none, or when asked for a fresh one."""
        async with self._turn:
            if self._published is None or fresh:
                await self._store.fold()
                as_of = time.time_ns() // 1_000_000
                await self._store.database.write(self._copy)
                number = self._published.generation + 1 if self._published else 1
                self._published = Published(self._path, as_of, number)
                for listener in self.listeners:
                    listener(self._published)
            return self._published

    def _copy(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("FORCE CHECKPOINT")
        spare = self._path.with_suffix(".new")
        shutil.copyfile(self._source, spare)
        spare.chmod(0o444)
        self._path.with_name(NAME + ".wal").unlink(missing_ok=True)
        spare.replace(self._path)
