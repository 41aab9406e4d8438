"""Searching one table: filters, the two rankings, and their fusion."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from storage.embedding import EmbeddingError
from storage.index.fusion import Hit, fused
from storage.predicate import Both, Everything, Is, Predicate, Refers
from storage.row import Row, by_name
from storage.store import Store
from storage.tables import Knowledge, Message
from storage.view import View

if TYPE_CHECKING:
    from storage.index.indexer import Indexer

Mode = Literal["hybrid", "text", "vector"]
Hits = list[tuple[type[Row], Hit]]

POOL = 200
"""How many rows each ranking contributes, and how deep a search can be paged."""
MEANING_WEIGHT: dict[type[Row], float] = {Message: 0.3, Knowledge: 0.5}
"""Measured: conversations are found by their words, documents by both alike."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a hit must fulfil, `scopes` to be visible (None: all are). Times in epoch ms.

    `up_to` is the newest commit number; LanceDB takes 50 ms for it at a million.
    """

    scope: str | None = None
    author: str | None = None
    tags: Sequence[str] = ()
    step: str | None = None
    after: int | None = None
    before: int | None = None
    up_to: int | None = None
    scopes: Sequence[str] | None = field(default=None)


def condition(table: type[Row], filters: Filters) -> str | None:
    """The filters as LanceDB reads them."""
    terms = ["NOT hidden"] if table is Knowledge else []
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
    return " AND ".join(terms) or None


async def visible_scopes(store: Store, table: type[Row], seen: Predicate, named: str | None) -> Sequence[str] | None:
    """The conversations or owners whose rows may be found; None where all may."""
    if isinstance(seen, Everything):
        return None
    column = by_name(table)["conversationId" if table is Message else "ownerId"]
    if named is not None:
        seen = await seen.given(column.attribute, named, View(store))
        if isinstance(seen, Everything):
            return [named]
        seen = Both((seen, Is(table, column.attribute, named)))
    if isinstance(seen, Refers) and seen.field == column.attribute:
        # All of a conversation is seen, or nothing: there are fewer of them than of what is in them.
        text, values = seen.then.ids(seen.to)
    else:
        text, values = seen.sql("t")
        text = f'SELECT DISTINCT t."{column.name}" FROM "{table.table}" t WHERE {text}'
    rows = await store.database.select(text, values)
    return sorted({scope for (scope,) in rows})


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched: the filters of each table, and the newest commit number that may be found."""

    text: str
    mode: Mode
    asked: Mapping[type[Row], Filters]
    up_to: int


async def ranked(index: Indexer, question: Question) -> tuple[list[tuple[Hit, type[Row]]], Mode]:
    """The best rows of the tables that are asked, best first, and how they were found: by the words alone where the
    text has no vector.
    """
    for table in question.asked:
        await index.catch_up(table)
    mode = question.mode
    words, meaning = await asyncio.gather(
        _nothing() if mode == "vector" else _by_words(index, question),
        _nothing() if mode == "text" else _by_meaning(index, question),
    )
    if meaning is None:
        mode, meaning = "text", []
        words = words or await _by_words(index, question)
    tables = {hit.seq: table for table, hit in (*words, *meaning)}
    weights = {seq: MEANING_WEIGHT[table] for seq, table in tables.items()}
    best = fused([hit for _, hit in words], [hit for _, hit in meaning], weights)
    return [(one, tables[one.seq]) for one in best[:POOL]], mode


async def _by_words(index: Indexer, question: Question) -> Hits:
    def hits(table: type[Row], filters: Filters) -> Awaitable[list[Hit]]:
        chunks = index.tables[table]
        by_words = chunks.by_words if filters.scopes is None else chunks.by_words_apart
        return by_words(question.text, condition(table, filters), POOL)

    return await _of_all(question, hits)


async def _by_meaning(index: Indexer, question: Question) -> Hits | None:
    """None where no vector can be made of the text: the status says why."""
    try:
        vector = await index.embed_query(question.text) if index.embedder.dims else None
    except EmbeddingError:
        return None
    if vector is None:
        return None

    def hits(table: type[Row], filters: Filters) -> Awaitable[list[Hit]]:
        return index.tables[table].by_vector(vector, condition(table, filters), POOL)

    return await _of_all(question, hits)


async def _of_all(question: Question, hits: Callable[[type[Row], Filters], Awaitable[list[Hit]]]) -> Hits:
    """The best of each table, without what is newer than asked for."""
    found = await asyncio.gather(*(hits(table, filters) for table, filters in question.asked.items()))
    old = [[hit for hit in of_table if hit.seq <= question.up_to] for of_table in found]
    return [(table, hit) for table, of_table in zip(question.asked, old, strict=True) for hit in of_table]


async def _nothing() -> Hits:
    return []


def quoted(text: str) -> str:
    """A string literal of LanceDB's filters."""
    return "'" + text.replace("'", "''") + "'"
