"""What people attach and read in a client."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CacheableResult, Resource

from server.resources import FIXED, PAGE, TEMPLATES
from storage.row import columns
from storage.tables import TABLES, Agent, Conversation, Knowledge, Message, Participant, User
from storage.transaction import Transaction
from tests.clients import Swarm, Tools


async def listed(tools: Tools) -> list[Resource]:
    """All pages of `resources/list`."""
    resources: list[Resource] = []
    cursor: str | None = None
    while True:
        page = await tools.client.list_resources(cursor=cursor)
        resources += page.resources
        cursor = page.next_cursor
        if cursor is None:
            return resources


async def test_the_list_begins_with_what_is_always_there(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    assert [(resource.uri, resource.title) for resource in await listed(tools)] == [
        ("one://schema", "The ONE schema"),
        ("one://conversations", "Conversations"),
        ("one://calendar.ics", "Calendar"),
    ]
    assert await tools.read("one://conversations") == "# Conversations\n\nNone yet.\n"


async def test_conversations_and_agents_are_listed_by_title_the_most_recent_first(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    agent = await tools("create_agent", name="Director", description="Leads " * 60, kind="user_agent")
    places = [(await tools("create_conversation", title=f"C{number}"))["_id"] for number in range(3)]
    sent = await tools("send_message", conversationId=places[1], content="x")
    resources = (await listed(tools))[len(FIXED) :]
    assert [(resource.uri, resource.title) for resource in resources] == [
        (f"one://conversations/{places[1]}", "C1"),
        (f"one://conversations/{places[2]}", "C2"),
        (f"one://conversations/{places[0]}", "C0"),
        (f"one://agents/{agent['_id']}/brief", "Director"),
    ]
    assert resources[0].description is not None
    assert resources[0].description.startswith("Last message 20")
    assert resources[1].description == "No messages yet"
    assert resources[3].description == ("Leads " * 60)[:200]
    assert {resource.mime_type for resource in resources} == {"text/markdown"}
    text = await tools.read("one://conversations")
    assert text.startswith(f"# Conversations\n\n- [C1](one://conversations/{places[1]}) · 20")
    assert sent["createdAt"]


async def test_the_list_pages_without_gaps(swarm: Swarm, owner: Tools) -> None:
    async def fill(tx: Transaction) -> User:
        for number in range(PAGE * 2 + 7):
            tx.insert(Conversation, title=f"C{number}", created_by="user_1")
            tx.insert(Agent, name=f"A{number}", description="d", kind="user_agent")
        return tx.insert(User, name="u", email="u@example.org")

    await swarm.service.engine.writer.run(fill)
    resources = await listed(owner)
    assert len(resources) == len(FIXED) + 2 * (PAGE * 2 + 7)
    assert len({resource.uri for resource in resources}) == len(resources)
    first = await owner.client.list_resources()
    assert len(first.resources) == len(FIXED) + PAGE


@pytest.mark.parametrize("cursor", ["x", "agents:x", "conversations:x", "agents", ":", "agents:%%%", "x:", ""])
async def test_forged_cursors_are_refused(shared: Swarm, cursor: str) -> None:
    with pytest.raises(MCPError) as caught:
        await shared.owner.client.list_resources(cursor=cursor)
    assert caught.value.error.code == INVALID_PARAMS
    assert caught.value.message == "That cursor is not one of ours; pass nextCursor as it came."


async def test_templates(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    templates = (await tools.client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [uri for uri, *_ in TEMPLATES]
    assert {
        "one://conversations/{id}",
        "one://conversations/{id}/messages",
        "one://agents/{id}",
        "one://agents/{id}/brief",
        "one://users/{id}",
        "one://knowledge/{id}",
    } <= {template.uri_template for template in templates}


async def test_every_row_that_has_a_uri_is_read_as_get_returns_it(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    user, _ = await swarm.user("Ada")
    agent = (await tools("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    known = (await tools("add_knowledge", ownerType="agent", ownerId=agent, content="x"))["_id"]
    for uri, row_id in ((f"users/{user}", user), (f"agents/{agent}", agent), (f"knowledge/{known}", known)):
        (content,) = (await tools.client.read_resource(f"one://{uri}")).contents
        assert content.mime_type == "application/json"
        row = json.loads(await tools.read(f"one://{uri}"))
        assert row["_id"] == row_id
        assert {**row, "createdAt": 0} == {**await tools("get", id=row_id), "createdAt": 0}


async def test_messages_are_the_newest_page(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    place = (await tools("create_conversation", title="C"))["_id"]
    await tools("send_message", conversationId=place, content="x")
    page = json.loads(await tools.read(f"one://conversations/{place}/messages"))
    assert [message["content"] for message in page["messages"]] == ["x"]
    assert page["conversation"] == {"_id": place, "title": "C"}


async def test_emails_of_others_are_not_in_resources(swarm: Swarm) -> None:
    user, tools = await swarm.user("Ada")
    assert "email" not in json.loads(await tools.read(f"one://users/{swarm.service.owner.id}"))
    assert json.loads(await tools.read(f"one://users/{user}"))["email"] == "ada@example.org"


async def test_the_schema_names_every_table_and_field(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    text = await tools.read("one://schema")
    for table in TABLES:
        section = text.partition(f"## {table.table}\n")[2].partition("\n## ")[0]
        assert section, table.table
        for column in columns(table):
            if column.attribute not in ("seq", "rev"):
                assert f"- {column.name}{'?' if column.optional else ''} " in section


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("one://nothing", "No resource 'one://nothing'. Resources: one://schema, one://conversations,"),
        ("one://conversations/", "No resource 'one://conversations/'. Resources:"),
        ("one://conversations/a/b/c", "No resource 'one://conversations/a/b/c'. Resources:"),
        ("one://conversations/conv_99999", "No row 'conv_99999' in conversations."),
        ("one://conversations/agent_1", "'agent_1' is an id of agents; here an id of conversations is needed"),
        ("one://agents/agent_99999/brief", "No row 'agent_99999' in agents."),
        ("one://agents/agent_99999/secrets", "No resource 'one://agents/agent_99999/secrets'. Resources:"),
        ("one://users/a%2Fb", "No row 'a/b' in users."),
        ("file:///etc/passwd", "No resource 'file:///etc/passwd'. Resources:"),
    ],
)
async def test_what_is_not_there(shared: Swarm, era: str, uri: str, text: str) -> None:
    tools = await shared.connect(era=era)
    error = await tools.unreadable(uri)
    assert error.error.code == INVALID_PARAMS
    assert error.message.startswith(text)


@pytest.mark.parametrize("row_id", ["a b/c", "über#1?x=y", "100%", "[x](y)"])
async def test_ids_of_any_form_have_a_uri(swarm: Swarm, owner: Tools, row_id: str) -> None:
    me = swarm.service.owner.id
    place = await swarm.insert(Conversation, title="C", created_by=me, row_id=row_id)
    part = await swarm.insert(
        Participant, kind="user", conversation_id=row_id, user_id=me, status="active", is_removed=False, added_at=1
    )
    await swarm.insert(
        Message, conversation_id=row_id, author_participant_id=part.id, kind="participant", content="hello"
    )
    await swarm.insert(Agent, name="A", description="d", kind="user_agent", row_id=f"{row_id} agent")
    await swarm.insert(Knowledge, owner_type="user", owner_id=me, content="known", row_id=f"{row_id} known")
    resources = {resource.title: resource.uri for resource in await listed(owner)}
    assert "> hello" in await owner.read(resources["C"])
    assert "# A" in await owner.read(resources["A"])
    assert json.loads(await owner.read(f"one://knowledge/{quote(f'{row_id} known', safe='')}"))["content"] == "known"
    assert f"(one://conversations/{quote(place.id, safe='')})" in await owner.read("one://conversations")


def test_fixed_and_templates_have_words() -> None:
    for _, title, words, mime, *_ in (*FIXED, *TEMPLATES):
        assert title
        assert words
        assert "/" in mime


async def test_what_is_the_same_for_all_may_be_kept_and_the_rest_is_private(swarm: Swarm) -> None:
    def hints(session: Tools) -> dict[str, Callable[[], Awaitable[CacheableResult]]]:
        client = session.client
        return {
            "tools": client.list_tools,
            "templates": client.list_resource_templates,
            "resources": client.list_resources,
            "prompts": client.list_prompts,
            "schema": lambda: client.read_resource("one://schema"),
            "row": lambda: client.read_resource(f"one://users/{swarm.service.owner.id}"),
            "calendar": lambda: client.read_resource("one://calendar.ics"),
        }

    everything = hints(await swarm.connect(era="auto"))
    for method in ("tools", "templates", "schema"):
        result = await everything[method]()
        assert (result.ttl_ms, result.cache_scope) == (3_600_000, "public"), method
    for method in ("resources", "prompts", "row", "calendar"):
        result = await everything[method]()
        assert (result.ttl_ms, result.cache_scope) == (0, "private"), method
    narrow: tuple[dict[str, Any], ...] = ({"read_only": True}, {"toolsets": frozenset({"core"})})
    for less in narrow:
        result = await hints(await swarm.connect(era="auto", **less))["tools"]()
        assert (result.ttl_ms, result.cache_scope) == (3_600_000, "private"), less
