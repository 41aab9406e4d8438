from __future__ import annotations

from typing import Any

import pytest

from storage.tables import (
    Attachment,
    Comment,
    Event,
    Follow,
    Knowledge,
    Prompt,
    Reaction,
    Reminder,
    Tag,
    Tool,
)
from tests.clients import Refusal, Swarm, Tools
from tests.invariants import check


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent", **more))["_id"])


async def outcome(tools: Tools, row_id: str, **more: Any) -> str:
    deleted = await tools("delete", id=row_id, **more)
    assert set(deleted) == {"_id", "outcome"}
    assert deleted["_id"] == row_id
    return str(deleted["outcome"])


async def missing(tools: Tools, row_id: str) -> bool:
    result = await tools.raw("get", id=row_id)
    return bool(result.is_error)


@pytest.fixture
async def place(owner: Tools) -> str:
    return str((await owner("create_conversation", title="C"))["_id"])


@pytest.fixture
async def part(owner: Tools, place: str) -> str:
    (row,) = await owner.find("conversationParticipants", where={"conversationId": place})
    return str(row["_id"])


async def test_a_message_leaves_a_tombstone(swarm: Swarm, place: str, part: str, era: str) -> None:
    tools = await swarm.connect(era=era)
    sent = await tools(
        "send_message", conversationId=place, content="secret", vector=[0.5], meta={"a": 1}, attachments=[1], tags=["t"]
    )
    comment = await swarm.insert(Comment, message_id=sent["_id"], author_participant_id=part, content="c")
    reaction = await swarm.insert(Reaction, message_id=sent["_id"], user_id=swarm.service.owner.id, type="like")
    assert await outcome(tools, sent["_id"]) == "tombstone"
    left = await tools("get", id=sent["_id"])
    kept = {key: sent[key] for key in sent if key not in ("vector", "meta", "attachments", "seq")}
    assert [one["_id"] for one in left.pop("comments")] == [comment.id]
    assert left.pop("reactions") == [{"type": "like", "by": [swarm.service.owner.id]}]
    assert left == {**kept, "content": "", "status": "deleted", "seq": left["seq"]}
    (listed,) = (await tools("list_messages", conversationId=place))["messages"]
    assert (listed["content"], listed["status"]) == ("", "deleted")
    assert not await missing(tools, comment.id)
    assert not await missing(tools, reaction.id)
    error = await tools.refused("delete", id=sent["_id"])
    assert error == Refusal("conflict", f"'{sent['_id']}' was deleted already.")
    assert "secret" not in str(await swarm.sql("SELECT * FROM conversationMessages WHERE _id = ?", sent["_id"]))


async def test_a_conversation_takes_all_it_holds_along(swarm: Swarm, owner: Tools, place: str, part: str) -> None:
    prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
    other = (await owner("create_conversation", title="other"))["_id"]
    (other_part,) = await owner.find("conversationParticipants", where={"conversationId": other})
    gone, kept = [place], [other, other_part["_id"], prompt.id]
    for where, author, ids in ((place, part, gone), (other, other_part["_id"], kept)):
        for _ in range(3):
            message = (await owner("send_message", conversationId=where, content="x", tags=["stays"]))["_id"]
            comment = await swarm.insert(Comment, message_id=message, author_participant_id=author, content="c")
            reaction = await swarm.insert(Reaction, message_id=message, user_id=swarm.service.owner.id, type="like")
            ids += [message, comment.id, reaction.id]
        attachment = await swarm.insert(Attachment, owner_type="group", owner_id=where, prompt_id=prompt.id)
        ids.append(attachment.id)
    assert await outcome(owner, place) == "deleted"
    assert [row_id for row_id in [*gone, part] if not await missing(owner, row_id)] == []
    assert [row_id for row_id in kept if await missing(owner, row_id)] == []
    assert len(await owner.find("tags", where={"name": "stays"})) == 1
    for tool in ("list_messages", "add_participant"):
        more = {"kind": "user", "userId": swarm.service.owner.id} if tool == "add_participant" else {}
        assert (await owner.refused(tool, conversationId=place, **more)).code == "not_found"
    await check(swarm)


async def test_a_participant_is_removed_and_its_history_stays(owner: Tools, place: str) -> None:
    member = await agent(owner)
    row = await owner("add_participant", conversationId=place, kind="agent", agentId=member)
    await owner("send_message", conversationId=place, content="x", as_=member)
    assert await outcome(owner, row["_id"]) == "removed"
    page = await owner("list_messages", conversationId=place)
    assert page["authors"] == {row["_id"]: {"_id": member, "name": "A"}}


