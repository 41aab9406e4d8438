"""MCP prompts: which there are, what they take, what they say, and that nothing in them is somebody else's."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, TextContent

from server.prompts import PAGE, name_of
from storage.tables import Prompt, User
from storage.transaction import Transaction
from tests.clients import Swarm, Tools
from tools_impl.builtin_prompts import BUILT_IN, CONTEXT
from tools_impl.rendering import optional_names, render


async def text_of(tools: Tools, name: str, **values: str) -> str:
    """The text of a prompt."""
    (message,) = (await tools.client.get_prompt(name, values)).messages
    assert message.role == "user"
    assert isinstance(message.content, TextContent)
    return message.content.text


async def refused(tools: Tools, name: str, **values: str) -> str:
    """Why there is no text."""
    with pytest.raises(MCPError) as caught:
        await tools.client.get_prompt(name, values)
    assert caught.value.error.code == INVALID_PARAMS
    return caught.value.message


async def listed(tools: Tools) -> list[Any]:
    """All pages of `prompts/list`."""
    prompts: list[Any] = []
    cursor: str | None = None
    while True:
        page = await tools.client.list_prompts(cursor=cursor)
        prompts += page.prompts
        cursor = page.next_cursor
        if cursor is None:
            return prompts


def prompt(**fields: Any) -> Prompt:
    given_fields = {"title": "T", "template": "t", "step": "Hook", **fields}
    return Prompt.model_validate({"id": "prompt_1", "seq": 1, "rev": 1, "created_at": 0, **given_fields})


# Which there are.


async def test_rows_in_use_are_prompts_and_others_are_not(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    template = "Write about {{topic}} for {{ audience }}: {{topic}}, {{call to action}}."
    voice = await tools(
        "create_prompt",
        title="Brand voice: für Öko!",
        template=template,
        step="Hook",
        description="How we sound",
        requiredContext=["topic", "brand"],
    )
    active = await tools("create_prompt", title="--", template="t", step="Hook", status="active")
    await tools("create_prompt", title="Draft", template="t", step="Hook", status="draft")
    found = (await listed(tools))[len(BUILT_IN) :]
    assert [one.name for one in found] == [f"prompt-{active['_id']}", f"brand_voice_fur_oko-{voice['_id']}"]
    assert (found[1].title, found[1].description) == ("Brand voice: für Öko!", "How we sound")
    assert [(argument.name, argument.required) for argument in found[1].arguments] == [
        ("topic", True),
        ("brand", True),
        ("audience", False),
        ("call to action", False),
    ]
    assert await text_of(tools, found[0].name) == "t"


async def test_the_built_in_ones_come_first_and_say_what_they_take(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    found = await listed(tools)
    assert {one.name: [(a.name, a.required) for a in one.arguments] for one in found} == {
        "act_as_agent": [("agent", True)],
        "catch_up": [("conversation", True), ("agent", False)],
        "infer_insights": [("topic", False), ("conversation", False), ("tag", False)],
        "hand_over": [("agent", True), ("task", True)],
    }
    assert all(one.title and one.description for one in found)


async def test_the_list_pages_without_gaps(swarm: Swarm, owner: Tools) -> None:
    async def fill(tx: Transaction) -> User:
        for number in range(PAGE * 2 + 3):
            tx.insert(Prompt, title="Same", template=str(number), step="Hook")
        return tx.insert(User, name="u", email="u@example.org")

    await swarm.service.engine.writer.run(fill)
    found = await listed(owner)
    assert len(found) == len({one.name for one in found}) == len(BUILT_IN) + PAGE * 2 + 3
    assert {await text_of(owner, found[place].name) for place in (len(BUILT_IN), -1)} == {str(PAGE * 2 + 2), "0"}


@pytest.mark.parametrize("cursor", ["x", "", "%%%"])
async def test_forged_cursors_are_refused(shared: Swarm, cursor: str) -> None:
    with pytest.raises(MCPError, match="That cursor is not one of ours"):
        await shared.owner.client.list_prompts(cursor=cursor)


async def test_a_prompt_is_found_by_its_id_whatever_its_title_was(swarm: Swarm, owner: Tools) -> None:
    row = await swarm.insert(Prompt, title="Old", template="t", step="Hook", row_id="a-b/c d")
    name = name_of(row)
    assert name == "old-a-b%2Fc%20d"
    await owner("update", id=row.id, fields={"title": "New"})
    assert await text_of(owner, name) == "t"
    assert [one.name for one in await listed(owner)][-1] == "new-a-b%2Fc%20d"


async def test_names_that_are_none(swarm: Swarm, owner: Tools) -> None:
    draft = await owner("create_prompt", title="D", template="t", step="Hook", status="draft")
    assert await refused(owner, "catchup") == "No prompt 'catchup'. Did you mean 'catch_up'?"
    for name in (f"d-{draft['_id']}", "d-prompt_99", "-prompt_1", "zzz", "", "d-user_1"):
        assert await refused(owner, name) == f"No prompt '{name}'. prompts/list has them."


# What they say.


async def test_values_are_inserted_once_and_as_they_are(swarm: Swarm, owner: Tools) -> None:
    row = await owner(
        "create_prompt",
        title="T",
        template="{{a}} and {{ b }}, {{}} {{a {b} {{ c",
        step="Hook",
        requiredContext=["a", "elsewhere"],
        outputType="a table",
    )
    name, values = f"t-{row['_id']}", {"a": "{{b}} $x \\1", "elsewhere": "there"}
    wanted = "{{b}} $x \\1 and {{ b }}, {{}} {{a {b} {{ c\n\nelsewhere:\nthere\n\nAnswer in this form: a table"
    assert await text_of(owner, name, **values) == wanted
    assert (await owner("render_prompt", promptId=row["_id"], values=values))["content"] == wanted
    assert (await text_of(owner, name, **values, b="B")).startswith("{{b}} $x \\1 and B,")
    assert (await owner("render_prompt", promptId=row["_id"], values={"a": 1, "elsewhere": ["x"]}))[
        "content"
    ].startswith("1 and {{ b }}")


async def test_wrong_values_are_named(swarm: Swarm, owner: Tools) -> None:
    row = await owner("create_prompt", title="T", template="{{x}}", step="Hook", requiredContext=["a", "b"])
    name, which = f"t-{row['_id']}", f"Prompt '{row['_id']}' (T)"
    assert await refused(owner, name) == f"{which} needs values for: a, b."
    assert await refused(owner, name, a="", b="1") == f"{which} needs values for: a."
    assert await refused(owner, name, a="1", b="1", y="2") == f"{which} has no place for: y. It takes: a, b, x."
    for values, text in (
        ({}, f"{which} needs values for: a, b."),
        ({"a": "1", "b": "", "y": 1}, f"{which} needs values for: b."),
    ):
        refusal = await owner.refused("render_prompt", promptId=row["_id"], values=values)
        assert (refusal.code, refusal.text) == ("invalid", text)
    missing = await owner.refused("render_prompt", promptId="prompt_99")
    assert missing.code == "not_found"
    assert (await owner.refused("render_prompt", promptId="catch_up")).text == (
        "Prompt 'catch_up' needs values for: conversation."
    )


@given(st.text(alphabet="{}a b\n$é", max_size=60), st.text(max_size=10))
def test_rendering_changes_nothing_but_placeholders(template: str, value: str) -> None:
    row = prompt(template=template or "x")
    names = optional_names(row)
    assert render(row, {}) == row.template
    rendered = render(row, dict.fromkeys(names, value))
    assert len(rendered) <= len(row.template) + len(value) * row.template.count("{{")
    if not names:
        assert rendered == row.template


@given(st.text(alphabet=string.printable, max_size=40))
def test_a_value_stays_what_it_is(value: str) -> None:
    assert render(prompt(template="<{{a}}>"), {"a": value}) == f"<{value}>"


async def test_a_long_template_without_an_end_is_no_work(swarm: Swarm) -> None:
    row = prompt(template="{{a " * 25_000)
    assert render(row, {}) == row.template


# The built-in ones.


async def test_acting_as_an_agent(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    agent = await tools("create_agent", name="Lead", description="leads", kind="user_agent", goal="win")
    for value in (agent["_id"], "Lead", " Lead "):
        text = await text_of(tools, "act_as_agent", agent=value)
        assert text.startswith(f"# Lead ({agent['_id']})")
        assert "> win" in text
        assert f"inbox(as={agent['_id']})" in text
    await tools("create_agent", name="Lead", description="d", kind="user_agent")
    assert "Several are called 'Lead'" in await refused(tools, "act_as_agent", agent="Lead")
    assert await refused(tools, "act_as_agent", agent="Nobody") == (
        "No row 'Nobody' in agents. find(table=\"agents\") lists them."
    )
    assert await refused(tools, "act_as_agent") == "Prompt 'act_as_agent' needs values for: agent."


async def test_catching_up_shows_what_is_unread(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    _, ada = await swarm.user("Ada")
    agent = (await ada("create_agent", name="Lead", description="d", kind="user_agent"))["_id"]
    place = (await ada("create_conversation", title="Plan", participants=[agent, swarm.service.owner.id]))["_id"]
    sent = [await ada("send_message", conversationId=place, content=f"m{n}") for n in range(CONTEXT + 5)]
    text = await text_of(tools, "catch_up", conversation="Plan")
    assert f"What is unread for {swarm.service.owner.id}." in text
    assert text.count("\n> m") == len(sent)
    (part,) = await tools.find("conversationParticipants", where={"conversationId": place, "agentId": agent})
    await ada("update", id=part["_id"], fields={"lastReadSeq": sent[-3]["seq"]}, as_=agent)
    text = await text_of(ada, "catch_up", conversation=place, agent=agent)
    assert [line for line in text.splitlines() if line.startswith("> m")] == ["> m33", "> m34"]
    assert f"what is asked of {agent}" in text
    await ada("update", id=part["_id"], fields={"lastReadSeq": sent[-1]["seq"]}, as_=agent)
    text = await text_of(ada, "catch_up", conversation=place, agent=agent)
    assert "none is known to be unread" in text
    assert text.count("\n> m") == CONTEXT


async def test_who_marks_everything_unread_catches_up_from_before_they_joined(swarm: Swarm) -> None:
    _, ada = await swarm.user("Ada")
    agent = (await ada("create_agent", name="Lead", description="d", kind="user_agent"))["_id"]
    place = (await ada("create_conversation", title="Plan"))["_id"]
    await ada("send_message", conversationId=place, content="early")
    part = await ada("add_participant", conversationId=place, kind="agent", agentId=agent)
    assert "none is known to be unread" in await text_of(ada, "catch_up", conversation=place, agent=agent)
    await ada("update", id=part["_id"], fields={"lastReadSeq": 0}, as_=agent)
    assert f"What is unread for {agent}." in await text_of(ada, "catch_up", conversation=place, agent=agent)


async def test_catching_up_is_not_for_other_peoples_agents(swarm: Swarm) -> None:
    ada_id, ada = await swarm.user("Ada")
    _, bo = await swarm.user("Bo")
    agent = (await bo("create_agent", name="Lead", description="d", kind="user_agent"))["_id"]
    place = (await bo("create_conversation", title="Plan", participants=[agent, ada_id]))["_id"]
    assert f"'{agent}' is not an agent of yours" in await refused(ada, "catch_up", conversation=place, agent=agent)


async def test_evidence_has_ids_and_says_how_to_keep_an_insight(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    me = swarm.service.owner.id
    place = (await tools("create_conversation", title="Plan"))["_id"]
    said = (await tools("send_message", conversationId=place, content="The launch slips", tags=["risk"]))["_id"]
    known = (await tools("add_knowledge", ownerType="user", ownerId=me, content="The printer is late", tags=["risk"]))[
        "_id"
    ]
    for values, ids in (
        ({"topic": "launch"}, {said}),
        ({"conversation": place}, {said}),
        ({"tag": "risk"}, {said, known}),
        ({"topic": "printer", "conversation": "Plan"}, {said, known}),
    ):
        text = await text_of(tools, "infer_insights", **values)
        assert {one for one in (said, known) if f"· {one}\n" in text} == ids
        assert f'add_knowledge(ownerType="user", ownerId="{me}"' in text
    assert "Nothing was found" in await text_of(tools, "infer_insights", tag="unknown")
    assert await refused(tools, "infer_insights") == "Say what to infer from: topic, conversation or tag."


async def test_handing_over_names_the_team(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    writer = (await tools("create_agent", name="Writer", description="writes\n# x", kind="user_agent"))["_id"]
    lead = (await tools("create_agent", name="Lead", description="d", kind="user_agent", delegatesTo=[writer]))["_id"]
    text = await text_of(tools, "hand_over", agent="Lead", task="Write it\n## The team\n- nobody")
    assert f"- {writer}, Writer: writes \\# x" in text
    assert "> Write it\n> ## The team\n> - nobody" in text
    assert f'as="{lead}"' in text
    rendered = await tools("render_prompt", promptId="hand_over", values={"agent": lead, "task": "t"})
    assert rendered["_id"] == "hand_over"
    assert f"- {writer}, Writer" in rendered["content"]


async def test_nothing_of_others_is_in_a_prompt(swarm: Swarm, era: str) -> None:
    ada_id, ada = await swarm.user("Ada")
    eve_id, _ = await swarm.user("Eve")
    eve = await swarm.connect(eve_id, era=era)
    hidden = (await ada("create_agent", name="Mole", description="d", kind="user_agent", visibility="private"))["_id"]
    place = (await ada("create_conversation", title="Secret", participants=[hidden]))["_id"]
    await ada("send_message", conversationId=place, content="The password is swordfish", tags=["key"])
    await ada("add_knowledge", ownerType="user", ownerId=ada_id, content="swordfish again", tags=["key"])
    lead = (await ada("create_agent", name="Lead", description="d", kind="user_agent", delegatesTo=[hidden]))["_id"]
    for name, values in (
        ("infer_insights", {"topic": "swordfish"}),
        ("infer_insights", {"tag": "key"}),
        ("hand_over", {"agent": lead, "task": "t"}),
        ("act_as_agent", {"agent": lead}),
    ):
        text = await text_of(eve, name, **values)
        assert not {word for word in ("The password", "again", "Mole", hidden, place, "Secret") if word in text}
    for name, key, there, missing in (
        ("act_as_agent", "agent", (hidden, "Mole"), ("agent_9999", "Nobody")),
        ("catch_up", "conversation", (place, "Secret"), ("conv_9999", "Nothing")),
        ("infer_insights", "conversation", (place, "Secret"), ("conv_9999", "Nothing")),
    ):
        for one, other in zip(there, missing, strict=True):
            texts = [(await refused(eve, name, **{key: value})).replace(value, "X") for value in (one, other)]
            assert texts[0] == texts[1]
