"""What hostile requests know: somebody's private rows, tokens good and bad, sessions, and a server to send them to."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import httpx2

from server.session import ALL_SCOPES
from tests.clients import Swarm
from tests.one_of_each import one_of_each
from tests.processes import INITIALIZED, ROOT, initialize, served

MARKER = "zanzibarquux"
"""In each text that is private."""
CANARY = "It sings."
_MAX_BODY = 4 * 1024 * 1024
HTTP: dict[str, Any] = {"requests_per_minute": 0, "wrong_tokens_per_minute": 1_000_000, "request_seconds": 3.0}
"""Settings: limits would keep hostile requests from what is behind them; and nobody waits long for a request's end."""


@dataclass
class Caller:
    """A token and an open session of the handshake era. `sees_all`: it is no leak when they read what is private."""

    token: str
    session: str = ""
    sees_all: bool = False


@dataclass
class World:
    """A data directory with something to find in it, and the server on it once that runs."""

    directory: Path
    owner_id: str
    canary: str
    ids: list[str]
    kept: list[str]
    tools: list[str]
    prompts: list[str]
    schemas: dict[str, dict[str, Any]]
    owner: Caller
    analyst: Caller
    callers: list[Caller]
    dead_tokens: list[str]
    max_body: int = _MAX_BODY
    ended_sessions: list[str] = field(default_factory=list)
    port: int = 0
    pid: int = 0

    @property
    def host(self) -> str:
        """What goes into the header Host."""
        return f"127.0.0.1:{self.port}"

    @cached_property
    def private(self) -> list[str]:
        """What is private, and every token."""
        tokens = [one.token for one in (self.owner, self.analyst, *self.callers)]
        return [MARKER, *tokens, *self.dead_tokens]

    @cached_property
    def secrets(self) -> list[str]:
        """Texts that no answer to a stranger may contain: also where files are."""
        return [*self.private, str(self.directory), str(ROOT)]

    def caller(self, random: Random) -> Caller:
        """Somebody who is let in."""
        return random.choice(self.callers)


async def fill(swarm: Swarm) -> World:
    """Somebody's private rows, and tokens of others."""
    owner = swarm.owner
    insider = (await owner("create_user", name="Insider", email=f"{MARKER}@example.org"))["_id"]
    rows = await one_of_each(swarm, await swarm.connect(insider), insider, MARKER, open_word="open")
    canary = (await owner("create_conversation", title="Canary"))["_id"]
    await owner("send_message", conversationId=canary, content=CANARY)
    stranger, tools = await swarm.user("Stranger")
    own = await one_of_each(swarm, tools, stranger, "own")
    keeper = (await swarm.user("Keeper"))[1]
    agent = (await keeper("create_agent", name="Kept", description="It stays.", kind="user_agent"))["_id"]
    schemas = {tool.name: tool.input_schema for tool in (await owner.client.list_tools()).tools}
    tokens = await swarm.service.tokens()

    async def token(member: str, *scopes: str, **more: Any) -> str:
        return (await tokens.create(member, list(scopes), **more))[0]

    revoked, row = await tokens.create(stranger, ["read", "write"])
    await tokens.revoke(row.id)
    everybody = [await token(stranger, "read", "write"), await token(stranger, "read")]
    everybody.append(await token(agent, "read", "write"))
    return World(
        directory=swarm.directory,
        owner_id=swarm.service.owner.id,
        canary=canary,
        ids=sorted({swarm.service.owner.id, canary, agent, *rows.values(), *own.values()}),
        kept=[stranger, agent],
        tools=sorted(schemas),
        prompts=[prompt.name for prompt in (await owner.client.list_prompts()).prompts],
        schemas=schemas,
        owner=Caller(await token(swarm.service.owner.id, *sorted(ALL_SCOPES)), sees_all=True),
        analyst=Caller(await token(insider, "read", "analyst"), sees_all=True),
        callers=[Caller(one) for one in everybody],
        dead_tokens=[revoked, await token(stranger, "read", "write", expiration_time=1)],
    )


async def prepare(directory: Path) -> World:
    """Fill a data directory that a server of its own shall serve."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{name} = {value}" for name, value in HTTP.items()]
    (directory / "config.toml").write_text("\n".join(["[http]", *lines, ""]))
    async with Swarm(directory) as swarm:
        return await fill(swarm)


@contextlib.contextmanager
def serving(world: World, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`one-mcp serve` on the directory, as a process; what it says goes to `log`."""
    with served(world.directory, log) as (process, url):
        world.port, world.pid = int(url.removesuffix("/mcp").rpartition(":")[2]), process.pid
        yield process


@contextlib.asynccontextmanager
async def sessions(world: World) -> AsyncIterator[None]:
    """A session of the handshake era for each caller, and one that was ended."""
    url, accept = f"http://{world.host}/mcp", {"Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(headers=accept, timeout=30) as http:

        async def opened(caller: Caller) -> str:
            bearer = {"Authorization": f"Bearer {caller.token}"}
            answer = await http.post(url, headers=bearer, json=initialize(1))
            session = str(answer.headers["mcp-session-id"])
            more = bearer | {"Mcp-Session-Id": session}
            assert (await http.post(url, headers=more, json=INITIALIZED)).status_code == 202
            return session

        for caller in world.callers:
            caller.session = await opened(caller)
        ended = await opened(world.callers[0])
        bearer = {"Authorization": f"Bearer {world.callers[0].token}", "Mcp-Session-Id": ended}
        await http.delete(url, headers=bearer)
        world.ended_sessions = [ended]
        yield


async def sings(world: World, http: httpx2.AsyncClient) -> bool:
    """Whether the server is healthy, and the owner reads in a conversation what was written there before."""
    health = await http.get(f"http://{world.host}/healthz")
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "list_messages",
            "arguments": {"conversationId": world.canary},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "canary", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    headers = {
        "Authorization": f"Bearer {world.owner.token}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "list_messages",
    }
    answer = await http.post(f"http://{world.host}/mcp", headers=headers, content=json.dumps(message))
    messages = answer.json()["result"]["structuredContent"]["messages"]
    return health.json()["status"] == "ok" and [one["content"] for one in messages] == [CANARY]
