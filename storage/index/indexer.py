"""Keeps the index behind the store: what changed is indexed by its words at once when somebody searches, by its vector
in the background.

No list of work is stored: `seq` and `rev` in both places are the list. At the start, and after changes that name no
rows, the two are compared (0.2 s at a million rows) and the difference is the work. So a lost or half-written index
repairs itself, wherever it was cut off.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import duckdb

from storage.batch import Changes
from storage.embedding import EmbeddingError, EmbeddingUnavailable
from storage.index.documents import INDEXED, Chunk, Document
from storage.index.embeddings import Embeddings, Vectors
from storage.index.lance import ChunkTable
from storage.index.reading import DocumentReader
from storage.row import Row
from storage.store import Store
from storage.tables import Agent, Message, Participant, User

if TYPE_CHECKING:
    import pyarrow as pa

    from storage.embedding import Embedder

log = logging.getLogger(__name__)

BATCH_ROWS = 2_048
"""Rows indexed by their words in one go."""
EMBED_ROWS = 32
"""Rows whose vectors are stored together."""
EMBED_CHUNKS = 8
"""Chunks embedded between two looks at whether somebody else needs the processor: 70 ms."""
LAGS_AFTER_SECONDS = 600.0
QUIET_SECONDS = 0.05
PATIENCE_SECONDS = 2.0
"""Embedding waits until nobody has written for so long, but no longer than its patience: then it takes a turn."""
UNLOAD_CHECK_SECONDS = 60.0
RETRY_SECONDS = 10.0


class Work:
    """Rows of one table that the index has yet to follow."""

    def __init__(self) -> None:
        self.words: dict[int, None] = {}
        """Rows whose words are not indexed as they are now."""
        self.vectors: dict[int, None] = {}
        """Rows whose vectors are missing."""
        self.known: set[int] = set()
        """Those of both that may have chunks in the index already."""

    def add(self, seqs: Iterable[int], *, known: bool) -> None:
        """Note changed rows."""
        for seq in seqs:
            self.words[seq] = None
            if known:
                self.known.add(seq)

    def __len__(self) -> int:
        return len(self.words.keys() | self.vectors.keys())


class Indexer:
    """The index of messages and knowledge. `embedder` of 0 dimensions means words only."""

    def __init__(
        self,
        store: Store,
        tables: dict[type[Row], ChunkTable],
        embedder: Embedder,
        kept: Embeddings,
        idle: float,
    ) -> None:
        self.tables = tables
        self.embedder = embedder
        self._store = store
        self._kept = kept
        self._idle = idle
        self._trouble: str | None = None
        self._work: dict[type[Row], Work] = {table: Work() for table in INDEXED}
        self._reader = DocumentReader(store, embedder)
        self._words_turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="one-embed", initializer=_step_back)
        self._task: asyncio.Task[None] | None = None
        self._others: set[asyncio.Task[None]] = set()
        self._busy_until = 0.0
        self._oldest: float | None = None

    @classmethod
    async def open(cls, store: Store, directory: Path, memory_limit: str, embedder: Embedder, idle: float) -> Indexer:
        """Open the LanceDB tables of this embedder; damaged ones are made anew. `idle`: see `unload` of the embedder.

        Raises:
            StorageFault: `embeddings.duckdb` cannot be used.
        """
        import lancedb

        kept = Embeddings.open(directory, memory_limit, embedder.id)

        session = lancedb.Session(index_cache_size_bytes=64 << 20, metadata_cache_size_bytes=64 << 20)
        path = directory / "vectors"

        async def tables() -> dict[type[Row], ChunkTable]:
            database = await lancedb.connect_async(str(path.absolute()), session=session)
            suffix = hashlib.blake2b(embedder.id.encode(), digest_size=6).hexdigest()
            return {t: await ChunkTable.open(database, f"{t.table}_{suffix}", embedder.dims) for t in INDEXED}

        try:
            opened = await tables()
        except (OSError, RuntimeError, ValueError) as error:
            log.warning("the index is damaged and is made anew: %s", str(error).splitlines()[0])
            shutil.rmtree(path, ignore_errors=True)
            opened = await tables()
        return cls(store, opened, embedder, kept, idle)

    # -- following ---------------------------------------------------------------------------------------------------

    def follow(self, changes: Changes) -> None:
        """Hear of a published batch."""
        if changes.dropped or changes.stripped:
            self._later(self._compare_all())
        for table in INDEXED:
            work = self._work[table]
            for row in changes.inserted(table):
                work.add([row.seq], known=False)
            work.add([after.seq for _, after in changes.updated(table)], known=True)
            work.add([row.seq for row in changes.deleted(table)], known=True)
        renamed = [row for table in (User, Agent) for row in self._renamed(changes, table)]
        if renamed:
            self._later(self._follow_names(renamed))
        self._busy_until = time.monotonic() + QUIET_SECONDS
        if any(len(work) for work in self._work.values()):
            self._oldest = self._oldest or time.monotonic()
            self._changed.set()

    def _renamed(self, changes: Changes, table: type[User | Agent]) -> list[str]:
        pairs = [(before, after) for before, after in changes.updated(table)]
        return [after.id for before, after in pairs if getattr(before, "name", "") != getattr(after, "name", "")]

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)
        task.add_done_callback(_log_failure)

    async def _follow_names(self, members: Sequence[str]) -> None:
        """The speaker's name is indexed with the message."""
        self._reader.forget_names()
        rows = await self._store.database.select(
            f'SELECT m.seq FROM "{Message.table}" m JOIN "{Participant.table}" p ON m."authorParticipantId" = p._id '
            'WHERE coalesce(p."userId", p."agentId") IN (SELECT unnest(?::VARCHAR[]))',
            [list(members)],
        )
        self._work[Message].add((seq for (seq,) in rows), known=True)
        self._changed.set()

    async def _compare_all(self) -> None:
        for table in INDEXED:
            await self.compare(table)

    async def compare(self, table: type[Row]) -> None:
        """Find what the index lacks or has in another state than the store, and note it as work."""
        stored = await self.tables[table].stored()
        missing, gone, known = await self._store.database.read(lambda cursor: _difference(cursor, table, stored))
        work = self._work[table]
        if gone:
            await self.tables[table].remove(gone)
            await self._kept.forget(gone)
        work.add(missing, known=False)
        work.known.update(seq for seq in missing if seq in known)
        work.vectors.update(dict.fromkeys(await self.tables[table].without_vector()))
        if len(work):
            self._oldest = self._oldest or time.monotonic()
            self._changed.set()

    # -- words -------------------------------------------------------------------------------------------------------

    async def catch_up(self, table: type[Row]) -> None:
        """Index the words of everything that is stored: what was acknowledged before is found after."""
        work = self._work[table]
        async with self._words_turn:
            while work.words:
                seqs = list(islice(work.words, BATCH_ROWS))
                known = work.known.intersection(seqs)
                for seq in seqs:
                    del work.words[seq]
                try:
                    await self._index_words(table, seqs, known)
                except BaseException:
                    work.add(seqs, known=True)
                    raise
                work.known.difference_update(seqs)

    async def _index_words(self, table: type[Row], seqs: list[int], known: set[int]) -> None:
        documents = await self._reader.read(table, seqs)
        chunks = [chunk for document in documents for chunk in document.chunks]
        vectors = await self._kept.of(chunks) if self.embedder.dims else {}
        vectors |= self._given(documents)
        await self.tables[table].put(documents, vectors, known)
        found = {document.seq for document in documents if document.chunks}
        lost = [seq for seq in seqs if seq not in found and seq in known]
        if lost:
            await self.tables[table].remove(lost)
            await self._kept.forget(lost)
        if self.embedder.dims:
            work = self._work[table]
            for document in documents:
                if any(chunk.key not in vectors for chunk in document.chunks):
                    work.vectors[document.seq] = None

    def _given(self, documents: Sequence[Document]) -> Vectors:
        """The vectors that came with their rows, for the first chunk of each."""
        import numpy as np

        vectors: Vectors = {}
        for document in documents:
            if document.given is not None and document.chunks and len(document.given) == self.embedder.dims:
                vector = np.asarray(document.given, dtype=np.float32)
                vectors[document.chunks[0].key] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return vectors

    # -- vectors -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Compare, and then embed in the background until `close`."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_log_failure)

    async def _run(self) -> None:
        await self._compare_all()
        while True:
            with anyio.move_on_after(UNLOAD_CHECK_SECONDS) as waited:
                await self._changed.wait()
            if waited.cancelled_caught:
                await asyncio.get_running_loop().run_in_executor(None, self.embedder.unload, self._idle)
                continue
            self._changed.clear()
            try:
                for table in INDEXED:
                    await self.catch_up(table)
                    await self._embed_waiting(table)
                self._trouble = None
                self._oldest = None if not self.pending() else self._oldest
            except EmbeddingUnavailable as error:
                self._trouble = str(error)
                asyncio.get_running_loop().call_later(max(error.retry_after, RETRY_SECONDS), self._changed.set)
            except EmbeddingError as error:  # until somebody changes something: words are indexed all the same
                self._trouble = str(error)
            except (OSError, RuntimeError, ValueError, duckdb.Error) as error:
                log.exception("a batch could not be indexed and is tried again")
                self._trouble = str(error).splitlines()[0]
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)

    async def _embed_waiting(self, table: type[Row]) -> None:
        work = self._work[table]
        while work.vectors:
            seqs = list(islice(reversed(work.vectors), EMBED_ROWS))
            documents = await self._reader.read(table, seqs)
            chunks = [chunk for document in documents for chunk in document.chunks]
            vectors = await self._kept.of(chunks) | self._given(documents)
            fresh = [chunk for chunk in chunks if chunk.key not in vectors]
            made = await self._embed(fresh)
            await self._kept.keep(fresh, made)
            async with self._words_turn:
                current = [d for d in documents if d.seq not in work.words]
                await self.tables[table].put(current, vectors | made, set(seqs))
            for seq in seqs:
                work.vectors.pop(seq, None)

    async def _embed(self, chunks: Sequence[Chunk]) -> Vectors:
        loop = asyncio.get_running_loop()
        made: Vectors = {}
        for begin in range(0, len(chunks), EMBED_CHUNKS):
            await self._yield()
            part = chunks[begin : begin + EMBED_CHUNKS]
            texts = [chunk.text for chunk in part]
            vectors = await loop.run_in_executor(self._embedding, self.embedder.embed_documents, texts)
            made |= {chunk.key: vector for chunk, vector in zip(part, vectors, strict=True)}
        return made

    async def _yield(self) -> None:
        patience = time.monotonic() + PATIENCE_SECONDS
        while (now := time.monotonic()) < min(self._busy_until, patience):  # noqa: ASYNC110 - until it is quiet
            await asyncio.sleep(min(self._busy_until, patience) - now)

    async def embed_query(self, text: str) -> Any:
        """The vector of a query; it goes ahead of the documents that wait."""
        return await asyncio.get_running_loop().run_in_executor(None, self.embedder.embed_query, text)

    async def embed_documents(self, texts: list[str]) -> Any:
        """The vectors of texts that somebody waits for."""
        return await asyncio.get_running_loop().run_in_executor(None, self.embedder.embed_documents, texts)

    def pending(self) -> int:
        """How many rows have no vector yet."""
        return sum(map(len, self._work.values()))

    def alarm(self) -> str | None:
        """What is wrong with the index, in a sentence, or None."""
        if self._trouble is not None:
            return f"Rows are not embedded: {self._trouble}"
        for table in self.tables.values():
            if table.failure is not None:
                return f"The index could not be compacted: {table.failure}."
        if self._task is not None and self._task.done():
            return "The indexer has ended; see hub.log. `one-mcp reindex` or a restart of the hub begins anew."
        if self._oldest is not None and time.monotonic() - self._oldest > LAGS_AFTER_SECONDS and self.pending():
            return f"{self.pending()} rows wait for their vectors since {LAGS_AFTER_SECONDS / 60:.0f} minutes or more."
        return None

    async def close(self) -> None:
        """Stop embedding and close the files; what waits is found again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, *self._others, return_exceptions=True)
        self._embedding.shutdown()
        await self._kept.close()


def _difference(cursor: Any, table: type[Row], stored: pa.Table) -> tuple[list[int], list[int], set[int]]:
    """Rows to index, rows to remove, and which of the first have chunks in the index."""
    cursor.register("indexed", stored)
    wanted = f"SELECT seq, rev FROM \"{table.table}\" WHERE trim(content) <> ''"
    chunks = "SELECT seq, min(rev) AS rev FROM indexed GROUP BY seq"
    pairs = cursor.execute(
        f"SELECT w.seq, i.seq FROM ({wanted}) w LEFT JOIN ({chunks}) i ON w.seq = i.seq "
        "WHERE i.rev IS DISTINCT FROM w.rev ORDER BY w.seq"
    ).fetchall()
    gone = cursor.execute(f"SELECT seq FROM ({chunks}) i ANTI JOIN ({wanted}) w ON w.seq = i.seq").fetchall()
    cursor.unregister("indexed")
    return [seq for seq, _ in pairs], [seq for (seq,) in gone], {known for _, known in pairs if known is not None}


def _step_back() -> None:
    """Give the embedding thread what others leave of the processor."""
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        except OSError as error:
            log.debug("embedding keeps its priority: %s", error)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the indexer ended", exc_info=task.exception())
