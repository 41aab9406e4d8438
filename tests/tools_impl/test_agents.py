from __future__ import annotations

from typing import Any

import pytest

from storage.tables import Prompt, Tool
from tests.clients import Refusal, Swarm, Tools
from tests.invariants import check


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


MINIMAL: dict[str, Any] = {"name": "Director", "description": "Leads", "kind": "system_agent"}


async def grants(tools: Tools, agent: str) -> list[str]:
    return [row["toolId"] for row in await tools.find("agentTools", where={"agentId": agent}, order="seq")]


async def attached(tools: Tools, agent: str) -> list[str]:
    return [row["promptId"] for row in await tools.find("attachments", where={"ownerId": agent}, order="seq")]


@pytest.fixture
async def made(swarm: Swarm) -> dict[str, list[str]]:
    """Tools and prompts, which no operation makes yet."""
    tools = [await swarm.insert(Tool, name=f"tool {n}", description="does") for n in range(3)]
    prompts = [await swarm.insert(Prompt, title=f"p {n}", template="{{x}}", step="Hook") for n in range(3)]
    return {"tools": [row.id for row in tools], "prompts": [row.id for row in prompts]}


async def test_the_seeds_example(swarm: Swarm, made: dict[str, list[str]], era: str) -> None:
    tools = await swarm.connect(era=era)
    sage = (await tools("create_agent", **MINIMAL | {"name": "Sage"}))["_id"]
    given = {
        "name": "Director",
        "description": "Lead orchestrator agent.",
        "personality": "Strategic, clear, motivating.",
        "kind": "system_agent",
        "avatarUrl": "/avatars/director.png",
        "goal": "Guide users through the Elevate Framework.",
        "systemPrompt": "You are the Director...",
        "instructions": "Delegate tasks, synthesize info.",
        "delegatesTo": [sage],
        "tools": made["tools"][:2],
        "tags": ["leadership", "strategy"],
        "model": "gpt-4",
        "knowledge": {"foundationId": "..."},
        "memories": [{"summary": "User prefers concise answers."}],
        "attachedPrompts": made["prompts"][:1],
    }
    row = await tools("create_agent", **given)
    assert next(iter(row)) == "_id"
    assert {key: row[key] for key in given} == given
    assert row["createdBy"] == swarm.service.owner.id
    assert "visibility" not in row
    assert await grants(tools, row["_id"]) == made["tools"][:2]
    assert await attached(tools, row["_id"]) == made["prompts"][:1]
    names = {tag["name"] for tag in await tools.find("tags")}
    assert {"leadership", "strategy"} <= names


async def test_lists_lose_their_repetitions_and_tags_exist_once(
    swarm: Swarm, owner: Tools, made: dict[str, list[str]]
) -> None:
    tool, prompt = made["tools"][0], made["prompts"][0]
    row = await owner(
        "create_agent", **MINIMAL, tools=[tool, tool], attachedPrompts=[prompt, prompt], tags=[" once ", "once", "two"]
    )
    assert (row["tools"], row["attachedPrompts"], row["tags"]) == ([tool], [prompt], ["once", "two"])
    await owner("create_agent", **MINIMAL, tags=["two", "once"])
    assert [tag["name"] for tag in await owner.find("tags", where={"name": {"in": ["once", "two"]}}, order="seq")] == [
        "once",
        "two",
    ]
    await check(swarm)


