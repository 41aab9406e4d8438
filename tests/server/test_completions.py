"""What is offered to somebody who types."""

from __future__ import annotations

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Completion, PromptReference, ResourceTemplateReference

from storage.tables import Conversation, User
from storage.transaction import Transaction
from tests.clients import Swarm, Tools


async def by_template(tools: Tools, uri: str, typed: str, argument: str = "id") -> Completion:
    reference = ResourceTemplateReference(uri=uri)
    return (await tools.client.complete(reference, {"name": argument, "value": typed})).completion


async def by_prompt(tools: Tools, name: str, argument: str, typed: str) -> Completion:
    reference = PromptReference(name=name)
    return (await tools.client.complete(reference, {"name": argument, "value": typed})).completion


async def test_ids_are_found_by_their_beginning_and_by_words(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    assert tools.client.server_capabilities.completions is not None
    me = swarm.service.owner.id
    user = (await tools("create_user", name="Ada Lovelace", email="ada@example.org"))["_id"]
    agent = (await tools("create_agent", name="Launch Lead", description="d", kind="user_agent"))["_id"]
    known = (await tools("add_knowledge", ownerType="user", ownerId=me, content="Tuesday it is"))["_id"]
    first = (await tools("create_conversation", title="Launch plan"))["_id"]
    second = (await tools("create_conversation", title="Plan B: launch"))["_id"]
    for uri, typed, found in (
        ("one://conversations/{id}", "LAUNCH pl", [second, first]),
        ("one://conversations/{id}/messages", "plan b", [second]),
        ("one://conversations/{id}", first.upper(), [first]),
        ("one://conversations/{id}", "", [second, first]),
        ("one://conversations/{id}", "nothing like it", []),
        ("one://conversations/{id}", "100% _", []),
        ("one://agents/{id}", "lead", [agent]),
        ("one://agents/{id}/brief", "agent_", [agent]),
        ("one://users/{id}", "love", [user]),
        ("one://knowledge/{id}", "tues", [known]),
    ):
        completion = await by_template(tools, uri, typed)
        assert (completion.values, completion.total, completion.has_more) == (found, len(found), False), typed
    await tools("send_message", conversationId=first, content="x")
    assert (await by_template(tools, "one://conversations/{id}", "plan")).values == [first, second]


async def test_arguments_of_prompts(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    agent = (await tools("create_agent", name="Lead", description="d", kind="user_agent"))["_id"]
    place = (await tools("create_conversation", title="Plan", tags=["risk", "rice"]))["_id"]
    row = await tools("create_prompt", title="T", template="{{x}}", step="Hook")
    for name, argument, typed, found in (
        ("act_as_agent", "agent", "le", [agent]),
        ("catch_up", "conversation", "pl", [place]),
        ("catch_up", "agent", "", [agent]),
        ("infer_insights", "tag", "ri", ["rice", "risk"]),
        ("infer_insights", "topic", "ris", ["risk"]),
        ("hand_over", "task", "ri", []),
        (f"t-{row['_id']}", "x", "ri", []),
    ):
        assert (await by_prompt(tools, name, argument, typed)).values == found, (name, argument)


async def test_a_hundred_at_most_and_how_many_there_are(swarm: Swarm, owner: Tools) -> None:
    async def fill(tx: Transaction) -> User:
        for number in range(130):
            tx.insert(Conversation, title=f"C{number}", created_by="user_1")
        return tx.insert(User, name="u", email="u@example.org")

    await swarm.service.engine.writer.run(fill)
    completion = await by_template(owner, "one://conversations/{id}", "c")
    assert (len(completion.values), completion.total, completion.has_more) == (100, 130, True)


async def test_only_what_is_seen_is_offered_and_counted(swarm: Swarm, era: str) -> None:
    ada_id, ada = await swarm.user("Ada")
    eve_id, _ = await swarm.user("Eve")
    eve = await swarm.connect(eve_id, era=era)
    hidden = (await ada("create_agent", name="Mole", description="d", kind="user_agent", visibility="private"))["_id"]
    place = (await ada("create_conversation", title="Secret"))["_id"]
    known = (await ada("add_knowledge", ownerType="user", ownerId=ada_id, content="swordfish"))["_id"]
    for uri, name, row_id in (
        ("one://agents/{id}/brief", "mole", hidden),
        ("one://conversations/{id}", "secret", place),
        ("one://knowledge/{id}", "swordfish", known),
    ):
        for typed in (name, row_id, ""):
            assert row_id in (await by_template(ada, uri, typed)).values
            completion = await by_template(eve, uri, typed)
            assert (completion.values, completion.total) == ([], 0)
    assert (await by_prompt(eve, "act_as_agent", "agent", "mole")).total == 0
    assert (await by_prompt(eve, "catch_up", "conversation", "sec")).total == 0


async def test_what_is_not_there(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    for ask, text in (
        (by_template(tools, "one://nothing/{id}", "x"), "No resource template 'one://nothing/{id}'. Templates:"),
        (by_prompt(tools, "zzz", "x", "y"), "No prompt 'zzz'."),
        (by_prompt(tools, "catch_up", "who", "y"), "'catch_up' takes conversation, agent."),
    ):
        with pytest.raises(MCPError) as caught:
            await ask
        assert caught.value.error.code == INVALID_PARAMS
        assert caught.value.message.startswith(text)
    assert (await by_template(tools, "one://conversations/{id}", "x", argument="other")).values == []
    assert (await by_template(tools, "one://conversations", "x")).values == []
