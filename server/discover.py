"""`server/discover` ahead of the choice of an era.

The SDK takes the first request of a connection for the era it stays in. Real clients ask what a server speaks and
then shake hands as in 2025; so early discovers are answered one by one, and what follows them chooses the era.
"""

from collections.abc import Mapping
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import modern_error_data, serve_one
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.inbound import InboundLadderRejection, classify_inbound_request
from mcp.shared.message import SessionMessage
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    PROTOCOL_VERSION_META_KEY,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from server.channel import Channel


class _Context:
    """What the SDK's kernel needs to know of a request that is answered alone."""

    transport = TransportContext(kind="stdio", can_send_request=False)
    can_send_request = False
    message_metadata = None

    def __init__(self, request_id: RequestId) -> None:
        self.request_id = request_id
        self.cancel_requested = anyio.Event()

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """A discover has nothing to tell besides its answer."""

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """A discover is done at once."""


async def answer_discovers(channel: Channel, server: Server[Any], state: Any) -> None:
    """Answer the discovers that open a connection; the first other message is left in the channel."""
    async for item in channel:
        message = item.message
        if not isinstance(message, JSONRPCRequest) or not _is_discover(message):
            channel.give_back(item)
            return
        await channel.send(SessionMessage(await _answer(message, server, state)))


def _is_discover(message: JSONRPCRequest) -> bool:
    meta = (message.params or {}).get("_meta")
    return message.method == "server/discover" and isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta


async def _answer(message: JSONRPCRequest, server: Server[Any], state: Any) -> JSONRPCResponse | JSONRPCError:
    route = classify_inbound_request({"method": message.method, "params": message.params})
    if isinstance(route, InboundLadderRejection):
        error = ErrorData(code=route.code, message=route.message, data=route.data)
        return JSONRPCError(jsonrpc="2.0", id=message.id, error=error)
    connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
    try:
        result = await serve_one(
            server,
            _Context(message.id),
            message.method,
            message.params,
            connection=connection,
            lifespan_state=state,
        )
    except Exception as error:  # noqa: BLE001 - the SDK's own boundary: it logs, and says what the wire may carry
        return JSONRPCError(jsonrpc="2.0", id=message.id, error=modern_error_data(error))
    return JSONRPCResponse(jsonrpc="2.0", id=message.id, result=result)
