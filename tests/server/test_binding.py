"""Operations as MCP tools: what clients are offered, and how results and errors reach them in both eras."""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS

from server.binding import BOUND
from server.connections import UnknownCaller
from server.endpoint import Hello
from storage.tables import BY_NAME
from tests.clients import Swarm, Tools, said
from tools_impl import OPERATIONS, TOOLSETS

ROOT = Path(__file__).parents[2]
TOOLS = [bound.tool for bound in BOUND.values()]
COMPOSITION = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "if", "definitions"}


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema."""
    if isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key == "properties":
                for inner in value.values():
                    yield from schemas(inner)
            elif key in ("items", "additionalProperties"):
                yield from schemas(value)


# What is declared.


def test_the_snapshot_is_current() -> None:
    """Refresh it with `python scripts/generate.py`, and look at what changed for clients."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stored = (ROOT / "tests" / "snapshots" / "tools.json").read_text(encoding="utf-8")
    assert json.loads(generate.tool_snapshot()) == json.loads(stored)


async def test_clients_of_both_eras_are_offered_the_snapshot(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    offered = (await tools.client.list_tools()).tools
    stored = json.loads((ROOT / "tests" / "snapshots" / "tools.json").read_text(encoding="utf-8"))
    assert [tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in offered] == stored


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_input_schemas_are_flat(tool: Any) -> None:
    schema = tool.input_schema
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    for part in schemas(schema):
        assert not COMPOSITION & set(part)
        assert "title" not in part or part is schema["properties"]
        assert not isinstance(part.get("type"), list)
        assert part.get("type") != "null"
        assert part.get("default", 0) is not None
        assert None not in part.get("enum", [])
    for name, part in schema["properties"].items():
        assert name.isalnum(), name
        assert name[0].islower()
        assert "type" in part or "enum" in part or name in ("meta", "knowledge", "memories", "config"), name


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tools_are_described_within_what_clients_show(tool: Any) -> None:
    assert tool.name.replace("_", "").isalnum()
    assert tool.name == tool.name.lower()
    assert len(tool.name) <= 37
    assert tool.title
    assert tool.title != tool.name
    assert 20 < len(tool.description) < 2_000
    assert "Raises" not in tool.description
    assert tool.output_schema is None


def test_all_tools_fit_into_few_tokens() -> None:
    text = json.dumps([tool.model_dump(by_alias=True, exclude_none=True) for tool in TOOLS], separators=(",", ":"))
    assert len(text) / len(TOOLS) < 1_500


@pytest.mark.parametrize("bound", BOUND.values(), ids=lambda bound: bound.tool.name)
def test_annotations_tell_reading_from_writing(bound: Any) -> None:
    hints = bound.tool.annotations
    changes = bound.writes or bound.operation.acknowledges is not None
    assert bool(hints.read_only_hint) is not changes
    assert hints.open_world_hint is False
    assert (hints.destructive_hint is None) == (not changes)
    assert bool(hints.destructive_hint) == (bound.tool.name in ("delete", "unfollow"))
    assert ("idempotencyKey" in bound.tool.input_schema["properties"]) == bound.writes
    assert ("ack" in bound.tool.input_schema["properties"]) == (bound.operation.acknowledges is not None)
    assert ("as" in bound.tool.input_schema["properties"]) == bound.operation.acts
    assert bound.operation.toolset in TOOLSETS


def test_the_operations_of_the_seed_have_its_names_and_arguments() -> None:
    seed = {
        "create_agent": {
            "name", "description", "kind", "createdBy", "personality", "avatarUrl", "goal", "systemPrompt",
            "instructions", "delegatesTo", "tools", "tags", "model", "attachedPrompts",
        },
        "add_participant": {"conversationId", "kind", "userId", "agentId"},
        "send_message": {"conversationId", "authorParticipantId", "content", "step", "kind", "type", "tags"},
        "list_messages": {"conversationId"},
        "add_knowledge": {"ownerType", "ownerId", "content", "vector", "tags"},
        "search_knowledge_by_tag": {"tag"},
    }  # fmt: skip
    for name, arguments in seed.items():
        assert arguments <= set(BOUND[name].tool.input_schema["properties"])
    assert BOUND["list_messages"].tool.input_schema["required"] == ["conversationId"]
    assert BOUND["search_knowledge_by_tag"].tool.input_schema["required"] == ["tag"]
    assert BOUND["send_message"].tool.input_schema["required"] == ["conversationId", "content"]


def test_every_operation_is_a_documented_coroutine() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    for operation in OPERATIONS:
        assert inspect.iscoroutinefunction(operation.function)
        assert inspect.getdoc(operation.function)


# How results and errors reach a client.


async def test_both_forms_of_a_result_say_the_same(swarm: Swarm, era: str) -> None:
    """The helper compares them for every call of every test; here the text is looked at as it is."""
    tools = await swarm.connect(era=era)
    result = await tools.raw("create_conversation", title="C", groupId="g")
    row = result.structured_content
    assert row is not None
    text = said(result)
    assert text == (
        f'{{"_id":"{row["_id"]}","createdAt":{json.dumps(json.loads(text)["createdAt"])},"title":"C",'
        f'"createdBy":"{row["createdBy"]}","groupId":"g","seq":{row["seq"]}}}'
    )
    assert json.loads(text)["createdAt"].endswith("Z")
    assert next(iter(row)) == "_id"
    page = await tools.raw("find", table="conversations", limit=1)
    assert "\n" not in said(page)
    assert ": " not in said(page)


async def test_errors_are_results(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    result = await tools.raw("get", id="conv_99999")
    assert result.is_error
    assert result.structured_content == {
        "error": {
            "code": "not_found",
            "message": said(result),
            "data": {"table": "conversations", "id": "conv_99999"},
        }
    }


async def test_every_code_of_the_contract_reaches_the_client(swarm: Swarm, owner: Tools) -> None:
    _, tools = await swarm.user("Ada")
    codes = [
        await owner.refused("get", id="x"),
        await owner.refused("get"),
        await owner.refused("create_user", name="A", email="ada@example.org"),
        await tools.refused("delete", id=swarm.service.owner.id),
    ]
    assert [error.code for error in codes] == ["not_found", "invalid", "conflict", "forbidden"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("send_mesage", "Unknown tool 'send_mesage': did you mean 'send_message'?"),
        ("sendMessage", "Unknown tool 'sendMessage': did you mean 'send_message'?"),
        ("drop_table", f"Unknown tool 'drop_table'. Tools: {', '.join(BOUND)}."),
    ],
)
async def test_unknown_tools_are_refused_with_the_right_name(swarm: Swarm, era: str, name: str, text: str) -> None:
    tools = await swarm.connect(era=era)
    with pytest.raises(MCPError) as caught:
        await tools.raw(name)
    assert caught.value.error.code == INVALID_PARAMS
    assert caught.value.message == text


async def test_a_defect_shows_nothing_of_itself(swarm: Swarm, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = await swarm.connect(era=era)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("storage.store.Store.row_anywhere", broken)
    with pytest.raises(MCPError) as caught:
        await tools.raw("get", id="conv_1")
    assert caught.value.error.code == INTERNAL_ERROR
    assert caught.value.message == "get failed for a reason of the server's own; hub.log has it."
    with pytest.raises(MCPError) as caught:
        await tools.raw("update", id="conv_1", fields={"title": "x"})
    assert "secret" not in caught.value.message
    monkeypatch.undo()
    await tools("create_conversation", title="goes on")
    assert swarm.failures == []


async def test_arguments_may_be_left_out_where_none_are_needed(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    result = await tools.client.call_tool("get")
    assert said(result) == "Missing argument 'id'."


async def test_a_modern_result_says_who_answered(swarm: Swarm) -> None:
    tools = await swarm.connect(era="auto")
    result = await tools.raw("find", table="agents")
    assert result.meta is not None
    assert "one-mcp" in str(result.meta)


async def test_who_connects_must_exist(swarm: Swarm) -> None:
    agent = (await swarm.owner("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    place = (await swarm.owner("create_conversation", title="C"))["_id"]
    me = swarm.service.owner.id
    for acts_as, member, admin in [(None, me, True), (me, me, True), (agent, agent, False)]:
        session = await swarm.service.connection(Hello("1", acts_as=acts_as, toolsets=("core",), read_only=True))
        assert (session.member_id, "admin" in session.scopes) == (member, admin)
        assert (session.toolsets, session.may_write) == (frozenset({"core"}), False)
    for hello, text in [
        (Hello("1", acts_as="agent_99999"), "--as agent_99999: there is no such user or agent."),
        (Hello("1", acts_as=place), f"--as {place}: there is no such user or agent."),
        (Hello("1", toolsets=("core", "magic")), f"There is no toolset 'magic'. Toolsets: {', '.join(TOOLSETS)}."),
    ]:
        with pytest.raises(UnknownCaller) as caught:
            await swarm.service.connection(hello)
        assert str(caught.value) == text


def test_the_tables_that_are_reached_are_the_sixteen() -> None:
    assert len(BY_NAME) == 16
    assert not [name for name in BY_NAME if name.startswith("auth")]
