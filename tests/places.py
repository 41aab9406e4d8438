"""A conversation with some who take part in it, for tests of who hears of it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from mcp import Client

from server.session import Session
from tests.clients import USER_SCOPES, Swarm, transport
from tests.listening import Ear, listening


def ear(swarm: Swarm, era: str, *uris: str, member: str | None = None) -> AbstractAsyncContextManager[Ear]:
    """A client of the owner, or of another user or agent, that follows resources."""
    session = Session(member, USER_SCOPES) if member is not None else Session(swarm.service.owner.id)
    return listening(partial(Client, transport(swarm.service, session), mode=era), era, *uris)


class Place:
    """A conversation of Ada and Bo and of an agent, of which others know nothing."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm

    async def fill(self) -> Place:
        """Make the rows."""
        swarm = self.swarm
        self.ada, self.ada_tools = await swarm.user("Ada")
        self.bo, self.bo_tools = await swarm.user("Bo")
        self.agent = (await self.ada_tools("create_agent", name="Lead", description="leads", kind="user_agent"))["_id"]
        place = await self.ada_tools("create_conversation", title="Plan", participants=[self.bo, self.agent])
        self.id = place["_id"]
        self.message = (await self.say("first"))["_id"]
        self.uri = f"one://conversations/{self.id}"
        return self

    async def say(self, content: str) -> dict[str, Any]:
        """Ada writes."""
        return await self.ada_tools("send_message", conversationId=self.id, content=content)

    async def part(self, member: str) -> str:
        """How somebody takes part."""
        (row,) = [
            row
            for row in await self.swarm.owner.find("conversationParticipants", where={"conversationId": self.id})
            if member in (row.get("userId"), row.get("agentId"))
        ]
        return str(row["_id"])
