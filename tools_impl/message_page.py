"""A page of messages as tools return it: JSON for programs, and lines that cost a model few tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic_core import from_json, to_json

from storage.fields import iso
from storage.pages import Rendered
from storage.row import Result
from storage.tails import Lines
from tools_impl.transcripts import NOTICE, named, plain, quoted

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
_CLOCK = tuple(f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60))
_SAID_BY_THE_LINE = frozenset({"_id", "createdAt", "authorParticipantId", "kind", "content"})


class MessagePage(Result):
    """A page of a conversation, rendered: `json_text` for programs, `words` for models."""

    table: ClassVar[str] = "messages"

    json_text: str
    words: str

    def wire(self) -> dict[str, Any]:
        """See `Result`."""
        data: dict[str, Any] = from_json(self.json_text)
        return data

    def structured(self) -> str:
        """See `Result`."""
        return self.json_text

    def text(self) -> str:
        """See `Result`."""
        return self.words


@dataclass(frozen=True, slots=True)
class Page:
    """What a page is made from. What repeats is said once: `conversation`, and `authors` by participant."""

    conversation: dict[str, Any]
    authors: dict[str, dict[str, Any]]
    messages: Lines
    next_cursor: str | None
    concise: bool

    def rendered(self, last: Rendered | None) -> Rendered:
        """The page as it is told, in JSON and in words; `last`, if it was made from the same.

        The words are lines where they are to be concise, else the JSON with ISO 8601 times.
        """
        of = (self.messages.version, self.conversation, self.authors, self.next_cursor)
        if last is not None and last.of == of:
            return last
        messages = self.messages.structured()  # joined from what was rendered when they were stored
        text = "\n".join(self._lines(messages)) if self.concise else self._around(self.messages.text())
        return Rendered(of, self._around(messages), text)

    def _around(self, messages: str) -> str:
        head = to_json({"conversation": self.conversation, "authors": self.authors}).decode()
        tail = f',"nextCursor":"{self.next_cursor}"' if self.next_cursor is not None else ""
        return f'{head[:-1]},"messages":{messages}{tail}}}'

    def _lines(self, messages: str) -> Iterator[str]:
        """A line like `msg_12 14:03 Nova` for each message, and what it says."""
        yield f"{plain(self.conversation['title'])} ({named(self.conversation['_id'])}). {NOTICE}"
        names = _names(self.authors)
        if names:
            members = (f"{name} ({named(self.authors[one]['_id'])})" for one, name in names.items())
            yield f"Authors: {', '.join(members)}"
        if self.next_cursor is not None:
            yield f'Earlier ones: cursor="{self.next_cursor}"'
        today = None
        for brought, message in zip(self.messages.ids, from_json(messages), strict=True):
            day, moment = divmod(message["createdAt"], DAY_MS)
            if day != today:
                today = day
                yield f"{iso(message['createdAt'])[:10]} UTC"
            author = names.get(message["authorParticipantId"], "?")
            more = _more(message) if len(message) > len(_SAID_BY_THE_LINE) or message["kind"] != "participant" else ""
            row_id = named(brought) if brought else message["_id"]
            yield f"{row_id} {_CLOCK[moment // MINUTE_MS]} {author}{more}"
            if message.get("status") != "deleted":
                yield quoted(message["content"])


def _names(authors: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What to call each author: the name, and the id with it where two have the same."""
    names = {one: plain(author["name"]) or "?" for one, author in authors.items()}
    often = Counter(names.values())
    return {one: name if often[name] == 1 else f"{name} ({named(authors[one]['_id'])})" for one, name in names.items()}


def _more(message: dict[str, Any]) -> str:
    """What a message has besides its content."""
    rest = {name: value for name, value in message.items() if name not in _SAID_BY_THE_LINE}
    kind = " (system)" if message["kind"] == "system" else ""
    return f"{kind} {to_json(rest).decode()}" if rest else kind
