"""What somebody has not read, counted and found without reading it."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.members import Membership
from storage.view import View
from tools_impl.caller import Caller


@dataclass(slots=True)
class Room:
    """A conversation that one takes part in: all its messages, and those that mention one, by commit number."""

    conversation: str
    member: Membership
    messages: Sequence[int]
    mentions: Sequence[int]

    def unread(self) -> int:
        """How many messages are neither read nor one's own."""
        read, mentioned = self.member.read, self.member.mentioned
        if not self.mentions:
            return self.member.unread(self.messages)
        shown = [seq for seq in self.mentions if read < seq <= mentioned and not self.member.passes(seq)]
        return self.member.unread(self.messages) - len(shown)

    def latest(self, until: int) -> int:
        """The last message up to `until`, 0 if there is none."""
        place = bisect_right(self.messages, until)
        return self.messages[place - 1] if place else 0

    def new_mentions(self, until: int) -> list[int]:
        """The unread messages up to `until` that mention one, ascending."""
        if not self.mentions:
            return []
        first = max(self.member.read, self.member.mentioned)
        return [seq for seq in self.mentions if first < seq <= until and not self.member.passes(seq)]

    def others(self, after: int, until: int, most: int) -> list[int]:
        """At most so many of the unread messages between that mention nobody: mentions are shown before, and once."""
        found: list[int] = []
        for place in range(bisect_right(self.messages, max(after, self.member.read)), len(self.messages)):
            seq = self.messages[place]
            if seq > until or len(found) == most:
                break
            if not self.member.passes(seq) and not self._mentions(seq):
                found.append(seq)
        return found

    def _mentions(self, seq: int) -> bool:
        place = bisect_left(self.mentions, seq)
        return place < len(self.mentions) and self.mentions[place] == seq


async def rooms_of(view: View, me: Caller) -> list[Room]:
    """The conversations that the caller actively takes part in."""
    await view.store.pages.timeline.ready()
    mentions: Mapping[str, array[int]] = await view.store.mentions.of(me.kind, me.id)
    memberships = await view.store.members.of(me.id)
    timeline = view.store.pages.timeline
    return [
        Room(conversation, member, timeline.of(conversation), mentions.get(conversation, ()))
        for conversation, member in memberships.items()
        if member.active
    ]
