"""Who waits for messages, and is woken when one arrives. A waiter costs an entry in a dict and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from storage.batch import Changes
from storage.tables import Message, Participant


class Waiter:
    """Somebody who waits. `conversations` are those in which something arrived since they were last taken."""

    def __init__(self) -> None:
        self.conversations: set[str] = set()
        self.ended = False
        self._arrived = asyncio.Event()

    async def wait(self) -> set[str]:
        """Wait until something arrives: the conversations, none of them when nobody may wait any longer."""
        if not self.ended:
            await self._arrived.wait()
        taken, self.conversations, self._arrived = self.conversations, set(), asyncio.Event()
        return taken

    def wake(self, conversation: str) -> None:
        """Tell that something arrived in a conversation."""
        self.conversations.add(conversation)
        self._arrived.set()

    def end(self) -> None:
        """Let it go, whether something arrived or not."""
        self.ended = True
        self._arrived.set()


class Arrivals:
    """The waiters, by conversation and by member.

    `participants_in_memory` gives those of a conversation, by id, or None.
    """

    def __init__(self, participants_in_memory: Callable[[str], Mapping[str, Participant] | None]) -> None:
        self._participants = participants_in_memory
        self._of_conversation: dict[str, set[Waiter]] = {}
        self._of_member: dict[str, set[Waiter]] = {}
        self._ended = False

    @contextmanager
    def waiting(self, *, conversation: str | None, member: str) -> Iterator[Waiter]:
        """A waiter for what arrives in a conversation or, without one, in any conversation of a member.

        For a member it may be woken by what is none of the member's business: look before you tell.
        """
        waiters, key = (self._of_conversation, conversation) if conversation else (self._of_member, member)
        waiter = Waiter()
        if self._ended:
            waiter.end()
        waiters.setdefault(key, set()).add(waiter)
        try:
            yield waiter
        finally:
            waiters[key].discard(waiter)
            if not waiters[key]:
                del waiters[key]

    def __len__(self) -> int:
        return sum(map(len, (*self._of_conversation.values(), *self._of_member.values())))

    def follow(self, changes: Changes) -> None:
        """Wake those for whom something arrived."""
        if not (self._of_conversation or self._of_member):
            return
        for conversation in {message.conversation_id for message in changes.inserted(Message)}:
            for waiter in self._of_conversation.get(conversation, ()):
                waiter.wake(conversation)
            for waiter in self._waiting_members(conversation):
                waiter.wake(conversation)

    def _waiting_members(self, conversation: str) -> list[Waiter]:
        participants = self._participants(conversation) if self._of_member else {}
        if participants is None:  # not in memory: each looks for itself
            return [waiter for waiters in self._of_member.values() for waiter in waiters]
        members = (participant.member_id for participant in participants.values())
        return [waiter for member in members for waiter in self._of_member.get(member, ())]

    def end(self) -> None:
        """Let everybody go, and let nobody wait from now on."""
        self._ended = True
        for waiters in (*self._of_conversation.values(), *self._of_member.values()):
            for waiter in waiters:
                waiter.end()