async def test_a_participant_leaves_and_is_removed_by_the_creator_only(swarm: Swarm, owner: Tools, place: str) -> None:
    ids, clients = zip(*[await swarm.user(f"Leaver{n}") for n in range(2)], strict=True)
    rows = [(await owner("add_participant", conversationId=place, kind="user", userId=user))["_id"] for user in ids]
    assert (await clients[0].refused("delete", id=rows[1])).code == "forbidden"
    assert await outcome(clients[0], rows[0]) == "removed"
    assert await missing(clients[0], rows[0])
    assert await outcome(owner, rows[1]) == "removed"


async def test_an_agent_without_history_goes_with_what_hangs_on_it(swarm: Swarm, owner: Tools) -> None:
    tool = await swarm.insert(Tool, name="t", description="d")
    prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
    member = await agent(owner, tools=[tool.id], attachedPrompts=[prompt.id])
    leader = await agent(owner, delegatesTo=[member])
    hangs = [
        await swarm.insert(Reminder, agent_id=member, message="m", remind_at=1),
        await swarm.insert(Follow, follower_id=member, followee_id=leader, kind="agent"),
        await swarm.insert(Follow, follower_id=swarm.service.owner.id, followee_id=member, kind="agent"),
        await swarm.insert(Follow, follower_id=member, followee_id=member, kind="agent"),
    ]
    hung = [row.id for row in hangs]
    hung += [row["_id"] for row in await owner.find("agentTools", where={"agentId": member})]
    hung += [row["_id"] for row in await owner.find("attachments", where={"ownerId": member})]
    assert await outcome(owner, member) == "deleted"
    assert [row_id for row_id in [member, *hung] if not await missing(owner, row_id)] == []
    assert (await owner("get", id=leader))["delegatesTo"] == []
    # Nothing uses them any more.
    assert await outcome(owner, tool.id) == "deleted"
    assert await outcome(owner, prompt.id) == "deleted"
    await check(swarm)


HISTORIES = ["conversation", "knowledge", "event", "invitation", "reaction"]


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("kind", ["agent", "user"])
async def test_who_has_a_history_is_deactivated(
    swarm: Swarm, owner: Tools, place: str, history: str, kind: str
) -> None:
    member = await agent(owner) if kind == "agent" else (await swarm.user(f"U{history}"))[0]
    match history:
        case "conversation":
            await owner("add_participant", conversationId=place, kind=kind, **{f"{kind}Id": member})
        case "knowledge":
            await swarm.insert(Knowledge, owner_type=kind, owner_id=member, content="x")
        case "event":
            await swarm.insert(Event, title="E", start_time=1, end_time=2, created_by=member)
        case "invitation":
            me = swarm.service.owner.id
            await swarm.insert(Event, title="E", start_time=1, end_time=2, created_by=me, participants=[me, member])
        case "reaction":
            message = (await owner("send_message", conversationId=place, content="x"))["_id"]
            await swarm.insert(Reaction, message_id=message, type="like", **{f"{kind}_id": member})
    reminder = await swarm.insert(Reminder, message="m", remind_at=1, **{f"{kind}_id": member})
    before = await owner("get", id=member)
    assert await outcome(owner, member) == "deactivated"
    after = await owner("get", id=member)
    assert after["name"] == before["name"]
    assert after["deactivatedAt"] > 0
    assert await missing(owner, reminder.id)
    assert await owner.refused("delete", id=member) == Refusal("conflict", f"'{member}' was deactivated already.")


@pytest.mark.parametrize("made", ["agent", "conversation", "tag", "tool", "prompt", "attachment", "edit"])
async def test_who_made_something_is_deactivated(swarm: Swarm, owner: Tools, made: str) -> None:
    user, tools = await swarm.user(f"Maker{made}")
    match made:
        case "agent":
            await agent(tools)
        case "conversation":
            place = await tools("create_conversation", title="C")
            (part,) = await tools.find("conversationParticipants", where={"conversationId": place["_id"]})
            await tools("delete", id=part["_id"])
        case "tag":
            await swarm.insert(Tag, name=f"of {user}", created_by=user)
        case "tool":
            await swarm.insert(Tool, name="t", description="d", created_by=user)
        case "prompt":
            await tools("create_prompt", title="p", template="t", step="Hook")
        case "edit":
            admin = await swarm.connect(user, admin=True)
            mine = await agent(owner)
            assert (await admin("update", id=mine, fields={"goal": "g"}))["updatedBy"] == user
        case "attachment":
            prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
            await swarm.insert(Attachment, owner_type="group", owner_id="g", prompt_id=prompt.id, created_by=user)
    assert await outcome(owner, user) == "deactivated"


