"""Clients that follow resources and lists, in both protocol eras."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ServerEvent

SECONDS = 20.0


class Ear:
    """What a client has heard, in order: URIs, "resources" and "prompts"."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def next(self) -> str:
        """What it hears next."""
        with anyio.fail_after(SECONDS):
            return await self.heard.get()

    async def until(self, marker: str) -> list[str]:
        """What it hears before `marker`: so that nothing else came is known without waiting for nothing."""
        before = []
        while (heard := await self.next()) != marker:
            before.append(heard)
        return before


Connect = Callable[..., AbstractAsyncContextManager[Client]]
"""Makes a client; takes `message_handler`."""


@asynccontextmanager
async def listening(connect: Connect, era: str, *uris: str, lists: bool = True) -> AsyncIterator[Ear]:
    """A client that follows some resources, and lists. In the handshake era lists are always heard of."""
    if era == "legacy":
        ear: Ear | None = None

        async def take(message: types.ServerNotification | Exception) -> None:
            what = _of_notification(message)
            if what is not None and ear is not None:
                await ear.heard.put(what)

        async with connect(message_handler=take) as client:
            ear = Ear(client)
            for uri in uris:
                await subscribe(client, uri)
            yield ear
        return
    async with connect() as client:
        ear = Ear(client)
        filters: dict[str, Any] = {"prompts_list_changed": True, "resources_list_changed": True} if lists else {}
        async with client.listen(resource_subscriptions=uris, **filters) as stream:
            assert stream.honored.resource_subscriptions == (list(uris) or None)

            async def pump() -> None:
                async for event in stream:
                    await ear.heard.put(_of_event(event))

            pumping = asyncio.create_task(pump())
            yield ear
            pumping.cancel()


def _of_event(event: ServerEvent) -> str:
    match event:
        case ResourceUpdated():
            return event.uri
        case ResourcesListChanged():
            return "resources"
        case PromptsListChanged():
            return "prompts"
    raise AssertionError(event)


def _of_notification(message: types.ServerNotification | Exception) -> str | None:
    match message:
        case types.ResourceUpdatedNotification():
            return message.params.uri
        case types.ResourceListChangedNotification():
            return "resources"
        case types.PromptListChangedNotification():
            return "prompts"
    return None


async def subscribe(client: Client, uri: str) -> None:
    """`resources/subscribe`."""
    await _without_warning(client.session.subscribe_resource, uri)


async def unsubscribe(client: Client, uri: str) -> None:
    """`resources/unsubscribe`."""
    await _without_warning(client.session.unsubscribe_resource, uri)


async def _without_warning(method: Callable[[str], Awaitable[Any]], uri: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)  # gone from the later era, which is tested as well
        await method(uri)
