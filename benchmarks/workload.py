"""Which calls are made: conversations drawn by the same Zipf law that distributed the messages."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from benchmarks.dataset import PAGE, Dataset
from benchmarks.wire import Call
from benchmarks.words import Words


class Workload:
    """Draws calls on a dataset, never the same ones again. `acting`: an agent that takes part makes them."""

    def __init__(self, dataset: Dataset, seed: int, *, acting: bool = True) -> None:
        self._dataset = dataset
        self._rng = random.Random(seed)
        self._acting = acting
        words = Words(random.Random(seed + 1))
        self._texts = [words.message() for _ in range(2_000)]
        newest = dataset.newest
        self._everywhere = _Zipf(dataset, range(len(dataset.conversations)))
        self._written = _Zipf(dataset, sorted(newest))
        # A page of 50 is 50 messages: otherwise answers of different sizes would be compared.
        self._full = _Zipf(dataset, sorted(index for index, page in newest.items() if len(page) == PAGE))

    def draw(self, tool: str, count: int) -> list[Call]:
        """So many calls of a tool."""
        one: Callable[[], Call] = {"send_message": self._send, "list_messages": self._list, "get": self._get}[tool]
        return [one() for _ in range(count)]

    def old(self, tool: str, count: int) -> list[Call]:
        """Reads of what is on no newest page, so in no cache, each of another place in the history."""
        old = self._dataset.old
        deep = [index for index, offsets in old.items() if len(offsets) >= PAGE]
        one = self._old_page if tool == "list_messages" else self._old_message
        chosen = self._rng.choices(deep, [len(old[index]) for index in deep], k=count)
        return [one(index, self._rng.choice(old[index][: 1 - PAGE])) for index in chosen]

    def _old_page(self, conversation: int, offset: int) -> Call:
        call = self._list_of(conversation)
        return Call(call.tool, call.arguments | {"cursor": str(self._dataset.first_message + offset)})

    def _old_message(self, conversation: int, offset: int) -> Call:
        return Call("get", {"id": f"msg_{self._dataset.first_message + offset}"} | self._as(conversation))

    def _send(self) -> Call:
        conversation = self._everywhere.draw(self._rng)
        content = self._rng.choice(self._texts)
        arguments = {"conversationId": self._dataset.conversations[conversation], "content": content}
        return Call("send_message", arguments | self._as(conversation, always=True))

    def _list(self) -> Call:
        return self._list_of(self._full.draw(self._rng))

    def _list_of(self, conversation: int) -> Call:
        arguments = {"conversationId": self._dataset.conversations[conversation], "limit": PAGE}
        return Call("list_messages", arguments | self._as(conversation))

    def _get(self) -> Call:
        return self._get_of(self._written.draw(self._rng))

    def _get_of(self, conversation: int) -> Call:
        message = self._rng.choice(self._dataset.newest[conversation])
        return Call("get", {"id": message} | self._as(conversation))

    def _as(self, conversation: int, *, always: bool = False) -> dict[str, Any]:
        if not (self._acting or always):
            return {}
        return {"as": self._rng.choice(self._dataset.agents_in(conversation))}


class _Zipf:
    """Draws some of the conversations with the weights they have in the dataset."""

    def __init__(self, dataset: Dataset, members: Sequence[int]) -> None:
        self.members = list(members)
        self._weights = list(accumulate(dataset.weights[member] for member in members))

    def draw(self, rng: random.Random) -> int:
        return self.members[bisect(self._weights, rng.random() * self._weights[-1])]
