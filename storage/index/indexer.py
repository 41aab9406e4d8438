"""Keeps the index behind the store: what changed is indexed by its words at once when somebody searches, by its vector
in the background.

No list of work is stored: `seq` and `rev` in both places are the list. At the start, and after changes that name no
rows, the two are compared and the difference is the work. So a lost or half-written index
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import duckdb

from storage.batch import Changes
from storage.embedding import EmbeddingError, EmbeddingUnavailable
from storage.index.comparing import affected, difference
from storage.index.documents import INDEXED, Chunk, Document
from storage.index.embeddings import Embeddings, Vectors
from storage.index.lance import ChunkTable, form
from storage.index.reading import DocumentReader
from storage.index.work import Work
from storage.row import Row
from storage.store import Store

if TYPE_CHECKING:
    from storage.embedding import Embedder

log = logging.getLogger(__name__)

BATCH_ROWS = 2_048
"""Rows indexed by their words in one go."""
EMBED_ROWS = 32
"""Rows whose vectors are stored together."""
EMBED_CHUNKS = 8
"""Chunks embedded between two looks at whether somebody else needs the processor: 70 ms."""
INDEX_CACHE, INDEX_CACHE_A_ROW, METADATA_CACHE = 16 << 20, 192, 8 << 20
"""Bytes that LanceDB may keep: the codes of all vectors (120 a row) and the words, or a search among a million takes
115 instead of 35 ms. Each write makes a new version of the metadata: a larger cache fills with old ones."""
LAGS_AFTER_SECONDS = 600.0
QUIET_SECONDS = 0.05
WORDS_PATIENCE_SECONDS = 2.0
"""The background waits until nobody has written for so long, but no longer than its patience: then it takes a turn."""
SHARE_WHEN_BUSY = 0.15
"""While others write, embedding takes this share of the time."""
REST_SECONDS = 60.0
RETRY_SECONDS = 10.0


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
        self._work = {table: Work(table) for table in INDEXED}
        self._reader = DocumentReader(store, embedder)
        self._turn = asyncio.Lock()
        """Whoever holds it writes to the index."""
        self._changed = asyncio.Event()
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="one-embed", initializer=_step_back)
        self._task: asyncio.Task[None] | None = None
        self._busy_until = 0.0
        self._embedding_rests = 0.0
        self._oldest: float | None = None
        self._newest_kept = store.last_seq
        """Of a newer row no vector is kept until it was embedded here."""

    @classmethod
    async def open(cls, store: Store, directory: Path, embedder: Embedder, idle: float) -> Indexer:
        """Open the LanceDB tables of this embedder; damaged ones are made anew. `idle`: see `unload` of the embedder.

        Raises:
            StorageFault: `embeddings.duckdb` cannot be used.
        """
        import lancedb

        kept = Embeddings.open(directory, embedder.id)

        counts = [await store.database.select(f'SELECT count(*) FROM "{table.table}"') for table in INDEXED]
        cache = max(INDEX_CACHE, INDEX_CACHE_A_ROW * sum(rows for ((rows,),) in counts))
        session = lancedb.Session(index_cache_size_bytes=cache, metadata_cache_size_bytes=METADATA_CACHE)
        path = directory / "vectors"

        async def tables() -> dict[type[Row], ChunkTable]:
            database = await lancedb.connect_async(str(path.absolute()), session=session)
            kind = f"{embedder.id} {form(embedder.dims)}"
            suffix = hashlib.blake2b(kind.encode(), digest_size=6).hexdigest()
            names = {table: f"{table.table}_{suffix}" for table in INDEXED}
            for name in (await database.list_tables()).tables:
                if name not in names.values():  # of another model, whose vectors are kept elsewhere
                    await database.drop_table(name)
            opened = {table: await ChunkTable.open(database, name, embedder.dims) for table, name in names.items()}
            for table in opened.values():
                await table.stored()  # damage shows when it is read
            return opened

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
        for work in self._work.values():
            work.follow(changes)
        self._busy_until = time.monotonic() + QUIET_SECONDS
        self._note()

    def _note(self) -> None:
        if any(work.behind or work.vectors for work in self._work.values()):
            self._oldest = self._oldest or time.monotonic()
            self._changed.set()

    async def catch_up(self, table: type[Row]) -> None:
        """Index the words of everything that is stored now: what was acknowledged before is found after.

        What arrives meanwhile is left for the next time, or steady writing would be followed row by row. Those who wait
        for their turn together are served by one: a round that began after they came has all that they wait for.
        """
        work = self._work[table]
        if work.is_done:
            return
        came = work.rounds_begun
        async with self._turn:
            if work.round_done > came:
                return
            work.rounds_begun += 1
            await self._catch_up(work)
            work.round_done = work.rounds_begun

    async def _catch_up(self, work: Work) -> None:
        """One round, in our turn."""
        if work.compare:
            await self._compare(work)
        if work.affected:
            await self._look_up(work)
        waiting = len(work.words)
        while waiting > 0:
            seqs, known = work.take(min(BATCH_ROWS, waiting))
            waiting -= len(seqs)
            try:
                await self._index_words(work, seqs, known)
            except BaseException:
                work.add(seqs, known=True)
                raise

    async def _compare(self, work: Work) -> None:
        """Note what the index lacks or has in another state than the store. It changes only in our turn."""
        work.compare = False
        try:
            chunks = self.tables[work.table]
            found = await difference(self._store, work.table, await chunks.stored())
            if found.gone:
                await chunks.remove(found.gone)
                await self._kept.forget(found.gone)
            work.add(found.missing, known=False)
            work.add(found.changed, known=True)
            work.vectors.update(dict.fromkeys(await chunks.without_vector()))
        except BaseException:
            work.compare = True
            raise

    async def _look_up(self, work: Work) -> None:
        ids, work.affected = work.affected, set()
        try:
            self._reader.forget_names()
            work.add(await affected(self._store, work.table, ids), known=True)
        except BaseException:
            work.affected |= ids
            raise

    async def _index_words(self, work: Work, seqs: list[int], known: set[int]) -> None:
        documents = await self._reader.read(work.table, seqs)
        older = [document for document in documents if document.seq <= self._newest_kept or document.seq in known]
        chunks = [chunk for document in older for chunk in document.chunks]
        vectors = await self._kept.of(chunks) if self.embedder.dims else {}
        vectors |= self._given(documents)
        chunk_table = self.tables[work.table]
        await chunk_table.put(documents, vectors, known)
        found = {document.seq for document in documents if document.chunks}
        lost = [seq for seq in seqs if seq not in found and seq in known]
        if lost:
            await chunk_table.remove(lost)
            await self._kept.forget(lost)
        if self.embedder.dims:
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

    async def rebuild(self, *, embed: bool) -> None:
        """Begin with empty tables and, with `embed`, without stored vectors; `pending` tells how it goes on."""
        async with self._turn:
            for table, work in self._work.items():
                await self.tables[table].make_anew()
                work.begin_anew()
            self._newest_kept = self._store.last_seq
            if embed:
                await self._kept.forget_model()
            for work in self._work.values():
                await self._compare(work)
        self._note()

    # -- vectors -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Compare, and then embed in the background until `close`."""
        self._note()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_log_failure)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with anyio.move_on_after(REST_SECONDS) as waited:
                await self._changed.wait()
            if waited.cancelled_caught:
                await self._rest()
                continue
            self._changed.clear()
            try:
                await self._work_off()
                self._trouble = None
                self._oldest = None if not self.pending() else self._oldest
            except EmbeddingUnavailable as error:
                self._trouble = str(error)
                loop.call_later(max(error.retry_after, RETRY_SECONDS), self._changed.set)
            except EmbeddingError as error:  # until somebody changes something: words are indexed all the same
                self._trouble = str(error)
            except (OSError, RuntimeError, ValueError, duckdb.Error) as error:
                log.exception("a batch could not be indexed and is tried again")
                self._trouble = str(error).splitlines()[0]
                loop.call_later(RETRY_SECONDS, self._changed.set)

    async def _rest(self) -> None:
        """Tidy up after a minute without a change."""
        for table in self.tables.values():
            if table.untidy():
                await table.maintain()
        await asyncio.get_running_loop().run_in_executor(None, self.embedder.unload, self._idle)

    async def _work_off(self) -> None:
        """Index words as they come and, batch by batch, the vectors of both tables in turn."""
        while True:
            await self._yield(WORDS_PATIENCE_SECONDS)  # not once a commit: whoever searches catches up anyway
            for table in INDEXED:
                await self.catch_up(table)
                if self.tables[table].unkempt(busy=time.monotonic() < self._busy_until):
                    await self.tables[table].maintain()
            waiting = [work for work in self._work.values() if work.vectors]
            if not waiting:
                return
            for work in waiting:
                await self._embed_some(work)

    async def _embed_some(self, work: Work) -> None:
        """Make vectors of some rows, the newest first. Those that change meanwhile keep waiting."""
        work.embedding = set(islice(reversed(work.vectors), EMBED_ROWS))
        documents = await self._reader.read(work.table, sorted(work.embedding))
        chunks = [chunk for document in documents for chunk in document.chunks]
        vectors = await self._kept.of(chunks) | self._given(documents)
        made = await self._embed([chunk for chunk in chunks if chunk.key not in vectors])
        async with self._turn:
            current = [document for document in documents if document.seq in work.embedding]
            await self._kept.keep([chunk for document in current for chunk in document.chunks], made)
            await self.tables[work.table].put(current, vectors | made, {document.seq for document in current})
            for seq in work.embedding:
                work.vectors.pop(seq, None)
            work.embedding = set()

    async def _embed(self, chunks: Sequence[Chunk]) -> Vectors:
        loop = asyncio.get_running_loop()
        made: Vectors = {}
        for begin in range(0, len(chunks), EMBED_CHUNKS):
            await self._yield(self._embedding_rests)
            part = chunks[begin : begin + EMBED_CHUNKS]
            texts = [chunk.text for chunk in part]
            started = time.monotonic()
            vectors = await loop.run_in_executor(self._embedding, self.embedder.embed_documents, texts)
            self._embedding_rests = (time.monotonic() - started) * (1 / SHARE_WHEN_BUSY - 1)
            made |= {chunk.key: vector for chunk, vector in zip(part, vectors, strict=True)}
        return made

    async def _yield(self, patience: float) -> None:
        patience += time.monotonic()
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
            await asyncio.gather(self._task, return_exceptions=True)
        self._embedding.shutdown()
        await self._kept.close()


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
