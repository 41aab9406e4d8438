"""The single writer when something ends early: a commit fails, a caller goes away, the hub stops."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.commit import Committer
from storage.errors import DomainError, Unavailable
from storage.tables import Agent, Message
from storage.transaction import Transaction
from tests.clients import Swarm
from tests.invariants import check
from tests.writing import Gate, agent, names, opened, turns


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


async def test_a_checkpoint_that_must_wait_is_made_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = threading.Event()
    refused: list[bool] = []
    checkpoint = Committer.checkpoint

    def busy_once(committer: Committer) -> None:
        if not refused:
            refused.append(True)
            raise duckdb.TransactionException("Cannot CHECKPOINT: there are other transactions")
        checkpoint(committer)
        made.set()

    monkeypatch.setattr(Committer, "checkpoint", busy_once)
    async with opened(tmp_path, checkpoint_idle_seconds=0.01) as (engine, failures):
        await engine.writer.run(agent("kept"))
        assert await asyncio.to_thread(made.wait, 30)
        assert failures == []
        assert refused == [True]
