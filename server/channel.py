"""One client's lines on a socket, as the streams that the SDK serves."""

import asyncio
import json
import logging
from types import TracebackType
from typing import Any, Self

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

logger = logging.getLogger(__name__)


class Channel:
    """Reads and writes MCP messages. It knows which requests are unanswered, so that it can be closed between two."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._returned: SessionMessage | None = None
        self._unanswered: set[RequestId] = set()
        self._changed = asyncio.Event()
        self._finishing = False
        self._closed = asyncio.Event()

    async def line(self) -> bytes:
        """The next line; empty at the end. Raises ValueError when it is too long, after saying so to the client."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return b""
        except ValueError:
            await self._answer_error(None, INVALID_REQUEST, "Invalid request: the line is too long")
            raise
        return line if line.endswith(b"\n") else b""

    async def receive(self) -> SessionMessage:
        """The next message. Raises EndOfStream when the client is gone or this side is finishing."""
        if self._returned is not None:
            message, self._returned = self._returned, None
            return message
        while not self._finishing:
            try:
                line = await self.line()
            except ValueError:
                break
            if not line or self._ending():
                break  # what arrives while this side finishes stays unanswered: the client sends it to the next hub
            if (parsed := await self._parse(line)) is not None:
                return parsed
        if self._finishing:
            await self._closed.wait()
        self._closed.set()
        raise anyio.EndOfStream

    def _ending(self) -> bool:
        return self._finishing

    def give_back(self, message: SessionMessage) -> None:
        """Let `receive` return a message once more."""
        self._returned = message

    async def _parse(self, line: bytes) -> SessionMessage | None:
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValidationError as error:
            broken = error.errors(include_url=False)[0]["type"] == "json_invalid"
            if broken:
                await self._answer_error(None, PARSE_ERROR, "Parse error: the line is not JSON")
            else:
                await self._answer_error(_id_in(line), INVALID_REQUEST, "Invalid request: it is no JSON-RPC message")
            return None
        if isinstance(message, JSONRPCRequest):
            if message.method != "subscriptions/listen":
                self.expect(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self.settle((message.params or {}).get("requestId"))
        return SessionMessage(message)

    def expect(self, request_id: RequestId) -> None:
        """Count something as unanswered until it is settled."""
        self._unanswered.add(request_id)

    def settle(self, request_id: object) -> None:
        """Count something as answered."""
        if isinstance(request_id, str | int):
            self._unanswered.discard(request_id)
        self._changed.set()

    async def send(self, item: SessionMessage) -> None:
        """Write a message; waits while the client does not read. After the close nothing is written.

        The SDK answers what is cut off with an error. The client must not see that: its proxy asks the next hub.
        """
        message = item.message
        if self._closed.is_set() or self._writer.is_closing():
            return
        self._writer.write(message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self.settle(message.id)
        await self._drain()

    async def send_line(self, data: dict[str, Any]) -> None:
        """Write a line that is no MCP message."""
        if self._closed.is_set() or self._writer.is_closing():
            return
        self._writer.write(json.dumps(data, separators=(",", ":")).encode() + b"\n")
        await self._drain()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError:
            self._closed.set()

    async def _answer_error(self, request_id: RequestId | None, code: int, text: str) -> None:
        error = JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=text))
        await self.send(SessionMessage(error))

    async def finish(self, grace: float, *, bye: bool) -> None:
        """Take no more requests, answer those taken if that needs no more than `grace` seconds, and close.

        `bye` tells the client that the end was meant.
        """
        self._finishing = True
        with anyio.move_on_after(grace):
            while self._unanswered:
                self._changed.clear()
                await self._changed.wait()
        if bye:
            with anyio.move_on_after(1):  # a client that does not read is not waited for
                await self.send_line({"one-mcp": 1, "bye": True})
        await self.aclose()

    async def aclose(self) -> None:
        """End the connection, from either side and any number of times."""
        self._closed.set()
        self._writer.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _id_in(line: bytes) -> RequestId | None:
    """The id of a message that is JSON but no request, as far as it has one."""
    data = json.loads(line)
    value = data.get("id") if isinstance(data, dict) else None
    return value if isinstance(value, str) or type(value) is int else None
