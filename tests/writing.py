"""A writer on its own, and commits that are held back: what tests of it need."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest

from storage.commit import Committer
from storage.engine import Engine, Options
from storage.tables import Agent
from storage.transaction import Transaction

Request = Callable[[Transaction], Awaitable[Agent]]


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[tuple[Engine, list[str]]]:
    """A running engine and the reasons for which it failed."""
    failures: list[str] = []
    engine = Engine.open(directory, Options(**options), failures.append)
    engine.start()
    try:
        yield engine, failures
    finally:
        await engine.close()


def agent(name: str) -> Request:
    async def insert(tx: Transaction) -> Agent:
        return tx.insert(Agent, name=name, description="d", kind="user_agent")

    return insert


async def names(engine: Engine) -> list[str]:
    return [name for (name,) in await engine.store.database.select("SELECT name FROM agents ORDER BY seq")]


class Gate:
    """Holds commits back until it is opened, or has them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        commit = Committer.commit

        def held(committer: Committer, *arguments: Any) -> None:
            self.reached.set()
            assert self.open.wait(30)
            if error is not None:
                raise error
            commit(committer, *arguments)

        monkeypatch.setattr(Committer, "commit", held)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)


async def turns(count: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()
