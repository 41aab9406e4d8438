"""A swarm over streamable HTTP, and clients of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from server.config import load_settings
from server.http import serve_http
from tests.clients import Swarm, Tools

MODERN = "2026-07-28"
ACCEPT = "application/json, text/event-stream"


@contextlib.asynccontextmanager
async def served(
    swarm: Swarm,
    *,
    no_auth: bool = False,
    oauth: dict[str, Any] | None = None,
    sign_in: dict[str, Any] | None = None,
    **http: Any,
) -> AsyncIterator[tuple[str, str | None]]:
    """The URL of the swarm over HTTP, and the first token if one was made."""
    overrides = {"http": {"port": 0, **http}, "oauth": oauth or {}, "sign_in": sign_in or {}}
    settings = load_settings(swarm.directory, environment=False, overrides=overrides)
    ready: asyncio.Future[tuple[str, str | None]] = asyncio.get_running_loop().create_future()

    def started(url: str, token: str | None) -> None:
        ready.set_result((url, token))

    def ended(task: asyncio.Task[None]) -> None:
        if not ready.done():
            ready.set_exception(task.exception() or AssertionError("ended before it served"))

    serving = asyncio.create_task(serve_http(swarm.service, settings, no_auth=no_auth, started=started))
    serving.add_done_callback(ended)
    try:
        yield await ready
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request as it goes over the wire."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def with_meta(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with what every request of the stateless era says."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {**params, "_meta": meta}


async def raw_post(
    http: httpx2.AsyncClient,
    url: str,
    method: str,
    params: dict[str, Any] | None = None,
    *,
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """One request of the stateless era, without a client's help."""
    named = {"Mcp-Name": params["name"]} if params and "name" in params else {}
    return await http.post(
        url,
        json=request(method, with_meta(params or {})),
        headers={"Accept": ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": method, **named, **(headers or {})},
    )


def bearer(token: str) -> dict[str, str]:
    """The header that a token goes in."""
    return {"Authorization": f"Bearer {token}"}


@contextlib.asynccontextmanager
async def remote_client(
    url: str, era: str, headers: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Client]:
    """The SDK's client, connected."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=era, **options) as connected,
    ):
        yield connected


@contextlib.asynccontextmanager
async def client(url: str, era: str, headers: dict[str, str] | None = None) -> AsyncIterator[Tools]:
    """The tools of a connected client."""
    async with remote_client(url, era, headers) as connected:
        yield Tools(connected)
