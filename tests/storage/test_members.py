"""Memberships in memory: what happens together with a join, and while they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from storage.database import Database
from tests.clients import Swarm, Tools
from tests.imports import CONVERSATION, MEMBER, MESSAGE, USER, load


async def agent(owner: Tools, **more: Any) -> str:
    return str((await owner("create_agent", name="Bot", description="d", kind="user_agent", **more))["_id"])


async def test_what_one_writes_in_the_moment_one_joins_is_not_unread(swarm: Swarm, owner: Tools) -> None:
    bot = await agent(owner)
    lead = await agent(owner, delegatesTo=[bot])
    assert (await owner("inbox", as_=lead))["unread"] == 0
    await owner("hand_over", to=bot, task="t", as_=lead)
    assert (await owner("inbox", as_=lead))["unread"] == 0
    assert (await owner("inbox", as_=bot))["unread"] == 1


async def test_what_one_is_said_to_have_written_is_not_unread(swarm: Swarm, owner: Tools) -> None:
    assert (await owner("inbox"))["unread"] == 0
    member = {**MEMBER, "userId": swarm.service.owner.id}
    assert (await load(swarm, USER, CONVERSATION, member, MESSAGE)).added == 4
    assert (await owner("inbox"))["unread"] == 0


async def test_what_happens_while_two_read_their_memberships(
    swarm: Swarm, owner: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, other = await agent(owner), await agent(owner)
    has, go_on, read = asyncio.Event(), asyncio.Event(), Database.read

    async def held(database: Database, work: Callable[[Any], Any]) -> Any:
        answer = await read(database, work)
        if getattr(work, "args", ()) == (bot,):
            has.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(Database, "read", held)
    task = asyncio.create_task(owner("inbox", as_=bot))
    await has.wait()
    await owner("inbox", as_=other)  # begins later and ends sooner
    place = (await owner("create_conversation", title="C", participants=[bot]))["_id"]
    await owner("send_message", conversationId=place, content="a")
    go_on.set()
    await task
    assert (await owner("inbox", as_=bot))["unread"] == 1


async def test_nothing_is_kept_of_a_conversation_that_is_gone(swarm: Swarm, owner: Tools) -> None:
    bot = await agent(owner)
    members = swarm.service.engine.store.members
    before = len(await members.of(bot)), len(members._own)
    place = (await owner("create_conversation", title="C", participants=[bot]))["_id"]
    assert len(await members.of(bot)) == 1
    await owner("delete", id=place)
    assert (len(await members.of(bot)), len(members._own)) == before
