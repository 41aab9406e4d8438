"""Somebody's private rows, one of each table, and strangers to whom they are as good as missing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anyio

from tests.clients import Swarm, Tools, said
from tests.hashed_words import DIMS
from tests.one_of_each import OPEN_TABLES, one_of_each

MARKER = "zanzibarquux"
"""In each text that is private."""
CALLERS = ("another user", "an agent of another user", "who was removed")


@dataclass
class Stranger:
    """Somebody who sees nothing of it: a client of each era, and rows of their own."""

    tools: Tools
    later: Tools
    own: dict[str, str]


@dataclass
class World:
    """Somebody's private rows by table (and what is hidden otherwise), and strangers."""

    swarm: Swarm
    insider: Tools
    hidden: dict[str, str]
    strangers: dict[str, Stranger]
    emails: list[str]

    @property
    def missing(self) -> dict[str, str]:
        """Ids of the same form that no row has."""
        return {name: row_id.replace("_", "_77") for name, row_id in self.hidden.items()}

    @cached_property
    def ids(self) -> re.Pattern[str]:
        """Any of the ids of what is hidden."""
        return re.compile(rf"\b({'|'.join(self.hidden.values())})\b")

    def check(self, answer: str) -> None:
        """That an answer to a stranger says nothing of what is hidden."""
        assert MARKER not in answer.lower()
        assert not self.ids.search(answer), answer
        for email in self.emails:
            assert email not in answer


async def filled(swarm: Swarm) -> World:
    email = f"{MARKER}@example.org"
    me = (await swarm.owner("create_user", name="Insider", email=email))["_id"]
    insider = await swarm.connect(me)
    rows = await one_of_each(swarm, insider, me, MARKER, open_word="open", dims=DIMS)
    agent, place = rows["agents"], rows["conversations"]
    more = {
        "attachment to an agent": await made(
            insider, "attach_prompt", ownerType="agent", ownerId=agent, promptId=rows["prompts"]
        ),
        "knowledge of a user": await made(
            insider, "add_knowledge", ownerType="user", ownerId=me, content=f"Mine {MARKER}", tags=["tag open"]
        ),
        "reminder of an agent": await made(
            insider, "create_reminder", message=MARKER, remindAt="2099-01-01T00:00:00Z", forId=agent
        ),
        "conversation of an agent": await made(insider, "create_conversation", title=f"Other {MARKER}", as_=agent),
    }
    hidden = {name: row_id for name, row_id in rows.items() if name not in (*OPEN_TABLES, "me")} | more
    strangers = await _strangers(swarm, insider, place)
    await _indexed(swarm)
    return World(swarm, insider, hidden, strangers, [email])


async def _strangers(swarm: Swarm, insider: Tools, place: str) -> dict[str, Stranger]:
    found: dict[str, Stranger] = {}
    for caller in CALLERS:
        me, tools = await swarm.user(f"Stranger{len(found)}")
        if caller == "who was removed":
            part = await made(insider, "add_participant", conversationId=place, kind="user", userId=me)
            await tools("list_messages", conversationId=place)
            await insider("delete", id=part)
            # What came after, and names them: they hear nothing of it.
            await insider("send_message", conversationId=place, content=f"{MARKER}: gone is @{me}")
        own = await one_of_each(swarm, tools, me, f"own{len(found)}", dims=DIMS)
        if caller == "an agent of another user":
            tools = await swarm.connect(own["agents"])
        later = await swarm.connect(own["agents"] if caller == "an agent of another user" else me, era="auto")
        found[caller] = Stranger(tools, later, own)
    return found


async def made(tools: Tools, tool: str, **arguments: Any) -> str:
    return str((await tools(tool, **arguments))["_id"])


async def _indexed(swarm: Swarm) -> None:
    """Wait until everything is searchable by its meaning."""
    with anyio.fail_after(60):
        while "pending" in await swarm.owner("search", query="anything"):
            await anyio.sleep(0.01)


async def answer(stranger: Stranger, tool: str, **arguments: Any) -> str:
    """Whatever comes, as text."""
    result = await stranger.tools.client.call_tool(tool, arguments)
    return json.dumps([result.is_error, result.structured_content, said(result)], ensure_ascii=False)


def without(text: str, given: str) -> str:
    """An answer without the id that was asked for, and without a suggestion, which hangs on how it is spelt."""
    return re.sub(rf"\b{given}\b", "ID", re.sub(r" Did you mean '[^']*'( \(.*?\))?\?", "", text))
