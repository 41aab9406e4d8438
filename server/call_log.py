"""What a client that asks for logs hears of its own calls: the tool, how long it took, and how it failed."""

from __future__ import annotations

from typing import Any, get_args

import mcp_types as types
from mcp.server.connection import Connection, allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp_types import LoggingLevel
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from server.answers import Failure
from server.session import Session
from storage.row import Result

LOG_LEVEL_META = b'"io.modelcontextprotocol/logLevel"'
"""By this a request of the stateless era asks for logs."""
_KEY = "one-mcp/log-level"
_LEVELS: tuple[LoggingLevel, ...] = get_args(LoggingLevel)
"""The least important first."""


async def set_level(ctx: ServerRequestContext[Session, Any], params: types.SetLevelRequestParams) -> types.EmptyResult:
    """From now on a connection of the handshake era hears what is at least so important."""
    connection: Connection = ctx.session._connection  # the SDK offers handlers no other way to it
    connection.state[_KEY] = params.level
    return types.EmptyResult()


def hears(ctx: ServerRequestContext[Session, Any], level: LoggingLevel) -> bool:
    """Whether the client of a request wants to hear of something. Nobody does who has not said so."""
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return level in allowed_log_levels(ctx.protocol_version, ctx.meta)
    least: LoggingLevel | None = ctx.session._connection.state.get(_KEY)
    return least is not None and _LEVELS.index(level) >= _LEVELS.index(least)


async def tell(ctx: ServerRequestContext[Session, Any], tool: str, seconds: float, result: Result) -> None:
    """Log a call to its own client, if that wants to hear of it: failures as warnings, the others for debugging."""
    level: LoggingLevel = "warning" if isinstance(result, Failure) else "debug"
    if not hears(ctx, level):
        return
    data: dict[str, Any] = {"tool": tool, "milliseconds": round(seconds * 1000, 1)}
    if isinstance(result, Failure):
        data["error"] = result.code
    params = types.LoggingMessageNotificationParams(level=level, logger="one-mcp", data=data)
    notification = types.LoggingMessageNotification(params=params)
    await ctx.session.send_notification(notification, related_request_id=ctx.request_id)
