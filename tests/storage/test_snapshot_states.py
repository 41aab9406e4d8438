"""A snapshot taken under load is a state that was committed, whole; so is what a kill leaves."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.engine import Engine
from storage.row import Row, columns
from storage.tables import TABLES, Agent, Comment, Conversation, Message, Tag
from storage.transaction import Transaction
from tests.analysts import rows
from tests.processes import ROOT
from tests.writing import agent, opened

POSTERS = 4
SNAPSHOTS = 100


class Load:
    """Requests that each insert, update and delete in one transaction; the state after each is known.

    Request `n` adds a message, a comment and a tag, writes `n` into an agent, and from the tenth on deletes the tag of
    the one ten before.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.done = 0
        self.stored: dict[type[Row], list[list[Any]]] = {}
        self._agent: Agent
        self._conversation: Conversation
        self._tags: list[Tag] = []

    async def begin(self) -> None:
        async def rows_of_all(tx: Transaction) -> Conversation:
            self._agent = tx.insert(Agent, name="counter", description="d", kind="user_agent", goal="0")
            self._conversation = tx.insert(Conversation, title="C", created_by=self._agent.id)
            return self._conversation

        await self._engine.writer.run(rows_of_all)

    async def post(self) -> None:
        """One request after another."""
        while True:
            await self._engine.writer.run(self._request)

    async def _request(self, tx: Transaction) -> Message:
        number = self.done + 1
        message = tx.insert(
            Message,
            conversation_id=self._conversation.id,
            author_participant_id="part_1",
            kind="participant",
            status="sent",
            content=f"{number} {'x' * (number * 37 % 900)}",
        )
        comment = tx.insert(Comment, message_id=message.id, author_participant_id="part_1", content=f"{number}")
        tag = tx.insert(Tag, name=f"tag {number}")
        self._agent = tx.update(self._agent, goal=f"{number}")
        self._tags.append(tag)
        if number >= 10:
            tx.delete(self._tags[number - 10])
        self.stored.setdefault(Message, []).append(message.stored())
        self.stored.setdefault(Comment, []).append(comment.stored())
        self.stored.setdefault(Tag, []).append(tag.stored())
        self.stored.setdefault(Agent, []).append(self._agent.stored())
        self.done = number
        return message

    def state(self, number: int) -> dict[str, tuple[int, str]]:
        """Count and hash of every table after request `number`, 1 or later."""
        tables: dict[type[Row], Sequence[list[Any]]] = {table: [] for table in TABLES}
        tables[Message] = self.stored[Message][:number]
        tables[Comment] = self.stored[Comment][:number]
        tables[Tag] = self.stored[Tag][max(0, number - 9) : number]
        tables[Agent] = [self.stored[Agent][number - 1]]
        last = max(row[_place(Message, "createdAt")] for row in tables[Message])
        conversation = self._conversation.stored()
        conversation[_place(Conversation, "lastMessageTime")] = last
        tables[Conversation] = [conversation]
        return {table.table: _fingerprint(found) for table, found in tables.items()}


def _place(table: type[Row], name: str) -> int:
    return [column.name for column in columns(table)].index(name)


def _fingerprint(found: Sequence[Sequence[Any]]) -> tuple[int, str]:
    texts = sorted(repr(tuple(row)) for row in found)
    return len(texts), hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _read(path: Path) -> tuple[int, dict[str, tuple[int, str]]]:
    """The last request that a snapshot shows, and count and hash of every table in it."""
    with duckdb.connect(str(path), read_only=True) as connection:
        state = {}
        for table in TABLES:
            names = ", ".join(f'"{column.name}"' for column in columns(table))
            state[table.table] = _fingerprint(connection.execute(f'SELECT {names} FROM "{table.table}"').fetchall())
        found = connection.execute('SELECT goal::INTEGER FROM "agents"').fetchall()
        return found[0][0], state


@pytest.mark.slow
async def test_each_of_100_snapshots_under_load_equals_a_committed_state(tmp_path: Path) -> None:
    async with opened(tmp_path, checkpoint_rows=500) as (engine, failures):
        load = Load(engine)
        await load.begin()
        posters = [asyncio.create_task(load.post()) for _ in range(POSTERS)]
        while load.done < 100:
            await asyncio.sleep(0.001)
        shown = [0]
        for _ in range(SNAPSHOTS):
            acknowledged = load.done - POSTERS
            published = await engine.store.snapshots.latest(fresh=True)
            number, state = await asyncio.to_thread(_read, published.path)
            assert number >= max(acknowledged, shown[-1])
            assert state == load.state(number), f"no state that was committed: {number}"
            shown.append(number)
        assert not any(poster.done() for poster in posters)
        for poster in posters:
            poster.cancel()
        await asyncio.gather(*posters, return_exceptions=True)
        assert len(set(shown)) > SNAPSHOTS / 2  # it did go on meanwhile
        assert failures == []


# -- kills -----------------------------------------------------------------------------------------------------------

DIES = """
import asyncio, os, pathlib, sys
from storage import blocks, publication
from tests.writing import agent, opened

directory, step = pathlib.Path(sys.argv[1]), sys.argv[2]
armed = False

def dying(function):
    def call(*arguments, **named):
        if armed:
            os._exit(9)
        return function(*arguments, **named)
    return call

if step == "write":
    publication.clone = lambda *_: False  # as on a file system that cannot share blocks between files
    blocks._write_differing = dying(blocks._write_differing)
elif step == "sync_directory":
    publication.sync_directory = dying(publication.sync_directory)
elif step == "utime":
    os.utime = dying(os.utime)
else:
    setattr(pathlib.Path, step, dying(getattr(pathlib.Path, step)))

async def main():
    global armed
    async with opened(directory) as (engine, _):
        for number in range(3):
            await engine.writer.run(agent(f"{number}" + "x" * 1_000_000))
            await engine.store.snapshots.latest(fresh=True)
        await engine.writer.run(agent("3"))
        armed = True
        await engine.store.snapshots.latest(fresh=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "step", ["write", "utime", "chmod", "rename", "hardlink_to", "unlink", "replace", "sync_directory"]
)
async def test_a_kill_during_the_copy_leaves_the_old_one_or_the_new_one(tmp_path: Path, step: str) -> None:
    command = [sys.executable, "-c", DIES, str(tmp_path), step]
    died = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert died.returncode == 9, died.stderr
    names = [name[:1] for (name,) in rows(tmp_path / "analytics.duckdb", "SELECT name FROM agents ORDER BY seq")]
    assert names in (["0", "1", "2"], ["0", "1", "2", "3"])
    assert (len(names) == 4) == (step == "sync_directory")
    async with opened(tmp_path) as (engine, _):
        assert (await engine.store.snapshots.latest()).generation >= 3
        await engine.writer.run(agent("4"))
        await engine.store.snapshots.latest(fresh=True)
    names = [name[:1] for (name,) in rows(tmp_path / "analytics.duckdb", "SELECT name FROM agents ORDER BY seq")]
    assert names == ["0", "1", "2", "3", "4"]
    left = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert len(left) == 2
    assert all(name.removesuffix(".duckdb").isdecimal() for name in left)
