"""What is new for somebody: reminders, mentions, unread messages."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from storage.errors import Invalid
from storage.tables import Conversation, Message, Reminder
from storage.view import View
from tools_impl.access import visible
from tools_impl.acks import Shown
from tools_impl.arguments import PAGE_DEFAULT, Cursor, Limit
from tools_impl.caller import Caller
from tools_impl.told import Budget, Told, messages_at, told_message
from tools_impl.unread import Room, rooms_of

MOST_REMINDERS = 20
LATE_MS = 60_000
TOKENS = 4_000
_CURSOR = re.compile(r"(\d{1,18})\.([mc])\.(\d{1,18})(?:\.(\d{1,18}))?", re.ASCII)
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000))

MaxTokens = Annotated[int, Field(ge=200, le=25_000, description="longer texts are cut")]


async def inbox(
    view: View, me: Caller, limit: Limit = PAGE_DEFAULT, cursor: Cursor | None = None, max_tokens: MaxTokens = TOKENS
) -> Told:
    """What is new for you: due reminders, mentions, then unread messages.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    place = None if cursor is None else Place.parse(cursor)
    counts = [(room, room.unread()) for room in await rooms_of(view, me)]
    rooms = [room for room, count in counts if count > 0]
    place = place or Place(view.store.last_seq, "m", 0, 0)
    page = _Page(view, me, limit, max_tokens)
    reminders = await page.reminders() if cursor is None else []
    mentions, rest = await page.mentions(rooms, place) if place.part == "m" else ([], None)
    others: list[dict[str, Any]] = []
    if rest is None:
        others, rest = await page.conversations(rooms, place)
    data: dict[str, Any] = {
        "now": time.time_ns() // 1_000_000,
        "reminders": reminders,
        "mentions": mentions,
        "messages": others,
        "authors": page.names,
        "unread": sum(count for _, count in counts),
    }
    ack = page.shown.token(me.id)
    if ack is not None:
        data["ack"] = ack
    if rest is not None:
        data["nextCursor"] = str(rest)
    return Told(data=data)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ends, in what was there up to the message `until`.

    Among the mentions (`m`) after the message `first`; among the conversations (`c`) in the one whose last message is
    `first`, after the message `second`.
    """

    until: int
    part: str
    first: int
    second: int

    @classmethod
    def parse(cls, cursor: str) -> Place:
        """The place that a cursor names.

        Raises:
            Invalid: it is not one of ours.
        """
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            raise Invalid("That cursor is not one of ours; pass nextCursor as it came.")
        return cls(int(match[1]), match[2], int(match[3]), int(match[4] or 0))

    def __str__(self) -> str:
        return f"{self.until}.{self.part}.{self.first}" + (f".{self.second}" if self.part == "c" else "")


class _Page:
    """Collects entries until the limit or the budget is reached, and notes what it showed."""

    def __init__(self, view: View, me: Caller, limit: int, max_tokens: int) -> None:
        self._view = view
        self._me = me
        self._left = limit
        self._budget = Budget(max_tokens)
        self.names: dict[str, str] = {}
        self.shown = Shown()

    async def reminders(self) -> list[dict[str, Any]]:
        """The reminders that fired, as far as there is room."""
        entries = []
        for reminder_id in (await self._view.store.due.fired(self._me.id))[:MOST_REMINDERS]:
            row = await self._view.find_row(reminder_id, Reminder)
            if row is None or not await visible(self._me, Reminder).holds(row, self._view):
                continue
            text = self._budget.take(row.id, row.message)
            if text is None:
                break
            entries.append(_reminder(row, text))
            self.shown.reminders.append(row.id)
        return entries

    async def mentions(self, rooms: Iterable[Room], place: Place) -> tuple[list[dict[str, Any]], Place | None]:
        """The mentions behind a place, the oldest first, and where they go on."""
        found = [(seq, room) for room in rooms for seq in room.new_mentions(place.until) if seq > place.first]
        found.sort(key=lambda pair: pair[0])
        groups, count = await self._tell(found)
        for seq, room in found[:count]:
            self.shown.mentioned[room.conversation] = seq
        last = found[count - 1][0] if count else place.first
        return groups, Place(place.until, "m", last, 0) if count < len(found) else None

    async def conversations(self, rooms: Iterable[Room], place: Place) -> tuple[list[dict[str, Any]], Place | None]:
        """The other messages behind a place, the conversation with the newest one first, and where they go on."""
        until = place.until
        begun, after = (place.first, place.second) if place.part == "c" else (until + 1, 0)
        latest = {room.conversation: room.latest(until) for room in rooms}
        ordered = sorted(
            (room for room in rooms if 0 < latest[room.conversation] <= begun),
            key=lambda room: -latest[room.conversation],
        )
        found: list[tuple[int, Room]] = []
        for room in ordered:
            if len(found) > self._left:
                break
            start = after if latest[room.conversation] == begun else 0
            others = room.others(start, until, self._left + 1 - len(found))
            found += [(seq, room) for seq in others]
        groups, count = await self._tell(found, counted=True)
        following = found[count][1].conversation if count < len(found) else None
        for seq, room in found[:count]:
            done = room.conversation != following
            self.shown.read[room.conversation] = latest[room.conversation] if done else seq
        if following is None:
            return groups, None
        reached = after if latest[following] == begun else 0
        return groups, Place(until, "c", latest[following], self.shown.read.get(following, reached))

    async def _tell(self, found: list[tuple[int, Room]], *, counted: bool = False) -> tuple[list[dict[str, Any]], int]:
        """Entries in groups, and how many of `found` are done with. `counted`: say how much is unread in each."""
        rows = await messages_at(self._view, [seq for seq, _ in found[: self._left]])
        groups: list[dict[str, Any]] = []
        heads: dict[str, dict[str, Any] | None] = {}
        count = 0
        for seq, room in found[: self._left]:
            if room.conversation not in heads:
                heads[room.conversation] = await self._head(room, counted=counted)
            head, row = heads[room.conversation], rows.get(seq)
            if head is not None and row is not None and row.status != "deleted":
                entry = await self._entry(row)
                if entry is None:
                    break
                if not groups or groups[-1]["conversation"] is not head:
                    groups.append({"conversation": head, "messages": []})
                groups[-1]["messages"].append(entry)
            count += 1
        self._left -= count
        return groups, count

    async def _head(self, room: Room, *, counted: bool) -> dict[str, Any] | None:
        """What is said once of a conversation; None when it is hidden."""
        row = await self._view.find_row(room.conversation, Conversation)
        if row is None or not await visible(self._me, Conversation).holds(row, self._view):
            return None
        return {"_id": row.id, "title": row.title, **({"unread": room.unread()} if counted else {})}

    async def _entry(self, message: Message) -> dict[str, Any] | None:
        text = self._budget.take(message.id, message.content)
        return None if text is None else await told_message(self._view, message, text, self.names)


def _reminder(row: Reminder, text: dict[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"_id": row.id, **text, "remindAt": row.remind_at}
    if row.related_entity is not None:
        entry["relatedEntity"] = row.related_entity
    late = (row.fired_at or row.remind_at) - row.remind_at
    if late > LATE_MS:
        entry["late"] = _span(late)
    return entry


def _span(ms: int) -> str:
    """A length of time in its two largest units, like `2 h 5 min`."""
    parts: list[str] = []
    for name, size in _UNITS:
        count, ms = divmod(ms, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
