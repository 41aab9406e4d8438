"""The newest messages of a conversation as the text that a page of them is made of.

What is kept of a message is its JSON behind `createdAt`, 73 bytes more than its letters: a page is joined, not rendered,
and the newest pages of ten thousand conversations fit into the default budget.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from pydantic_core import to_json

from storage.fields import iso
from storage.row import INTERNAL
from storage.tables import Message

TAIL = 200
"""So many of its newest messages are kept of a conversation: the longest page."""
BYTES_A_MESSAGE = 80
_SAID_BY_THE_PAGE = INTERNAL | {"id", "created_at", "conversation_id", "vector"}


class Lines:
    """Messages in the order of their commits."""

    def __init__(self) -> None:
        self.seqs = array("q")
        self.times = array("q")
        self.ids: list[str] = []
        self.authors: list[str] = []
        self.rests: list[str] = []
        self.bytes = 500

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
        self.ids.append(message.id if message.id != f"{Message.prefix}_{message.seq}" else "")
        self.authors.append(sys.intern(message.author_participant_id))
        self.rests.append(rest)
        self.bytes += BYTES_A_MESSAGE + len(rest)

    def replace(self, message: Message) -> None:
        """Show another state of a message, if it is among these."""
        place = bisect_left(self.seqs, message.seq)
        if place < len(self.seqs) and self.seqs[place] == message.seq:
            rest = _rest(message)
            self.bytes += len(rest) - len(self.rests[place])
            self.rests[place] = rest

    def forget_old(self) -> None:
        """Keep the newest ones only."""
        extra = len(self.seqs) - TAIL
        if extra > 0:
            self.bytes -= sum(map(len, self.rests[:extra])) + BYTES_A_MESSAGE * extra
            for column in (self.seqs, self.times, self.ids, self.authors, self.rests):
                del column[:extra]

    def slice(self, begin: int, end: int) -> Lines:
        """Some of them, as they are now."""
        part = Lines()
        part.seqs, part.times = self.seqs[begin:end], self.times[begin:end]
        part.ids, part.authors, part.rests = self.ids[begin:end], self.authors[begin:end], self.rests[begin:end]
        part.bytes += sum(map(len, part.rests)) + BYTES_A_MESSAGE * len(part)
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


def _rest(message: Message) -> str:
    """The JSON of a message behind its id and time, without what the page says once; 'sent' is the usual status."""
    left_out = _SAID_BY_THE_PAGE | {"status"} if message.status == "sent" else _SAID_BY_THE_PAGE
    return "," + message.model_dump_json(by_alias=True, exclude_none=True, exclude=left_out)[1:]
