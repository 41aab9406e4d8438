"""The feed: what those one follows did, as far as one may see it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


@pytest.fixture
async def reader(swarm: Swarm, owner: Tools) -> str:
    """An agent that follows nobody yet."""
    return str((await owner("create_agent", name="Reader", description="d", kind="user_agent"))["_id"])


async def agent(tools: Tools, name: str = "Writer", **more: Any) -> str:
    row = await tools("create_agent", name=name, description="d", kind="user_agent", **more)
    return str(row["_id"])


async def test_nobody_followed(owner: Tools, reader: str) -> None:
    assert await owner("feed", as_=reader) == {"feed": [], "names": {}}


async def test_what_they_did_newest_first(swarm: Swarm, owner: Tools, reader: str, era: str) -> None:
    tools = await swarm.connect(era=era)
    writer, other = await agent(owner), await agent(owner, "Other")
    room = (await owner("create_conversation", title="Plan", participants=[writer, other, reader]))["_id"]
    await owner("follow", followeeId=writer, as_=reader)
    said = await owner("send_message", conversationId=room, content="x" * 300, as_=writer)
    await owner("send_message", conversationId=room, content="not followed", as_=other)
    await owner("react", messageId=said["_id"], as_=writer)
    commented = await owner("comment", messageId=said["_id"], content="a comment", as_=writer)
    learned = await owner("add_knowledge", ownerType="agent", ownerId=writer, content="a fact", as_=writer)
    times = {"startTime": 2_000_000_000_000, "endTime": 2_000_000_001_000}
    planned = await owner("create_event", title="Launch", participants=[reader], as_=writer, **times)
    deleted = await owner("send_message", conversationId=room, content="deleted", as_=writer)
    await owner("delete", id=deleted["_id"])
    found = await tools("feed", as_=reader)
    assert found["names"] == {writer: "Writer"}
    by = {"by": writer}
    assert found["feed"] == [
        {"_id": planned["_id"], "table": "events", **by, "title": "Launch", "startTime": times["startTime"]}
        | {"createdAt": planned["createdAt"]},
        {"_id": learned["_id"], "table": "knowledge", **by, "content": "a fact", "createdAt": learned["createdAt"]},
        {"_id": commented["_id"], "table": "comments", **by, "messageId": said["_id"], "content": "a comment"}
        | {"createdAt": commented["createdAt"]},
        {"_id": said["_id"], "table": "conversationMessages", **by, "conversationId": room}
        | {"content": "x" * 200 + "…", "createdAt": said["createdAt"]},
    ]


async def test_pages(owner: Tools, reader: str) -> None:
    writer = await agent(owner)
    room = (await owner("create_conversation", title="Plan", participants=[writer, reader]))["_id"]
    await owner("follow", followeeId=writer, as_=reader)
    for number in range(5):
        await owner("send_message", conversationId=room, content=str(number), as_=writer)
    seen: list[str] = []
    page: dict[str, Any] = {}
    while not page or "nextCursor" in page:
        page = await owner("feed", as_=reader, limit=2, **({"cursor": page["nextCursor"]} if page else {}))
        seen += [entry["content"] for entry in page["feed"]]
    assert seen == ["4", "3", "2", "1", "0"]
    assert (await owner.refused("feed", cursor="x", as_=reader)).code == "invalid"


async def test_only_what_one_may_see(swarm: Swarm, owner: Tools) -> None:
    ada, client = await swarm.user("Ada")
    bea, other = await swarm.user("Bea")
    private, public = await agent(other, visibility="private"), await agent(other)
    room = (await other("create_conversation", title="Secret", participants=[public]))["_id"]
    sent = await other("send_message", conversationId=room, content="secret")
    await other("comment", messageId=sent["_id"], content="secret")
    await other("add_knowledge", ownerType="user", ownerId=bea, content="secret")
    await other("add_knowledge", ownerType="agent", ownerId=private, content="secret")
    known = await other("add_knowledge", ownerType="agent", ownerId=public, content="public")
    await other("create_event", title="secret", startTime=2_000_000_000_000, endTime=2_000_000_000_001)
    await other("update", id=private, fields={"visibility": "public"})
    for followee in (bea, public, private):
        await client("follow", followeeId=followee)
        await owner("follow", followeeId=followee)
    await other("update", id=private, fields={"visibility": "private"})
    assert [entry["_id"] for entry in (await client("feed"))["feed"]] == [known["_id"]]
    assert bea not in [entry["by"] for entry in (await owner("feed"))["feed"] if entry["table"] == "knowledge"]
    await other("add_participant", conversationId=room, kind="user", userId=ada)
    assert [entry["table"] for entry in (await client("feed"))["feed"]] == [
        "knowledge",
        "comments",
        "conversationMessages",
    ]


async def test_an_event_does_not_tell_who_a_hidden_agent_is(swarm: Swarm) -> None:
    _, ada = await swarm.user("FeedAda")
    bo_id, bo = await swarm.user("FeedBo")
    writer = await agent(ada)
    await bo("follow", followeeId=writer)
    times = {"startTime": "2030-01-01T00:00:00Z", "endTime": "2030-01-01T01:00:00Z"}
    await ada("create_event", title="Meeting", participants=[bo_id], as_=writer, **times)
    assert (await bo("feed"))["names"] == {writer: "Writer"}
    await ada("update", id=writer, fields={"visibility": "private", "name": "Secret"})
    found = await bo("feed")
    assert ([entry["title"] for entry in found["feed"]], found["names"]) == (["Meeting"], {writer: ""})
