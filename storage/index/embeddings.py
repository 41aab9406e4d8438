"""`embeddings.duckdb`: vectors by model, so that a lost index costs an index build and not an embedding run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from storage.database import Database, open_file
from storage.index.documents import CHUNKS_PER_ROW, Chunk
from storage.migrate import migrate
from storage.migrations import EMBEDDING_MIGRATIONS

Vectors = dict[int, "np.ndarray[Any, Any]"]

MEMORY = "256MB"
CHECKPOINT_VECTORS = 4_096
"""So many are in memory, 6 MB, until they are written where they stay; that writes a row group of 16,384 anew."""


class Embeddings:
    """The stored vectors of one model. `model` is the embedder's id."""

    def __init__(self, database: Database, model: int) -> None:
        self._database = database
        self._model = model
        self._unwritten = 0

    @classmethod
    def open(cls, directory: Path, model: str) -> Embeddings:
        """Open the file, migrated, for the embedder of that id.

        Raises:
            StorageFault: the file cannot be used.
        """
        path = directory / "embeddings.duckdb"
        connection = open_file(path, MEMORY)
        migrate(connection, path, EMBEDDING_MIGRATIONS)
        connection.execute(
            "INSERT INTO models SELECT coalesce(max(id), 0) + 1, ? FROM models HAVING count(*) FILTER (name = ?) = 0",
            [model, model],
        )
        ((number,),) = connection.execute("SELECT id FROM models WHERE name = ?", [model]).fetchall()
        return cls(Database(connection, read_threads=1), number)

    async def of(self, chunks: Sequence[Chunk]) -> Vectors:
        """The stored vectors of these chunks, by key, as far as they are of the same text."""
        digests = {chunk.key: chunk.digest for chunk in chunks}
        if not digests:
            return {}
        found: pa.Table = await self._database.read(
            lambda cursor: cursor.sql(
                "SELECT key, digest, vector FROM embeddings WHERE model = ? AND key IN (SELECT unnest(?::BIGINT[]))",
                params=[self._model, list(digests)],
            ).to_arrow_table()
        )
        if not found.num_rows:
            return {}
        keys, stored = found["key"].to_pylist(), found["digest"].to_pylist()
        vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
        return {key: vectors[i] for i, key in enumerate(keys) if digests[key] == stored[i]}

    async def keep(self, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store the vectors of these chunks, in one transaction."""
        kept = [chunk for chunk in chunks if chunk.key in vectors]
        if not kept:
            return
        flat = np.concatenate([vectors[chunk.key] for chunk in kept]).astype(np.float32)
        offsets = np.arange(0, len(flat) + 1, len(flat) // len(kept), dtype=np.int32)
        batch = pa.table(
            {
                "model": pa.array([self._model] * len(kept), pa.int32()),
                "key": pa.array([chunk.key for chunk in kept], pa.int64()),
                "digest": pa.array([chunk.digest for chunk in kept], pa.int64()),
                "vector": pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
            }
        )

        def work(connection: duckdb.DuckDBPyConnection) -> None:
            connection.register("batch", batch)
            connection.execute("INSERT OR REPLACE INTO embeddings SELECT model, key, digest, vector FROM batch")
            connection.unregister("batch")
            self._unwritten += len(kept)
            if self._unwritten >= CHECKPOINT_VECTORS:
                connection.execute("FORCE CHECKPOINT")
                self._unwritten = 0

        await self._database.write(work)

    async def forget(self, seqs: Sequence[int]) -> None:
        """Drop the vectors of rows, of every model: nothing of what was deleted stays."""
        await self._database.write(
            lambda connection: connection.execute(
                f"DELETE FROM embeddings WHERE key // {CHUNKS_PER_ROW} IN (SELECT unnest(?::BIGINT[]))", [list(seqs)]
            )
        )

    async def forget_model(self) -> None:
        """Drop the vectors of this model."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM embeddings WHERE model = ?", [self._model])
        )

    async def count(self) -> int:
        """How many vectors of this model there are."""
        rows = await self._database.select("SELECT count(*) FROM embeddings WHERE model = ?", [self._model])
        return int(rows[0][0])

    async def close(self) -> None:
        """Checkpoint and close the file."""
        await self._database.write(lambda connection: connection.execute("CHECKPOINT"))
        await self._database.close()
