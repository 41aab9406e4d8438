from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def agent(tools: Tools, name: str = "A", **more: Any) -> str:
    return str((await tools("create_agent", name=name, description="d", kind="user_agent", **more))["_id"])


async def members(tools: Tools, conversation: str) -> list[str]:
    rows = await tools.find("conversationParticipants", where={"conversationId": conversation}, order="seq")
    return [str(row.get("userId", row.get("agentId"))) for row in rows]


async def test_who_starts_a_conversation_takes_part(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    me, other = swarm.service.owner.id, await agent(tools)
    row = await tools(
        "create_conversation", title=" Plan ", participants=[other, me, other], tags=["x"], groupId="launch"
    )
    assert {**row, "_id": 0, "createdAt": 0, "seq": 0} == {
        "_id": 0, "createdAt": 0, "seq": 0, "title": "Plan", "createdBy": me, "tags": ["x"], "groupId": "launch",
    }  # fmt: skip
    assert await members(tools, row["_id"]) == [me, other]
    (first, second) = await tools.find("conversationParticipants", where={"conversationId": row["_id"]}, order="seq")
    expected = {"status": "active", "isRemoved": False, "addedAt": row["createdAt"], "conversationId": row["_id"]}
    assert first.items() >= {**expected, "kind": "user", "userId": me}.items()
    assert second.items() >= {**expected, "kind": "agent", "agentId": other}.items()


async def test_an_agent_starts_one_for_its_creator(swarm: Swarm) -> None:
    user, tools = await swarm.user("Starter")
    mine = await agent(tools)
    row = await tools("create_conversation", title="C", as_=mine)
    assert row["createdBy"] == user
    assert await members(swarm.owner, row["_id"]) == [mine]
    # The agent takes part. Its creator does not, but sees what is theirs.
    assert (await tools("get", id=row["_id"]))["title"] == "C"
    error = await tools.refused("send_message", conversationId=row["_id"], content="x")
    assert error.code == "forbidden"


async def test_a_creator_who_left_still_sees_and_deletes_it(swarm: Swarm) -> None:
    user, tools = await swarm.user("Leaver")
    other, others = await swarm.user("Stayer")
    place = (await tools("create_conversation", title="C", participants=[other]))["_id"]
    sent = (await others("send_message", conversationId=place, content="pineapple"))["_id"]
    (mine,) = await tools.find("conversationParticipants", where={"conversationId": place, "userId": user})
    assert (await tools("delete", id=mine["_id"]))["outcome"] == "removed"
    assert (await tools("get", id=sent))["content"] == "pineapple"
    assert [row["_id"] for row in await tools.find("conversationMessages", where={"conversationId": place})] == [sent]
    assert [one["_id"] for one in (await tools("search", query="pineapple"))["results"]] == [sent]
    assert (await tools("list_messages", conversationId=place))["messages"][0]["_id"] == sent
    # To write they have to come back.
    error = await tools.refused("send_message", conversationId=place, content="x")
    assert error.code == "forbidden"
    # Its agents are not let in by that, and who merely took part is not either.
    assert (await tools.refused("get", id=place, as_=await agent(tools))).code == "not_found"
    (theirs,) = await others.find("conversationParticipants", where={"conversationId": place, "userId": other})
    await others("delete", id=theirs["_id"])
    for tool, arguments in (("get", {"id": place}), ("delete", {"id": place}), ("get", {"id": sent})):
        assert (await others.refused(tool, **arguments)).code == "not_found"
    assert (await others("search", query="pineapple"))["results"] == []
    assert (await tools("delete", id=place))["outcome"] == "deleted"
    assert (await tools.refused("get", id=sent)).code == "not_found"


async def test_who_is_blocked_writes_nothing_and_stays_blocked(swarm: Swarm, owner: Tools) -> None:
    _, creator = await swarm.user("Boss")
    user, tools = await swarm.user("Blocked")
    friend, friends = await swarm.user("Friend")
    place = (await creator("create_conversation", title="C", participants=[user, friend]))["_id"]
    sent = (await tools("send_message", conversationId=place, content="x"))["_id"]
    remark = (await tools("comment", messageId=sent, content="x"))["_id"]
    (part,) = await tools.find("conversationParticipants", where={"conversationId": place, "userId": user})
    assert (await friends.refused("update", id=part["_id"], fields={"status": "blocked"})).code == "forbidden"
    await creator("update", id=part["_id"], fields={"status": "blocked"})
    writing: list[tuple[str, dict[str, Any]]] = [
        ("send_message", {"conversationId": place, "content": "y"}),
        ("comment", {"messageId": sent, "content": "y"}),
        ("react", {"messageId": sent}),
        ("update", {"id": sent, "fields": {"content": "y"}}),
        ("update", {"id": remark, "fields": {"content": "y"}}),
        ("update", {"id": part["_id"], "fields": {"status": "active"}}),
        ("add_participant", {"conversationId": place, "kind": "user", "userId": swarm.service.owner.id}),
    ]
    for tool, arguments in writing:
        assert (await tools.refused(tool, **arguments)).code == "forbidden", tool
    # Reading is left, and so is leaving. Friends bring them back as they were.
    assert (await tools("list_messages", conversationId=place))["messages"][0]["content"] == "x"
    await tools("delete", id=part["_id"])
    back = await friends("add_participant", conversationId=place, kind="user", userId=user)
    assert (back["isRemoved"], back["status"]) == (False, "blocked")
    assert (await tools.refused("react", messageId=sent)).code == "forbidden"
    await creator("update", id=part["_id"], fields={"status": "active"})
    await tools("react", messageId=sent)


async def test_an_agent_does_not_unblock_itself_or_bring_itself_back(swarm: Swarm) -> None:
    _, tools = await swarm.user("Keeper")
    mine, other = await agent(tools), await agent(tools)
    place = (await tools("create_conversation", title="C", participants=[mine, other]))["_id"]
    parts = {
        row["agentId"]: row["_id"]
        for row in await tools.find("conversationParticipants", where={"conversationId": place, "kind": "agent"})
    }
    await tools("update", id=parts[mine], fields={"status": "blocked"})
    error = await tools.refused("update", id=parts[mine], fields={"status": "active"}, as_=mine)
    assert error.code == "forbidden"
    # For its creator an agent may block others.
    assert (await tools("update", id=parts[other], fields={"status": "quiet"}, as_=mine))["status"] == "quiet"
    guest, guests = await swarm.user("Guest")
    theirs = await agent(guests)
    await tools("add_participant", conversationId=place, kind="user", userId=guest)
    part = (await guests("add_participant", conversationId=place, kind="agent", agentId=theirs))["_id"]
    await tools("delete", id=part)
    error = await guests.refused("update", id=part, fields={"isRemoved": False})
    assert error == Refusal("forbidden", f"'{part}' was removed; add_participant brings it back.")


async def test_an_agent_without_a_creator_cannot_own_one(swarm: Swarm) -> None:
    from storage.tables import Agent

    orphan = await swarm.insert(Agent, name="O", description="d", kind="system_agent")
    tools = await swarm.connect(orphan.id)
    error = await tools.refused("create_conversation", title="C")
    assert error == Refusal(
        "forbidden", "This agent has no creator, so it cannot own a conversation. Let a user start it."
    )


@pytest.mark.parametrize(
    ("participants", "code", "text"),
    [
        (["user_999"], "not_found", "No user 'user_999'."),
        (["agent_999"], "not_found", "No row 'agent_999' in agents."),
        (["Director"], "not_found", "No user or agent 'Director'."),
        (["conv_1"], "invalid", "'conv_1' is an id of conversations; here a user or an agent is needed."),
        ("user_1", "invalid", "'participants' must be a list, not 'user_1'."),
        (["agent_1"] * 101, "invalid", "'participants' has 101 items; at most 100 are possible."),
    ],
)
async def test_participants_must_exist(owner: Tools, participants: Any, code: str, text: str) -> None:
    before = await owner.find("conversations")
    error = await owner.refused("create_conversation", title="C", participants=participants)
    assert error.code == code
    assert error.text.startswith(text)
    assert await owner.find("conversations") == before


async def test_deactivated_members_cannot_be_added(owner: Tools) -> None:
    gone = await agent(owner, "Gone")
    await owner("create_conversation", title="history", participants=[gone])
    assert (await owner("delete", id=gone))["outcome"] == "deactivated"
    error = await owner.refused("create_conversation", title="C", participants=[gone])
    assert error == Refusal("conflict", f"'{gone}' (Gone) is deactivated.")


async def test_adding_twice_returns_the_first(owner: Tools, era: str) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    arguments = {"conversationId": place, "kind": "agent", "agentId": await agent(owner)}
    rows = [await owner("add_participant", **arguments) for _ in range(3)]
    rows += await asyncio.gather(*(owner("add_participant", **arguments) for _ in range(5)))
    assert rows == [rows[0]] * 8
    assert len(await members(owner, place)) == 2


async def test_a_removed_participant_comes_back_with_its_history(owner: Tools) -> None:
    other = await agent(owner)
    place = (await owner("create_conversation", title="C", participants=[other]))["_id"]
    first = await owner("add_participant", conversationId=place, kind="agent", agentId=other)
    sent = await owner("send_message", conversationId=place, content="x", as_=other)
    assert (await owner("delete", id=first["_id"]))["outcome"] == "removed"
    assert (await owner("get", id=first["_id"]))["isRemoved"]
    assert (await owner("list_messages", conversationId=place))["messages"][0]["_id"] == sent["_id"]
    back = await owner("add_participant", conversationId=place, kind="agent", agentId=other)
    assert back == {**first, "seq": back["seq"]}
    assert back["seq"] > first["seq"]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"kind": "user"}, "invalid", "With kind 'user' give userId and no other id."),
        ({"kind": "agent", "userId": "user_1"}, "invalid", "With kind 'agent' give agentId and no other id."),
        (
            {"kind": "user", "userId": "user_1", "agentId": "agent_1"},
            "invalid",
            "With kind 'user' give userId and no other id.",
        ),
        ({"kind": "agent", "agentId": "user_1"}, "invalid", "'user_1' is a user, kind says agent."),
        ({"kind": "group", "userId": "user_1"}, "invalid", "'kind' must be 'user' or 'agent', not 'group'."),
        ({"kind": "user", "userId": "user_999"}, "not_found", "No user 'user_999'."),
        ({"kind": "user", "user_id": "user_1"}, "invalid", "Unknown argument 'user_id': did you mean 'userId'?"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_adding_refuses_what_fits_not(owner: Tools, arguments: dict[str, Any], code: str, text: str) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    error = await owner.refused("add_participant", conversationId=place, **arguments)
    assert error.code == code
    assert error.text.startswith(text)
    assert len(await members(owner, place)) == 1


async def test_only_active_participants_add_others(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Member")
    place = (await owner("create_conversation", title="C", participants=[user]))["_id"]
    mine = await agent(tools)
    await tools("add_participant", conversationId=place, kind="agent", agentId=mine)
    (me,) = await owner.find("conversationParticipants", where={"conversationId": place, "userId": user})
    await owner("update", id=me["_id"], fields={"status": "blocked"})
    other = await agent(owner)
    arguments = {"conversationId": place, "kind": "agent", "agentId": other}
    error = await tools.refused("add_participant", **arguments)
    assert error == Refusal("forbidden", f"Only active participants of '{place}' add others.")
    # Its agent is active and may.
    await tools("add_participant", **arguments, as_=mine)
    # Who is there already comes back as it is, whoever asks.
    assert (await tools("add_participant", **arguments))["agentId"] == other


async def test_the_creator_adds_others_also_when_blocked(swarm: Swarm) -> None:
    _, tools = await swarm.user("Creator")
    place = (await tools("create_conversation", title="C"))["_id"]
    (me,) = await tools.find("conversationParticipants", where={"conversationId": place})
    await tools("update", id=me["_id"], fields={"status": "away"})
    added = await tools("add_participant", conversationId=place, kind="user", userId=swarm.service.owner.id)
    assert added["userId"] == swarm.service.owner.id


async def test_a_stranger_adds_nobody_not_even_themselves(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Outsider")
    place = (await owner("create_conversation", title="Secret"))["_id"]
    hidden = await tools.refused("add_participant", conversationId=place, kind="user", userId=user)
    missing = await tools.refused("add_participant", conversationId="conv_99999", kind="user", userId=user)
    assert hidden.text.replace(place, "ID") == missing.text.replace("conv_99999", "ID")
