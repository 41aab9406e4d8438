"""Any interleaving of valid and invalid requests leaves exactly what was acknowledged: in memory, in the file, and
after the file was opened again."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from storage.tables import Prompt, Tool
from tests.clients import Swarm, Tools
from tests.invariants import Dump, check

TINY: dict[str, dict[str, Any]] = {"cache": {"rows_bytes": 6_000, "messages_bytes": 5_000}}
NO_CACHE: dict[str, dict[str, Any]] = {"cache": {"rows_bytes": 0, "messages_bytes": 0}}
BUSY: dict[str, dict[str, Any]] = {"storage": {"checkpoint_rows": 5, "checkpoint_idle_seconds": 0.01}}
TAGS = ("red", "green", "blue")
Step = Callable[[], Awaitable[None]]


class Load:
    """Clients that do random things at once. Keeps what each was told."""

    def __init__(self, swarm: Swarm, seed: int) -> None:
        self.rng = random.Random(seed)
        self.swarm = swarm
        self.told: dict[str, dict[str, Any]] = {}
        self.gone: set[str] = set()
        self.refused = 0
        self.unknown = False
        self._keys: list[tuple[tuple[Tools, str, dict[str, Any]], dict[str, Any]]] = []
        self._fixed: dict[str, list[str]] = {}

    async def run(self, clients: int, steps: int) -> None:
        """Prepare what no tool makes, then let clients loose."""
        tools = [await self.swarm.insert(Tool, name=f"tool {n}", description="does") for n in range(3)]
        prompts = [await self.swarm.insert(Prompt, title=f"p {n}", template="{{x}}", step="Hook") for n in range(3)]
        self._fixed = {"tools": [row.id for row in tools], "prompts": [row.id for row in prompts]}
        users = [(await self.swarm.user(f"User{n}"))[1] for n in range(2)]
        async with anyio.create_task_group() as group:
            for number in range(clients):
                tools_of = [self.swarm.owner, *users][number % 3]
                group.start_soon(self._client, tools_of, steps)

    async def _client(self, tools: Tools, steps: int) -> None:
        for _ in range(steps):
            await self.rng.choice(self._steps)(self, tools)

    def _some(self, prefix: str) -> str:
        known = [row_id for row_id in self.told if row_id.startswith(f"{prefix}_")]
        wrong = [f"{prefix}_99999", "tag_1"] if self.rng.random() < 0.15 else []
        return self.rng.choice(wrong or known or [f"{prefix}_1"])

    def _many(self, ids: list[str]) -> list[str]:
        return self.rng.sample(ids, self.rng.randrange(len(ids) + 1))

    async def _call(self, tools: Tools, tool: str, /, **arguments: Any) -> dict[str, Any] | None:
        if self.rng.random() < 0.2:
            arguments["idempotencyKey"] = f"key {self.rng.randrange(10**9)}"
        result = await tools.raw(tool, **arguments)
        assert not result.is_error or result.structured_content is not None
        if result.is_error:
            self.refused += 1
            return None
        row: dict[str, Any] | None = result.structured_content
        assert row is not None
        if "outcome" not in row:
            self._told(row)
        elif row["outcome"] == "deleted":
            self._told_of_an_end(row["_id"])
        if "idempotencyKey" in arguments:
            self._keys.append(((tools, tool, arguments), row))
        return row

    def _told(self, row: dict[str, Any]) -> None:
        known = self.told.get(row["_id"])
        if not {row["_id"], row.get("conversationId")} & self.gone and (not known or known["seq"] <= row["seq"]):
            self.told[row["_id"]] = row

    def _told_of_an_end(self, row_id: str) -> None:
        self.gone.add(row_id)
        for other in [other for other, row in self.told.items() if row_id in (other, row.get("conversationId"))]:
            del self.told[other]

    # -- what clients do ---------------------------------------------------------------------------------------------

    async def agent(self, tools: Tools) -> None:
        await self._call(
            tools,
            "create_agent",
            name="A",
            description="d",
            kind=self.rng.choice(["user_agent", "user_agent", "robot"]),
            tools=self._many(self._fixed["tools"]),
            attachedPrompts=self._many(self._fixed["prompts"]),
            tags=self._many([*TAGS]),
            delegatesTo=[self._some("agent")] if self.rng.random() < 0.3 and self.told else [],
        )

    async def change_agent(self, tools: Tools) -> None:
        fields = {
            "tools": self.rng.choice([None, self._many(self._fixed["tools"])]),
            "attachedPrompts": self._many(self._fixed["prompts"]),
            "tags": self._many([*TAGS]),
        }
        name = self.rng.choice([*fields, "goal", "nonsense", "kind"])
        agent = self._some("agent")
        seq = self.told.get(agent, {}).get("seq", 1)
        guard = {"ifSeq": seq} if self.rng.random() < 0.3 else {}
        await self._call(tools, "update", id=agent, fields={name: fields.get(name, "new")}, **guard)

    async def conversation(self, tools: Tools) -> None:
        members = [self._some("agent") for _ in range(2)] if self.told else []
        await self._call(tools, "create_conversation", title="C", participants=members, tags=self._many([*TAGS]))

    async def participant(self, tools: Tools) -> None:
        agent = self._some("agent")
        await self._call(tools, "add_participant", conversationId=self._some("conv"), kind="agent", agentId=agent)

    async def message(self, tools: Tools) -> None:
        text = self.rng.choice(["hello", "", "x" * self.rng.randrange(3_000), "\0\u2028 \U0001f600"])
        meta = self.rng.choice([None, {"a": [1, 2.5, None, "\0"]}, "text"])
        await self._call(tools, "send_message", conversationId=self._some("conv"), content=text, meta=meta)

    async def change_message(self, tools: Tools) -> None:
        await self._call(
            tools, "update", id=self._some("msg"), fields={"content": "edited", "tags": self._many([*TAGS])}
        )

    async def title(self, tools: Tools) -> None:
        await self._call(tools, "update", id=self._some("conv"), fields={"title": f"T{self.rng.random()}"})

    async def knowledge(self, tools: Tools) -> None:
        await self._call(
            tools,
            "add_knowledge",
            ownerType="agent",
            ownerId=self._some("agent"),
            content="fact",
            vector=[0.1, 1e30],
            tags=self._many([*TAGS]),
            sources=[self._some("msg")] if self.rng.random() < 0.3 else None,
        )

    async def remove(self, tools: Tools) -> None:
        await self._call(tools, "delete", id=self._some(self.rng.choice(["agent", "msg", "know", "msg"])))

    async def remove_join(self, tools: Tools) -> None:
        table = self.rng.choice(["agentTools", "attachments", "conversationParticipants", "tags"])
        rows = await tools.find(table, limit=200)
        if rows and self.rng.random() < 0.3:
            await self._call(tools, "delete", id=self.rng.choice(rows)["_id"])

    async def remove_conversation(self, tools: Tools) -> None:
        if self.rng.random() < 0.2:
            await self._call(tools, "delete", id=self._some("conv"))

    async def again(self, tools: Tools) -> None:
        if self._keys:
            (caller, tool, arguments), first = self.rng.choice(self._keys)
            assert await caller(tool, **arguments) == first

    async def read(self, tools: Tools) -> None:
        await tools.raw("list_messages", conversationId=self._some("conv"), limit=3)
        await tools.raw("get", id=self._some(self.rng.choice(["conv", "agent", "msg", "part"])))
        await tools.find("conversations", order="-lastMessageTime", limit=5)

    async def cancelled(self, tools: Tools) -> None:
        self.unknown = True
        with anyio.move_on_after(self.rng.random() * 0.004):
            await tools.raw("send_message", conversationId=self._some("conv"), content="maybe")

    _steps: tuple[Callable[..., Awaitable[None]], ...] = (
        agent, agent, change_agent, change_agent, conversation, participant, message, message, message, message,
        change_message, title, knowledge, remove, remove_join, remove_conversation, again, read, cancelled,
    )  # fmt: skip


def assert_told_is_stored(load: Load, dump: Dump) -> None:
    """What was acknowledged last is there, what went is gone, and there is nothing that nobody was told of."""
    stored = {row_id: row for rows in dump.values() for row_id, row in rows.items()}
    assert load.gone & set(stored) == set()
    for row_id, row in load.told.items():
        # Other requests may have changed it since (a tag that went, a derived time); its commit number tells.
        assert row_id in stored
        assert stored[row_id]["seq"] >= row["seq"]
        if stored[row_id]["seq"] == row["seq"]:
            assert without_derived(stored[row_id]) == without_derived(row)
    made = ("agents", "conversations", "knowledge", "conversationMessages")
    untold = [row for table in made for row_id, row in dump[table].items() if row_id not in load.told]
    assert [row for row in untold if row.get("content") != "maybe"] == []


def without_derived(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("lastMessageTime", "tags")}


@pytest.mark.parametrize(("seed", "settings"), [(1, {}), (2, TINY), (3, NO_CACHE), (4, BUSY), (5, {**TINY, **BUSY})])
async def test_what_was_acknowledged_is_what_is_stored(
    tmp_path: Path, seed: int, settings: dict[str, dict[str, Any]]
) -> None:
    async with Swarm(tmp_path / "data", **settings) as swarm:
        load = Load(swarm, seed)
        await load.run(clients=9, steps=13)
        dump = await check(swarm)
        assert_told_is_stored(load, dump)
        assert load.refused > 8
        assert swarm.failures == []
        next_seq = swarm.service.engine.writer.next_seq
    async with Swarm(tmp_path / "data", **settings) as swarm:
        assert await check(swarm) == dump
        assert swarm.service.engine.writer.next_seq >= next_seq - 1
