"""One request of any kind, carried out for real, and what became of it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.clients import said
from tests.listening import subscribe


@dataclass(frozen=True, slots=True)
class Ask:
    """A request of the protocol, as JSON has it."""

    method: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the whole of it as text. `code` is that of an error, "" where there is none."""

    code: str
    text: str


def tool(name: str, /, **arguments: Any) -> Ask:
    """A tool call; `as_` and `in_` stand for the words that Python keeps for itself."""
    return Ask("tools/call", {"name": name, "arguments": {key.rstrip("_"): value for key, value in arguments.items()}})


def read(uri: str) -> Ask:
    """Reading a resource."""
    return Ask("resources/read", {"uri": uri})


def follow(uri: str) -> Ask:
    """Following a resource in the era with sessions."""
    return Ask("resources/subscribe", {"uri": uri})


def listen(uri: str) -> Ask:
    """Following a resource in the era without."""
    return Ask("subscriptions/listen", {"notifications": {"resourceSubscriptions": [uri]}})


def prompt(name: str, /, **values: str) -> Ask:
    """Getting a prompt."""
    return Ask("prompts/get", {"name": name, "arguments": values})


def complete(kind: str, named: str, argument: str, typed: str) -> Ask:
    """Completing an argument. `kind`: "prompt" with a name, or "resource" with the URI of a template."""
    ref = {"type": f"ref/{kind}", "name" if kind == "prompt" else "uri": named}
    return Ask("completion/complete", {"ref": ref, "argument": {"name": argument, "value": typed}})


def listed(method: str) -> Ask:
    """A list of the protocol, all pages of it."""
    return Ask(method, {})


async def answer(client: Client, ask: Ask) -> Answer:
    """Carry out a request."""
    try:
        return await _PERFORM[ask.method](client, ask.params)
    except MCPError as error:
        refused = "forbidden" if re.search("is no active user or agent", error.message) else "refused"
        return Answer(refused, json.dumps([error.error.code, error.message, error.error.data], ensure_ascii=False))


async def _tool(client: Client, params: dict[str, Any]) -> Answer:
    result = await client.call_tool(params["name"], params["arguments"])
    assert isinstance(result, types.CallToolResult)
    structured: dict[str, Any] = result.structured_content or {}
    code = structured["error"]["code"] if result.is_error else ""
    return Answer(code, json.dumps([structured, said(result)], ensure_ascii=False))


async def _read(client: Client, params: dict[str, Any]) -> Answer:
    return Answer("", str((await client.read_resource(params["uri"])).contents))


async def _prompt(client: Client, params: dict[str, Any]) -> Answer:
    return Answer("", str((await client.get_prompt(params["name"], params["arguments"])).messages))


async def _complete(client: Client, params: dict[str, Any]) -> Answer:
    given = params["ref"]
    ref = (
        types.PromptReference(type="ref/prompt", name=given["name"])
        if given["type"] == "ref/prompt"
        else types.ResourceTemplateReference(type="ref/resource", uri=given["uri"])
    )
    return Answer("", str((await client.complete(ref, params["argument"])).completion))


async def _subscribe(client: Client, params: dict[str, Any]) -> Answer:
    await subscribe(client, params["uri"])
    return Answer("", "followed")


async def _listen(client: Client, params: dict[str, Any]) -> Answer:
    uris = params["notifications"]["resourceSubscriptions"]
    async with client.listen(resource_subscriptions=uris) as stream:
        return Answer("", f"followed: {stream.honored.resource_subscriptions or []}")


def _pages(method: str) -> Callable[[Client, dict[str, Any]], Awaitable[Answer]]:
    async def every(client: Client, _: dict[str, Any]) -> Answer:
        one: Any = {
            "tools/list": client.list_tools,
            "prompts/list": client.list_prompts,
            "resources/list": client.list_resources,
            "resources/templates/list": client.list_resource_templates,
        }[method]
        text, cursor = "", None
        while True:
            page = await one(cursor=cursor)
            text += page.model_dump_json(exclude={"next_cursor"})
            cursor = page.next_cursor
            if cursor is None:
                return Answer("", text)

    return every


_PERFORM: dict[str, Callable[[Client, dict[str, Any]], Awaitable[Answer]]] = {
    "tools/call": _tool,
    "resources/read": _read,
    "resources/subscribe": _subscribe,
    "subscriptions/listen": _listen,
    "prompts/get": _prompt,
    "completion/complete": _complete,
    **{
        method: _pages(method)
        for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
    },
}
