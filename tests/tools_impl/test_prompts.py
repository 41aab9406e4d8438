"""create_prompt and attach_prompt."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools
from tests.invariants import check


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()


async def person(swarm: Swarm) -> tuple[str, Tools]:
    return await swarm.user(f"P{next(NUMBERS)}")


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent", **more))["_id"])


async def prompt(tools: Tools) -> str:
    return str((await tools("create_prompt", title="P", template="t", step="Hook"))["_id"])


async def test_a_prompt_with_everything(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    tools = await swarm.connect(user, era=era)
    given = {
        "title": "Greet",
        "template": "Hello {{name}}, welcome to {{place}}",
        "step": "Engage",
        "description": "says hello",
        "outputType": "text",
        "tags": ["greeting"],
        "status": "draft",
    }
    row = await tools("create_prompt", **given, requiredContext=["name", "name", " place "])
    assert {name: row[name] for name in given} == given
    assert row["requiredContext"] == ["name", "place"]
    assert row["createdBy"] == user
    assert await tools("get", id=row["_id"]) == row
    assert len(await tools.find("tags", where={"name": "greeting"})) == 1
    # Everybody sees it, its creator and their agents change it.
    _, stranger = await person(swarm)
    assert await stranger("get", id=row["_id"]) == row
    assert (await stranger.refused("update", id=row["_id"], fields={"title": "x"})).code == "forbidden"
    mine = await agent(tools)
    assert (await tools("update", id=row["_id"], fields={"status": None}, as_=mine)).get("status") is None
    assert (await tools("create_prompt", title="T", template="t", step="Hook", as_=mine))["createdBy"] == user


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"title": "t", "template": "t"}, "Missing argument 'step'."),
        ({"title": "t", "template": "t", "step": "hook"}, "'step' must be 'Foundation', 'Hook',"),
        ({"title": "", "template": "t", "step": "Hook"}, "'title' must not be empty."),
        ({"title": "t", "template": "", "step": "Hook"}, "'template' must not be empty."),
        ({"title": "t", "template": 5, "step": "Hook"}, "'template' must be a text, not 5."),
        ({"title": "t", "template": "t" * 100_001, "step": "Hook"}, "'template' has 100,001 characters;"),
        ({"title": "t", "template": "t", "step": "Hook", "requiredContext": "x"}, "'requiredContext' must be a list"),
        ({"title": "t", "template": "t", "step": "Hook", "requiredContext": [""]}, "'requiredContext.0' must not be"),
        (
            {"title": "t", "template": "t", "step": "Hook", "output_type": "x"},
            "Unknown argument 'output_type': did you",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_prompts(owner: Tools, arguments: dict[str, Any], text: str) -> None:
    before = len(await owner.find("prompts"))
    error = await owner.refused("create_prompt", **arguments)
    assert error.code == "invalid"
    assert error.text.startswith(text)
    assert len(await owner.find("prompts")) == before


async def test_attaching_to_an_agent(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    tools = await swarm.connect(user, era=era)
    mine, one, two = await agent(tools), await prompt(tools), await prompt(swarm.owner)
    arguments = {"promptId": one, "ownerType": "agent", "ownerId": mine}
    first = await tools("attach_prompt", **arguments)
    assert first == {
        "_id": first["_id"],
        "ownerType": "agent",
        "ownerId": mine,
        "promptId": one,
        "createdBy": user,
        "createdAt": first["createdAt"],
        "seq": first["seq"],
    }
    assert await asyncio.gather(*(tools("attach_prompt", **arguments) for _ in range(4))) == [first] * 4
    await tools("attach_prompt", **{**arguments, "promptId": two}, as_=mine)
    row = await tools("get", id=mine)
    assert row["attachedPrompts"] == [one, two]
    assert row["updatedBy"] == user
    assert [shown["_id"] for shown in row["prompts"]] == [one, two]
    assert (await tools.refused("delete", id=one)).code == "conflict"
    await tools("delete", id=first["_id"])
    assert (await tools("get", id=mine))["attachedPrompts"] == [two]
    await check(swarm)


async def test_attaching_to_a_conversation_and_to_a_group(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    member, members = await person(swarm)
    _, stranger = await person(swarm)
    group = f"team {next(NUMBERS)}"
    place = (await tools("create_conversation", title="C", participants=[member], groupId=group))["_id"]
    one = await prompt(tools)
    for owner_id in (place, group):
        arguments = {"promptId": one, "ownerType": "group", "ownerId": owner_id}
        first = await members("attach_prompt", **arguments)
        assert await tools("attach_prompt", **arguments) == first
        # Both may have more than one.
        await tools("attach_prompt", **{**arguments, "promptId": await prompt(tools)})
        assert await stranger.find("attachments", where={"ownerId": owner_id}) == []
        assert len(await members.find("attachments", where={"ownerId": owner_id})) == 2
    assert len((await members("get", id=place))["prompts"]) == 3
    for owner_id, never in ((place, "conv_99999"), (group, "no group")):
        hidden = await stranger.refused("attach_prompt", promptId=one, ownerType="group", ownerId=owner_id)
        missing = await stranger.refused("attach_prompt", promptId=one, ownerType="group", ownerId=never)
        assert hidden.code == missing.code == "not_found"
        assert hidden.text.startswith(f"No conversation or group '{owner_id}'.")
        assert missing.text.startswith(f"No conversation or group '{never}'.")
    (part,) = await tools.find("conversationParticipants", where={"conversationId": place, "userId": member})
    await tools("update", id=part["_id"], fields={"status": "blocked"})
    for owner_id in (place, group):
        error = await members.refused("attach_prompt", promptId=one, ownerType="group", ownerId=owner_id)
        assert error == Refusal("forbidden", f"Only active participants of '{place}' attach prompts.")


async def test_attaching_refuses_what_is_not_ones_own(swarm: Swarm, owner: Tools) -> None:
    _, tools = await person(swarm)
    one, theirs = await prompt(tools), await agent(owner)
    private = await agent(owner, visibility="private")
    error = await tools.refused("attach_prompt", promptId=one, ownerType="agent", ownerId=theirs)
    assert error == Refusal("forbidden", f"'{theirs}' is not an agent of yours.")
    never = f"agent_8{private.removeprefix('agent_')}8"
    hidden = await tools.refused("attach_prompt", promptId=one, ownerType="agent", ownerId=private)
    missing = await tools.refused("attach_prompt", promptId=one, ownerType="agent", ownerId=never)
    assert hidden.text.replace(private, "ID") == missing.text.replace(never, "ID")
    gone = await agent(tools)
    await tools("add_knowledge", ownerType="agent", ownerId=gone, content="x")
    await tools("delete", id=gone)
    error = await tools.refused("attach_prompt", promptId=one, ownerType="agent", ownerId=gone)
    assert error == Refusal("conflict", f"'{gone}' (A) is deactivated.")
    for arguments, text in [
        ({"promptId": "prompt_99999", "ownerType": "agent", "ownerId": theirs}, "No row 'prompt_99999' in prompts."),
        ({"promptId": theirs, "ownerType": "agent", "ownerId": theirs}, f"'{theirs}' is an id of agents; here an id"),
        ({"promptId": one, "ownerType": "user", "ownerId": theirs}, "'ownerType' must be 'agent' or 'group', not 'us"),
        ({"promptId": one, "ownerType": "agent", "ownerId": "user_1"}, "'user_1' is an id of users; here an id of ag"),
        ({"promptId": one, "ownerType": "group", "ownerId": theirs}, f"'{theirs}' is an id of agents; a group is a c"),
        ({"promptId": one, "ownerType": "group"}, "Missing argument 'ownerId'."),
    ]:
        error = await tools.refused("attach_prompt", **arguments)
        assert error.text.startswith(text)


async def test_an_agent_has_at_most_a_hundred_prompts(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    prompts = [await prompt(tools) for _ in range(101)]
    mine = await agent(tools, attachedPrompts=prompts[:100])
    error = await tools.refused("attach_prompt", promptId=prompts[100], ownerType="agent", ownerId=mine)
    assert error == Refusal("conflict", "attachedPrompts has 100 items already; remove one first.")
    assert (await tools("attach_prompt", promptId=prompts[0], ownerType="agent", ownerId=mine))["promptId"] == prompts[
        0
    ]
