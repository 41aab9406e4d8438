"""Resources: what a person attaches and reads in a client. Each is an operation's result under a URI."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from server.handlers import answered
from server.session import Session
from storage.errors import Invalid
from storage.fields import iso
from storage.find import find
from storage.row import Row
from storage.tables import Agent, Conversation, Event, Knowledge, User
from storage.view import View
from tools_impl.access import required, shown, visible
from tools_impl.caller import Caller
from tools_impl.describe import schema_text
from tools_impl.messages import list_messages
from tools_impl.transcripts import brief, plain, transcript

if TYPE_CHECKING:
    from server.service import Service

MARKDOWN = "text/markdown"
JSON = "application/json"
CALENDAR = "text/calendar"
PAGE = 50
STATIC = CacheHint(ttl_ms=3_600_000, scope="public")
"""What changes with the program only, and is the same for all."""

Reader = Callable[[View, Caller, str], Awaitable[str]]
"""The text of a resource, of the row with that id."""


async def _schema(_view: View, _me: Caller, _: str) -> str:
    return schema_text()


async def _conversations(view: View, me: Caller, _: str) -> str:
    await view.fold()
    rows, _more = await find(view.store, Conversation, visible(me, Conversation), order="-lastMessageTime", limit=PAGE)
    lines = [
        f"- [{plain(row.title)}](one://conversations/{quote(row.id, safe='')})"
        + (f" · {iso(row.last_message_time)}" if row.last_message_time else "")
        for row in rows
    ]
    return "# Conversations\n\n" + ("\n".join(lines) or "None yet.") + "\n"


async def _messages(view: View, me: Caller, row_id: str) -> str:
    return (await list_messages(view, me, row_id, format="detailed")).text()


def _row(table: type[Row]) -> Reader:
    async def read(view: View, me: Caller, row_id: str) -> str:
        return (await shown(view, me, await required(view, me, table, row_id))).text()

    return read


async def _calendar(view: View, me: Caller, _: str) -> str:
    from tools_impl.calendar import calendar  # its library is not needed to start

    return await calendar(view, me)


class Declared(NamedTuple):
    """A resource, or a template of some. `table` has the rows that it shows; None: it never changes."""

    uri: str
    title: str
    words: str
    mime: str
    read: Reader
    table: type[Row] | None


FIXED: tuple[Declared, ...] = (
    Declared("one://schema", "The ONE schema", "Tables and fields", MARKDOWN, _schema, None),
    Declared("one://conversations", "Conversations", "The most recent ones", MARKDOWN, _conversations, Conversation),
    Declared("one://calendar.ics", "Calendar", "Your events", CALENDAR, _calendar, Event),
)

_BRIEF = "All that a model needs to act as it"
TEMPLATES: tuple[Declared, ...] = (
    Declared("one://conversations/{id}", "Conversation", "A readable transcript", MARKDOWN, transcript, Conversation),
    Declared(
        "one://conversations/{id}/messages", "Messages", "The newest page, as JSON", JSON, _messages, Conversation
    ),
    Declared("one://agents/{id}", "Agent", "As JSON", JSON, _row(Agent), Agent),
    Declared("one://agents/{id}/brief", "Agent's brief", _BRIEF, MARKDOWN, brief, Agent),
    Declared("one://users/{id}", "User", "As JSON", JSON, _row(User), User),
    Declared("one://knowledge/{id}", "Knowledge", "As JSON", JSON, _row(Knowledge), Knowledge),
)

_ROUTES = [(re.compile(re.escape(one.uri).replace(r"\{id\}", r"([^/?#]+)")), one) for one in (*FIXED, *TEMPLATES)]


def located(uri: str) -> tuple[Declared, str]:
    """What a URI names, and the id in it ("" where it has none).

    Raises:
        MCPError: no resource has such a URI.
    """
    for route, declared in _ROUTES:
        match = route.fullmatch(uri)
        if match is not None:
            return declared, unquote(match.group(1)) if route.groups else ""
    known = ", ".join(one.uri for one in (*FIXED, *TEMPLATES))
    raise MCPError(code=INVALID_PARAMS, message=f"No resource '{uri}'. Resources: {known}.", data={"uri": uri})


class Resources:
    """The resource handlers of the SDK server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def listing(
        self, ctx: ServerRequestContext[Session, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """The fixed ones, then conversations by their last message, then agents; a page at a time."""
        cursor = params.cursor if params is not None else None
        resources, next_cursor = await answered(self._service, ctx, lambda view, me: self._page(view, me, cursor))
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
            resources = [_fixed(one) for one in FIXED] + resources
        return resources, f"conversations:{more}" if more else "agents:"

    async def templates(
        self, ctx: ServerRequestContext[Session, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """What can be read by id."""
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=one.uri,
                    name=one.title.lower(),
                    title=one.title,
                    description=one.words,
                    mime_type=one.mime,
                )
                for one in TEMPLATES
            ]
        )

    async def read(
        self, ctx: ServerRequestContext[Session, Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Read one resource."""
        uri = str(params.uri)
        declared, row_id = located(uri)
        text = await answered(self._service, ctx, lambda view, me: declared.read(view, me, row_id))
        result = types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=uri, mime_type=declared.mime, text=text)]
        )
        if declared.table is None:  # it changes with the program only, and is the same for all
            result.ttl_ms, result.cache_scope = STATIC.ttl_ms, STATIC.scope
        return result

    async def check(self, ctx: ServerRequestContext[Session, Any], uri: str) -> None:
        """Whether the caller may hear of a resource.

        Raises:
            MCPError: not; the text is the one that reading it has.
        """
        declared, row_id = located(uri)
        table = declared.table

        async def look(view: View, me: Caller) -> None:
            if table is not None and row_id:
                await required(view, me, table, row_id)

        await answered(self._service, ctx, look)


def _fixed(one: Declared) -> types.Resource:
    return types.Resource(
        uri=one.uri, name=one.title.lower(), title=one.title, description=one.words, mime_type=one.mime
    )


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
