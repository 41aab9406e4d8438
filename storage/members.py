"""Where a user or an agent takes part, and up to where it has read: what an inbox is counted from."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from storage.batch import Changes
from storage.cache import ByteBudget
from storage.database import Database
from storage.row import column_list
from storage.tables import Conversation, Message, Participant

MEMBERS_BYTES = 32 << 20
_BYTES_EACH = 500


@dataclass(slots=True)
class Membership:
    """One conversation of a member: everything up to `read` is read, mentions up to `mentioned` are.

    `passed` are the messages above `read` that never count as unread: the member's own, and deleted ones.
    """

    participant: str
    active: bool
    read: int
    mentioned: int
    passed: array[int] = field(default_factory=lambda: array("q"))

    @classmethod
    def of(cls, row: Participant) -> Membership:
        """What a participant's row says."""
        return cls(
            participant=row.id,
            active=not row.is_removed and row.status == "active",
            # Who joins has not to read what was said before.
            read=row.seq if row.last_read_seq is None else row.last_read_seq,
            mentioned=row.last_mention_seq or 0,
        )

    def passes(self, seq: int) -> bool:
        """Whether that message never counts as unread."""
        place = bisect_left(self.passed, seq)
        return place < len(self.passed) and self.passed[place] == seq

    def unread(self, messages: Sequence[int]) -> int:
        """How many of a conversation's messages are not read."""
        return len(messages) - bisect_right(messages, self.read) - len(self.passed)

    def passes_over(self, seq: int) -> None:
        """Take a message for one that never counts."""
        if seq > self.read and not self.passes(seq):
            insort(self.passed, seq)


Rooms = dict[str, Membership]


class Members:
    """The memberships of those who asked, by conversation; each member's are read once and kept current."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: ByteBudget[str, Rooms] = ByteBudget(MEMBERS_BYTES, _size, self._evicted)
        self._own: dict[str, Membership] = {}
        self._loading: dict[object, list[Changes]] = {}

    async def of(self, member: str) -> Mapping[str, Membership]:
        """The memberships of a user or an agent by conversation, those that ended as well."""
        while (rooms := self._known.get(member)) is None:
            load = object()
            late = self._loading[load] = []
            try:
                rooms = await self._database.read(partial(_stored, member))
            finally:
                del self._loading[load]
            if all(_caught_up(rooms, member, changes) for changes in late):
                self._own |= {room.participant: room for room in rooms.values()}
                self._known.put(member, rooms)
                break
        return rooms

    def follow(self, changes: Changes) -> None:
        """Take what a batch changed."""
        for late in self._loading.values():
            late.append(changes)
        if not len(self._known):
            return
        # First who takes part, then what they wrote: the two may come together.
        self._take(_participants(changes))
        for message in changes.inserted(Message):
            room = self._own.get(message.author_participant_id)
            if room is not None:
                room.passes_over(message.seq)
        for message in _deleted_messages(changes):
            for rooms in self._known.values():
                if (room := rooms.get(message.conversation_id)) is not None:
                    room.passes_over(message.seq)
        for gone in changes.deleted(Conversation):
            for rooms in self._known.values():
                if (room := rooms.pop(gone.id, None)) is not None:
                    self._own.pop(room.participant, None)

    def _take(self, rows: Sequence[Participant]) -> None:
        larger: dict[str, Rooms] = {}
        for row in rows:
            rooms = self._known.get(row.member_id)
            if rooms is None:
                continue
            if row.conversation_id not in rooms:
                larger[row.member_id] = rooms
            if _taken(rooms, row):
                self._own[row.id] = rooms[row.conversation_id]
            else:
                self._known.discard(row.member_id)
                self._evicted(rooms)
                larger.pop(row.member_id, None)
        for member, rooms in larger.items():  # once a batch: sizing them looks at every room
            self._known.put(member, rooms)

    def _evicted(self, rooms: Rooms) -> None:
        for room in rooms.values():
            self._own.pop(room.participant, None)


def _size(rooms: Rooms) -> int:
    return _BYTES_EACH * (1 + len(rooms)) + 8 * sum([len(room.passed) for room in rooms.values()])


def _participants(changes: Changes) -> list[Participant]:
    return [*changes.inserted(Participant), *(after for _, after in changes.updated(Participant))]


def _deleted_messages(changes: Changes) -> list[Message]:
    return [
        after for before, after in changes.updated(Message) if after.status == "deleted" and before.status != "deleted"
    ]


def _taken(rooms: Rooms, row: Participant) -> bool:
    """Take another state of a membership. False when more of its conversation is unread than was known."""
    room, new = rooms.get(row.conversation_id), Membership.of(row)
    if room is None:
        rooms[row.conversation_id] = new
        return True
    if new.read < room.read:
        return False
    room.active, room.read, room.mentioned = new.active, new.read, new.mentioned
    del room.passed[: bisect_right(room.passed, room.read)]
    return True


def _caught_up(rooms: Rooms, member: str, changes: Changes) -> bool:
    """Take what changed while the memberships were read. False when they must be read again."""
    if not all(_taken(rooms, row) for row in _participants(changes) if row.member_id == member):
        return False
    for message in changes.inserted(Message):
        room = rooms.get(message.conversation_id)
        if room is not None and room.participant == message.author_participant_id:
            room.passes_over(message.seq)
    for message in _deleted_messages(changes):
        if (room := rooms.get(message.conversation_id)) is not None:
            room.passes_over(message.seq)
    for gone in changes.deleted(Conversation):
        rooms.pop(gone.id, None)
    return True


def _stored(member: str, cursor: Any) -> Rooms:
    """The memberships as the file has them."""
    rows = cursor.execute(
        f'SELECT {column_list(Participant)} FROM "{Participant.table}" WHERE "userId" = $1 OR "agentId" = $1',
        [member],
    ).fetchall()
    rooms = {row.conversation_id: Membership.of(row) for row in map(Participant.loaded, rows)}
    passed = cursor.execute(
        f'SELECT p."conversationId", list(m.seq ORDER BY m.seq) FROM "{Message.table}" m JOIN "{Participant.table}" p '
        'ON m."conversationId" = p."conversationId" WHERE (p."userId" = $1 OR p."agentId" = $1) '
        'AND m.seq > coalesce(p."lastReadSeq", p.seq) '
        "AND (m.\"authorParticipantId\" = p._id OR m.status = 'deleted') GROUP BY ALL",
        [member],
    ).fetchall()
    for conversation, seqs in passed:
        if conversation in rooms:
            for seq in seqs:
                rooms[conversation].passes_over(seq)
    return rooms
