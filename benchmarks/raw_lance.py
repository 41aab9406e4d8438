"""LanceDB alone: what a search costs without us."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

DEPTH = 10
COLUMNS = ["key", "words"]
TABLES = {"knowledge": "knowledge", "messages": "conversationMessages"}


def raw_hybrid(directory: Path, kind: str, queries: Sequence[str]) -> list[float]:
    """Milliseconds of one query embedding and one hybrid search of LanceDB's own, for each query."""
    return asyncio.run(_raw_hybrid(directory, kind, queries))


async def _raw_hybrid(directory: Path, kind: str, queries: Sequence[str]) -> list[float]:
    os.environ["LANCE_LOG"] = "error"  # it warns of columns on every hybrid search
    import lancedb
    from lancedb.rerankers import RRFReranker

    from storage.embedding.minilm import MiniLM

    database = await lancedb.connect_async(str((directory / "vectors").absolute()))
    (name,) = [name for name in (await database.list_tables()).tables if name.startswith(f"{TABLES[kind]}_")]
    chunks = await database.open_table(name)
    embedder = MiniLM()
    embedder.embed_query("the model is loaded before the clock starts")
    taken = []
    for query in queries:
        started = time.perf_counter()
        vector = embedder.embed_query(query)
        hybrid = chunks.query().nearest_to(vector).distance_type("cosine").nearest_to_text(query)
        await hybrid.rerank(RRFReranker()).select(COLUMNS).limit(DEPTH).to_arrow()
        taken.append((time.perf_counter() - started) * 1000)
    return taken
