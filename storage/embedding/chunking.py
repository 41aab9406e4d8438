"""Long texts in pieces that a model can take: cut between sentences and lines, with a little overlap."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_BYTES_PER_TOKEN = 3
_REVISION = 1
"""To be raised when the same text would be cut differently: what was embedded before is then embedded anew."""
_OVERLAP = 8
"""A chunk repeats up to one part in so many of the one before it, so that what spans a cut is found."""

_SENTENCE = re.compile(r".+?(?:[.!?\u2026][\"'\u201d\u2019)\]]*\s+|[\u3002\uff01\uff1f]|\n\s*|\Z)", re.DOTALL)
_WORD = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a text: `text` is what the original has from `start` to `end`, in characters."""

    start: int
    end: int
    text: str


class _Piece(NamedTuple):
    start: int
    end: int
    tokens: int


def chunking(limit: int) -> str:
    """Names how texts are cut, for the id of an embedder."""
    return f"chunk{limit}r{_REVISION}"


def estimate(text: str) -> int:
    """About how many tokens a text has for models in general: a third of its bytes in UTF-8.

    English has fewer, so it is cut a little early; Chinese and Japanese have about this.
    """
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def split(text: str, count: Callable[[str], int], limit: int) -> list[Chunk]:
    """Chunks of at most `limit` tokens that together cover the text but for blank ends; none for a blank text.

    `count` tells the tokens of any part of the text. Cuts are made between sentences or lines; inside a sentence only
    if it is too long by itself, and inside a word only if that is. The chunks of a text are about equally long.
    """
    if count(text) <= limit:
        spans = [(0, len(text))]
    else:
        spans = [(window[0].start, window[-1].end) for window in _windows(list(_pieces(text, count, limit)), limit)]
    return [chunk for start, end in spans if (chunk := _trimmed(text, start, end)).text]


def _trimmed(text: str, start: int, end: int) -> Chunk:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    part = part.strip()
    return Chunk(start, start + len(part), part)


def _pieces(text: str, count: Callable[[str], int], limit: int) -> Iterator[_Piece]:
    """The text in sentences, long ones in words, long ones in halves."""

    def piece(start: int, end: int) -> _Piece:
        return _Piece(start, end, count(text[start:end]))

    def halves(start: int, end: int) -> Iterator[_Piece]:
        whole = piece(start, end)
        if whole.tokens <= limit or end - start == 1:
            yield whole
        else:
            middle = (start + end) // 2
            yield from halves(start, middle)
            yield from halves(middle, end)

    for sentence in _SENTENCE.finditer(text):
        whole = piece(*sentence.span())
        if whole.tokens <= limit:
            yield whole
        else:
            for word in _WORD.finditer(text, *sentence.span()):
                yield from halves(*word.span())


def _windows(pieces: list[_Piece], limit: int) -> Iterator[list[_Piece]]:
    total = sum(piece.tokens for piece in pieces)
    overlap = limit // _OVERLAP
    # Equal shares: a short rest would be a chunk that says little and matches at random.
    share = total / math.ceil(total / (limit - overlap))
    window: list[_Piece] = []
    size = fresh = 0
    for piece in pieces:
        if fresh and (fresh >= share or size + piece.tokens > limit):
            yield window
            window = _tail(window, min(overlap, limit - piece.tokens))
            size, fresh = sum(kept.tokens for kept in window), 0
        window.append(piece)
        size += piece.tokens
        fresh += piece.tokens
    if fresh:
        yield window


def _tail(pieces: list[_Piece], limit: int) -> list[_Piece]:
    """The last pieces, as many as have at most `limit` tokens together."""
    first, size = len(pieces), 0
    while first and size + pieces[first - 1].tokens <= limit:
        first -= 1
        size += pieces[first].tokens
    return pieces[first:]