async def test_an_empty_list_is_not_an_absent_one(owner: Tools) -> None:
    row = await owner("create_agent", **MINIMAL, tools=[], tags=[])
    assert (row["tools"], row["tags"]) == ([], [])
    assert "attachedPrompts" not in row


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"kind": "robot"}, "invalid", "'kind' must be 'system_agent' or 'user_agent', not 'robot'."),
        ({"name": " "}, "invalid", "'name' must not be empty."),
        ({"name": "n" * 201}, "invalid", "'name' has 201 characters; at most 200 are possible."),
        ({"goal": "g" * 20_001}, "invalid", "'goal' has 20,001 characters; at most 20,000 are possible."),
        ({"tags": ["t"] * 101}, "invalid", "'tags' has 101 items; at most 100 are possible."),
        ({"tags": "lead"}, "invalid", "'tags' must be a list, not 'lead'."),
        ({"tags": [1]}, "invalid", "'tags.0' must be a text, not 1."),
        ({"system_prompt": "x"}, "invalid", "Unknown argument 'system_prompt': did you mean 'systemPrompt'?"),
        ({"tools": ["tool_999"]}, "not_found", "No row 'tool_999' in tools."),
        (
            {"tools": ["conv_1"]},
            "invalid",
            "'conv_1' is an id of conversations; here an id of tools is needed, like 'tool_12'.",
        ),
        ({"attachedPrompts": ["prompt_999"]}, "not_found", "No row 'prompt_999' in prompts."),
        ({"delegatesTo": ["agent_999"]}, "not_found", "No row 'agent_999' in agents."),
        ({"createdBy": "user_999"}, "not_found", "No row 'user_999' in users."),
        ({"visibility": "secret"}, "invalid", "'visibility' must be 'public' or 'private', not 'secret'."),
        ({"knowledge": {"deep": eval("[" * 101 + "]" * 101)}}, "invalid", "'knowledge': this is not JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_arguments(owner: Tools, arguments: dict[str, Any], code: str, text: str) -> None:
    before = await owner.find("agents", limit=200)
    error = await owner.refused("create_agent", **MINIMAL | arguments)
    assert error.code == code
    assert error.text.startswith(text)
    assert await owner.find("agents", limit=200) == before


async def test_missing_arguments_are_all_named(owner: Tools) -> None:
    error = await owner.refused("create_agent")
    assert error.text == "Missing argument 'name'. Missing argument 'description'. Missing argument 'kind'."


async def test_the_creator_is_set_by_the_server(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Maker")
    assert (await tools("create_agent", **MINIMAL, createdBy=user))["createdBy"] == user
    agent = (await tools("create_agent", **MINIMAL))["_id"]
    assert (await tools("create_agent", **MINIMAL, as_=agent))["createdBy"] == user
    error = await tools.refused("create_agent", **MINIMAL, createdBy=swarm.service.owner.id)
    assert error == Refusal("forbidden", "createdBy is set by the server; only an admin names somebody else.")
    assert (await owner("create_agent", **MINIMAL, createdBy=user))["createdBy"] == user


async def test_teams_form_no_cycles(owner: Tools) -> None:
    ids: list[str] = []
    for _ in range(4):
        team = {"delegatesTo": [ids[-1]]} if ids else {}
        ids.append((await owner("create_agent", **MINIMAL, **team))["_id"])
    for member in (ids[0], ids[3], ids[2]):
        error = await owner.refused("update", id=ids[0], fields={"delegatesTo": [member]})
        assert error == Refusal("conflict", f"delegatesTo would form a cycle through '{ids[0]}'.")
    # Two ways to the same member are no cycle.
    await owner("update", id=ids[3], fields={"delegatesTo": [ids[0], ids[1], ids[2]]})


async def test_twins_follow_every_change_of_an_agent(swarm: Swarm, owner: Tools, made: dict[str, list[str]]) -> None:
    (first, second, third), (ask, tell, _) = made["tools"], made["prompts"]
    agent = (await owner("create_agent", **MINIMAL, tools=[first, second], attachedPrompts=[ask]))["_id"]
    kept = await owner.find("agentTools", where={"agentId": agent, "toolId": second})
    await owner("update", id=agent, fields={"tools": [second, third], "attachedPrompts": [tell]})
    assert await grants(owner, agent) == [second, third]
    assert await owner.find("agentTools", where={"agentId": agent, "toolId": second}) == kept
    assert await attached(owner, agent) == [tell]
    for table, field in (("agentTools", "tools"), ("attachments", "attachedPrompts")):
        by = {"agentId": agent} if table == "agentTools" else {"ownerId": agent}
        row = (await owner.find(table, where=by))[0]
        deleted = await owner("delete", id=row["_id"])
        assert deleted["outcome"] == "deleted"
        left = (await owner("get", id=agent))[field]
        assert row.get("toolId", row.get("promptId")) not in left
    await owner("update", id=agent, fields={"tools": None, "attachedPrompts": None})
    assert await grants(owner, agent) == []
    assert await attached(owner, agent) == []
    # Both twins in one request, twice in a row.
    for tools in ([first], [], [third, first]):
        await owner("update", id=agent, fields={"tools": tools})
        assert sorted(await grants(owner, agent)) == sorted(tools)
    await check(swarm)


async def test_a_grant_keeps_its_own_settings(owner: Tools, made: dict[str, list[str]]) -> None:
    agent = (await owner("create_agent", **MINIMAL, tools=made["tools"][:1]))["_id"]
    (grant,) = await owner.find("agentTools", where={"agentId": agent})
    await owner("update", id=grant["_id"], fields={"config": {"depth": 2}})
    await owner("update", id=agent, fields={"tools": made["tools"]})
    assert (await owner("get", id=grant["_id"]))["config"] == {"depth": 2}
