"""What those one follows did."""

from __future__ import annotations

from typing import Any

from storage.errors import Invalid
from storage.feed import DEEDS, deeds
from storage.row import Row
from storage.tables import BY_NAME, Agent, Comment, Event, Follow, Knowledge, Message, Participant, User
from storage.view import View
from tools_impl.access import visible
from tools_impl.arguments import PAGE_DEFAULT, Cursor, Limit
from tools_impl.caller import Caller
from tools_impl.told import Told

SNIPPET_CHARS = 200


async def feed(view: View, me: Caller, limit: Limit = PAGE_DEFAULT, cursor: Cursor | None = None) -> Told:
    """What those you follow wrote, learned and planned, the newest first.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    before = view.store.last_seq + 1 if cursor is None else _position(cursor)
    followed = [follow.followee_id for follow in await view.where(Follow, "follower_id", me.id)]
    seen = {table: visible(me, table) for table in DEEDS}
    found = await deeds(view.store.database, followed, seen, before, limit + 1) if followed else []
    rows: dict[int, Row] = {}
    for table in DEEDS:
        wanted = [seq for name, seq in found[:limit] if BY_NAME[name] is table]
        rows |= await view.store.rows_at(table, wanted) if wanted else {}
    names: dict[str, str] = {}
    entries = [await _entry(view, me, rows[seq], names) for _, seq in found[:limit] if seq in rows]
    data: dict[str, Any] = {"feed": entries, "names": names}
    if len(found) > limit:
        data["nextCursor"] = str(found[limit - 1][1])
    return Told(data=data)


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid("That cursor is not one of ours; pass nextCursor as it came.")
    return int(cursor)


async def _entry(view: View, me: Caller, row: Row, names: dict[str, str]) -> dict[str, Any]:
    by, told = await _told(view, row)
    if not names.get(by):
        member = await view.find_row(by, User) or await view.find_row(by, Agent)
        # In a conversation people know each other; an event does not tell who a hidden agent is.
        known = member is not None and (
            not isinstance(row, Event) or await visible(me, type(member)).holds(member, view)
        )
        names[by] = member.name if member is not None and known else ""
    return {"_id": row.id, "table": row.table, "by": by, **told, "createdAt": row.created_at}


async def _told(view: View, row: Row) -> tuple[str, dict[str, Any]]:
    """Who did it, and what it is."""
    match row:
        case Message():
            return await _author(view, row), {"conversationId": row.conversation_id, **_snippet(row.content)}
        case Comment():
            return await _author(view, row), {"messageId": row.message_id, **_snippet(row.content)}
        case Knowledge():
            return row.owner_id, _snippet(row.content)
        case Event():
            return row.created_by, {"title": row.title, "startTime": row.start_time}
    raise AssertionError(f"{row.table} has no place in a feed")


async def _author(view: View, row: Message | Comment) -> str:
    author = await view.find_row(row.author_participant_id, Participant)
    return author.member_id if author is not None else ""


def _snippet(text: str) -> dict[str, Any]:
    return {"content": text if len(text) <= SNIPPET_CHARS else f"{text[:SNIPPET_CHARS]}…"}
