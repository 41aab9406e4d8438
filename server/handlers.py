"""What the handlers of resources, prompts and completions do alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from server.session import Session, caller_of
from storage.errors import DomainError, NotFound
from storage.view import View
from tools_impl.caller import Caller
from tools_impl.suggest import advice

if TYPE_CHECKING:
    from server.service import Service

T = TypeVar("T")


async def answered(
    service: Service, ctx: ServerRequestContext[Session, Any], question: Callable[[View, Caller], Awaitable[T]]
) -> T:
    """What the caller gets; errors of the domain become those of the protocol.

    Raises:
        MCPError: the question has no answer for this caller.
    """
    view, me = service.engine.view(), None
    try:
        me = await caller_of(view, service.session(ctx))
        return await question(view, me)
    except NotFound as error:
        message = await advice(view, me, error) if me is not None else error.message
    except DomainError as error:
        message = error.message
    raise MCPError(code=INVALID_PARAMS, message=message)
