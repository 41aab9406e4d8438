"""The newest messages of conversations in memory, and where the others are."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

from storage.cache import ByteBudget, Loads
from storage.tables import Message
from storage.tails import Lines
from storage.timeline import Timeline

NEIGHBOURS = 50
ASKED_ONCE = 10_000
"""So many conversations are remembered of which a single message was read."""
RENDERED_SHARE = 4
"""One part in so many of the budget is for pages as they were last rendered: by Zipf's law most reads are of few."""


class Rendered(NamedTuple):
    """A page of messages as it was last told. It holds as long as `of`, all that it was made from, is the same."""

    of: tuple[Any, ...]
    structured: str
    text: str

    @property
    def bytes(self) -> int:
        """Roughly what it takes in memory."""
        return 600 + len(self.structured) + len(self.text)


class MessagePages:
    """Pages of messages: the newest ones from memory, within a budget of bytes, older ones by their keys.

    `lines_at` reads messages by commit number; `newest` says which are below one (None: all), so many at most,
    descending, from the file.
    """

    def __init__(
        self,
        budget: int,
        lines_at: Callable[[Collection[int]], Awaitable[dict[int, Message]]],
        newest: Callable[[str, int | None, int], Awaitable[list[int]]],
    ) -> None:
        self.timeline = Timeline()
        self._lines_at = lines_at
        self._newest = newest
        self.rendered: ByteBudget[tuple[str, int | None, int, bool], Rendered] = ByteBudget(
            budget // RENDERED_SHARE, lambda page: page.bytes
        )
        tails = budget - budget // RENDERED_SHARE
        self._tails: ByteBudget[str, Lines] = ByteBudget(tails, lambda lines: lines.bytes, self._no_home)
        self._homes: dict[int, str] = {}
        self._asked_once: set[str] = set()
        self._loads = Loads()
        self._expected: dict[str, asyncio.Task[tuple[Lines, bool]]] = {}

    def __contains__(self, conversation: str) -> bool:
        return conversation in self._tails

    def message(self, seq: int) -> Message | None:
        """A message as a row, if it is on a page in memory."""
        home = self._homes.get(seq)
        tail = self._tails.get(home) if home is not None else None
        return tail.message(home, seq) if tail is not None and home is not None else None

    async def before(self, conversation: str, seq: int | None, limit: int) -> tuple[Lines, bool]:
        """A page of messages, ascending, all below `seq` (None: the newest), and whether there are earlier ones."""
        if not self.timeline.loaded:  # just started: the file answers sooner
            return await self._from_file(conversation, seq, limit)
        seqs, more = self.timeline.before(conversation, seq, limit)
        tail = self._tails.get(conversation)
        if tail is not None and (not seqs or (tail.seqs and tail.seqs[0] <= seqs[0])):
            begin = bisect_left(tail.seqs, seqs[0]) if seqs else 0
            return tail.slice(begin, begin + len(seqs)), more
        with self._loads.track(conversation) as load:
            rows = await self._lines_at(seqs)
        lines = Lines.of([rows[one] for one in seqs if one in rows])
        if seq is None and not load.stale:
            tail = lines.slice(0, len(lines))
            for message in load.late:
                tail.append(message)
            self._keep(conversation, tail)
        return lines, more

    async def _from_file(self, conversation: str, seq: int | None, limit: int) -> tuple[Lines, bool]:
        found = await self._newest(conversation, seq, limit + 1)
        seqs = found[limit - 1 :: -1]
        rows = await self._lines_at(seqs)
        return Lines.of([rows[one] for one in seqs if one in rows]), len(found) > limit

    async def warm(self, conversations: Sequence[str]) -> None:
        """Bring the newest pages of conversations into memory, while there is room: half is left to those who ask."""
        await self.timeline.ready()
        if self._tails.used < self._tails.budget // 2:
            for conversation in conversations:  # one by one: who asks for something meanwhile is next
                if conversation not in self._tails:
                    await self.before(conversation, None, NEIGHBOURS)

    def expect_neighbours(self, message: Message) -> None:
        """Where a second one of the newest messages is read, the others will be: bring their page into memory."""
        conversation = message.conversation_id
        if conversation not in self._asked_once:
            if len(self._asked_once) >= ASKED_ONCE:
                self._asked_once.clear()
            self._asked_once.add(conversation)
            return
        newest, _ = self.timeline.before(conversation, None, NEIGHBOURS)
        if conversation in self._expected or conversation in self._tails or message.seq not in newest:
            return
        task = asyncio.create_task(self.before(conversation, None, NEIGHBOURS))
        self._expected[conversation] = task
        task.add_done_callback(lambda _: self._expected.pop(conversation, None))

    def publish(self, message: Message, *, new: bool) -> None:
        """A message became durable, or another state of one."""
        conversation = message.conversation_id
        tail = self._tails.get(conversation)
        if not new:
            self._loads.touch(conversation)
            if tail is not None:
                tail.replace(message)
                self._tails.put(conversation, tail)
            return
        self.timeline.add(conversation, message.seq)
        self._loads.add(conversation, message)
        if tail is not None:
            tail.append(message)
            self._keep(conversation, tail, [message.seq])

    def _keep(self, conversation: str, tail: Lines, added: Collection[int] | None = None) -> None:
        replaced = self._tails.get(conversation)
        if replaced is not None and replaced is not tail:
            self._no_home(replaced)
        for seq in tail.forget_old():
            self._homes.pop(seq, None)
        self._homes.update(dict.fromkeys(tail.seqs if added is None else added, conversation))
        self._tails.put(conversation, tail)

    def _no_home(self, tail: Lines) -> None:
        for seq in tail.seqs:
            self._homes.pop(seq, None)

    def forget(self, conversation: str) -> None:
        """A conversation is gone."""
        self.timeline.forget(conversation)

    def forget_rendered(self) -> None:
        """SQL changed messages that nobody names."""
        self._loads.touch_all()
        self._tails.clear()
        self._homes.clear()

    def caches(self) -> dict[str, ByteBudget[Any, Any]]:
        """The caches, by name."""
        return {"messages": self._tails, "pages": self.rendered}

    def statistics(self) -> dict[str, int]:
        """Entries and bytes."""
        return {"conversations": len(self._tails), "messagesBytes": self._tails.used + self.rendered.used}
