"""Where a request goes by its protocol era, and how open streams end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.call_log import LOG_LEVEL_META
from server.http.body import replayed
from server.http.early import Checked
from server.http.gate import HEADERS
from server.session import SESSION, Session

_VERSION = b"mcp-protocol-version"
_METHOD = b"mcp-method"
_STREAM = b"text/event-stream"
_PROGRESS = b'"progressToken"'
_HANDSHAKE_VERSIONS = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)


def is_stream(scope: Scope) -> bool:
    """Whether a request asks to hear of changes, for as long as its client wants."""
    headers: dict[bytes, bytes] = scope[HEADERS]
    return scope["method"] == "GET" or headers.get(_METHOD) == b"subscriptions/listen"


class Eras:
    """Routes a request to the manager of its protocol era.

    Requests of the stateless era are answered in plain JSON, which costs half as much, unless they ask to hear of
    progress or for logs. The handshake era keeps its event streams, which its clients expect.
    """

    def __init__(self, streams: ASGIApp, plain: ASGIApp) -> None:
        self._early = Checked(streams)
        self._streams = streams
        self._plain = plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose body comes in one piece."""
        version = scope[HEADERS].get(_VERSION)
        if version is None or version in _HANDSHAKE_VERSIONS:
            await self._early(scope, receive, send)
            return
        body = (await receive())["body"]
        takes_streams = _STREAM in scope[HEADERS].get(b"accept", b"")
        app = self._streams if takes_streams and (_PROGRESS in body or LOG_LEVEL_META in body) else self._plain
        await app(scope, replayed(body, receive), send)


class Streams:
    """Ends the streams on which clients hear of changes: when the server ends, which would wait for their clients, and
    when the tokens that opened them do.
    """

    def __init__(self, app: ASGIApp, ending: asyncio.Event, is_good: Callable[[Session], bool]) -> None:
        self._app = app
        self._ending = ending
        self._is_good = is_good
        self._open: dict[asyncio.Event, Session] = {}

    def end_worthless(self) -> None:
        """End the streams whose tokens have ended."""
        for over, session in self._open.items():
            if not self._is_good(session):
                over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if is_stream(scope):
            await self._stream(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        unfinished = False
        over = asyncio.Event()

        async def receive_or_end() -> Message:
            received = asyncio.ensure_future(receive())
            ends = [asyncio.ensure_future(event.wait()) for event in (self._ending, over)]
            try:
                await asyncio.wait({received, *ends}, return_when=asyncio.FIRST_COMPLETED)
                return received.result() if received.done() else {"type": "http.disconnect"}
            finally:
                for future in (received, *ends):
                    future.cancel()

        async def watch(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        if SESSION in scope:
            self._open[over] = scope[SESSION]
        try:
            await self._app(scope, receive_or_end, watch)
        finally:
            self._open.pop(over, None)
        if unfinished and (self._ending.is_set() or over.is_set()):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
