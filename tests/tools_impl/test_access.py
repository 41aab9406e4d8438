"""Callers and what they see: what is hidden from somebody is as good as missing, whichever way they look."""

from __future__ import annotations

from typing import Any

import pytest

from storage.row import Row
from storage.tables import (
    BY_NAME,
    TABLES,
    Agent,
    AgentTool,
    Attachment,
    Comment,
    Event,
    Follow,
    Prompt,
    Reaction,
    Reminder,
    Tool,
)
from tests.clients import Refusal, Swarm, said
from tests.invariants import rows_in_file


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


SECRET = "Zanzibar"
"""In every text of what is hidden: it must not reach the stranger."""
OPEN_TABLES = {"users", "tools", "prompts", "tags"}


class World:
    """Somebody's private things, and a stranger."""

    hidden: dict[str, str]

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm

    async def make(self) -> None:
        swarm = self.swarm
        self.insider_id, self.insider = await swarm.user("Insider")
        self.stranger_id, self.stranger = await swarm.user("Stranger")
        insider = self.insider
        tool = await swarm.insert(Tool, name="t", description="d")
        prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
        agent = await insider(
            "create_agent", name=f"{SECRET} agent", description=SECRET, kind="user_agent", visibility="private",
            tools=[tool.id], attachedPrompts=[prompt.id],
        )  # fmt: skip
        place = await insider("create_conversation", title=f"{SECRET} plan", participants=[agent["_id"]])
        sent = await insider("send_message", conversationId=place["_id"], content=SECRET)
        (part, _) = await insider.find("conversationParticipants", where={"conversationId": place["_id"]}, order="seq")
        known = await insider("add_knowledge", ownerType="agent", ownerId=agent["_id"], content=SECRET, tags=["open"])
        mine = await insider("add_knowledge", ownerType="user", ownerId=self.insider_id, content=SECRET, tags=["open"])
        made: dict[str, Any] = {
            "comments": await swarm.insert(
                Comment, message_id=sent["_id"], author_participant_id=part["_id"], content=SECRET
            ),
            "reactions": await swarm.insert(Reaction, message_id=sent["_id"], user_id=self.insider_id, type=SECRET),
            "attachments": await swarm.insert(
                Attachment, owner_type="group", owner_id=place["_id"], prompt_id=prompt.id, created_by=self.insider_id
            ),
            "events": await swarm.insert(
                Event, title=SECRET, start_time=1, end_time=2, created_by=self.insider_id, participants=[agent["_id"]]
            ),
            "follows": await swarm.insert(Follow, follower_id=self.insider_id, followee_id=agent["_id"], kind="agent"),
            "reminders": await swarm.insert(Reminder, user_id=self.insider_id, message=SECRET, remind_at=1),
        }
        grants = [row for row in await rows_in_file(swarm, AgentTool) if row.agent_id == agent["_id"]]  # type: ignore[attr-defined]
        self.hidden = {
            **{table: row.id for table, row in made.items()},
            "agents": agent["_id"],
            "conversations": place["_id"],
            "conversationParticipants": part["_id"],
            "conversationMessages": sent["_id"],
            "agentTools": grants[0].id,
            "knowledge": known["_id"],
            "knowledge of a user": mine["_id"],
        }


@pytest.fixture(scope="module")
async def world(shared: Swarm) -> World:
    made = World(shared)
    await made.make()
    return made


def never_was(row_id: str) -> str:
    """An id of the same form that no row has."""
    return f"{row_id.rpartition('_')[0]}_8{row_id.rpartition('_')[2]}8"


async def test_every_closed_table_is_tested(world: World) -> None:
    assert {name.partition(" ")[0] for name in world.hidden} == set(BY_NAME) - OPEN_TABLES


