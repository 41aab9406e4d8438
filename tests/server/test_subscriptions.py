"""Hearing of what changes: every resource, both protocol eras, and nothing that is somebody else's."""

from __future__ import annotations

from functools import partial

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests.clients import Swarm
from tests.listening import subscribe, unsubscribe
from tests.places import Place, ear


@pytest.fixture
async def place(swarm: Swarm) -> Place:
    return await Place(swarm).fill()


# What is heard.


async def test_whoever_follows_a_conversation_hears_of_each_thing_in_it(swarm: Swarm, place: Place, era: str) -> None:
    async with ear(swarm, era, place.uri, member=place.bo) as bo:
        for change in (
            partial(place.say, "hello"),
            partial(place.ada_tools, "react", messageId=place.message),
            partial(place.ada_tools, "comment", messageId=place.message, content="yes"),
            partial(place.ada_tools, "update", id=place.message, fields={"content": "First"}),
            partial(place.ada_tools, "delete", id=place.message),
            partial(
                place.ada_tools, "add_participant", conversationId=place.id, kind="user", userId=swarm.service.owner.id
            ),
        ):
            await change()
            assert await bo.next() == place.uri, change
        await place.ada_tools("update", id=place.id, fields={"title": "Plan B"})
        assert {await bo.next(), await bo.next()} == {place.uri, "resources"}


@pytest.mark.parametrize("part", ["", "/brief"])
async def test_whoever_follows_an_agent_hears_of_it(swarm: Swarm, place: Place, era: str, part: str) -> None:
    uri = f"one://agents/{place.agent}{part}"
    ada = place.ada_tools
    tool = (await ada("create_tool", name="search", description="searches"))["_id"]
    prompt = (await ada("create_prompt", title="T", template="t", step="Hook"))["_id"]
    async with ear(swarm, era, uri, member=place.bo) as bo:
        for change in (
            partial(ada, "update", id=place.agent, fields={"goal": "win"}),
            partial(ada, "add_knowledge", ownerType="agent", ownerId=place.agent, content="x"),
            partial(ada, "grant_tool", agentId=place.agent, toolId=tool),
            partial(ada, "attach_prompt", ownerType="agent", ownerId=place.agent, promptId=prompt),
        ):
            await change()
            assert await bo.next() == uri, change


async def test_whoever_follows_a_row_hears_of_it(swarm: Swarm, place: Place, era: str) -> None:
    known = (await place.ada_tools("add_knowledge", ownerType="agent", ownerId=place.agent, content="x"))["_id"]
    user, knowledge = f"one://users/{place.ada}", f"one://knowledge/{known}"
    messages = f"{place.uri}/messages"
    async with ear(swarm, era, user, knowledge, messages, "one://schema", member=place.bo) as bo:
        await place.ada_tools("update", id=place.ada, fields={"image": "https://example.org/ada.png"})
        assert await bo.next() == user
        await place.ada_tools("update", id=known, fields={"content": "y"})
        assert await bo.next() == knowledge
        await place.say("hello")
        assert await bo.next() == messages


async def test_the_calendar_and_the_list_of_conversations_are_the_callers_own(
    swarm: Swarm, place: Place, era: str
) -> None:
    calendar, conversations = "one://calendar.ics", "one://conversations"
    _, eve_tools = eve = await swarm.user("Eve")
    meeting = {"title": "M", "startTime": "2026-12-01T10:00:00Z", "endTime": "2026-12-01T11:00:00Z"}
    async with (
        ear(swarm, era, calendar, conversations, member=place.bo) as bo,
        ear(swarm, era, calendar, conversations, member=eve[0]) as other,
    ):
        event = await place.ada_tools("create_event", **meeting, participants=[place.bo])
        assert await bo.next() == calendar
        await place.ada_tools("delete", id=event["_id"])
        assert await bo.next() == calendar
        await place.say("hello")
        assert await bo.next() == conversations
        await eve_tools("create_event", **meeting)
        assert await other.next() == calendar
        await eve_tools("create_conversation", title="E")
        assert {await other.next(), await other.next()} == {conversations, "resources"}


async def test_a_tag_that_goes_is_heard_of_by_all_who_may_have_had_it(swarm: Swarm, place: Place, era: str) -> None:
    tag = await swarm.owner("create_tag", name="old")
    async with ear(swarm, era, place.uri, "one://calendar.ics", member=place.bo) as bo:
        await swarm.owner("delete", id=tag["_id"])
        assert {await bo.next(), await bo.next()} == {place.uri, "one://calendar.ics"}


async def test_lists_change_for_those_who_see_what_changed(swarm: Swarm, place: Place, era: str) -> None:
    eve, eve_tools = await swarm.user("Eve")
    async with ear(swarm, era, member=place.bo) as bo, ear(swarm, era, member=eve) as other:
        private = await place.ada_tools("create_conversation", title="P", participants=[place.bo])
        assert await bo.next() == "resources"
        await place.ada_tools("update", id=private["_id"], fields={"title": "Q"})
        assert await bo.next() == "resources"
        hidden = await place.ada_tools(
            "create_agent", name="H", description="d", kind="user_agent", visibility="private"
        )
        await place.ada_tools("update", id=hidden["_id"], fields={"name": "I"})
        await place.ada_tools("delete", id=private["_id"])
        assert await bo.next() == "resources"
        # Of all that Eve has heard nothing: the first that she hears is her own.
        await place.ada_tools("create_prompt", title="T", template="t", step="Hook")
        assert await other.next() == "prompts"
        assert await bo.next() == "prompts"
        mine = await eve_tools("create_conversation", title="E")
        assert await other.next() == "resources"
        await eve_tools("add_participant", conversationId=mine["_id"], kind="user", userId=place.bo)
        assert await bo.next() == "resources"


