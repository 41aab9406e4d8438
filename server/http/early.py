"""What a body of the handshake era is checked for before the SDK takes it.

The SDK's own answer to a body that is no message is the text of a library, with the values in it. And of two requests
that are under way in a session with the same id, it would answer only the second: the first one would wait for ever.
"""

from __future__ import annotations

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.body import replayed
from server.http.gate import HEADERS
from server.session import SESSION

_SESSION_HEADER = b"mcp-session-id"
_NO_JSON = ErrorData(
    code=PARSE_ERROR, message="The body is not JSON in UTF-8, has half characters, or is nested too deeply."
)
_NO_MESSAGE = ErrorData(
    code=INVALID_REQUEST,
    message="The body must be one JSON-RPC 2.0 message: a request, a notification or an answer. Batches are not taken.",
)
_TAKEN = ErrorData(
    code=INVALID_REQUEST,
    message="A request of that id is under way in this session; give each request an id of its own.",
)


class Checked:
    """Lets through what is a message, and requests whose id no other one of the session has at the time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way: set[tuple[str | None, bytes, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose body comes in one piece."""
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = (await receive())["body"]
        error, number = _read(body)
        caller, session = scope.get(SESSION), scope[HEADERS].get(_SESSION_HEADER)
        grant = caller.grant_id if caller is not None else None
        key = (grant, session, number) if session is not None and number is not None else None
        if key in self._under_way:
            error = _TAKEN
        if error is not None:
            await _refusal(error)(scope, receive, send)
            return
        if key is None:
            await self._app(scope, replayed(body, receive), send)
            return
        self._under_way.add(key)
        try:
            await self._app(scope, replayed(body, receive), send)
        finally:
            self._under_way.discard(key)


def _read(body: bytes) -> tuple[ErrorData | None, str | None]:
    """What is wrong with a body, and the id of the request in it as the SDK tells them apart."""
    try:
        message = jsonrpc_message_adapter.validate_python(from_json(body), by_name=False)
    except ValidationError:
        return _NO_MESSAGE, None
    except ValueError:
        return _NO_JSON, None
    return None, str(message.id) if isinstance(message, JSONRPCRequest) else None


def _refusal(error: ErrorData) -> JSONResponse:
    answer = JSONRPCError(jsonrpc="2.0", id=None, error=error)
    return JSONResponse(answer.model_dump(by_alias=True, exclude_unset=True, mode="json"), status_code=400)