async def test_who_made_nothing_is_gone(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Nobody")
    assert await outcome(tools, user) == "deleted"
    assert await missing(owner, user)
    error = await tools.refused("find", table="agents")
    assert error == Refusal("forbidden", f"'{user}', as whom you are connected, is no active user or agent.")


async def test_a_deactivated_caller_is_refused_everywhere(swarm: Swarm, owner: Tools, place: str) -> None:
    user, tools = await swarm.user("Former")
    await owner("add_participant", conversationId=place, kind="user", userId=user)
    assert await outcome(owner, user) == "deactivated"
    for tool, arguments in [
        ("get", {"id": place}),
        ("find", {"table": "conversations"}),
        ("send_message", {"conversationId": place, "content": "x"}),
    ]:
        assert (await tools.refused(tool, **arguments)).code == "forbidden"
    assert "is no active user or agent" in (await tools.unreadable("one://conversations")).message


async def test_an_admin_does_not_delete_themselves(swarm: Swarm, owner: Tools) -> None:
    me = swarm.service.owner.id
    error = await owner.refused("delete", id=me)
    assert error.code == "conflict"
    assert error.text.startswith(f"'{me}' is you, an admin")
    assert "deactivatedAt" not in await owner("get", id=me)


async def test_nobody_deletes_the_local_owner(swarm: Swarm) -> None:
    user, _ = await swarm.user("Admin")
    other = await swarm.connect(user, admin=True)
    me = swarm.service.owner.id
    error = await other.refused("delete", id=me)
    assert error == Refusal("conflict", f"'{me}' is the owner of this swarm and stays.")


@pytest.mark.parametrize("kind", ["tool", "prompt"])
async def test_what_is_in_use_is_kept(swarm: Swarm, owner: Tools, kind: str) -> None:
    tool = await swarm.insert(Tool, name="t", description="d")
    prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
    row, field, way = (
        (tool.id, "tools", "Take it from their tools")
        if kind == "tool"
        else (prompt.id, "attachedPrompts", "Detach it")
    )
    users = [await agent(owner, **{field: [row]}) for _ in range(7)]
    error = await owner.refused("delete", id=row)
    shown = ", ".join(users[:5])
    assert error == Refusal("conflict", f"'{row}' is in use by {shown} and others. {way} first.", {"uses": users})
    for user in users:
        await owner("update", id=user, fields={field: []})
    assert await outcome(owner, row) == "deleted"


async def test_a_tag_is_stripped_from_every_row(swarm: Swarm, owner: Tools, place: str) -> None:
    tagged = [
        await agent(owner, tags=["red", "blue"]),
        (await owner("send_message", conversationId=place, content="x", tags=["red"]))["_id"],
        (await owner("add_knowledge", ownerType="user", ownerId=swarm.service.owner.id, content="x", tags=["red"]))[
            "_id"
        ],
        (await owner("create_conversation", title="T", tags=["blue", "red"]))["_id"],
        (await swarm.insert(Event, title="E", start_time=1, end_time=2, created_by="user_1", tags=["red"])).id,
        (await swarm.insert(Prompt, title="p", template="t", step="Hook", tags=["red"])).id,
    ]
    before = [await owner("get", id=row_id) for row_id in tagged]
    (tag,) = await owner.find("tags", where={"name": "red"})
    assert await outcome(owner, tag["_id"]) == "deleted"
    for row in before:
        after = await owner("get", id=row["_id"])
        assert after["tags"] == [name for name in row["tags"] if name != "red"]
        # Whoever read the row before learns that it changed.
        error = await owner.refused("update", id=row["_id"], fields={"tags": ["red"]}, ifSeq=row["seq"])
        assert error.code == "conflict"
    assert (await owner("search_knowledge_by_tag", tag="red"))["knowledge"] == []
    await owner("update", id=tagged[0], fields={"tags": ["red"]})
    assert (await owner.find("tags", where={"name": "red"}))[0]["_id"] != tag["_id"]
    await check(swarm)


@pytest.mark.parametrize("table", [Knowledge, Comment, Reaction, Follow, Event, Reminder])
async def test_other_rows_just_go(swarm: Swarm, owner: Tools, place: str, part: str, table: Any) -> None:
    me = swarm.service.owner.id
    message = (await owner("send_message", conversationId=place, content="x"))["_id"]
    fields: dict[Any, dict[str, Any]] = {
        Knowledge: {"owner_type": "user", "owner_id": me, "content": "x"},
        Comment: {"message_id": message, "author_participant_id": part, "content": "x"},
        Reaction: {"message_id": message, "user_id": me, "type": "like"},
        Follow: {"follower_id": me, "followee_id": "user_1", "kind": "user"},
        Event: {"title": "E", "start_time": 1, "end_time": 2, "created_by": me},
        Reminder: {"user_id": me, "message": "m", "remind_at": 1},
    }
    row = await swarm.insert(table, **fields[table])
    assert await outcome(owner, row.id) == "deleted"
    assert await missing(owner, row.id)
    error = await owner.refused("delete", id=row.id)
    assert error.code == "not_found"


async def test_deleting_with_a_key_twice_is_deleting_once(owner: Tools) -> None:
    member = await agent(owner)
    assert await outcome(owner, member, idempotencyKey="k") == "deleted"
    assert await outcome(owner, member, idempotencyKey="k") == "deleted"
    assert (await owner.refused("delete", id=member)).code == "not_found"