@pytest.mark.parametrize("table", [*sorted(set(BY_NAME) - OPEN_TABLES), "knowledge of a user"])
async def test_hidden_rows_are_as_good_as_missing(world: World, table: str, era: str) -> None:
    row_id = world.hidden[table]
    assert (await world.insider("get", id=row_id))["_id"] == row_id
    stranger = await world.swarm.connect(world.stranger_id, era=era)
    for tool, arguments in [("get", {}), ("update", {"fields": {"content": "x"}}), ("delete", {})]:
        hidden = await stranger.refused(tool, id=row_id, **arguments)
        missing = await stranger.refused(tool, id=never_was(row_id), **arguments)
        assert hidden.code == missing.code == "not_found"
        assert hidden.text.replace(row_id, "ID") == missing.text.replace(never_was(row_id), "ID")
        assert {**hidden.data, "id": 0} == {**missing.data, "id": 0}


@pytest.mark.parametrize("table", BY_NAME)
async def test_find_shows_nothing_hidden(world: World, table: str) -> None:
    for stranger in (world.stranger, await world.swarm.connect(world.stranger_id, era="auto")):
        rows = await stranger.find(table, limit=200)
        assert not {row["_id"] for row in rows} & set(world.hidden.values())
        assert SECRET not in str(rows)
        for row_id in world.hidden.values():
            assert await stranger.find(table, where={"_id": row_id}) == []
    assert await world.insider.find(table)


