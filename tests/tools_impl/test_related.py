"""What `get` shows with a row: what hangs on it, nothing hidden, and not too much of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from storage.tables import Comment, Message, Reaction
from storage.transaction import Transaction
from tests.clients import Swarm, Tools
from tests.imports import CONVERSATION, MEMBER, MESSAGE, USER, Row, load
from tools_impl.caller import Caller
from tools_impl.related import Detailed
from tools_impl.rows import get


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()


async def person(swarm: Swarm) -> tuple[str, Tools]:
    return await swarm.user(f"P{next(NUMBERS)}")


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", **{"name": "A", "description": "d", "kind": "user_agent", **more}))["_id"])


async def test_a_message_with_nothing_on_it_is_the_row_itself(swarm: Swarm, owner: Tools) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    sent = await owner("send_message", conversationId=place, content="x")
    caller = Caller("user", swarm.service.owner.id, swarm.service.owner.id, admin=True)
    view = swarm.service.engine.view()
    assert isinstance(await get(view, caller, sent["_id"]), Message)
    await owner("react", messageId=sent["_id"])
    assert isinstance(await get(view, caller, sent["_id"]), Detailed)


async def test_the_newest_of_many_are_shown_and_all_are_counted(swarm: Swarm, owner: Tools) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    (part,) = await owner.find("conversationParticipants", where={"conversationId": place})
    sent = (await owner("send_message", conversationId=place, content="x"))["_id"]
    agents = [await agent(owner) for _ in range(23)]

    async def many(tx: Transaction) -> Message:
        for number, member in enumerate(agents):
            tx.insert(Reaction, message_id=sent, agent_id=member, type="like" if number % 2 else "love")
            tx.insert(Comment, message_id=sent, author_participant_id=part["_id"], content=f"{number}{'x' * 2000}")
        row = await tx.find_row(sent, Message)
        assert row is not None
        return row

    await swarm.service.engine.writer.run(many)
    shown = await owner("get", id=sent)
    assert (shown["reactionsTotal"], shown["commentsTotal"]) == (23, 23)
    assert shown["reactions"] == [{"type": "like", "by": agents[3::2]}, {"type": "love", "by": agents[4::2]}]
    assert [comment["content"] for comment in shown["comments"]] == [
        f"{n}{'x' * 2000}"[:1000] + "…" for n in range(3, 23)
    ]
    # What is gone is neither shown nor counted.
    for comment in shown["comments"]:
        await owner("delete", id=comment["_id"])
    shown = await owner("get", id=sent)
    assert (len(shown["comments"]), "commentsTotal" in shown) == (3, False)


async def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        sent = (await swarm.owner("send_message", conversationId=place, content="x"))["_id"]
        like = await swarm.owner("react", messageId=sent)
        await swarm.owner("react", messageId=sent, type="love")
        await swarm.owner("comment", messageId=sent, content="c")
        before = await swarm.owner("get", id=sent)
    async with Swarm(tmp_path / "data") as swarm:
        assert await swarm.owner("get", id=sent) == before
        assert await swarm.owner("react", messageId=sent) == like
        await swarm.owner("delete", id=like["_id"])
        assert [one["type"] for one in (await swarm.owner("get", id=sent))["reactions"]] == ["love"]


async def test_an_agent_with_its_tools_and_prompts(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    tools = await swarm.connect(user, era=era)
    mine = await agent(tools)
    assert not {"granted", "prompts"} & set(await tools("get", id=mine))
    listed = [(await tools("create_tool", name=f"T{n}", description="d"))["_id"] for n in range(22)]
    prompt = (await tools("create_prompt", title="P", template="t", step="Hook"))["_id"]
    await tools("update", id=mine, fields={"tools": listed, "attachedPrompts": [prompt]})
    row = await tools("get", id=mine)
    assert row["tools"] == listed
    assert row["granted"] == [{"_id": row_id, "name": f"T{n}"} for n, row_id in enumerate(listed)][2:]
    assert row["grantedTotal"] == 22
    assert row["prompts"] == [{"_id": prompt, "name": "P"}]


async def test_a_conversation_with_who_takes_part_and_its_prompts(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    tools = await swarm.connect(user, era=era)
    other, _ = await person(swarm)
    mine = await agent(tools, name="Private", visibility="private")
    group = f"g{next(NUMBERS)}"
    row = await tools("create_conversation", title="C", participants=[other, mine], groupId=group)
    shown = await tools("get", id=row["_id"])
    parts = await tools.find("conversationParticipants", where={"conversationId": row["_id"]}, order="seq")
    names = {member: (await tools("get", id=member))["name"] for member in (user, other, mine)}
    assert shown["participants"] == [
        {
            "_id": part["_id"],
            "kind": part["kind"],
            **{name: part[name] for name in ("userId", "agentId") if name in part},
            "name": names[part.get("userId") or part["agentId"]],
            "status": "active",
        }
        for part in parts
    ]
    assert "prompts" not in shown
    prompts = []
    for owner_id in (row["_id"], group):
        prompts.append((await tools("create_prompt", title="P", template="t", step="Hook"))["_id"])
        await tools("attach_prompt", promptId=prompts[-1], ownerType="group", ownerId=owner_id)
    await tools("delete", id=parts[1]["_id"])
    shown = await tools("get", id=row["_id"])
    assert [part["_id"] for part in shown["participants"]] == [parts[0]["_id"], parts[2]["_id"]]
    assert sorted(prompt["_id"] for prompt in shown["prompts"]) == sorted(prompts)
    used = await tools("get", id=prompts[0])
    assert used["usedBy"] == [{"_id": row["_id"], "name": "C"}]
    assert (await tools("get", id=prompts[1]))["usedBy"] == [{"_id": group}]


async def test_uses_are_those_that_the_caller_sees(swarm: Swarm, owner: Tools) -> None:
    _, tools = await person(swarm)
    tool = (await owner("create_tool", name="T", description="d"))["_id"]
    prompt = (await owner("create_prompt", title="P", template="t", step="Hook"))["_id"]
    more = {"tools": [tool], "attachedPrompts": [prompt]}
    public = [await agent(owner, **more) for _ in range(22)]
    [await agent(owner, visibility="private", name="Zanzibar", **more) for _ in range(3)]
    place = (await owner("create_conversation", title="Zanzibar"))["_id"]
    await owner("attach_prompt", promptId=prompt, ownerType="group", ownerId=place)
    for row_id in (tool, prompt):
        shown = await tools("get", id=row_id)
        assert shown["usedByTotal"] == 22
        assert [use["_id"] for use in shown["usedBy"]] == public[:1:-1]
        assert "Zanzibar" not in str(shown)
    assert (await owner("get", id=tool))["usedByTotal"] == 25
    assert (await owner("get", id=prompt))["usedByTotal"] == 26


async def test_an_event_names_only_whom_the_caller_sees(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    other, others = await person(swarm)
    private = await agent(tools, visibility="private", name="Zanzibar")
    row = await tools("create_event", title="E", startTime=0, endTime=0, participants=[private, other])
    name = (await tools("get", id=other))["name"]
    both = [{"_id": private, "name": "Zanzibar"}, {"_id": other, "name": name}]
    assert (await tools("get", id=row["_id"]))["who"] == both
    assert (await others("get", id=row["_id"]))["who"] == both[1:]


async def test_people_stay_as_they_are(swarm: Swarm, owner: Tools) -> None:
    user, tools = await person(swarm)
    await tools("follow", followeeId=swarm.service.owner.id)
    assert set(await owner("get", id=user)) == {"_id", "name", "email", "createdAt", "seq"}
    _, stranger = await person(swarm)
    assert set(await stranger("get", id=user)) == {"_id", "name", "createdAt", "seq"}


async def test_what_went_with_a_conversation_is_forgotten_and_nothing_else(swarm: Swarm, owner: Tools) -> None:
    """Imported messages have ids that say nothing of their place, or name that of another message."""
    member = {**MEMBER, "userId": swarm.service.owner.id}
    message = {**MESSAGE, "_id": "x-1"}
    await load(swarm, USER, CONVERSATION, member, message, *_comments("x-1", member, 3))
    ((seq,),) = await swarm.sql("SELECT seq FROM conversationMessages WHERE _id = 'x-1'")
    other = {**member, "_id": "m-other", "conversationId": "c-other"}
    alike = {**message, "_id": f"msg_{seq}", "conversationId": "c-other", "authorParticipantId": "m-other"}
    await load(swarm, {**CONVERSATION, "_id": "c-other"}, other, alike, *_comments(alike["_id"], other, 2))
    await owner("delete", id=CONVERSATION["_id"])
    assert len((await owner("get", id=alike["_id"]))["comments"]) == 2
    await load(swarm, CONVERSATION, member, message, *_comments("x-1", member, 19))
    shown = await owner("get", id="x-1")
    assert (len(shown["comments"]), "commentsTotal" in shown) == (19, False)


def _comments(message_id: str, author: Row, count: int) -> list[Row]:
    fields = {"table": "comments", "messageId": message_id, "authorParticipantId": author["_id"]}
    return [{**fields, "_id": f"{message_id}-{number}", "content": "c"} for number in range(count)]
