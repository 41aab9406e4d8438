"""The newest messages of a conversation as the text that a page of them is made of.

What is kept of a message is its JSON behind `createdAt`, 180 bytes more than its letters: a page is joined, not
rendered, and the newest pages of ten thousand conversations fit into the default budget.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from pydantic_core import from_json, to_json

from storage.fields import iso
from storage.row import INTERNAL, all_fields, by_name
from storage.tables import Message

TAIL = 200
"""So many of its newest messages are kept of a conversation: the longest page."""
BYTES_A_MESSAGE = 180
"""Three numbers, three references, the string's own, and the entry that says which conversation it is in."""
_SAID_BY_THE_PAGE = INTERNAL | {"id", "created_at", "conversation_id", "vector"}
_ATTRIBUTES = {name: column.attribute for name, column in by_name(Message).items()}


class Lines:
    """Messages in the order of their commits."""

    def __init__(self) -> None:
        self.seqs = array("q")
        self.times = array("q")
        self.revs = array("q")
        self.ids: list[str] = []
        self.authors: list[str] = []
        self.rests: list[str] = []
        self.bytes = 500
        self.version = object()
        """Another one after each change; a slice has that of what it was cut from."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Lines:
        """The lines of some messages."""
        lines = cls()
        for message in messages:
            lines.append(message)
        return lines

    def __len__(self) -> int:
        return len(self.seqs)

    def append(self, message: Message) -> None:
        """Add the newest message."""
        rest = _rest(message)
        self.seqs.append(message.seq)
        self.times.append(message.created_at)
        self.revs.append(_rev(message))
        self.ids.append(message.id if message.id != f"{Message.prefix}_{message.seq}" else "")
        self.authors.append(sys.intern(message.author_participant_id))
        self.rests.append(rest)
        self.bytes += BYTES_A_MESSAGE + len(rest)
        self.version = object()

    def replace(self, message: Message) -> None:
        """Show another state of a message, if it is among these."""
        place = bisect_left(self.seqs, message.seq)
        if place < len(self.seqs) and self.seqs[place] == message.seq:
            rest = _rest(message)
            self.bytes += len(rest) - len(self.rests[place])
            self.rests[place] = rest
            self.revs[place] = _rev(message)
            self.version = object()

    def message(self, conversation: str, seq: int) -> Message | None:
        """One of them as a row, if it is there and whole."""
        place = bisect_left(self.seqs, seq)
        if place == len(self.seqs) or self.seqs[place] != seq or self.revs[place] < 0:
            return None
        told = {"status": "sent", **from_json("{" + self.rests[place][1:])}
        return Message.model_construct(
            _fields_set=all_fields(Message),
            **{_ATTRIBUTES[name]: value for name, value in told.items()},
            id=self.ids[place] or f"{Message.prefix}_{seq}",
            seq=seq,
            rev=self.revs[place],
            created_at=self.times[place],
            conversation_id=conversation,
        )

    def forget_old(self) -> array[int]:
        """Keep the newest ones only; the `seq` of the others."""
        extra = max(0, len(self.seqs) - TAIL)
        old = self.seqs[:extra]
        if extra:
            self.bytes -= sum(map(len, self.rests[:extra])) + BYTES_A_MESSAGE * extra
            for column in (self.seqs, self.times, self.revs, self.ids, self.authors, self.rests):
                del column[:extra]
        return old

    def slice(self, begin: int, end: int) -> Lines:
        """Some of them, as they are now."""
        part = Lines()
        part.seqs, part.times, part.revs = self.seqs[begin:end], self.times[begin:end], self.revs[begin:end]
        part.ids, part.authors, part.rests = self.ids[begin:end], self.authors[begin:end], self.rests[begin:end]
        part.bytes += sum(map(len, part.rests)) + BYTES_A_MESSAGE * len(part)
        part.version = self.version
        return part

    def _starts(self) -> list[str]:
        prefix = Message.prefix
        return [
            f'{{"_id":{to_json(own).decode()}' if own else f'{{"_id":"{prefix}_{seq}"'
            for own, seq in zip(self.ids, self.seqs, strict=True)
        ]

    def structured(self) -> str:
        """A JSON array, with times in epoch ms."""
        rows = zip(self._starts(), self.times, self.rests, strict=True)
        return "[" + ",".join([f'{start},"createdAt":{time}{rest}' for start, time, rest in rows]) + "]"

    def text(self) -> str:
        """The same with ISO 8601 times."""
        rows = zip(self._starts(), self.times, self.rests, strict=True)
        return "[" + ",".join([f'{start},"createdAt":"{iso(time)}"{rest}' for start, time, rest in rows]) + "]"


def _rev(message: Message) -> int:
    """The commit number of the last change; -1 where a vector or no status makes the text less than the row."""
    return -1 if message.vector is not None or message.status is None else message.rev


def _rest(message: Message) -> str:
    """The JSON of a message behind its id and time, without what the page says once; 'sent' is the usual status."""
    left_out = _SAID_BY_THE_PAGE | {"status"} if message.status == "sent" else _SAID_BY_THE_PAGE
    return "," + message.model_dump_json(by_alias=True, exclude_none=True, exclude=left_out)[1:]
