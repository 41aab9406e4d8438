"""Mentions in texts, `@[Name](agent:ID)` and `@[Name](user:ID)`, and an index of who is mentioned where."""

from __future__ import annotations

import asyncio
import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from typing import Any

from storage.batch import Changes
from storage.database import Database
from storage.tables import Conversation, Message

Mention = tuple[str, str]
"""The kind, `agent` or `user`, and the id that a text names."""

MENTION = re.compile(r"(?<![\w\\])@\[([^\[\]\\`\r\n]{1,200})\]\((agent|user):([A-Za-z0-9_.:@-]{1,200})\)")
_MARKERS = r"\s*(?:(?:[*+-]|\d{1,9}[.)])\s+)*"
_QUOTE = re.compile(_MARKERS + ">")
_FENCE = re.compile(_MARKERS + r"(`{3,}(?=[^`]*$)|~{3,})")
_CODE_OR_ESCAPE = re.compile(r"\\.|`+", re.DOTALL)
_TICKS = re.compile("`+")
FETCHED = 1_000
MOST = 200
"""So many of one text count: what it takes in memory to know them is then no more than the longest text."""


def mentions(text: str) -> list[Mention]:
    """Whom a text mentions, each once, in order, at most `MOST`: not in lines of quotes, in code, behind a backslash.

    What could be read as a quote or as code in any way is taken for one, so that what others wrote never mentions.
    """
    if "](agent:" not in text and "](user:" not in text:
        return []
    found: dict[Mention, None] = {}
    for paragraph in _paragraphs(text):
        # A code span may reach over lines, or a stray backtick may not: both readings must leave a mention alone.
        in_all = _without_code(paragraph)
        in_lines = "\n".join(map(_without_code, paragraph.split("\n")))
        alone = {match.start() for match in MENTION.finditer(in_lines)}
        found.update({(m[2], m[3]): None for m in MENTION.finditer(in_all) if m.start() in alone})
    return list(found)[:MOST]


def _paragraphs(text: str) -> Iterable[str]:
    """The lines that belong together, without quotes and fenced code."""
    lines: list[str] = []
    fence, column = "", 0
    for line in text.split("\n"):
        if fence:
            closing = line.strip(" \t\r")
            if line.find(closing) <= column + 3 and len(closing) >= len(fence) and not closing.strip(fence[0]):
                fence = ""
            continue
        kept, opening = _outside(line)
        if opening is not None:
            fence, column = opening[1], opening.start(1)
        if kept.strip():
            lines.append(kept)
        if lines and (kept != line or not kept.strip()):
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _outside(line: str) -> tuple[str, re.Match[str] | None]:
    """What comes before a quote or a fence in a line, and the fence. A lone CR may begin either, but ends none."""
    kept: list[str] = []
    for part in line.split("\r"):
        opening = _FENCE.match(part)
        if opening is not None or _QUOTE.match(part):
            return "\r".join(kept), opening
        kept.append(part)
    return line, None


def _without_code(text: str) -> str:
    """The text with its code spans blanked: from a run of backticks to the next one of the same length."""
    if "`" not in text:
        return text
    ends: dict[int, list[int]] = {}
    for run in _TICKS.finditer(text):
        ends.setdefault(len(run[0]), []).append(run.start())
    parts: list[str] = []
    place = kept = 0
    while (token := _CODE_OR_ESCAPE.search(text, place)) is not None:
        place, length = token.end(), len(token[0])
        same = ends.get(length, []) if token[0][0] == "`" else []
        closing = bisect_left(same, place)
        if closing < len(same):
            place = same[closing] + length
            parts += [text[kept : token.start()], "`" * (place - token.start())]
            kept = place
    return "".join([*parts, text[kept:]])


Places = dict[str, "array[int]"]
"""By conversation the messages, ascending by `seq`."""


class Mentions:
    """Who is mentioned in which messages. Read from the file when it is first asked, and kept current from then on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places: dict[Mention, Places] = {}
        self._late: list[Changes] | None = None
        self._loaded: asyncio.Event | None = None

    async def of(self, kind: str, row_id: str) -> Mapping[str, array[int]]:
        """By conversation the messages that mention this user or agent, ascending by `seq`."""
        while self._loaded is None or not self._loaded.is_set():
            if self._loaded is not None:
                await self._loaded.wait()
            else:
                await self._load()
        return self._places.get((kind, row_id), {})

    async def _load(self) -> None:
        self._loaded, self._late = asyncio.Event(), []
        loading = self._loaded
        try:
            stored = await self._database.read(_scan)
        except BaseException:
            self._loaded = self._late = None  # whoever asks next tries again
            loading.set()
            raise
        for conversation, seq, named in stored:
            for mention in named:
                self._add(mention, conversation, seq)
        late, self._late = self._late, None
        loading.set()
        for changes in late:
            self.follow(changes)

    def follow(self, changes: Changes) -> None:
        """Take what a batch changed."""
        if self._loaded is None:
            return
        if self._late is not None:
            self._late.append(changes)
            return
        for message in changes.inserted(Message):
            for mention in mentions(message.content):
                self._add(mention, message.conversation_id, message.seq)
        for before, after in changes.updated(Message):
            if before.content != after.content:
                for mention in mentions(before.content):
                    self._discard(mention, before.conversation_id, before.seq)
                for mention in mentions(after.content):
                    self._add(mention, after.conversation_id, after.seq)
        for gone in changes.deleted(Conversation):
            for places in self._places.values():
                places.pop(gone.id, None)

    def _add(self, mention: Mention, conversation: str, seq: int) -> None:
        seqs = self._places.setdefault(mention, {}).setdefault(conversation, array("q"))
        if not seqs or seqs[-1] < seq:
            seqs.append(seq)
        elif seqs[bisect_left(seqs, seq)] != seq:
            insort(seqs, seq)

    def _discard(self, mention: Mention, conversation: str, seq: int) -> None:
        seqs = self._places.get(mention, {}).get(conversation, array("q"))
        place = bisect_left(seqs, seq)
        if place < len(seqs) and seqs[place] == seq:
            del seqs[place]


def _scan(cursor: Any) -> list[tuple[str, int, list[Mention]]]:
    """All messages that mention somebody, read in the thread of a reader."""
    result = cursor.execute(
        f'SELECT "conversationId", seq, content FROM "{Message.table}" '
        "WHERE content LIKE '%](agent:%' OR content LIKE '%](user:%' ORDER BY seq"
    )
    found: list[tuple[str, int, list[Mention]]] = []
    while rows := result.fetchmany(FETCHED):
        for conversation, seq, content in rows:
            if named := mentions(content):
                found.append((conversation, seq, named))
    return found
