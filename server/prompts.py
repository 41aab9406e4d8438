"""MCP prompts: the built-in ones, and the rows of `prompts` that are in use."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from server.handlers import answered
from server.session import Session
from storage.find import find
from storage.predicate import Both, Either, Is
from storage.tables import Prompt
from storage.view import View
from tools_impl.access import visible
from tools_impl.builtin_prompts import BUILT_IN, BuiltIn
from tools_impl.caller import Caller
from tools_impl.mistakes import closest
from tools_impl.rendering import check_values, optional_names, render, required_names

if TYPE_CHECKING:
    from server.service import Service

PAGE = 50
SLUG_CHARS = 40
_OTHER = re.compile(r"[^a-z0-9]+")
_SERVED = Either((Is(Prompt, "status", None), Is(Prompt, "status", "active")))


def is_served(prompt: Prompt) -> bool:
    """Whether a row is an MCP prompt."""
    return prompt.status in (None, "active")


def name_of(prompt: Prompt) -> str:
    """A name that says what it is, and by its end which one: `brand_voice-prompt_12`."""
    plain = unicodedata.normalize("NFKD", prompt.title).encode("ascii", "ignore").decode().lower()
    slug = _OTHER.sub("_", plain).strip("_")[:SLUG_CHARS].strip("_")
    return f"{slug or 'prompt'}-{quote(prompt.id, safe='')}"


async def served(view: View, me: Caller, name: str) -> Prompt | None:
    """The prompt of that name. Its id decides: a client may know it by an earlier title."""
    slug, hyphen, row_id = name.partition("-")
    prompt = await view.find_row(unquote(row_id), Prompt) if slug and hyphen else None
    if prompt is None or not is_served(prompt) or not await visible(me, Prompt).holds(prompt, view):
        return None
    return prompt


def unknown(name: str) -> MCPError:
    """The answer to a name that is none."""
    meant = closest(name, list(BUILT_IN))
    hint = f" Did you mean '{meant}'?" if meant else " prompts/list has them."
    return MCPError(code=INVALID_PARAMS, message=f"No prompt '{name}'.{hint}")


class Prompts:
    """The prompt handlers of the SDK server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def listing(
        self, ctx: ServerRequestContext[Session, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """The built-in ones, then the newest rows first; a page at a time."""
        cursor = params.cursor if params is not None else None

        async def page(view: View, me: Caller) -> tuple[list[Prompt], str | None]:
            return await find(view.store, Prompt, Both((visible(me, Prompt), _SERVED)), limit=PAGE, cursor=cursor)

        rows, next_cursor = await answered(self._service, ctx, page)
        prompts = [_built_in(name, one) for name, one in BUILT_IN.items()] if cursor is None else []
        return types.ListPromptsResult(prompts=prompts + [_prompt(row) for row in rows], next_cursor=next_cursor)

    async def get(
        self, ctx: ServerRequestContext[Session, Any], params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        """One prompt with the values in it."""
        name, values = params.name, params.arguments or {}
        built_in = BUILT_IN.get(name)

        async def written(view: View, me: Caller) -> types.GetPromptResult:
            if built_in is not None:
                check_values(f"'{name}'", built_in.needed, list(built_in.arguments), values)
                return _message(built_in.words, await built_in.write(view, me, values))
            prompt = await served(view, me, name)
            if prompt is None:
                raise unknown(name)
            return _message(prompt.description, render(prompt, values))

        return await answered(self._service, ctx, written)


def _message(words: str | None, text: str) -> types.GetPromptResult:
    content = types.TextContent(type="text", text=text)
    return types.GetPromptResult(description=words, messages=[types.PromptMessage(role="user", content=content)])


def _built_in(name: str, prompt: BuiltIn) -> types.Prompt:
    arguments = [
        types.PromptArgument(name=argument, description=one.words, required=one.required)
        for argument, one in prompt.arguments.items()
    ]
    return types.Prompt(name=name, title=prompt.title, description=prompt.words, arguments=arguments)


def _prompt(row: Prompt) -> types.Prompt:
    arguments = [types.PromptArgument(name=name, required=True) for name in required_names(row)]
    arguments += [types.PromptArgument(name=name, required=False) for name in optional_names(row)]
    return types.Prompt(
        name=name_of(row), title=row.title, description=row.description or row.title, arguments=arguments
    )
