"""A key makes a request happen once: the same arguments get the first answer, others are refused."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from server.replay import KEY_META, RETRY_META
from storage import receipts, store
from storage.commit import Committer
from storage.row import Deletion
from tests.clients import ERAS, Refusal, Swarm, Tools, said

CONFLICT = "was used with other arguments. Use a new key for a new request."


async def conversation(tools: Tools) -> str:
    return str((await tools("create_conversation", title="C"))["_id"])


async def contents(tools: Tools, conversation_id: str) -> list[str]:
    page = await tools("list_messages", conversationId=conversation_id, limit=200)
    return [message["content"] for message in page["messages"]]


async def stamped(tools: Tools, key: str, *, retry: bool = False, **arguments: Any) -> dict[str, Any]:
    """A call as a proxy forwards it."""
    meta: Any = {KEY_META: key, **({RETRY_META: True} if retry else {})}
    result = await tools.client.call_tool("send_message", arguments, meta=meta)
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    row: dict[str, Any] = result.structured_content
    return row


async def test_the_same_key_and_arguments_get_the_first_answer(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    there = await conversation(tools)
    arguments = {"conversationId": there, "content": "once", "idempotencyKey": "k"}
    first = await tools("send_message", **arguments)
    assert [await tools("send_message", **arguments) for _ in range(3)] == [first] * 3
    assert await contents(tools, there) == ["once"]


async def test_a_key_with_other_arguments_is_refused(swarm: Swarm, owner: Tools) -> None:
    there = await conversation(owner)
    await owner("send_message", conversationId=there, content="once", idempotencyKey="k")
    error = await owner.refused("send_message", conversationId=there, content="twice", idempotencyKey="k")
    assert error == Refusal("conflict", f"The key 'k' {CONFLICT}")
    error = await owner.refused("create_conversation", title="once", idempotencyKey="k")
    assert error.code == "conflict"
    assert await contents(owner, there) == ["once"]


async def test_a_refused_request_leaves_its_key_free(owner: Tools) -> None:
    there = await conversation(owner)
    await owner.refused("send_message", conversationId="conv_999", content="x", idempotencyKey="k")
    await owner("send_message", conversationId=there, content="y", idempotencyKey="k")
    assert await contents(owner, there) == ["y"]


async def test_keys_are_the_callers_own(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Ada")
    agent = (await owner("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    there = (await owner("create_conversation", title="C", participants=[user, agent]))["_id"]
    sent = [
        await owner("send_message", conversationId=there, content="same", idempotencyKey="k"),
        await tools("send_message", conversationId=there, content="same", idempotencyKey="k"),
        await owner("send_message", conversationId=there, content="same", idempotencyKey="k", as_=agent),
    ]
    assert len({row["_id"] for row in sent}) == 3
    assert len({row["authorParticipantId"] for row in sent}) == 3


@pytest.mark.parametrize("settled", [True, False], ids=["one after another", "at once"])
async def test_of_concurrent_requests_with_a_key_one_happens(owner: Tools, settled: bool) -> None:
    there = await conversation(owner)
    calls = [owner("send_message", conversationId=there, content="once", idempotencyKey="k") for _ in range(20)]
    rows = [await call for call in calls] if settled else await asyncio.gather(*calls)
    assert rows == [rows[0]] * 20
    others = [owner.refused("send_message", conversationId=there, content=f"{n}", idempotencyKey="k") for n in range(9)]
    assert {error.code for error in await asyncio.gather(*others)} == {"conflict"}
    assert await contents(owner, there) == ["once"]


async def test_the_answer_outlives_the_hub_and_the_memory_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RECENT_RECEIPTS_BYTES", 1)
    async with Swarm(tmp_path / "data") as swarm:
        there = await conversation(swarm.owner)
        arguments = {"conversationId": there, "content": "once", "idempotencyKey": "k", "meta": {"n": [1.5, None]}}
        first = await swarm.owner("send_message", **arguments)
        assert await swarm.owner("send_message", **arguments) == first
        deleted = await swarm.owner("delete", id=first["_id"], idempotencyKey="d")
        assert deleted == Deletion(_id=first["_id"], outcome="tombstone").wire()
        stamp = await stamped(swarm.owner, "proxy-1", conversationId=there, content="stamped")
    async with Swarm(tmp_path / "data") as swarm:
        assert await swarm.owner("send_message", **arguments) == first
        assert await swarm.owner("delete", id=first["_id"], idempotencyKey="d") == deleted
        again = await stamped(swarm.owner, "proxy-1", retry=True, conversationId=there, content="stamped")
        assert again == stamp
        error = await swarm.owner.refused("send_message", **arguments | {"content": "twice"})
        assert error.code == "conflict"
        assert await contents(swarm.owner, there) == ["", "stamped"]


async def test_receipts_are_dropped_when_their_time_is_over(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        there = await conversation(swarm.owner)
        for key in ("old", "new"):
            await swarm.owner("send_message", conversationId=there, content=key, idempotencyKey=key)

        def age(connection: Any) -> None:
            connection.execute("UPDATE requests SET keptUntil = TIMESTAMP '2001-01-01' WHERE key LIKE '%/old'")

        await swarm.service.engine.store.database.write(age)
    async with Swarm(tmp_path / "data") as swarm:
        with anyio.fail_after(30):  # behind the first requests
            while await swarm.sql("SELECT count(*) FROM requests") != [(1,)]:
                await anyio.sleep(0.02)
        for key in ("old", "new"):
            await swarm.owner("send_message", conversationId=there, content=key, idempotencyKey=key)
        assert await contents(swarm.owner, there) == ["old", "new", "old"]
        assert await swarm.sql("SELECT count(*) FROM requests") == [(2,)]


@pytest.mark.parametrize("mode", ERAS)
async def test_what_a_proxy_sends_again_happens_once(swarm: Swarm, mode: str) -> None:
    tools = await swarm.connect(era=mode)
    there = await conversation(tools)
    first = await stamped(tools, "abc-1", conversationId=there, content="once")
    assert await stamped(tools, "abc-1", retry=True, conversationId=there, content="once") == first
    # An explicit key is the caller's; the stamp of the proxy gives way to it.
    await tools("send_message", conversationId=there, content="twice", idempotencyKey="k")
    assert await contents(tools, there) == ["once", "twice"]


async def test_stamps_are_their_callers_own(swarm: Swarm, owner: Tools) -> None:
    user, stranger = await swarm.user("Eve")
    there = await conversation(owner)
    await owner("add_participant", conversationId=there, kind="user", userId=user)
    mine = await stamped(owner, "abc-1", conversationId=there, content="same")
    theirs = await stamped(stranger, "abc-1", retry=True, conversationId=there, content="same")
    assert mine["authorParticipantId"] != theirs["authorParticipantId"]


async def test_a_forged_stamp_hurts_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says that a used stamp is new has its request done again; the hub and the others go on."""
    monkeypatch.setattr(store, "RECENT_RECEIPTS_BYTES", 1)
    async with Swarm(tmp_path / "data") as swarm:
        there = await conversation(swarm.owner)
        for content in ("one", "two"):
            calls = [stamped(swarm.owner, "abc-1", conversationId=there, content=content)]
            calls += [stamped(swarm.owner, f"{content}-{n}", conversationId=there, content="other") for n in range(4)]
            await asyncio.gather(*calls)
        assert sorted(await contents(swarm.owner, there)) == ["one", *["other"] * 8, "two"]
        assert swarm.failures == []
    async with Swarm(tmp_path / "data") as swarm:
        await stamped(swarm.owner, "abc-1", conversationId=there, content="three")
        assert swarm.failures == []
        first = await stamped(swarm.owner, "abc-1", retry=True, conversationId=there, content="one")
        assert first["content"] == "one"


