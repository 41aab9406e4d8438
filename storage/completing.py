"""What somebody who has typed the beginning of an id, or words of a name, may mean."""

from __future__ import annotations

from storage.predicate import Predicate
from storage.row import Row, by_name
from storage.store import Store

TYPED_CHARS = 200
TYPED_WORDS = 10
_LABELS = ("title", "name", "content")


async def completions(
    store: Store, table: type[Row], seen: Predicate, typed: str, *, value: str = "_id", limit: int
) -> tuple[list[str], int]:
    """The values of the column `value` of rows whose id begins with `typed` or whose name has all its words, the most
    recent rows first; and how many there are in all.
    """
    typed = typed.strip()[:TYPED_CHARS].lower()
    label = next(name for name in _LABELS if name in by_name(table))
    condition, values = seen.sql("t")
    words = typed.split()[:TYPED_WORDS]
    has_words = "".join(f' AND contains(lower(t."{label}"), ?)' for _ in words)
    recent = 't."lastMessageTime" DESC NULLS LAST, t.seq DESC' if "lastMessageTime" in by_name(table) else "t.seq DESC"
    rows = await store.database.select(
        f'SELECT t."{value}", count(*) OVER () FROM "{table.table}" t '
        f"WHERE {condition} AND (starts_with(lower(t._id), ?) OR (TRUE{has_words})) ORDER BY {recent} LIMIT {limit}",
        [*values, typed, *words],
    )
    return [found for found, _ in rows], rows[0][1] if rows else 0
