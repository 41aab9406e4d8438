"""LanceDB alone: what a search costs without us."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lancedb import AsyncTable

os.environ["LANCEDB_LOG"] = "error"  # before its import: it warns of columns on every hybrid search

DEPTH = 10
COLUMNS = ["key", "words"]
TABLES = {"knowledge": "knowledge", "messages": "conversationMessages"}


def raw_hybrid(directory: Path, kind: str, queries: Sequence[str]) -> list[float]:
    """Milliseconds of one query embedding and one hybrid search of LanceDB's own, for each query."""
    return asyncio.run(_raw_hybrid(directory, kind, queries))


def nearest(directory: Path, kind: str, queries: Sequence[str]) -> list[set[int]]:
    """The `seq` of the rows that are nearest in meaning to each query, found by looking at every vector."""
    return asyncio.run(_nearest(directory, kind, queries))


async def _nearest(directory: Path, kind: str, queries: Sequence[str]) -> list[set[int]]:
    from storage.embedding.minilm import MiniLM

    chunks, embedder = await _chunks(directory, kind), MiniLM()
    found = []
    for query in queries:
        exact = chunks.query().nearest_to(embedder.embed_query(query)).distance_type("cosine").bypass_vector_index()
        rows = await exact.select(["seq", "_distance"]).limit(DEPTH).to_arrow()
        found.append(set(rows["seq"].to_pylist()))
    return found


async def _chunks(directory: Path, kind: str) -> AsyncTable:
    import lancedb

    database = await lancedb.connect_async(str((directory / "vectors").absolute()))
    (name,) = [name for name in (await database.list_tables()).tables if name.startswith(f"{TABLES[kind]}_")]
    return await database.open_table(name)


async def _raw_hybrid(directory: Path, kind: str, queries: Sequence[str]) -> list[float]:
    from lancedb.rerankers import RRFReranker

    from storage.embedding.minilm import MiniLM

    chunks, embedder = await _chunks(directory, kind), MiniLM()
    embedder.embed_query("the model is loaded before the clock starts")
    taken = []
    for query in queries:
        started = time.perf_counter()
        vector = embedder.embed_query(query)
        hybrid = chunks.query().nearest_to(vector).distance_type("cosine").nearest_to_text(query)
        await hybrid.rerank(RRFReranker()).select(COLUMNS).limit(DEPTH).to_arrow()
        taken.append((time.perf_counter() - started) * 1000)
    return taken