def id_calls(row_ids: dict[str, str], me: str, prompt: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Calls that name a row in an argument: (table, tool, arguments)."""
    place, agent, known = row_ids["conversations"], row_ids["agents"], row_ids["knowledge"]
    minimal = {"name": "n", "description": "d", "kind": "user_agent"}
    teach = {"ownerType": "user", "ownerId": me, "content": "x"}
    return [
        ("conversations", "list_messages", {"conversationId": place}),
        ("conversations", "send_message", {"conversationId": place, "content": "x"}),
        ("conversations", "add_participant", {"conversationId": place, "kind": "user", "userId": me}),
        ("agents", "create_conversation", {"title": "t", "participants": [agent]}),
        ("agents", "create_agent", {**minimal, "delegatesTo": [agent]}),
        ("agents", "add_knowledge", {"ownerType": "agent", "ownerId": agent, "content": "x"}),
        ("agents", "create_agent", {**minimal, "as": agent}),
        ("agents", "list_messages", {"conversationId": place, "as": agent}),
        ("knowledge", "add_knowledge", {**teach, "supersedes": known}),
        ("conversationMessages", "react", {"messageId": row_ids["conversationMessages"]}),
        ("conversationMessages", "comment", {"messageId": row_ids["conversationMessages"], "content": "x"}),
        ("agents", "follow", {"followeeId": agent}),
        ("agents", "unfollow", {"followeeId": agent}),
        ("agents", "grant_tool", {"agentId": agent, "toolId": "tool_1"}),
        ("agents", "attach_prompt", {"promptId": prompt, "ownerType": "agent", "ownerId": agent}),
        ("conversations", "attach_prompt", {"promptId": prompt, "ownerType": "group", "ownerId": place}),
        ("agents", "create_event", {"title": "t", "startTime": 0, "endTime": 0, "participants": [agent]}),
        ("agents", "create_reminder", {"message": "m", "remindAt": 0, "forId": agent}),
        *[
            (table, "create_reminder", {"message": "m", "remindAt": 0, "relatedEntity": row_id})
            for table, row_id in row_ids.items()
        ],
        *[(table, "add_knowledge", {**teach, "sources": [row_id]}) for table, row_id in row_ids.items()],
    ]


async def test_no_argument_tells_hidden_from_missing(world: World) -> None:
    me = world.stranger_id
    (prompt, *_) = await world.stranger.find("prompts", limit=1)
    real = id_calls(world.hidden, me, prompt["_id"])
    made_up = id_calls({table: never_was(row_id) for table, row_id in world.hidden.items()}, me, prompt["_id"])
    for (table, tool, arguments), (_, _, invented) in zip(real, made_up, strict=True):
        row_id = world.hidden[table]
        hidden = await world.stranger.refused(tool, **arguments)
        missing = await world.stranger.refused(tool, **invented)
        assert hidden.code == missing.code == "not_found", tool
        assert hidden.text.replace(row_id, "ID") == missing.text.replace(never_was(row_id), "ID")


@pytest.mark.parametrize(
    ("table", "uri"),
    [
        ("conversations", "one://conversations/{}"),
        ("conversations", "one://conversations/{}/messages"),
        ("agents", "one://agents/{}"),
        ("agents", "one://agents/{}/brief"),
        ("knowledge", "one://knowledge/{}"),
        ("knowledge of a user", "one://knowledge/{}"),
    ],
)
async def test_hidden_resources_are_as_good_as_missing(world: World, table: str, uri: str, era: str) -> None:
    row_id = world.hidden[table]
    assert SECRET in await world.insider.read(uri.format(row_id))
    stranger = await world.swarm.connect(world.stranger_id, era=era)
    hidden, missing = (
        await stranger.unreadable(uri.format(row_id)),
        await stranger.unreadable(uri.format(never_was(row_id))),
    )
    assert hidden.error.code == missing.error.code
    assert hidden.message.replace(row_id, "ID") == missing.message.replace(never_was(row_id), "ID")
    assert str(hidden.error.data).replace(row_id, "ID") == str(missing.error.data).replace(never_was(row_id), "ID")


async def test_lists_of_resources_show_nothing_hidden(world: World, era: str) -> None:
    for member, sees in ((world.stranger_id, False), (world.insider_id, True)):
        tools = await world.swarm.connect(member, era=era)
        cursor, shown = None, ""
        while True:
            page = await tools.client.list_resources(cursor=cursor)
            shown += str(page.resources)
            cursor = page.next_cursor
            if cursor is None:
                break
        shown += await tools.read("one://conversations")
        assert (SECRET in shown) == sees
        assert (world.hidden["conversations"] in shown) == sees
        assert (world.hidden["agents"] in shown) == sees


@pytest.mark.parametrize("word", ["Zanzibar plan", "Zanzibar agent", "zanzibar pla", "Zanzibar"])
async def test_suggestions_name_nothing_hidden(world: World, word: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_messages", {"conversationId": word}),
        ("get", {"id": word}),
        ("create_conversation", {"title": "t", "participants": [word]}),
        ("list_messages", {"conversationId": word, "as": word}),
    ]
    for tool, arguments in calls:
        error = await world.stranger.refused(tool, **arguments)
        assert not [row_id for row_id in world.hidden.values() if f"'{row_id}'" in error.text]
        assert "Did you mean" not in error.text or SECRET not in error.text.replace(f"'{word}'", "")
    told = await world.insider.refused("list_messages", conversationId=word)
    if word != "Zanzibar":
        assert f"Did you mean '{world.hidden['conversations']}' ({SECRET} plan)?" in told.text


async def test_knowledge_by_tag_shows_nothing_hidden(world: World) -> None:
    assert (await world.stranger("search_knowledge_by_tag", tag="open"))["knowledge"] == []
    assert len((await world.insider("search_knowledge_by_tag", tag="open"))["knowledge"]) == 2


async def test_what_is_public_is_seen_without_what_is_private(world: World) -> None:
    public = await world.insider("create_agent", name="Public", description="d", kind="user_agent")
    private = world.hidden["agents"]
    await world.insider("update", id=public["_id"], fields={"delegatesTo": [private]})
    known = await world.insider("add_knowledge", ownerType="agent", ownerId=public["_id"], content="open secret")
    assert (await world.stranger("get", id=public["_id"]))["name"] == "Public"
    assert (await world.stranger("get", id=known["_id"]))["content"] == "open secret"
    brief = await world.stranger.read(f"one://agents/{public['_id']}/brief")
    assert "open secret" in brief
    assert SECRET not in brief
    assert SECRET in await world.insider.read(f"one://agents/{public['_id']}/brief")
    await world.insider("update", id=public["_id"], fields={"visibility": "private"})
    for row_id in (public["_id"], known["_id"]):
        assert (await world.stranger.refused("get", id=row_id)).code == "not_found"
    await world.insider("update", id=public["_id"], fields={"visibility": None})
    assert (await world.stranger("get", id=public["_id"]))["name"] == "Public"


async def test_who_is_removed_sees_no_more_and_who_is_added_sees_all(world: World) -> None:
    user, tools = await world.swarm.user("Guest")
    place, sent = world.hidden["conversations"], world.hidden["conversationMessages"]
    assert (await tools.refused("get", id=sent)).code == "not_found"
    part = await world.insider("add_participant", conversationId=place, kind="user", userId=user)
    for row_id in (sent, world.hidden["comments"], world.hidden["reactions"], world.hidden["attachments"]):
        assert (await tools("get", id=row_id))["_id"] == row_id
    assert SECRET in await tools.read(f"one://conversations/{place}")
    # Reading is all: what others wrote stays theirs.
    assert (await tools.refused("delete", id=sent)).code == "forbidden"
    assert (await tools.refused("update", id=place, fields={"title": "x"})).code == "forbidden"
    await world.insider("delete", id=part["_id"])
    for row_id in (sent, world.hidden["comments"], place, part["_id"]):
        assert (await tools.refused("get", id=row_id)).code == "not_found"


# Whom one may act as.


async def test_acting_as_an_agent_of_ones_own(world: World) -> None:
    agent = world.hidden["agents"]
    seen = await world.insider("get", id=world.hidden["knowledge"], **{"as": agent})
    assert seen["ownerId"] == agent
    # An agent sees what is its own, not what is its creator's.
    assert (
        await world.insider.refused("get", id=world.hidden["knowledge of a user"], **{"as": agent})
    ).code == "not_found"
    public = (await world.insider("create_agent", name="P", description="d", kind="user_agent"))["_id"]
    error = await world.stranger.refused("find", table="agents", **{"as": public})
    assert error == Refusal("forbidden", f"'{public}' is not an agent of yours, so you cannot act as it.")
    await world.swarm.owner("find", table="agents", **{"as": public})


@pytest.mark.parametrize(
    ("named", "code", "text"),
    [
        ("user_2", "invalid", "'as' takes an agent of yours; 'user_2' is a user."),
        ("agent_99999", "not_found", "No agent 'agent_99999'."),
        ("conv_1", "not_found", "No agent 'conv_1'."),
        ("", "invalid", "'as' must not be empty."),
        (5, "invalid", "'as' must be a text, not 5."),
    ],
)
async def test_as_names_an_agent(world: World, named: Any, code: str, text: str) -> None:
    assert world.insider_id == "user_2"
    error = await world.swarm.owner.refused("find", table="agents", **{"as": named})
    assert error.code == code
    assert error.text.startswith(text)


async def test_a_connection_as_an_agent(world: World) -> None:
    agent = world.hidden["agents"]
    tools = await world.swarm.connect(agent)
    place = world.hidden["conversations"]
    sent = await tools("send_message", conversationId=place, content="as myself")
    page = await tools("list_messages", conversationId=place)
    assert page["authors"][sent["authorParticipantId"]]["_id"] == agent
    # Itself is no other, and its creator's other agents are not its own.
    await tools("send_message", conversationId=place, content="x", **{"as": agent})
    other = (await world.insider("create_agent", name="Other", description="d", kind="user_agent"))["_id"]
    assert (await tools.refused("find", table="agents", **{"as": other})).code == "forbidden"
    assert (await tools.refused("create_user", name="x", email="x@example.org")).code == "forbidden"


async def test_what_agents_hide_their_creators_see(world: World) -> None:
    agent = await world.swarm.connect(world.hidden["agents"])
    made = await agent("create_agent", name="Child", description="d", kind="user_agent", visibility="private")
    assert made["createdBy"] == world.insider_id
    assert (await world.insider("get", id=made["_id"]))["name"] == "Child"
    assert (await world.stranger.refused("get", id=made["_id"])).code == "not_found"


# Whose rows are whose.


@pytest.mark.parametrize("table", ["events", "follows", "reactions", "reminders", "agentTools", "attachments"])
async def test_rows_are_changed_by_their_owner_and_the_owners_creator(world: World, table: str) -> None:
    """Each is of an agent; its creator may delete it, who merely sees it may not."""
    swarm, insider = world.swarm, world.insider
    tool = await swarm.insert(Tool, name="t", description="d")
    prompt = await swarm.insert(Prompt, title="p", template="t", step="Hook")
    arguments = {"description": "d", "kind": "user_agent", "tools": [tool.id], "attachedPrompts": [prompt.id]}
    agent = (await insider("create_agent", name="Owner of rows", **arguments))["_id"]
    members = [agent, world.insider_id, world.stranger_id]
    place = (await insider("create_conversation", title="C", participants=members))["_id"]
    sent = (await insider("send_message", conversationId=place, content="x"))["_id"]

    async def make() -> str:
        match table:
            case "events":
                times = {"start_time": 1, "end_time": 2}
                row: Row = await swarm.insert(Event, title="E", created_by=agent, participants=members, **times)
            case "follows":
                row = await swarm.insert(Follow, follower_id=agent, followee_id=world.stranger_id, kind="user")
            case "reactions":
                row = await swarm.insert(Reaction, message_id=sent, agent_id=agent, type="like")
            case "reminders":
                row = await swarm.insert(Reminder, agent_id=agent, message="m", remind_at=1)
            case _:
                owned = {"agentTools": "agentId", "attachments": "ownerId"}[table]
                (found,) = await insider.find(table, where={owned: agent})
                return str(found["_id"])
        return row.id

    row_id = await make()
    expected = "not_found" if table == "reminders" else "forbidden"
    assert (await world.stranger.refused("delete", id=row_id)).code == expected
    as_agent = {"as": agent}
    assert (await insider("delete", id=row_id, **as_agent))["outcome"] == "deleted"
    if table in ("events", "reactions"):  # whose creator sees them, too
        assert (await insider("delete", id=await make()))["outcome"] == "deleted"


# What a connection is offered.


async def test_read_only_connections_only_read(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era, read_only=True)
    offered = {tool.name for tool in (await tools.client.list_tools()).tools}
    assert offered >= {"get", "find", "list_messages", "search_knowledge_by_tag"}
    assert not offered & {"update", "delete", "send_message", "create_agent"}
    error = await tools.refused("create_agent", name="x", description="d", kind="user_agent")
    assert error == Refusal("forbidden", "This connection is read-only; create_agent changes something.")
    await tools("find", table="agents")


async def test_a_connection_has_the_toolsets_it_asked_for(swarm: Swarm, era: str) -> None:
    from mcp.shared.exceptions import MCPError

    tools = await swarm.connect(era=era, toolsets=frozenset({"core"}))
    offered = {tool.name for tool in (await tools.client.list_tools()).tools}
    assert "send_message" in offered
    assert not offered & {"update", "delete"}
    with pytest.raises(MCPError) as caught:
        await tools.raw("delete", id="x")
    assert caught.value.message.startswith("Unknown tool 'delete'")
    assert said(await tools.raw("find", table="agents"))


async def test_every_agents_creator_is_the_only_one_to_see_it_when_private(swarm: Swarm) -> None:
    lonely = await swarm.insert(Agent, name="L", description="d", kind="system_agent", visibility="private")
    _, tools = await swarm.user("Somebody")
    assert (await tools.refused("get", id=lonely.id)).code == "not_found"
    itself = await swarm.connect(lonely.id)
    assert (await itself("get", id=lonely.id))["name"] == "L"
    assert (await swarm.owner("get", id=lonely.id))["name"] == "L"


def test_who_sees_what_is_said_of_every_table() -> None:
    from tools_impl.access import visible
    from tools_impl.caller import Caller

    for table in TABLES:
        assert visible(Caller("user", "user_1", "user_1"), table).sql("t")