async def test_a_key_finds_the_request_that_was_cancelled_while_it_waited(
    swarm: Swarm, owner: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = await conversation(owner)
    reached, go_on, commit = threading.Event(), threading.Event(), Committer.commit

    def held(committer: Committer, *arguments: Any) -> None:
        reached.set()
        assert go_on.wait(30)
        commit(committer, *arguments)

    monkeypatch.setattr(Committer, "commit", held)
    arguments = {"conversationId": there, "content": "once", "idempotencyKey": "k"}
    task = asyncio.create_task(owner("send_message", **arguments))
    assert await asyncio.to_thread(reached.wait, 30)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again = [asyncio.create_task(owner("send_message", **arguments)) for _ in range(2)]
    go_on.set()
    first, second = await asyncio.gather(*again)
    assert first == second
    assert await contents(owner, there) == ["once"]


async def test_a_receipt_that_was_evicted_meanwhile_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "RECENT_RECEIPTS_BYTES", 2_000)
    async with Swarm(tmp_path / "data") as swarm:
        there = await conversation(swarm.owner)

        async def send(key: str) -> dict[str, Any]:
            return await swarm.owner("send_message", conversationId=there, content=key * 300, idempotencyKey=key)

        keys = [f"{n % 20}" for n in range(100)]
        rows = await asyncio.gather(*(send(key) for key in keys))
        assert len({row["_id"] for row in rows}) == 20
        assert len(await contents(swarm.owner, there)) == 20


async def test_keys_have_a_limit(owner: Tools) -> None:
    error = await owner.refused("create_conversation", title="C", idempotencyKey="k" * 201)
    assert error.text == "'idempotencyKey' has 201 characters; at most 200 are possible."
    error = await owner.refused("create_conversation", title="C", idempotencyKey="")
    assert error.text == "'idempotencyKey' must not be empty."
    # A stamp that no proxy makes is not remembered.
    there = await conversation(owner)
    for _ in range(2):
        await stamped(owner, "k" * 201, conversationId=there, content="x")
    assert await contents(owner, there) == ["x", "x"]


def test_a_key_is_stored_under_its_owner() -> None:
    assert receipts.Key("user_1", "k", "", 0).text == "user_1/k"
