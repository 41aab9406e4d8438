"""One LanceDB table: chunks of one of our tables with their words and vectors."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage.index.documents import Chunk, Document, digest
from storage.index.fusion import Hit

if TYPE_CHECKING:
    from lancedb import AsyncConnection, AsyncTable

FLAT_ROWS = 50_000
"""Below this an exact scan is as fast as an index."""
BYPASS_ROWS = 20_000
"""A filter that leaves no more than this is scanned exactly."""
OPTIMIZE_EVERY = 50
"""Writes between two compactions; each leaves a fragment, and 2,000 of them make a scan 30 times slower."""
UNINDEXED_ROWS = 1_000
"""Chunks whose words are not in the index yet are searched one by one: 10 to 15 ms a thousand."""
SHARE_WHEN_QUIET, SHARE_WHEN_BUSY, SHARE_OF_WRITES = 500, 50, 2_500
"""Compacting writes the whole index of words anew: 10 s and 315 MB at a million chunks. So it waits for another
500th of the table (3,000 chunks at a million: 45 ms a search), or a 50th while others write (20,000: 220 ms)."""
KEPT_VERSIONS = timedelta(minutes=2)
PROBES = 200
"""Of a million vectors mixed from real ones 50 probes found 0.89 of the 10 nearest, 100 or more 0.957, in 19 ms each;
of a million random ones, which have no neighbourhoods, 0.39 and 0.69."""
REFINED = 800
"""So many of the nearest by RQ are compared by their whole vectors. RQ without refining has a recall of 0.5 to 0.7.
Twenty for each of all candidates of a search made it take 5.5 times as long as LanceDB alone at 100,000; now 1.6, with
a recall of 10 of 1.000."""


def schema(dims: int) -> pa.Schema:
    """The columns. Without an embedder (`dims` 0) there is no vector."""
    fields = [
        pa.field("key", pa.int64(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("rev", pa.int64(), nullable=False),
        pa.field("scope", pa.string()),
        pa.field("author", pa.string()),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("step", pa.string()),
        pa.field("moment", pa.int64()),
        pa.field("hidden", pa.bool_()),
        pa.field("speaker", pa.int64()),
        pa.field("start", pa.int32()),
        pa.field("digest", pa.int64()),
        pa.field("words", pa.string()),
    ]
    if dims:
        encoding = {b"lance-encoding:structural-encoding": b"miniblock"}
        fields.append(pa.field("vector", pa.list_(pa.float32(), dims), metadata=encoding))
    return pa.schema(fields)


class ChunkTable:
    """A LanceDB table of chunks. All methods may be called while others run."""

    _table: AsyncTable

    def __init__(self, database: AsyncConnection, name: str, dims: int) -> None:
        self._database = database
        self._name = name
        self._dims = dims
        self._indexed = False
        self._writes = 0
        self._chunks = 0
        self._unindexed = 0
        self.failure: str | None = None

    @classmethod
    async def open(cls, database: AsyncConnection, name: str, dims: int) -> ChunkTable:
        """Open the table, or make it with its indexes.

        Raises:
            OSError, RuntimeError, ValueError: the files are damaged; they can be deleted and are rebuilt.
        """
        table = cls(database, name, dims)
        await table._open()
        return table

    async def make_anew(self) -> None:
        """Begin with an empty table, whatever was in it or damaged it."""
        await self._database.drop_table(self._name, ignore_missing=True)
        await self._open()

    async def _open(self) -> None:
        from lancedb.index import FTS, Bitmap, BTree, LabelList

        database, name = self._database, self._name
        known = (await database.list_tables()).tables
        columns = schema(self._dims)
        table = await (database.open_table(name) if name in known else database.create_table(name, schema=columns))
        indexed = {column for index in await table.list_indices() for column in index.columns}
        for column, config in (
            ("words", FTS(with_position=False)),
            ("key", BTree()),
            ("seq", BTree()),
            ("moment", BTree()),
            ("scope", Bitmap()),
            ("tags", LabelList()),
        ):
            if column not in indexed:
                await table.create_index(column, config=config)
        self._table, self._indexed = table, "vector" in indexed
        self._chunks = await table.count_rows()
        for index in await table.list_indices():
            if index.columns == ["words"]:
                stats = await table.index_stats(index.name)
                self._unindexed = stats.num_unindexed_rows if stats is not None else 0

    async def put(self, documents: Sequence[Document], vectors: Mapping[int, Any], known: Collection[int]) -> None:
        """Store the chunks of these documents; `vectors` by chunk key, missing ones stay empty.

        `known` are the rows that may have chunks here already; those are replaced, and can be found all the while.
        """
        fresh = [document for document in documents if document.seq not in known and document.chunks]
        again = [document for document in documents if document.seq in known]
        if fresh:
            await self._table.add(self._rows(fresh, vectors))
        if again:
            rows = self._rows(again, vectors)
            if len(rows):
                await (
                    self._table.merge_insert("key")
                    .when_matched_update_all()
                    .when_not_matched_insert_all()
                    .execute(rows, on_bad_vectors="null")  # or it takes missing ones for a mistake
                )
            keys = ",".join(map(str, rows["key"].to_pylist())) or "-1"
            seqs = ",".join(str(document.seq) for document in again)
            await self._table.delete(f"seq IN ({seqs}) AND key NOT IN ({keys})")
        self._writes += 1
        self._chunks += sum(len(document.chunks) for document in fresh)
        self._unindexed += sum(len(document.chunks) for document in documents)

    def unkempt(self, *, busy: bool) -> bool:
        """Whether `maintain` is worth what it costs; `busy`: others need the processor."""
        share = SHARE_WHEN_BUSY if busy else SHARE_WHEN_QUIET
        return (
            self._writes >= OPTIMIZE_EVERY + self._chunks // SHARE_OF_WRITES
            or self._unindexed >= UNINDEXED_ROWS + self._chunks // share
        )

    def _rows(self, documents: Sequence[Document], vectors: Mapping[int, Any]) -> pa.Table:
        rows = [_row(document, chunk) for document in documents for chunk in document.chunks]
        columns = schema(0)
        batch = pa.Table.from_pylist(rows, schema=columns)
        if not self._dims:
            return batch
        none = np.zeros(self._dims, dtype=np.float32)
        made = [vectors.get(row["key"]) for row in rows]
        flat = np.concatenate([none if vector is None else vector for vector in made] or [none[:0]])
        empty = pa.array([vector is None for vector in made], pa.bool_())
        column = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), self._dims, mask=empty)
        return batch.append_column(schema(self._dims).field("vector"), column)

    async def remove(self, seqs: Iterable[int]) -> None:
        """Delete all chunks of rows."""
        listed = ",".join(map(str, seqs))
        if listed:
            await self._table.delete(f"seq IN ({listed})")

    async def stored(self) -> pa.Table:
        """What the store can be compared with, of every chunk."""
        columns = ["seq", "rev", "hidden", "speaker"]
        table: pa.Table = await self._table.query().select(columns).to_arrow()
        return table

    async def without_vector(self) -> list[int]:
        """The rows that have a chunk without a vector."""
        if not self._dims:
            return []
        found = await self._table.query().where("vector IS NULL").select(["seq"]).to_arrow()
        return sorted(set(found["seq"].to_pylist()))

    async def by_words(self, text: str, condition: str | None, limit: int) -> list[Hit]:
        """The chunks that best match the words, by BM25."""
        query = self._table.query().nearest_to_text(text)
        if condition:
            query = query.where(condition)
        found = await query.select(["seq", "start", "_score"]).limit(limit).to_arrow()
        return _best(
            zip(found["seq"].to_pylist(), found["start"].to_pylist(), found["_score"].to_pylist(), strict=True)
        )

    async def by_vector(self, vector: np.ndarray[Any, Any], condition: str | None, limit: int) -> list[Hit]:
        """The chunks nearest in meaning, by cosine similarity."""
        query = self._table.query().nearest_to(vector).distance_type("cosine")
        if condition:
            query = query.where(condition)
        if self._indexed:
            if condition and await self._table.count_rows(condition) <= BYPASS_ROWS:
                query = query.bypass_vector_index()
            else:
                query = query.nprobes(PROBES).refine_factor(max(2, REFINED // limit))
        found = await query.select(["seq", "start", "_distance"]).limit(limit).to_arrow()
        scores = [1 - distance for distance in found["_distance"].to_pylist()]
        return _best(zip(found["seq"].to_pylist(), found["start"].to_pylist(), scores, strict=True))

    async def count(self) -> int:
        """How many chunks there are."""
        return int(await self._table.count_rows())

    async def maintain(self) -> None:
        """Compact the files, bring the indexes up to date, and drop old versions. Remembers why it could not."""
        from lancedb.index import IvfRq

        self._writes = self._unindexed = 0
        try:
            if self._dims and not self._indexed and await self._table.count_rows("vector IS NOT NULL") > FLAT_ROWS:
                await self._table.create_index("vector", config=IvfRq(distance_type="cosine"))
                self._indexed = True
            await self._table.optimize(cleanup_older_than=KEPT_VERSIONS)
            self._chunks = await self._table.count_rows()
            self.failure = None
        except (OSError, RuntimeError, ValueError) as error:
            self.failure = f"{time.strftime('%H:%M:%S')} {str(error).splitlines()[0]}"


def _row(document: Document, chunk: Chunk) -> dict[str, Any]:
    return {
        "key": chunk.key,
        "seq": document.seq,
        "rev": document.rev,
        "scope": document.scope,
        "author": document.author,
        "tags": document.tags,
        "step": document.step,
        "moment": document.moment,
        "hidden": document.hidden,
        "speaker": digest(document.speaker) if document.speaker else 0,
        "start": chunk.start,
        "digest": chunk.digest,
        "words": f"{document.speaker}: {chunk.text}" if document.speaker else chunk.text,
    }


def _best(found: Iterable[tuple[int, int, float]]) -> list[Hit]:
    """The best chunk of each row, in the order they came: the best first."""
    best: dict[int, Hit] = {}
    for seq, start, score in found:
        if seq not in best:
            best[seq] = Hit(seq, start, score)
    return list(best.values())
