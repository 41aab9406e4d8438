"""Searching one table: filters, the two rankings, and their fusion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from storage.index.fusion import Hit, Ranked, fused
from storage.predicate import Everything, Predicate, Refers
from storage.row import Row
from storage.store import Store
from storage.tables import Knowledge, Message

if TYPE_CHECKING:
    from storage.index.indexer import Indexer
    from storage.index.lance import ChunkTable

Mode = Literal["hybrid", "text", "vector"]

POOL = 200
"""How many rows each ranking contributes, and how deep a search can be paged."""
MEANING_WEIGHT: dict[type[Row], float] = {Message: 0.3, Knowledge: 0.5}
"""Measured: conversations are found by their words, documents by both alike."""
CHUNKS_A_ROW = 3
"""Long texts match with several chunks; so many more are asked for."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a hit must fulfil besides being visible. Times in epoch ms, `up_to` the newest commit number."""

    scope: str | None = None
    author: str | None = None
    tags: Sequence[str] = ()
    step: str | None = None
    after: int | None = None
    before: int | None = None
    up_to: int | None = None
    scopes: Sequence[str] | None = field(default=None)


def condition(filters: Filters) -> str:
    """The filters as LanceDB reads them."""
    terms = ["NOT hidden"]
    if filters.scope is not None:
        terms.append(f"scope = {quoted(filters.scope)}")
    if filters.scopes is not None:
        terms.append(f"scope IN ({', '.join(map(quoted, filters.scopes))})" if filters.scopes else "FALSE")
    if filters.author is not None:
        terms.append(f"author = {quoted(filters.author)}")
    if filters.step is not None:
        terms.append(f"step = {quoted(filters.step)}")
    terms += [f"array_has(tags, {quoted(tag)})" for tag in filters.tags]
    if filters.after is not None:
        terms.append(f"moment >= {filters.after}")
    if filters.before is not None:
        terms.append(f"moment < {filters.before}")
    if filters.up_to is not None:
        terms.append(f"seq <= {filters.up_to}")
    return " AND ".join(terms)


async def visible_scopes(store: Store, table: type[Row], seen: Predicate, named: str | None) -> Sequence[str] | None:
    """The conversations or owners whose rows may be found; None where all may."""
    if isinstance(seen, Everything):
        return None
    origin, column = table, "conversationId" if table is Message else "ownerId"
    if isinstance(seen, Refers) and seen.field == "conversation_id":
        # All of a conversation is seen, or nothing: there are fewer of them than of what is in them.
        origin, column, seen = seen.to, "_id", seen.then
    text, values = seen.sql("t")
    if named is not None:
        text, values = f'{text} AND t."{column}" = ?', [*values, named]
    rows = await store.database.select(f'SELECT DISTINCT t."{column}" FROM "{origin.table}" t WHERE {text}', values)
    return [scope for (scope,) in rows]


async def ranked(
    index: Indexer, asked: Mapping[type[Row], Filters], query: str, vector: Any, mode: Mode
) -> list[tuple[Ranked, type[Row]]]:
    """The best rows of the tables that are asked, best first; `vector` is the query's (None: the words alone)."""
    words: list[Hit] = []
    meaning: list[Hit] = []
    tables: dict[int, type[Row]] = {}
    for table in asked:
        await index.catch_up(table)
    found = await asyncio.gather(
        *(_hits(index.tables[table], condition(filters), query, vector, mode) for table, filters in asked.items())
    )
    for table, (by_words, by_meaning) in zip(asked, found, strict=True):
        words += by_words[:POOL]
        meaning += by_meaning[:POOL]
        tables |= dict.fromkeys((hit.seq for hit in (*by_words[:POOL], *by_meaning[:POOL])), table)
    weights = {seq: MEANING_WEIGHT[table] for seq, table in tables.items()}
    return [(one, tables[one.seq]) for one in fused(words, meaning, weights)[:POOL]]


async def _hits(chunks: ChunkTable, where: str, query: str, vector: Any, mode: Mode) -> tuple[list[Hit], list[Hit]]:
    """What a table has, by its words and by its meaning."""
    return await asyncio.gather(
        _nothing() if mode == "vector" else chunks.by_words(query, where, POOL * CHUNKS_A_ROW),
        _nothing() if vector is None else chunks.by_vector(vector, where, POOL * CHUNKS_A_ROW),
    )


async def _nothing() -> list[Hit]:
    return []


def quoted(text: str) -> str:
    """A string literal of LanceDB's filters."""
    return "'" + text.replace("'", "''") + "'"
