"""The newest messages of conversations in memory, and where the others are."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection

from storage.cache import ByteBudget, Loads
from storage.tables import Message
from storage.tails import Lines
from storage.timeline import Timeline

NEIGHBOURS = 50


class MessagePages:
    """Pages of messages: the newest ones from memory, within a budget of bytes, older ones by their keys.

    `rows_at` reads messages by commit number.
    """

    def __init__(self, budget: int, rows_at: Callable[[Collection[int]], Awaitable[dict[int, Message]]]) -> None:
        self.timeline = Timeline()
        self._rows_at = rows_at
        self._tails: ByteBudget[str, Lines] = ByteBudget(budget, lambda lines: lines.bytes, self._no_home)
        self._homes: dict[int, str] = {}
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
        await self.timeline.ready()
        seqs, more = self.timeline.before(conversation, seq, limit)
        tail = self._tails.get(conversation)
        if tail is not None and (not seqs or (tail.seqs and tail.seqs[0] <= seqs[0])):
            begin = bisect_left(tail.seqs, seqs[0]) if seqs else 0
            return tail.slice(begin, begin + len(seqs)), more
        with self._loads.track(conversation) as load:
            rows = await self._rows_at(seqs)
        lines = Lines.of([rows[one] for one in seqs if one in rows])
        if seq is None and not load.stale:
            tail = lines.slice(0, len(lines))
            for message in load.late:
                tail.append(message)
            self._keep(conversation, tail)
        return lines, more

    def expect_neighbours(self, message: Message) -> None:
        """Who reads one of the newest messages reads the others: bring their page into memory."""
        conversation = message.conversation_id
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

    def statistics(self) -> dict[str, int]:
        """Entries and bytes."""
        return {"conversations": len(self._tails), "messagesBytes": self._tails.used}
