"""A message as a page of messages shows it, made once and kept: what the page says once is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage.row import INTERNAL
from storage.tables import Message

_ON_THE_PAGE = INTERNAL | {"conversation_id", "vector"}


@dataclass(frozen=True, slots=True)
class Listed:
    """`data` for the structured result and the same as JSON `text`, with ISO times."""

    seq: int
    author: str
    data: dict[str, Any]
    text: str

    @property
    def size(self) -> int:
        """Roughly its bytes in memory: two forms of the text, a dict and its keys."""
        return 700 + 2 * len(self.text)

    @classmethod
    def of(cls, message: Message) -> Listed:
        """The listed form of a row; the usual status is left out."""
        left_out = _ON_THE_PAGE | {"status"} if message.status == "sent" else _ON_THE_PAGE
        return cls(
            seq=message.seq,
            author=message.author_participant_id,
            data=message.model_dump(by_alias=True, exclude_none=True, exclude=left_out),
            text=message.model_dump_json(by_alias=True, exclude_none=True, exclude=left_out),
        )
