"""Finding messages and knowledge by what was said and by what was meant."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints
from pydantic_core import to_json

from storage.errors import Invalid
from storage.fields import Step, iso
from storage.index.fusion import Hit
from storage.index.search import Filters, Mode, Question, ranked, visible_scopes
from storage.row import Result, Row
from storage.spent import searching
from storage.tables import Agent, Conversation, Knowledge, Message, User
from storage.view import View
from tools_impl.access import required, visible
from tools_impl.arguments import Cursor, Limit, MemberId, RowId, Tags, Time
from tools_impl.caller import Caller
from tools_impl.shared import check_member_id

SNIPPET_CHARS = 300
CHARS_PER_TOKEN = 4
"""A rule of thumb for English, to keep a result within a budget of tokens."""
DAY_MS = 24 * 3600 * 1000

Query = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a search goes on: after how many results, and of which state of the store."""

    offset: int
    up_to: int

    def encoded(self) -> str:
        """As a cursor."""
        return base64.urlsafe_b64encode(json.dumps([self.offset, self.up_to]).encode()).decode().rstrip("=")

    @classmethod
    def decoded(cls, cursor: str) -> Position:
        """From a cursor.

        Raises:
            Invalid: it is not one of ours.
        """
        try:
            offset, up_to = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if not all(type(number) is int and 0 <= number < 2**63 for number in (offset, up_to)):
                raise ValueError(cursor)
            return cls(offset, up_to)
        except (ValueError, TypeError, RecursionError):
            raise Invalid("That cursor is not one of ours; pass nextCursor as it came.") from None


