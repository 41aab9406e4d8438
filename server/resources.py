"""Resources: what a person attaches and reads in a client. Each is an operation's result under a URI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from server.session import Session, caller_of
from storage.errors import DomainError, Invalid, NotFound
from storage.fields import iso
from storage.find import find
from storage.row import Row
from storage.tables import Agent, Conversation, Knowledge, User
from storage.view import View
from tools_impl.access import required, shown, visible
from tools_impl.caller import Caller
from tools_impl.describe import schema_text
from tools_impl.messages import list_messages
from tools_impl.suggest import advice
from tools_impl.transcripts import brief, plain, transcript

if TYPE_CHECKING:
    from server.service import Service

MARKDOWN = "text/markdown"
JSON = "application/json"
PAGE = 50

Reader = Callable[[View, Caller, str], Awaitable[str]]
"""The text of a resource, of the row with that id."""


async def _schema(_view: View, _me: Caller, _: str) -> str:
    return schema_text()


async def _conversation_list(view: View, me: Caller, _: str) -> str:
    await view.fold()
    rows, _more = await find(view.store, Conversation, visible(me, Conversation), order="-lastMessageTime", limit=PAGE)
    lines = [
        f"- [{plain(row.title)}](one://conversations/{quote(row.id, safe='')})"
        + (f" · {iso(row.last_message_time)}" if row.last_message_time else "")
        for row in rows
    ]
    return "# Conversations\n\n" + ("\n".join(lines) or "None yet.") + "\n"


async def _messages(view: View, me: Caller, row_id: str) -> str:
    return (await list_messages(view, me, row_id)).text()


def _row(table: type[Row]) -> Reader:
    async def read(view: View, me: Caller, row_id: str) -> str:
        return shown(me, await required(view, me, table, row_id)).text()

    return read


FIXED: tuple[tuple[str, str, str, str, Reader], ...] = (
    ("one://schema", "The ONE schema", "Tables and fields", MARKDOWN, _schema),
    ("one://conversations", "Conversations", "The most recent ones", MARKDOWN, _conversation_list),
)
"""(URI, title, description, MIME type, reader)"""

TEMPLATES: tuple[tuple[str, str, str, str, Reader], ...] = (
    ("one://conversations/{id}", "Conversation", "A readable transcript", MARKDOWN, transcript),
    ("one://conversations/{id}/messages", "Messages", "The newest page, as JSON", JSON, _messages),
    ("one://agents/{id}", "Agent", "As JSON", JSON, _row(Agent)),
    ("one://agents/{id}/brief", "Agent's brief", "All that a model needs to act as it", MARKDOWN, brief),
    ("one://users/{id}", "User", "As JSON", JSON, _row(User)),
    ("one://knowledge/{id}", "Knowledge", "As JSON", JSON, _row(Knowledge)),
)

_ROUTES = [
    (re.compile(re.escape(template).replace(r"\{id\}", r"([^/?#]+)")), mime, reader)
    for template, _, _, mime, reader in (*FIXED, *TEMPLATES)
]


class Resources:
    """The resource handlers of the SDK server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def _enter(self, ctx: ServerRequestContext[Session, Any]) -> tuple[View, Caller]:
        view = self._service.engine.view()
        return view, await caller_of(view, self._service.session(ctx))

    async def listing(
        self, ctx: ServerRequestContext[Session, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """The fixed ones, then conversations by their last message, then agents; a page at a time."""
        try:
            view, me = await self._enter(ctx)
            resources, next_cursor = await self._page(view, me, params.cursor if params is not None else None)
        except DomainError as error:
            raise MCPError(code=INVALID_PARAMS, message=error.message) from None
        return types.ListResourcesResult(resources=resources, next_cursor=next_cursor)

    async def _page(self, view: View, me: Caller, cursor: str | None) -> tuple[list[types.Resource], str | None]:
        stage, colon, inner = ("conversations", ":", "") if cursor is None else cursor.partition(":")
        if not colon or stage not in ("conversations", "agents") or cursor == "conversations:":
            raise Invalid("That cursor is not one of ours; pass nextCursor as it came.")
        if stage == "agents":
            agents, more = await find(view.store, Agent, visible(me, Agent), limit=PAGE, cursor=inner or None)
            return [_agent(agent) for agent in agents], f"agents:{more}" if more else None
        await view.fold()
        seen, order = visible(me, Conversation), "-lastMessageTime"
        found, more = await find(view.store, Conversation, seen, order=order, limit=PAGE, cursor=inner or None)
        resources = [_conversation(row) for row in found]
        if cursor is None:
            resources = [_fixed(*one) for one in FIXED] + resources
        return resources, f"conversations:{more}" if more else "agents:"

    async def templates(
        self, ctx: ServerRequestContext[Session, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """What can be read by id."""
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=uri, name=title.lower(), title=title, description=words, mime_type=mime
                )
                for uri, title, words, mime, _ in TEMPLATES
            ]
        )

    async def read(
        self, ctx: ServerRequestContext[Session, Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Read one resource."""
        uri = str(params.uri)
        for route, mime, reader in _ROUTES:
            match = route.fullmatch(uri)
            if match is not None:
                text = await self._text(ctx, reader, unquote(match.group(1)) if route.groups else "")
                return types.ReadResourceResult(
                    contents=[types.TextResourceContents(uri=uri, mime_type=mime, text=text)]
                )
        known = ", ".join(uri for uri, *_ in (*FIXED, *TEMPLATES))
        raise MCPError(code=INVALID_PARAMS, message=f"No resource '{uri}'. Resources: {known}.", data={"uri": uri})

    async def _text(self, ctx: ServerRequestContext[Session, Any], reader: Reader, row_id: str) -> str:
        view, me = None, None
        try:
            view, me = await self._enter(ctx)
            return await reader(view, me, row_id)
        except NotFound as error:
            message = await advice(view, me, error) if view is not None and me is not None else error.message
        except DomainError as error:
            message = error.message
        raise MCPError(code=INVALID_PARAMS, message=message)


def _fixed(uri: str, title: str, words: str, mime: str, _: Reader) -> types.Resource:
    return types.Resource(uri=uri, name=title.lower(), title=title, description=words, mime_type=mime)


def _conversation(row: Conversation) -> types.Resource:
    last = f"Last message {iso(row.last_message_time)}" if row.last_message_time else "No messages yet"
    return types.Resource(
        uri=f"one://conversations/{quote(row.id, safe='')}",
        name=row.id,
        title=row.title,
        description=last,
        mime_type=MARKDOWN,
    )


def _agent(row: Agent) -> types.Resource:
    return types.Resource(
        uri=f"one://agents/{quote(row.id, safe='')}/brief",
        name=row.id,
        title=row.name,
        description=row.description[:200],
        mime_type=MARKDOWN,
    )
