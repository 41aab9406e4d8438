"""Waiting for messages: the answer comes the moment there is one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from heapq import merge
from itertools import islice, repeat
from typing import Annotated, Any

import anyio
from pydantic import Field

from storage.store import table_of
from storage.tables import Conversation, Message
from storage.view import View
from tools_impl.access import required, visible
from tools_impl.arguments import ConversationId, RowId
from tools_impl.caller import Caller
from tools_impl.shared import participant_for
from tools_impl.told import Budget, Told, messages_at, told_message

MOST_SECONDS = 25
MOST_MESSAGES = 50
TOKENS = 4_000


async def wait_for_messages(
    view: View,
    me: Caller,
    conversation_id: Annotated[ConversationId | None, Field(description="any of yours by default")] = None,
    after: Annotated[RowId | None, Field(description="a message's id, or `after` of the last result")] = None,
    timeout_seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS)] = MOST_SECONDS,
) -> Told:
    """Messages of others after `after` (by default: from now on), as soon as there are any; none at the timeout.

    Raises:
        NotFound: no such conversation, or no such message.
    """
    now = view.store.last_seq
    with view.store.arrivals.waiting(conversation=conversation_id, member=me.id) as waiter:
        watch = _Watch(view, me, conversation_id, now if after is None else await _position(view, me, after))
        # Outside of the timeout: what is there already is told even by those who do not wait at all.
        if after is None and conversation_id is None:
            await view.store.members.of(me.id)  # nothing can be there yet; have them at hand when something is
        else:
            await watch.look(None)
        with anyio.move_on_after(timeout_seconds):
            while not watch.entries and not waiter.ended:
                await watch.look(await waiter.wait())
    return watch.told()


async def _position(view: View, me: Caller, after: str) -> int:
    if after.isascii() and after.isdecimal() and table_of(after) is None:
        return min(int(after[:18]), view.store.last_seq)  # beyond it nothing would ever be heard
    return (await required(view, me, Message, after)).seq


class _Watch:
    """What arrived behind a position, as far as the caller may see it and did not write it."""

    def __init__(self, view: View, me: Caller, conversation_id: str | None, position: int) -> None:
        self._view = view
        self._me = me
        self._conversation_id = conversation_id
        self._position = position
        self._budget = Budget(TOKENS)
        self._names: dict[str, str] = {}
        self.entries: list[dict[str, Any]] = []

    def told(self) -> Told:
        """The result."""
        data = {"messages": self.entries, "authors": self._names, "after": str(self._position)}
        return Told(data=data if self.entries else {"messages": [], "after": str(self._position)})

    async def look(self, arrived: Collection[str] | None) -> None:
        """Take what is new in conversations where something arrived (None: look everywhere).

        Raises:
            NotFound: the caller sees the conversation no longer.
        """
        until = self._view.store.last_seq  # what arrives while we look wakes again, wherever it is
        while True:
            own = await self._places(arrived)
            timeline = self._view.store.pages.timeline
            new = (zip(_between(timeline.of(one), self._position, until), repeat(one)) for one in own)
            found = list(islice(merge(*new), MOST_MESSAGES))
            if not found:
                return
            await self._take(found, own)
            if self.entries:
                return

    async def _places(self, arrived: Collection[str] | None) -> dict[str, str]:
        """The conversations to look at, with the id of the caller's participant (empty if there is none)."""
        store = self._view.store
        await store.pages.timeline.ready()
        if self._conversation_id is not None:
            await required(self._view, self._me, Conversation, self._conversation_id)
            mine = await participant_for(self._view, self._conversation_id, self._me.id)
            return {self._conversation_id: mine.id if mine is not None else ""}
        rooms = await store.members.of(self._me.id)
        chosen = rooms if arrived is None else [one for one in arrived if one in rooms]
        return {one: rooms[one].participant for one in chosen if rooms[one].active}

    async def _take(self, found: list[tuple[int, str]], own: dict[str, str]) -> None:
        rows = await messages_at(self._view, [seq for seq, _ in found])
        seen = {one: await self._sees(one) for one in {conversation for _, conversation in found}}
        for seq, conversation in found:
            row = rows.get(seq)
            if row is not None and seen[conversation] and _is_told(row, own[conversation]):
                text = self._budget.take(row.id, row.content)
                if text is None:
                    return
                entry = await told_message(self._view, row, text, self._names)
                if self._conversation_id is None:
                    entry["conversationId"] = conversation
                self.entries.append(entry)
            self._position = seq

    async def _sees(self, conversation_id: str) -> bool:
        if self._conversation_id is not None:
            return True  # required() has just said so
        row = await self._view.find_row(conversation_id, Conversation)
        return row is not None and await visible(self._me, Conversation).holds(row, self._view)


def _is_told(message: Message, own: str) -> bool:
    return message.status != "deleted" and message.author_participant_id != own


def _between(seqs: Sequence[int], position: int, until: int) -> Sequence[int]:
    first = bisect_right(seqs, position)
    return seqs[first : min(first + MOST_MESSAGES, bisect_right(seqs, until))]
