"""The single writer: when a request is acknowledged, what a failing one leaves behind, and how the hub ends."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import duckdb
import pytest

from storage.commit import Committer
from storage.engine import Engine, Options
from storage.errors import Conflict, DomainError, Unavailable
from storage.row import Result
from storage.tables import Agent, Message, Participant, Prompt, Reaction, Tag, Tool, User
from storage.transaction import Transaction
from tests.clients import Swarm
from tests.invariants import check

R = TypeVar("R", bound=Result)
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


@pytest.mark.parametrize("error", [duckdb.IOException("disk gone"), ValueError("a defect"), OverflowError("big")])
async def test_a_commit_that_fails_is_never_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with opened(tmp_path) as (engine, failures):
        await engine.writer.run(agent("kept"))
        gate = Gate(monkeypatch, error)
        calls = [asyncio.create_task(engine.writer.run(agent(f"lost {number}"))) for number in range(3)]
        await gate.wait()
        calls += [asyncio.create_task(engine.writer.run(agent(f"late {number}"))) for number in range(3)]
        await turns()
        gate.open.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 6
        assert str(results[0]) == f"Nothing was stored: {error}"
        with pytest.raises(Unavailable, match=f"The database failed and the hub restarts: {error}"):
            await engine.writer.run(agent("later"))
        assert failures == [str(error)]
        assert await names(engine) == ["kept"]


async def test_a_request_that_is_under_way_when_the_store_fails_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tx: Transaction) -> Agent:
        started.set()
        await go_on.wait()
        return await agent("slow")(tx)

    async with opened(tmp_path) as (engine, failures):
        gate = Gate(monkeypatch, ValueError("a defect"))
        lost = asyncio.create_task(engine.writer.run(agent("lost")))
        await gate.wait()
        running = asyncio.create_task(engine.writer.run(slow))
        await started.wait()
        gate.open.set()
        results: list[Any] = list(await asyncio.gather(lost, return_exceptions=True))
        await turns()
        go_on.set()
        results += await asyncio.gather(running, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable]
        assert failures == ["a defect"]
        assert await names(engine) == []


async def test_what_was_accepted_before_the_end_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    started = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(tx: Transaction) -> Agent:
        started.set()
        await go_on.wait()
        return await agent("slow")(tx)

    async with opened(tmp_path) as (engine, _):
        fast = asyncio.create_task(engine.writer.run(agent("fast")))
        await gate.wait()
        running = asyncio.create_task(engine.writer.run(slow))
        await started.wait()
        closing = asyncio.create_task(engine.writer.close())
        waiting = asyncio.create_task(engine.writer.run(agent("too late")))
        gate.open.set()
        assert (await fast).name == "fast"
        go_on.set()
        assert (await running).name == "slow"
        await closing
        with pytest.raises(Unavailable, match="The hub is stopping"):
            await waiting
    async with opened(tmp_path) as (engine, _):
        assert await names(engine) == ["fast", "slow"]


async def test_a_request_that_was_cancelled_while_it_ran_leaves_no_trace(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def stuck(tx: Transaction) -> Agent:
        row = await agent("stuck")(tx)
        started.set()
        await asyncio.Event().wait()
        return row

    async with opened(tmp_path) as (engine, _):
        task = asyncio.create_task(engine.writer.run(stuck))
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await engine.writer.run(agent("next"))).id == "agent_1"
        assert await names(engine) == ["next"]


async def test_a_request_that_was_cancelled_while_it_waited_is_stored_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with opened(tmp_path) as (engine, _):
        task = asyncio.create_task(engine.writer.run(agent("nobody waits")))
        await gate.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gate.open.set()
        await engine.writer.run(agent("next"))
        assert await names(engine) == ["nobody waits", "next"]


async def test_nothing_joins_a_cascade_even_when_its_caller_is_gone(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = (await swarm.owner("create_conversation", title="C"))["_id"]
    message = (await swarm.owner("send_message", conversationId=conversation, content="hello"))["_id"]
    participant = (await swarm.owner.find("conversationParticipants"))[0]["_id"]
    gate = Gate(monkeypatch)
    writer = swarm.service.engine.writer

    async def drop(tx: Transaction) -> Message:
        row = await tx.find_row(message, Message)
        found = await tx.row_anywhere(conversation)
        assert row is not None
        await tx.drop_conversation(found)  # type: ignore[arg-type]
        return row

    async def edit(tx: Transaction) -> Message:
        row = await tx.find_row(message, Message)
        if row is None:
            raise DomainError("gone")
        return tx.update(row, content="a ghost")

    task = asyncio.create_task(writer.run(drop))
    await gate.wait()
    task.cancel()
    late = asyncio.create_task(writer.run(edit))
    await turns()
    gate.open.set()
    results = await asyncio.gather(task, late, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, DomainError]
    for row_id in (conversation, message, participant):
        assert (await swarm.owner.refused("get", id=row_id)).code == "not_found"
    await check(swarm)


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
