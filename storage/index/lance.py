"""One LanceDB table: chunks of one of our tables with their words and vectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from storage.index import bm25
from storage.index.documents import Chunk, Document, digest
from storage.index.fusion import Hit

if TYPE_CHECKING:
    from lancedb import AsyncConnection, AsyncTable

FLAT_ROWS = 20_000
"""Below this an exact scan is as fast as an index: 13 ms."""
OPTIMIZE_EVERY = 50
"""Writes between two compactions; each leaves a fragment, and 2,000 of them make a scan 30 times slower."""
UNINDEXED_ROWS = 1_000
"""Chunks whose words are not in the index yet are searched one by one: 10 to 15 ms a thousand."""
SHARE_WHEN_QUIET, SHARE_WHEN_BUSY, SHARE_OF_WRITES = 500, 50, 2_500
"""Compacting writes the whole index of words anew: 10 s and 315 MB at a million chunks. So it waits for another
500th of the table (3,000 chunks at a million: 45 ms a search), or a 50th while others write (20,000: 220 ms)."""
UNINDEXED_AT_REST, SHARE_AT_REST = 50, 2_000
"""After a minute without a change fewer are worth it: 1,400 long texts made a search take 70 ms."""
KEPT_VERSIONS = timedelta(minutes=2)
PARTITION_ROWS, PROBES = 4_096, 300
"""LanceDB makes a partition for each 4,096 vectors, so up to 1.2 million all of them are searched."""
BYPASS_ROWS = 10_000
"""Where not all partitions are searched, a filter that leaves no more than this is scanned exactly."""
BITS, REFINED, REFINED_ROWS = 2, 200, 500_000
"""Bits of a dimension that RQ keeps, and how many of the nearest by them are compared by their whole vectors; for each
so many rows as many more. Of random vectors, the hardest there are, that finds 0.988 of the 10 nearest among 100,000
and 0.995 among a million. One bit finds 0.67 there, and 0.98 only where 9,600 are compared, for 100 ms."""
HIT = ("seq", "start", "scope", "author")
CHUNKS_A_ROW = 3
"""Long texts match with several chunks; so many more are asked for."""
CANDIDATES = 600
"""So many chunks at most are ranked by the words of what a caller sees."""


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


def form(dims: int) -> str:
    """What a table and its indexes are like; where this changes, they are made anew."""
    return f"{schema(dims)} {BITS}"


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
            ("author", Bitmap()),
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

    def untidy(self) -> bool:
        """Whether `maintain` is worth what it costs when nobody needs the processor."""
        return self._unindexed >= UNINDEXED_AT_REST + self._chunks // SHARE_AT_REST

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

    async def by_words(self, text: str, condition: str | None, rows: int) -> list[Hit]:
        """The chunks of so many rows that best match the words, by BM25."""

        async def best(limit: int) -> tuple[pa.Table, list[float]]:
            found = await self._matching(text, condition, [*HIT, "_score"], limit)
            return found, found["_score"].to_pylist()

        return await _best_rows(best, rows)

    async def by_words_apart(self, text: str, condition: str | None, rows: int) -> list[Hit]:
        """The same, and only what fulfils the condition says how common a word is.

        Where more than `CANDIDATES` match, those that compete are the best by the words of all.
        """
        total, found = await asyncio.gather(
            self._table.count_rows(condition), self._matching(text, condition, [*HIT, "words", "_score"], CANDIDATES)
        )
        scored = await asyncio.get_running_loop().run_in_executor(None, bm25.scores, text, found["words"], total)
        order = np.lexsort((-found["seq"].to_numpy(), -scored))
        return _best(found.take(order), scored[order].tolist())[:rows]

    async def _matching(self, text: str, condition: str | None, columns: list[str], limit: int) -> pa.Table:
        query = self._table.query().nearest_to_text(text)
        if condition:
            query = query.where(condition)
        found: pa.Table = await query.select(columns).limit(limit).to_arrow()
        return found

    async def by_vector(self, vector: np.ndarray[Any, Any], condition: str | None, rows: int) -> list[Hit]:
        """The chunks of so many rows that are nearest in meaning, by cosine similarity."""
        query = self._table.query().nearest_to(vector).distance_type("cosine")
        if condition:
            query = query.where(condition)
        some = self._indexed and condition and self._chunks > PROBES * PARTITION_ROWS
        if some and await self._table.count_rows(condition) <= BYPASS_ROWS:
            query = query.bypass_vector_index()

        compared = REFINED * (1 + self._chunks // REFINED_ROWS)

        async def best(limit: int) -> tuple[pa.Table, list[float]]:
            refined = query.nprobes(PROBES).refine_factor(max(1, compared // limit)) if self._indexed else query
            found = await refined.select([*HIT, "_distance"]).limit(limit).to_arrow()
            return found, [1 - distance for distance in found["_distance"].to_pylist()]

        return await _best_rows(best, rows)

    async def count(self) -> int:
        """How many chunks there are."""
        return int(await self._table.count_rows())

    async def maintain(self) -> None:
        """Compact the files, bring the indexes up to date, and drop old versions. Remembers why it could not."""
        from lancedb.index import IvfRq

        self._writes = self._unindexed = 0
        try:
            if self._dims and not self._indexed and await self._table.count_rows("vector IS NOT NULL") > FLAT_ROWS:
                await self._table.create_index("vector", config=IvfRq(distance_type="cosine", num_bits=BITS))
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


async def _best_rows(best: Callable[[int], Awaitable[tuple[pa.Table, list[float]]]], rows: int) -> list[Hit]:
    """The hits of so many rows; where several chunks of the same rows were found, it is asked for more."""
    found, scores = await best(rows)
    hits = _best(found, scores)
    if len(hits) < rows == len(found):
        hits = _best(*await best(rows * CHUNKS_A_ROW))
    return hits[:rows]


def _best(found: pa.Table, scores: Sequence[float]) -> list[Hit]:
    """The best chunk of each row, in the order they came: the best first."""
    best: dict[int, Hit] = {}
    columns = [found[name].to_pylist() for name in ("seq", "start")]
    for seq, start, score, scope, author in zip(
        *columns, scores, *(found[name].to_pylist() for name in ("scope", "author")), strict=True
    ):
        if seq not in best:
            best[seq] = Hit(seq, start, score, scope, author)
    return list(best.values())
