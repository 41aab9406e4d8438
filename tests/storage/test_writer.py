"""The single writer: when a request is acknowledged, and what a failing one leaves behind."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from storage.errors import Conflict
from storage.tables import Agent, Participant, Prompt, Reaction, Tag, Tool, User
from storage.transaction import Transaction
from tests.clients import Swarm
from tests.invariants import check
from tests.writing import Gate, agent, names, opened, turns


async def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with opened(tmp_path) as (engine, _):
        first = asyncio.create_task(engine.writer.run(agent("first")))
        await gate.wait()
        await turns()
        assert not first.done()
        assert await engine.view().row_anywhere("agent_1") is None
        gate.open.set()
        assert (await first).name == "first"
        assert await names(engine) == ["first"]


async def test_a_request_that_changes_nothing_waits_for_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def look(tx: Transaction) -> Agent:
        found = await tx.find_row("agent_1", Agent)
        assert found is not None
        return found

    async with opened(tmp_path) as (engine, _):
        first = asyncio.create_task(engine.writer.run(agent("first")))
        await gate.wait()
        second = asyncio.create_task(engine.writer.run(look))
        await turns()
        assert not second.done()
        gate.open.set()
        assert await second == await first


async def test_adding_a_participant_again_is_not_acknowledged_before_the_first_is_durable(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = (await swarm.owner("create_conversation", title="C"))["_id"]
    user, _ = await swarm.user("Ada")
    gate = Gate(monkeypatch)
    arguments = {"conversationId": conversation, "kind": "user", "userId": user}
    calls = [asyncio.create_task(swarm.owner("add_participant", **arguments)) for _ in range(3)]
    await gate.wait()
    await turns(200)
    assert not any(call.done() for call in calls)
    gate.open.set()
    first, *others = [await call for call in calls]
    assert others == [first, first]


async def test_a_request_sees_those_before_it_that_are_not_durable_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def take(tx: Transaction) -> User:
        if await tx.where(User, "email", "a@example.org"):
            raise Conflict("taken")
        return tx.insert(User, name="A", email="a@example.org")

    async with opened(tmp_path) as (engine, _):
        calls = [asyncio.create_task(engine.writer.run(take)) for _ in range(2)]
        await gate.wait()
        await turns()
        calls.append(asyncio.create_task(engine.writer.run(take)))
        gate.open.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert Counter(map(type, results)) == {User: 1, Conflict: 2}


async def test_a_failing_request_leaves_no_trace_and_costs_others_nothing(tmp_path: Path) -> None:
    async def fail(tx: Transaction) -> Agent:
        tx.insert(Tag, name="left behind")
        row = await agent("left behind")(tx)
        tx.update(row, name="still")
        raise error

    async with opened(tmp_path) as (engine, failures):
        calls: list[Awaitable[Agent]] = []
        errors: list[Exception] = [Conflict("no"), ValueError("a defect"), KeyError("another")]
        for number in range(30):
            error = errors[number % 3]
            calls += [engine.writer.run(fail), engine.writer.run(agent(f"kept {number}"))]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results[::2]] == [type(errors[2])] * 30
        assert await names(engine) == [f"kept {number}" for number in range(30)]
        assert await engine.store.database.select("SELECT count(*) FROM tags") == [(0,)]
        assert failures == []


async def test_requests_that_come_together_share_a_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.writer.run(agent("first"))
        before = engine.writer.commits
        await asyncio.gather(*(engine.writer.run(agent(f"{number}")) for number in range(200)))
        assert engine.writer.commits - before <= 5


async def test_a_row_can_come_and_go_within_one_batch(tmp_path: Path) -> None:
    async def come_and_go(tx: Transaction) -> Agent:
        row = await agent("brief")(tx)
        tx.delete(row)
        return row

    async def come(tx: Transaction) -> Tool:
        return tx.insert(Tool, row_id="brought-along", name="t", description="d")

    async def go(tx: Transaction) -> Tool:
        row = await tx.find_row("brought-along", Tool)
        assert row is not None
        tx.delete(row)
        return row

    async with opened(tmp_path) as (engine, failures):
        calls: list[Awaitable[Any]] = [engine.writer.run(request) for request in (come_and_go, come, go, come)]
        results = await asyncio.gather(*calls)
        assert await names(engine) == []
        assert await engine.view().row_anywhere("brought-along") == results[3]
        assert await engine.store.database.select("SELECT _id, seq FROM tools") == [("brought-along", results[3].seq)]
        again: list[Awaitable[Any]] = [engine.writer.run(request) for request in (go, come)]
        stored = (await asyncio.gather(*again))[1]
        assert await engine.store.database.select("SELECT _id, seq FROM tools") == [("brought-along", stored.seq)]
        assert await engine.store.database.select("SELECT _id, seq FROM aliases") == [("brought-along", stored.seq)]
        await asyncio.gather(engine.writer.run(go), engine.writer.run(come), engine.writer.run(go))
        assert await engine.store.database.select("SELECT count(*) FROM aliases") == [(0,)]
        stored = await engine.writer.run(come)
        assert failures == []
    async with opened(tmp_path) as (engine, _):
        found = await engine.view().row_anywhere("brought-along")
        assert found is not None
        assert found.seq == stored.seq


async def test_numbers_are_never_given_out_twice(tmp_path: Path) -> None:
    """Not when the newest row went, not when it was never stored at all, not after a restart."""
    seen: set[int] = set()

    async def come_and_go(tx: Transaction) -> Agent:
        row = await agent("brief")(tx)
        tx.delete(row)
        return row

    async def go(tx: Transaction) -> Agent:
        row = await tx.find_row(newest.id, Agent)
        assert row is not None
        tx.delete(row)
        return row

    for _ in range(3):
        async with opened(tmp_path) as (engine, _):
            for _ in range(2):
                newest = await engine.writer.run(agent("newest"))
                gone, _ = await asyncio.gather(engine.writer.run(come_and_go), engine.writer.run(go))
                assert not {newest.seq, gone.seq} & seen
                seen |= {newest.seq, gone.seq}
            for _ in range(2):
                last = await engine.writer.run(come_and_go)
                assert last.seq not in seen
                seen.add(last.seq)


async def test_what_sql_changes_is_never_read_from_memory_after_it(swarm: Swarm) -> None:
    """A tag that goes is stripped from rows that nobody loaded; a conversation takes rows along that are cached."""
    agents = [
        await swarm.owner("create_agent", name="A", description="d", kind="user_agent", tags=["red", "blue"])
        for _ in range(3)
    ]
    tool, prompt = (
        await swarm.insert(Tool, name="t", description="d"),
        await swarm.insert(Prompt, title="p", template="t", step="Hook", tags=["red"]),
    )
    conversation = (await swarm.owner("create_conversation", title="C", tags=["red"]))["_id"]
    message = (await swarm.owner("send_message", conversationId=conversation, content="x", tags=["red"]))["_id"]
    await swarm.insert(Reaction, message_id=message, user_id="user_1", type="like")
    reads = [*(row["_id"] for row in agents), prompt.id, conversation, message]
    for row_id in reads:
        assert "red" in (await swarm.owner("get", id=row_id))["tags"]
    assert (await swarm.owner("list_messages", conversationId=conversation))["messages"][0]["tags"] == ["red"]
    (red,) = await swarm.owner.find("tags", where={"name": "red"})
    await swarm.owner("delete", id=red["_id"])
    for row_id in reads:
        assert "red" not in (await swarm.owner("get", id=row_id)).get("tags", [])
    page = await swarm.owner("list_messages", conversationId=conversation)
    assert [row.get("tags", []) for row in page["messages"]] == [[]]
    assert await swarm.owner("get", id=tool.id) == tool.wire()
    await swarm.owner("delete", id=conversation)
    assert (await swarm.owner.refused("get", id=message)).code == "not_found"
    dump = await check(swarm)
    assert [dump[table] for table in ("conversations", "conversationMessages", "reactions")] == [{}, {}, {}]
    assert isinstance(await swarm.service.engine.view().where(Participant, "conversation_id", conversation), list)