class SearchPage(Result):
    """Results, best first, and how they were found."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    table: ClassVar[str] = "search"

    results: Sequence[dict[str, Any]]
    mode: str
    pending: int | None = None
    next_cursor: str | None = None

    def text(self) -> str:
        """See `Result`."""
        data = self.wire()
        data["results"] = [
            {key: iso(value) if key == "createdAt" else value for key, value in result.items()}
            for result in data["results"]
        ]
        return to_json(data).decode()


async def search(
    view: View,
    me: Caller,
    query: Query,
    in_: Annotated[Literal["all", "messages", "knowledge"], Field(alias="in")] = "all",
    conversation_id: Annotated[RowId | None, Field(description="only messages of this conversation")] = None,
    owner_id: Annotated[MemberId | None, Field(description="only knowledge of this user or agent")] = None,
    author_id: Annotated[MemberId | None, Field(description="only what this user or agent wrote")] = None,
    tags: Annotated[Tags | None, Field(description="only with all of these")] = None,
    step: Step | None = None,
    after: Annotated[Time | None, Field(description="only from this time on")] = None,
    before: Annotated[Time | None, Field(description="only earlier than this time")] = None,
    mode: Annotated[Mode, Field(description="hybrid: words and meaning")] = "hybrid",
    recency_days: Annotated[
        float | None, Field(gt=0, description="prefer what is new: its weight halves in so many days")
    ] = None,
    limit: Limit = 10,
    cursor: Cursor | None = None,
    max_tokens: Annotated[int | None, Field(ge=100, description="shorten the results to about so many tokens")] = None,
) -> SearchPage:
    """Find messages and knowledge by words and by meaning, best first. Everything acknowledged is found by its words;
    `pending` counts the rows that are not searchable by meaning yet.

    Raises:
        NotFound: no such conversation.
        Invalid: the filters exclude each other, or the cursor is not one of ours.
    """
    tables = _tables(in_, conversation_id, owner_id)
    if conversation_id is not None:
        await required(view, me, Conversation, conversation_id)
    for member in (owner_id, author_id):
        if member is not None:
            await check_member_id(view, me, member)
    index = await view.store.index.get(view.store)
    position = Position.decoded(cursor) if cursor is not None else Position(0, view.store.last_seq)
    named = {table: conversation_id if table is Message else owner_id for table in tables}
    seen = await asyncio.gather(*(visible_scopes(view.store, one, visible(me, one), named[one]) for one in tables))
    asked: dict[type[Row], Filters] = {
        table: Filters(
            scope=named[table],
            author=author_id,
            tags=tags or (),
            step=step,
            after=after,
            before=before,
            # What came since then must not count in what is rare, or the order changes between two pages.
            up_to=position.up_to if cursor is not None and position.up_to < view.store.last_seq else None,
            scopes=scopes,
        )
        for table, scopes in zip(tables, seen, strict=True)
    }
    with searching():
        found, used = await ranked(index, Question(query, mode, asked, position.up_to))
    page = await _page(view, found, position.offset, limit, recency_days)
    return SearchPage(
        results=_results(page, max_tokens),
        mode=used,
        pending=index.pending() or None if used != "text" else None,
        next_cursor=Position(position.offset + limit, position.up_to).encoded() if page.more else None,
    )


class _Page(NamedTuple):
    """Hits with their scores, their rows by `seq`, conversations and authors by id, and whether there are more."""

    hits: Sequence[tuple[Hit, float]]
    rows: dict[int, Row]
    around: dict[str, Row]
    more: bool


async def _page(
    view: View, found: Sequence[tuple[Hit, type[Row]]], offset: int, limit: int, recency_days: float | None
) -> _Page:
    end = offset + limit
    if recency_days is None:  # only the rows of the page are needed
        wanted = found[offset:end]
        rows, around = await asyncio.gather(_rows(view, wanted), _around(view, [hit for hit, _ in wanted]))
        return _Page(_ordered(wanted, rows, None), rows, around, len(found) > end)
    rows = await _rows(view, found)
    ordered = _ordered(found, rows, recency_days)
    page = ordered[offset:end]
    return _Page(page, rows, await _around(view, [hit for hit, _ in page]), len(ordered) > end)


def _tables(in_: str, conversation_id: str | None, owner_id: str | None) -> tuple[type[Row], ...]:
    if conversation_id is not None and owner_id is not None:
        raise Invalid("conversationId is of messages and ownerId of knowledge; give one of them.")
    if conversation_id is not None and in_ == "knowledge":
        raise Invalid("Knowledge is in no conversation; leave conversationId out, or search in messages.")
    if owner_id is not None and in_ == "messages":
        raise Invalid("Messages have an authorId and no ownerId.")
    if in_ == "messages" or conversation_id is not None:
        return (Message,)
    return (Knowledge,) if in_ == "knowledge" or owner_id is not None else (Message, Knowledge)


async def _rows(view: View, found: Sequence[tuple[Hit, type[Row]]]) -> dict[int, Row]:
    seqs = {table: [one.seq for one, of in found if of is table] for table in (Message, Knowledge)}
    messages, knowledge = await asyncio.gather(*(view.store.texts_at(table, wanted) for table, wanted in seqs.items()))
    return {**messages, **knowledge}


def _ordered(
    found: Sequence[tuple[Hit, type[Row]]], rows: dict[int, Row], half_life_days: float | None
) -> list[tuple[Hit, float]]:
    """Those that are still there, best first; newer ones gain when recency counts."""
    newest = max((row.created_at for row in rows.values()), default=0)
    scored = []
    for one, _ in found:
        row = rows.get(one.seq)
        if row is None:
            continue
        weight = 1.0
        if half_life_days is not None:
            weight = 0.5 ** ((newest - row.created_at) / DAY_MS / half_life_days)
        scored.append((one, one.score * weight))
    return sorted(scored, key=lambda pair: (-pair[1], -pair[0].seq))


async def _around(view: View, hits: Sequence[Hit]) -> dict[str, Row]:
    """The conversations (or owners) and the authors, asked for together: that is one query a table."""
    ids = {row_id for hit in hits for row_id in (hit.scope, hit.author)}
    rows = await asyncio.gather(*map(view.row_anywhere, ids))
    return {row.id: row for row in rows if row is not None}


def _results(page: _Page, max_tokens: int | None) -> list[dict[str, Any]]:
    room = SNIPPET_CHARS
    if max_tokens is not None and page.hits:
        room = min(room, max(40, max_tokens * CHARS_PER_TOKEN // len(page.hits) - 160))
    return [_result(page, hit, score, room) for hit, score in page.hits]


def _result(page: _Page, hit: Hit, score: float, room: int) -> dict[str, Any]:
    row = page.rows[hit.seq]
    result: dict[str, Any] = {"_id": row.id, "table": row.table, "score": round(score, 3)}
    if isinstance(row, Message):
        conversation, author = page.around.get(hit.scope), page.around.get(hit.author)
        result["conversationId"] = row.conversation_id
        result["title"] = conversation.title if isinstance(conversation, Conversation) else ""
        result["author"] = {"_id": hit.author, "name": author.name if isinstance(author, User | Agent) else ""}
        result["content"] = snippet(row.content, hit.start, room)
    elif isinstance(row, Knowledge):
        result["ownerId"] = row.owner_id
        result["content"] = snippet(row.content, hit.start, room)
    if isinstance(row, Message | Knowledge) and row.tags:
        result["tags"] = row.tags
    result["createdAt"] = row.created_at
    return {key: value for key, value in result.items() if value is not None}


def snippet(content: str, start: int, room: int) -> str:
    """The part of a content around a hit, at most `room` characters and two marks of omission."""
    if len(content) <= room:
        return content
    begin = max(0, min(start, len(content) - room))
    end = begin + room
    return ("…" if begin else "") + content[begin:end].strip() + ("…" if end < len(content) else "")