async def test_prompts_change_when_what_is_served_changes(swarm: Swarm, place: Place, era: str) -> None:
    async with ear(swarm, era, member=place.bo) as bo:
        ada = place.ada_tools
        draft = await ada("create_prompt", title="D", template="t", step="Hook", status="draft")
        await ada("update", id=draft["_id"], fields={"template": "u"})
        await ada("create_agent", name="N", description="d", kind="user_agent")
        assert await bo.next() == "resources"
        for fields in ({"status": "active"}, {"template": "v"}, {"status": "retired"}):
            await ada("update", id=draft["_id"], fields=fields)
            assert await bo.next() == "prompts"


# What is not heard.


async def test_hidden_and_missing_are_one_to_who_subscribes(swarm: Swarm, place: Place) -> None:
    _, eve = await swarm.user("Eve")
    texts = []
    for uri in (place.uri, "one://conversations/conv_999999", f"{place.uri}/messages"):
        with pytest.raises(MCPError) as caught:
            await subscribe(eve.client, uri)
        assert caught.value.error.code == INVALID_PARAMS
        assert caught.value.message == (await eve.unreadable(uri)).message
        texts.append(caught.value.message.replace(place.id, "X").replace("conv_999999", "X"))
    assert len(set(texts)) == 1
    assert "Plan" not in texts[0]
    with pytest.raises(MCPError, match="No resource 'one://nothing'"):
        await subscribe(eve.client, "one://nothing")
    assert swarm.service.subscriptions.statistics()["followed"] == 0


async def test_hidden_and_missing_are_one_to_who_listens(swarm: Swarm, place: Place) -> None:
    eve, _ = await swarm.user("Eve")
    client = (await swarm.connect(eve, era="auto")).client
    uris = [place.uri, "one://conversations/conv_999999", "one://nothing", "one://calendar.ics"]
    async with client.listen(resource_subscriptions=uris, tools_list_changed=True) as stream:
        assert stream.honored.resource_subscriptions == ["one://calendar.ics"]
        assert stream.honored.tools_list_changed is True
        assert stream.honored.resources_list_changed is None


async def test_who_was_removed_hears_no_more_and_again_when_back(swarm: Swarm, place: Place, era: str) -> None:
    mine = (await place.bo_tools("create_conversation", title="Bo's"))["_id"]
    marker = f"one://conversations/{mine}"
    async with ear(swarm, era, place.uri, marker, member=place.bo) as bo:
        await place.ada_tools("delete", id=await place.part(place.bo))
        assert await bo.next() == "resources"
        await place.say("among us")
        await place.ada_tools("update", id=place.id, fields={"title": "Secret"})
        await place.ada_tools("react", messageId=place.message)
        await place.bo_tools("send_message", conversationId=mine, content="x")
        assert await bo.until(marker) == []
        await place.ada_tools("add_participant", conversationId=place.id, kind="user", userId=place.bo)
        assert {await bo.next(), await bo.next()} == {place.uri, "resources"}
        await place.say("with Bo again")
        assert await bo.next() == place.uri
        await place.ada_tools("delete", id=place.id)
        assert {await bo.next(), await bo.next()} == {place.uri, "resources"}


async def test_what_an_agent_hides_is_not_heard(swarm: Swarm, place: Place, era: str) -> None:
    uri, marker = f"one://agents/{place.agent}", f"one://users/{place.bo}"
    async with ear(swarm, era, uri, marker, member=place.bo) as bo:
        await place.ada_tools("update", id=place.agent, fields={"visibility": "private"})
        assert await bo.next() == "resources"
        await place.ada_tools("update", id=place.agent, fields={"goal": "hide"})
        await place.bo_tools("update", id=place.bo, fields={"name": "Bob"})
        assert await bo.until(marker) == []


async def test_private_fields_of_a_user_and_what_somebody_read_are_not_heard(
    swarm: Swarm, place: Place, era: str
) -> None:
    user, marker = f"one://users/{place.ada}", f"one://users/{place.bo}"
    async with (
        ear(swarm, era, user, place.uri, marker, member=place.bo) as bo,
        ear(swarm, era, user, member=place.ada) as ada,
    ):
        await place.ada_tools("update", id=place.ada, fields={"phone": "+49 30 1234"})
        assert await ada.next() == user
        await place.ada_tools("update", id=await place.part(place.ada), fields={"lastReadSeq": 3})
        await place.bo_tools("update", id=place.bo, fields={"name": "Bob"})
        assert await bo.until(marker) == []


async def test_who_is_deactivated_hears_no_more(swarm: Swarm, place: Place, era: str) -> None:
    async with (
        ear(swarm, era, place.uri, member=place.bo) as bo,
        ear(swarm, era, place.uri, member=place.ada) as ada,
    ):
        await swarm.owner("delete", id=place.bo)
        await place.say("hello")
        assert await ada.until(place.uri) == []
        assert place.uri not in [bo.heard.get_nowait() for _ in range(bo.heard.qsize())]


async def test_unsubscribing_ends_it(swarm: Swarm, place: Place) -> None:
    marker = f"{place.uri}/messages"
    async with ear(swarm, "legacy", place.uri, marker, member=place.bo) as bo:
        await unsubscribe(bo.client, place.uri)
        await unsubscribe(bo.client, place.uri)
        await place.say("hello")
        assert await bo.until(marker) == []
        assert swarm.service.subscriptions.statistics()["followed"] == 1
