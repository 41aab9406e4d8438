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


@contextlib.asynccontextmanager
async def served(
    swarm: Swarm, *, no_auth: bool = False, sign_in: dict[str, Any] | None = None, **http: Any
) -> AsyncIterator[tuple[str, str | None]]:
    """The URL of the swarm over HTTP, and the first token if one was made."""
    settings = load_settings(
        swarm.directory, environment=False, overrides={"http": {"port": 0, **http}, "sign_in": sign_in or {}}
    )
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
