"""In-memory MCP clients for tests: the real server and the real protocol, no process."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
from mcp import Client
from mcp.client._transport import TransportStreams
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.exceptions import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp_types import CallToolResult, ImageContent, TextContent, TextResourceContents

from server.config import load_settings
from server.service import Service, open_service
from server.session import ALL_SCOPES, Session
from storage.row import Row
from storage.transaction import Transaction
from tools_impl.transcripts import plain

R = TypeVar("R", bound=Row)

USER_SCOPES = frozenset({"read", "write"})
ERAS = ("legacy", "auto")
"""How a client opens: with the handshake of 2025-11-25 and before, or as in 2026-07-28."""


@dataclass(frozen=True)
class Refusal:
    """An error as a client gets it."""

    code: str
    text: str
    data: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def transport(service: Service, session: Session) -> AsyncIterator[TransportStreams]:
    """What the hub does for a connection, over streams in memory."""
    async with create_client_server_memory_streams() as (client, server), anyio.create_task_group() as tasks:
        serve = partial(serve_dual_era_loop, lifespan_state=session, init_options=service.initialization_options())
        tasks.start_soon(serve, service.server, *server)
        yield client
        await client[1].aclose()


class Tools:
    """A client's tools as functions. Every success is checked to say the same in its two forms."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured result of a call that must succeed. `as_` stands for `as`."""
        result = await self.raw(tool, **arguments)
        text = said(result)
        assert not result.is_error, text
        assert result.structured_content is not None
        structured: dict[str, Any] = result.structured_content
        if tool == "list_messages" and arguments.get("format") != "detailed":
            check_lines(text, structured["messages"])
        elif tool == "query":
            check_table(text, structured)
        elif tool == "chart":
            assert text.startswith(structured["alt"])
        else:
            assert times_as_numbers(json.loads(text), structured) == structured
        return structured

    async def refused(self, tool: str, /, **arguments: Any) -> Refusal:
        """The error of a call that must be refused."""
        result = await self.raw(tool, **arguments)
        text = said(result)
        assert result.is_error, f"accepted: {text}"
        assert result.structured_content is not None
        error = result.structured_content["error"]
        assert error["message"] == text
        return Refusal(error["code"], text, error["data"])

    async def raw(self, tool: str, /, **arguments: Any) -> CallToolResult:
        """Whatever comes."""
        if "as_" in arguments:
            arguments["as"] = arguments.pop("as_")
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result

    async def find(self, table: str, **arguments: Any) -> list[dict[str, Any]]:
        """All rows of all pages."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self("find", table=table, **arguments, **({"cursor": cursor} if cursor else {}))
            rows += page[table]
            cursor = page.get("nextCursor")
            if cursor is None:
                return rows

    async def read(self, uri: str) -> str:
        """The text of a resource."""
        (content,) = (await self.client.read_resource(uri)).contents
        assert isinstance(content, TextResourceContents)
        return content.text

    async def unreadable(self, uri: str) -> MCPError:
        """The error of a resource that must not be readable."""
        try:
            text = await self.read(uri)
        except MCPError as error:
            return error
        raise AssertionError(f"readable: {text}")


def said(result: CallToolResult) -> str:
    """The text of a result."""
    content = result.content[0]
    assert isinstance(content, TextContent)
    assert all(isinstance(more, ImageContent) for more in result.content[1:])
    return content.text


def check_lines(text: str, messages: list[dict[str, Any]]) -> None:
    """Check that a concise page says every message, in its order: who, when, what."""
    lines = iter(text.split("\n"))
    for message in messages:
        time = datetime.fromtimestamp(message["createdAt"] / 1000, UTC).strftime(" %H:%M ")
        wanted = plain(message["_id"]) if not re.fullmatch(r"[\w.:@-]+", message["_id"], re.ASCII) else message["_id"]
        header = next(line for line in lines if line.startswith(f"{wanted} "))
        assert time in header
        if message.get("status") != "deleted":
            for line in message["content"].splitlines() or [""]:
                assert next(lines) == f"> {line}"


def check_table(text: str, result: dict[str, Any]) -> None:
    """Check that a table has a line for the columns and one for each row, each with as many cells."""
    summary, *lines = text.split("\n")
    count = len(result["rows"])
    assert (f"first {count:,} row" in summary) == result["truncated"]
    assert times_as_numbers(summary.rpartition(" ")[2], 0) == result["asOf"]
    assert len(lines) == 1 + count
    for line in lines:
        assert len(re.split(r"(?<!\\)\|", line)) == len(result["columns"])


def times_as_numbers(text: Any, structured: Any) -> Any:
    """`text` with the ISO times that stand where `structured` has epoch milliseconds turned into such."""
    match text, structured:
        case str(), int():
            return round(datetime.fromisoformat(text).timestamp() * 1000)
        case dict(), dict():
            return {key: times_as_numbers(value, structured.get(key)) for key, value in text.items()}
        case list(), list() if len(text) == len(structured):
            return [times_as_numbers(*pair) for pair in zip(text, structured, strict=True)]
    return text


class Swarm:
    """A service on a data directory, and clients of it. `owner` is the local owner, an admin."""

    owner: Tools

    def __init__(self, directory: Path, **settings: dict[str, Any]) -> None:
        self.directory = directory
        self.failures: list[str] = []
        # Without a model, and snapshots only when asked for: both have tests of their own.
        quiet: dict[str, dict[str, Any]] = {"embedding": {"provider": "none"}, "analytics": {"max_age_seconds": 0.0}}
        self._settings = load_settings(directory, environment=False, overrides=quiet | settings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.service = await open_service(self._settings, self.directory, on_failure=self.failures.append)
        self._stack.push_async_callback(self.service.close)
        self.owner = await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def connect(
        self,
        member: str | None = None,
        *,
        era: str = "legacy",
        toolsets: frozenset[str] | None = None,
        read_only: bool = False,
        admin: bool = False,
        scopes: frozenset[str] | None = None,
    ) -> Tools:
        """A client that calls as the owner, or as another user or agent, who is no admin unless said so."""
        if scopes is None:
            scopes = USER_SCOPES if member is not None and not admin else ALL_SCOPES
        session = Session(member or self.service.owner.id, scopes, toolsets, read_only)
        client = Client(transport(self.service, session), mode=era)
        return Tools(await self._stack.enter_async_context(client))

    async def user(self, name: str) -> tuple[str, Tools]:
        """A new user, no admin: the id and a client."""
        row = await self.owner("create_user", name=name, email=f"{name.lower()}@example.org")
        return row["_id"], await self.connect(row["_id"])

    async def insert(self, table: type[R], **fields: Any) -> R:
        """A row of a table that no tool makes."""

        async def request(tx: Transaction) -> R:
            return tx.insert(table, **fields)

        return await self.service.engine.writer.run(request)

    async def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What the file says."""
        return await self.service.engine.store.database.select(query, parameters)
