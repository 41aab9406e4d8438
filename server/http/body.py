"""The body of a request: read whole, within its limit, before anybody looks at it."""

from __future__ import annotations

import logging

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.gate import HEADERS

log = logging.getLogger(__name__)


class WholeBody:
    """Hands a request on when its body is there, and not at all when its client left before.

    The SDK's own does the same for the size; but a client that leaves is an error to what comes after it, with a
    traceback in the log.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared: bytes = scope[HEADERS].get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._most:
            await self._refuse(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                log.debug("a client left before it had sent its request")  # there is nobody to answer
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                await self._refuse(scope, receive, send)
                return
        await self._app(scope, replayed(bytes(body), receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(f"Request body too large: {self._most:,} bytes are read", 413)(scope, receive, send)


def replayed(body: bytes, receive: Receive) -> Receive:
    """What gives the body first, and then what comes after it."""
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal first
        if first is None:
            return await receive()
        message, first = first, None
        return message

    return replay
