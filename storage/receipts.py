"""Idempotency keys: a request that is sent again happens once, and gets the first answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from storage.batch import Receipt
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key of `owner`, who calls it `name`; a hash of the arguments, how long to keep the receipt.

    `fresh`: whoever made it says that it was never used, so that the database need not be asked.
    """

    owner: str
    name: str
    arguments: str
    keep_ms: int
    fresh: bool = False

    @property
    def text(self) -> str:
        """As it is stored."""
        return f"{self.owner}/{self.name}"


class Receipts:
    """What was answered to keys, in memory and in the file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._running: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def held(self, key: Key) -> AsyncIterator[None]:
        """One request with a key at a time: the next one finds what the first one left."""
        while (running := self._running.get(key.text)) is not None:
            await running.wait()
        done = self._running[key.text] = asyncio.Event()
        try:
            yield
        finally:
            del self._running[key.text]
            done.set()

    async def committed(self, key: Key) -> Receipt | None:
        """What was answered to the key, if that is durable."""
        recent = self._store.receipts.get(key.text)
        if recent is not None or key.fresh:
            return recent
        found = await self._store.database.select(
            "SELECT key, arguments, kind, result, epoch_ms(keptUntil) FROM requests WHERE key = ?", [key.text]
        )
        return Receipt(*found[0]) if found else None
