"""`completion/complete`: ids for what somebody types in place of `{id}`, or into an argument of a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from server.handlers import answered
from server.prompts import served, unknown
from server.resources import FIXED, TEMPLATES
from server.session import Session
from storage.completing import completions
from storage.row import Row
from storage.tables import Conversation, Tag
from storage.view import View
from tools_impl.access import visible
from tools_impl.builtin_prompts import BUILT_IN
from tools_impl.caller import Caller

if TYPE_CHECKING:
    from server.service import Service

MOST = 100
"""The protocol allows no more at a time."""


class Completions:
    """The completion handler of the SDK server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def complete(
        self, ctx: ServerRequestContext[Session, Any], params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        """What the caller may mean, among what they see."""
        found, total = await answered(self._service, ctx, lambda view, me: _completed(view, me, params))
        completion = types.Completion(values=found, total=total, has_more=total > len(found))
        return types.CompleteResult(completion=completion)


async def _completed(view: View, me: Caller, params: types.CompleteRequestParams) -> tuple[list[str], int]:
    """The first values, and how many there are."""
    if isinstance(params.ref, types.PromptReference):
        table = await _of_prompt(view, me, params.ref.name, params.argument.name)
    else:
        table = _of_template(params.ref.uri, params.argument.name)
    if table is None:
        return [], 0
    if table is Conversation:
        await view.fold()  # the most recent by their last message
    value = "name" if table is Tag else "_id"
    return await completions(view.store, table, visible(me, table), params.argument.value, value=value, limit=MOST)


async def _of_prompt(view: View, me: Caller, name: str, argument: str) -> type[Row] | None:
    """The table that has the values of a prompt's argument; None: it takes any text."""
    built_in = BUILT_IN.get(name)
    if built_in is not None:
        if argument not in built_in.arguments:
            raise MCPError(code=INVALID_PARAMS, message=f"'{name}' takes {', '.join(built_in.arguments)}.")
        return built_in.arguments[argument].table
    if await served(view, me, name) is None:
        raise unknown(name)
    return None


def _of_template(uri: str, argument: str) -> type[Row] | None:
    declared = next((one for one in (*FIXED, *TEMPLATES) if one.uri == uri), None)
    if declared is None:
        known = ", ".join(one.uri for one in TEMPLATES)
        raise MCPError(code=INVALID_PARAMS, message=f"No resource template '{uri}'. Templates: {known}.")
    return declared.table if argument == "id" and "{id}" in uri else None
