"""The index is opened when it is first needed: LanceDB takes two seconds to import, the first answer does not wait."""

from __future__ import annotations

import asyncio
import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from storage.batch import Changes
from storage.embedding import Embedder, EmbeddingError, NoEmbedder
from storage.index.documents import INDEXED

if TYPE_CHECKING:
    from storage.index.indexer import Indexer
    from storage.store import Store

log = logging.getLogger(__name__)


class Index:
    """The index of a store, opened on demand.

    `dims` is the length of vectors that callers may bring along (None: any, because it is not known or not used).
    """

    def __init__(self, directory: Path, embedder: Embedder, dims: int | None, idle: float) -> None:
        self.dims = dims
        self._directory = directory
        self._embedder = embedder
        self._idle = idle
        self._opening = asyncio.Lock()
        self._indexer: Indexer | None = None
        self._trouble: str | None = None
        self._needed = asyncio.Event()

    async def follow_when_needed(self, store: Store) -> None:
        """Open the index as soon as there is something in it; LanceDB takes 130 MB."""
        rows = " UNION ALL ".join(f'SELECT seq FROM "{table.table}"' for table in INDEXED)
        if await store.database.select(f"SELECT 1 FROM ({rows}) LIMIT 1"):
            self._needed.set()
        await self._needed.wait()
        await self.get(store)

    async def get(self, store: Store) -> Indexer:
        """The indexer; it is opened, and begins to follow the store, when it is first asked for."""
        async with self._opening:
            if self._indexer is None:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(None, importlib.import_module, "lancedb")
                from storage.index.indexer import Indexer

                embedder = await loop.run_in_executor(None, self._usable)
                self._indexer = await Indexer.open(store, self._directory, embedder, self._idle)
                self._indexer.start()
        return self._indexer

    def _usable(self) -> Embedder:
        """The embedder, or none where it cannot say what it is; then only words are searched until the next start."""
        try:
            log.info("embedding with %s (%s numbers)", self._embedder.id, self._embedder.dims)
        except EmbeddingError as error:
            self._trouble = f"Only words are searched: {error}"
            log.warning("%s", self._trouble)
            return NoEmbedder()
        return self._embedder

    def follow(self, changes: Changes) -> None:
        """Hear of a published batch. Before the index is open there is nothing to note: it compares when it opens."""
        if self._indexer is not None:
            self._indexer.follow(changes)
        elif any(table in changes.rows for table in INDEXED):
            self._needed.set()

    def status(self) -> dict[str, object]:
        """What `one-mcp status` tells."""
        if self._indexer is None:
            return {"open": False}
        alarm = self._trouble or self._indexer.alarm()
        return {
            "open": True,
            "model": self._indexer.embedder.id,
            "pending": self._indexer.pending(),
            **({"alarm": alarm} if alarm else {}),
        }

    async def close(self) -> None:
        """Close the files."""
        async with self._opening:
            if self._indexer is not None:
                await self._indexer.close()
                self._indexer = None
