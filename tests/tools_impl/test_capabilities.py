"""create_tool and grant_tool; and that the twins of agents are equal whatever is done."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.clients import Refusal, Swarm, Tools
from tests.invariants import check


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent", **more))["_id"])


async def tool(tools: Tools) -> str:
    return str((await tools("create_tool", name="T", description="d"))["_id"])


async def test_describing_a_tool(swarm: Swarm, era: str) -> None:
    user, _ = await swarm.user(f"Maker{next(NUMBERS)}")
    tools = await swarm.connect(user, era=era)
    row = await tools("create_tool", name=" Search ", description="finds", config={"url": "x", "deep": [1, None]})
    assert row == {
        "_id": row["_id"],
        "name": "Search",
        "description": "finds",
        "config": {"url": "x", "deep": [1, None]},
        "createdBy": user,
        "createdAt": row["createdAt"],
        "seq": row["seq"],
    }
    _, stranger = await swarm.user(f"Stranger{next(NUMBERS)}")
    assert await stranger("get", id=row["_id"]) == row
    assert (await stranger.refused("delete", id=row["_id"])).code == "forbidden"
    mine = await agent(tools)
    assert (await tools("create_tool", name="T", description="d", as_=mine))["createdBy"] == user
    keyed = [await tools("create_tool", name="T", description="d", idempotencyKey=era) for _ in range(2)]
    assert keyed[0] == keyed[1]


async def test_granting(swarm: Swarm, era: str) -> None:
    user, _ = await swarm.user(f"Granter{next(NUMBERS)}")
    tools = await swarm.connect(user, era=era)
    mine, one, two = await agent(tools), await tool(tools), await tool(swarm.owner)
    first = await tools("grant_tool", agentId=mine, toolId=one)
    assert first == {
        "_id": first["_id"],
        "agentId": mine,
        "toolId": one,
        "createdAt": first["createdAt"],
        "seq": first["seq"],
    }
    assert await asyncio.gather(*(tools("grant_tool", agentId=mine, toolId=one) for _ in range(4))) == [first] * 4
    other = await tools("grant_tool", agentId=mine, toolId=one, config={"limit": 5})
    assert other == {**first, "config": {"limit": 5}, "seq": other["seq"]}
    assert await tools("grant_tool", agentId=mine, toolId=one) == other
    assert await tools("grant_tool", agentId=mine, toolId=one, config={"limit": 5}) == other
    await tools("grant_tool", agentId=mine, toolId=two, as_=mine)
    row = await tools("get", id=mine)
    assert (row["tools"], row["updatedBy"]) == ([one, two], user)
    assert row["granted"] == [{"_id": one, "name": "T"}, {"_id": two, "name": "T"}]
    error = await tools.refused("delete", id=one)
    assert error == Refusal(
        "conflict", f"'{one}' is in use by {mine}. Take it from their tools first.", {"uses": [mine]}
    )
    await tools("delete", id=first["_id"])
    assert (await tools("get", id=mine))["tools"] == [two]
    assert (await tools("delete", id=one))["outcome"] == "deleted"
    await check(swarm)


async def test_granting_refuses_what_is_not_ones_own(swarm: Swarm, owner: Tools) -> None:
    _, tools = await swarm.user(f"Nosy{next(NUMBERS)}")
    one, theirs = await tool(tools), await agent(owner)
    private = await agent(owner, visibility="private")
    error = await tools.refused("grant_tool", agentId=theirs, toolId=one)
    assert error == Refusal("forbidden", f"'{theirs}' is not an agent of yours.")
    never = f"agent_8{private.removeprefix('agent_')}8"
    hidden = await tools.refused("grant_tool", agentId=private, toolId=one)
    missing = await tools.refused("grant_tool", agentId=never, toolId=one)
    assert (hidden.code, hidden.text.replace(private, "ID")) == ("not_found", missing.text.replace(never, "ID"))
    mine = await agent(tools)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"agentId": mine, "toolId": "tool_99999"}, "No row 'tool_99999' in tools."),
        ({"agentId": mine, "toolId": mine}, f"'{mine}' is an id of agents; here an id of tools is needed"),
        ({"agentId": one, "toolId": one}, f"'{one}' is an id of tools; here an id of agents is needed"),
        ({"agentId": mine}, "Missing argument 'toolId'."),
        ({"agent_id": mine, "toolId": one}, "Unknown argument 'agent_id': did you mean 'agentId'?"),
    ]
    for arguments, text in wrong:
        assert (await tools.refused("grant_tool", **arguments)).text.startswith(text)
    wrong = [
        ({"name": "", "description": "d"}, "'name' must not be empty."),
        ({"name": "n"}, "Missing argument 'description'."),
        ({"name": "n", "description": 5}, "'description' must be a text, not 5."),
    ]
    for arguments, text in wrong:
        assert await tools.refused("create_tool", **arguments) == Refusal("invalid", text)


async def test_who_must_not_see_an_agent_does_not_hear_that_it_uses_a_tool(swarm: Swarm, owner: Tools) -> None:
    _, tools = await swarm.user(f"Author{next(NUMBERS)}")
    prompt = (await tools("create_prompt", title="P", template="t", step="Hook"))["_id"]
    for row, field in ((await tool(tools), "tools"), (prompt, "attachedPrompts")):
        secret = await agent(owner, visibility="private", **{field: [row]})
        error = await tools.refused("delete", id=row)
        assert (error.code, error.data) == ("conflict", {"uses": []})
        assert error.text.startswith(f"'{row}' is in use by others. ")
        assert "usedBy" not in await tools("get", id=row)
        public = await agent(owner, **{field: [row]})
        error = await tools.refused("delete", id=row)
        assert error.text.startswith(f"'{row}' is in use by {public} and others. ")
        assert error.data == {"uses": [public]}
        assert (await tools("get", id=row))["usedBy"] == [{"_id": public, "name": "A"}]
        assert {use["_id"] for use in (await owner("get", id=row))["usedBy"]} == {secret, public}


# The twins: agents.tools and agentTools, agents.attachedPrompts and attachments.


class Twins(RuleBasedStateMachine):
    """Any sequence of calls on one person's agents, tools and prompts."""

    agents: Bundle[str] = Bundle("agents")
    tools: Bundle[str] = Bundle("tools")
    prompts: Bundle[str] = Bundle("prompts")

    def __init__(self, portal: BlockingPortal, swarm: Swarm) -> None:
        super().__init__()
        self._portal = portal
        self._swarm = swarm
        self._mine: list[str] = []

    def _do(self, call_of: str, /, **arguments: Any) -> dict[str, Any]:
        """The result of a call, or {} when it was refused for a reason of the domain."""

        async def call() -> dict[str, Any]:
            result = await self._swarm.owner.raw(call_of, **arguments)
            assert result.structured_content is not None
            if result.is_error:
                assert result.structured_content["error"]["code"] in ("conflict", "not_found")
                return {}
            return dict(result.structured_content)

        return self._portal.call(call)

    def _rows(self, table: str, /, **where: Any) -> list[dict[str, Any]]:
        async def call() -> list[dict[str, Any]]:
            return await self._swarm.owner.find(table, where=where)

        return self._portal.call(call)

    @initialize(target=agents)
    def start(self) -> str:
        agent = self.create_agent([self.create_tool()], [self.create_prompt()])
        assert isinstance(agent, str)
        return agent

    @rule(target=tools)
    def create_tool(self) -> str:
        return str(self._do("create_tool", name="T", description="d")["_id"])

    @rule(target=prompts)
    def create_prompt(self) -> str:
        return str(self._do("create_prompt", title="P", template="t", step="Hook")["_id"])

    @rule(target=agents, listed=st.lists(tools, max_size=3), attached=st.lists(prompts, max_size=3))
    def create_agent(self, listed: list[str], attached: list[str]) -> str:
        more = {"tools": listed, "attachedPrompts": attached}
        row = self._do("create_agent", name="A", description="d", kind="user_agent", **more)
        if not row:  # something listed was deleted before
            row = self._do("create_agent", name="A", description="d", kind="user_agent")
        self._mine.append(row["_id"])
        return str(row["_id"])

    @rule(agent=agents, listed=st.none() | st.lists(tools, max_size=4))
    def list_tools(self, agent: str, listed: list[str] | None) -> None:
        self._do("update", id=agent, fields={"tools": listed})

    @rule(agent=agents, attached=st.none() | st.lists(prompts, max_size=4))
    def list_prompts(self, agent: str, attached: list[str] | None) -> None:
        self._do("update", id=agent, fields={"attachedPrompts": attached, "goal": "g"})

    @rule(agent=agents, one=tools, config=st.none() | st.integers(0, 2))
    def grant(self, agent: str, one: str, config: int | None) -> None:
        grants = [self._do("grant_tool", agentId=agent, toolId=one, config=config) for _ in range(2)]
        assert grants[0] == grants[1]

    @rule(agent=agents, one=prompts)
    def attach(self, agent: str, one: str) -> None:
        attached = [self._do("attach_prompt", promptId=one, ownerType="agent", ownerId=agent) for _ in range(2)]
        assert attached[0] == attached[1]

    @rule(agent=agents, which=st.integers(0, 3))
    def revoke(self, agent: str, which: int) -> None:
        self._delete_one(self._rows("agentTools", agentId=agent), which)

    @rule(agent=agents, which=st.integers(0, 3))
    def detach(self, agent: str, which: int) -> None:
        self._delete_one(self._rows("attachments", ownerId=agent), which)

    def _delete_one(self, rows: list[dict[str, Any]], which: int) -> None:
        if rows:
            assert self._do("delete", id=rows[which % len(rows)]["_id"])["outcome"] == "deleted"

    @rule(one=consumes(tools) | consumes(prompts))
    def delete(self, one: str) -> None:
        used = any(one in (row.get("tools") or []) + (row.get("attachedPrompts") or []) for row in self._agents())
        assert bool(self._do("delete", id=one)) is not used

    @rule(agent=consumes(agents))
    def delete_agent(self, agent: str) -> None:
        self._do("delete", id=agent)

    def _agents(self) -> list[dict[str, Any]]:
        return self._rows("agents", _id={"in": self._mine}) if self._mine else []

    @invariant()
    def twins_are_equal(self) -> None:
        for row in self._agents():
            granted = [grant["toolId"] for grant in self._rows("agentTools", agentId=row["_id"])]
            attached = [one["promptId"] for one in self._rows("attachments", ownerId=row["_id"])]
            assert sorted(row.get("tools") or []) == sorted(granted)
            assert sorted(row.get("attachedPrompts") or []) == sorted(attached)
            assert len(set(granted)) == len(granted)
            assert len(set(attached)) == len(attached)


@pytest.fixture
def portal() -> Iterator[BlockingPortal]:
    """A loop in another thread: the rules of a state machine are no coroutines."""
    with start_blocking_portal() as opened:
        yield opened


@pytest.mark.slow
def test_twins_are_equal_after_any_sequence(portal: BlockingPortal, tmp_path: Path) -> None:
    swarm: AbstractContextManager[Swarm] = portal.wrap_async_context_manager(Swarm(tmp_path / "data"))
    with swarm as opened:

        class Machine(Twins):
            def __init__(self) -> None:
                super().__init__(portal, opened)

        run_state_machine_as_test(Machine, settings=settings(max_examples=15, stateful_step_count=20))
        portal.call(check, opened)
