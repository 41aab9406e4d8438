"""A swarm to measure on: 10,000 conversations whose messages are distributed by Zipf's law, the same in every run."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.words import Words

CONVERSATIONS = 10_000
USERS = 20
AGENTS = 40
PAGE = 50
OWNER = "user_1"
"""Made by the hub at its first start."""
FIRST_SEQ = 2
START_MS = 1_767_225_600_000
MESSAGE_MS = 7_000
"""Between one message and the next, so that a million take 80 days."""


class Member(NamedTuple):
    """Who takes part in a conversation."""

    participant: str
    member: str


class Dataset:
    """`messages` stored messages in 10,000 conversations, drawn by a Zipf law with s = 1.

    Ids are those that the hub itself would give: numbered through in commit order.
    """

    def __init__(self, messages: int) -> None:
        self.messages = messages
        rng = random.Random(1)
        seqs = iter(range(FIRST_SEQ, 1 << 40))
        self.users = [f"user_{next(seqs)}" for _ in range(USERS)]
        self.agents = [f"agent_{next(seqs)}" for _ in range(AGENTS)]
        self.conversations = [f"conv_{next(seqs)}" for _ in range(CONVERSATIONS)]
        self.members = [self._draw_members(rng, seqs) for _ in self.conversations]
        self.first_message = next(seqs)
        # Which conversation has which place in the law says nothing about its age.
        ranks = random.Random(2).sample(range(1, CONVERSATIONS + 1), CONVERSATIONS)
        self.weights = [1 / rank for rank in ranks]
        self.homes = random.Random(3).choices(range(CONVERSATIONS), cum_weights=self.cum_weights, k=messages)

    def _draw_members(self, rng: random.Random, seqs: Iterator[int]) -> list[Member]:
        """2 to 6 members, of which at least one is an agent and at least one a user."""
        agents = rng.randint(1, 4)
        members = [*rng.sample(self.agents, agents), *rng.sample(self.users, rng.randint(1, min(2, 6 - agents)))]
        return [Member(f"part_{next(seqs)}", member) for member in members]

    @cached_property
    def cum_weights(self) -> list[float]:
        """For `random.choices` of conversations."""
        return list(accumulate(self.weights))

    @cached_property
    def newest(self) -> dict[int, list[str]]:
        """The ids of the newest page of each conversation (by its index) that has messages."""
        pages: dict[int, list[str]] = defaultdict(list)
        for offset in range(self.messages - 1, -1, -1):
            page = pages[self.homes[offset]]
            if len(page) < PAGE:
                page.append(f"msg_{self.first_message + offset}")
        return dict(pages)

    @cached_property
    def old(self) -> dict[int, list[int]]:
        """The places, newest first, of the messages of each conversation that are on no newest page."""
        seen: dict[int, int] = defaultdict(int)
        places: dict[int, list[int]] = defaultdict(list)
        for offset in range(self.messages - 1, -1, -1):
            home = self.homes[offset]
            seen[home] += 1
            if seen[home] > PAGE:
                places[home].append(offset)
        return dict(places)

    def agents_in(self, conversation: int) -> list[str]:
        """The agents that take part in a conversation, by its index."""
        return [member for _, member in self.members[conversation] if member.startswith("agent")]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, in the order of its id, as an import reads it."""
        for user in self.users:
            yield {"table": "users", "_id": user, "name": f"User {user}", "email": f"{user}@example.org"}
        for agent in self.agents:
            yield {
                "table": "agents",
                "_id": agent,
                "name": f"Agent {agent}",
                "description": "Takes part in benchmarks.",
                "kind": "user_agent",
                "createdBy": OWNER,
            }
        words = Words(random.Random(4))
        for conversation in self.conversations:
            yield {"table": "conversations", "_id": conversation, "title": words.title(), "createdBy": OWNER}
        yield from self._participants()
        yield from self._messages(words)

    def _participants(self) -> Iterator[dict[str, Any]]:
        for conversation, members in zip(self.conversations, self.members, strict=True):
            for participant, member in members:
                kind = "agent" if member.startswith("agent") else "user"
                yield {
                    "table": "conversationParticipants",
                    "_id": participant,
                    "conversationId": conversation,
                    "kind": kind,
                    f"{kind}Id": member,
                    "status": "active",
                    "isRemoved": False,
                    "addedAt": START_MS,
                    "createdAt": START_MS,
                }

    def _messages(self, words: Words) -> Iterator[dict[str, Any]]:
        rng = random.Random(5)
        for offset, home in enumerate(self.homes):
            yield {
                "table": "conversationMessages",
                "_id": f"msg_{self.first_message + offset}",
                "conversationId": self.conversations[home],
                "authorParticipantId": rng.choice(self.members[home]).participant,
                "kind": "participant",
                "status": "sent",
                "content": words.message(),
                "createdAt": START_MS + offset * MESSAGE_MS,
            }

    def write(self, path: Path) -> None:
        """Write the rows as JSON lines for `one-mcp import`."""
        with path.open("w") as file:
            for row in self.rows():
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
