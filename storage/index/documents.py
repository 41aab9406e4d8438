"""What of a row is indexed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storage.row import Row
from storage.tables import Knowledge, Message

INDEXED: tuple[type[Row], ...] = (Message, Knowledge)
CHUNKS_PER_ROW = 1024
"""A chunk's key is `seq * 1024 + its place`: unique over all tables, as `seq` is."""

Chunker = Callable[[str], Sequence[tuple[int, int]]]
"""The (start, end) of the parts of a text that are embedded one by one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a row as LanceDB holds it. `start` is its place in the row's content."""

    key: int
    text: str
    start: int
    digest: int


@dataclass(frozen=True, slots=True)
class Document:
    """A row with its chunks; none when there is nothing to find any more.

    `scope` is what visibility goes by: the conversation of a message, the owner of knowledge. `given` is a vector that
    came with the row.
    """

    seq: int
    rev: int
    scope: str
    author: str
    speaker: str
    tags: list[str] | None
    step: str | None
    moment: int
    hidden: bool
    chunks: tuple[Chunk, ...]
    given: list[float] | None


def digest(text: str) -> int:
    """63 bits that tell whether a stored embedding is still of this text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def chunks_of(seq: int, content: str, chunker: Chunker) -> tuple[Chunk, ...]:
    """The chunks of a content; none of an empty one."""
    if not content.strip():
        return ()
    parts = [(start, content[start:end]) for start, end in chunker(content)][:CHUNKS_PER_ROW]
    return tuple(
        Chunk(seq * CHUNKS_PER_ROW + place, text, start, digest(text)) for place, (start, text) in enumerate(parts)
    )


def document_of(row: Row, *, author: str, speaker: str, superseded: bool, chunker: Chunker) -> Document:
    """The document of a message or of knowledge. `speaker` is searchable with what they said."""
    if isinstance(row, Message):
        scope, step, content, gone = row.conversation_id, row.step, row.content, row.status == "deleted"
    elif isinstance(row, Knowledge):
        scope, step, content, gone = row.owner_id, None, row.content, False
    else:
        raise TypeError(f"{row.table} is not indexed")
    return Document(
        seq=row.seq,
        rev=row.rev,
        scope=scope,
        author=author,
        speaker=speaker,
        tags=row.tags,
        step=step,
        moment=row.created_at,
        hidden=superseded,
        chunks=() if gone else chunks_of(row.seq, content, chunker),
        given=row.vector,
    )
