"""What the conformance suite asks of a server besides what it is: tools, prompts and resources named `test_...`.

They are put around the handlers of a service that a test opened. The product has no way to switch them on.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from server.service import Service
from server.session import Session
from tests.conformance.tools import SCHEMAS, TOOLS, triggers
from tests.conformance.values import IMAGE, PNG, question

P = TypeVar("P", bound=types.RequestParams)
Context = ServerRequestContext[Session, Any]
Handler = Callable[[Context, P], Awaitable[HandlerResult]]

TEMPLATE = "test://template/{id}/data"
TEXTS = {
    "test://static-text": "This is the content of the static text resource.",
    "test://watched-resource": "Somebody may follow this.",
}
BINARY = "test://static-binary"
PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


def register(service: Service) -> None:
    """Let a service have the fixtures besides what it has."""
    server = service.server
    tools = TOOLS | triggers(service)
    product, lookup = server.middleware[0], server.get_tool_input_schema
    assert lookup is not None

    async def ours_or_the_products(ctx: Context, call_next: CallNext) -> HandlerResult:
        ours = ctx.method == "tools/call" and (ctx.params or {}).get("name") in tools
        return await (call_next(ctx) if ours else product(ctx, call_next))

    async def call(ctx: Context, params: types.CallToolRequestParams) -> HandlerResult:
        return await tools[params.name](ctx, params)

    server.middleware[0] = ours_or_the_products
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="test"))
    server.get_tool_input_schema = lambda name: SCHEMAS[name] if name in tools else lookup(name)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call)
    _more(service, "tools/list", "tools", [_tool(name) for name in tools])
    _more(service, "prompts/list", "prompts", [_prompt(name) for name in PROMPTS])
    _more(service, "resources/list", "resources", [_resource(uri) for uri in (*TEXTS, BINARY)])
    _more(service, "resources/templates/list", "resource_templates", [_template()])
    _before(service, "resources/read", types.ReadResourceRequestParams, _read)
    _before(service, "resources/subscribe", types.SubscribeRequestParams, _follow)
    _before(service, "resources/unsubscribe", types.UnsubscribeRequestParams, _follow)
    _before(service, "prompts/get", types.GetPromptRequestParams, _get)
    _before(service, "completion/complete", types.CompleteRequestParams, _complete)


def _before(service: Service, method: str, params_type: type[P], ours: Handler[P]) -> None:
    """Ask `ours` first; what it answers None to is the product's."""
    product = service.server.get_request_handler(method)
    assert product is not None

    async def handle(ctx: Context, params: P) -> HandlerResult:
        result = await ours(ctx, params)
        return result if result is not None else await product.handler(ctx, params)

    service.server.add_request_handler(method, params_type, handle)


def _more(service: Service, method: str, field: str, ours: list[Any]) -> None:
    """Put `ours` in front of the first page of a list."""
    product = service.server.get_request_handler(method)
    assert product is not None

    async def handle(ctx: Context, params: types.PaginatedRequestParams) -> HandlerResult:
        result = await product.handler(ctx, params)
        if params.cursor is not None or not isinstance(result, types.PaginatedResult):
            return result
        return result.model_copy(update={field: [*ours, *getattr(result, field)]})

    service.server.add_request_handler(method, types.PaginatedRequestParams, handle)


def _tool(name: str) -> types.Tool:
    return types.Tool(name=name, description="A fixture of the conformance suite.", input_schema=SCHEMAS[name])


def _prompt(name: str) -> types.Prompt:
    arguments = [types.PromptArgument(name=one, required=True) for one in PROMPTS[name]]
    return types.Prompt(name=name, description="A fixture of the conformance suite.", arguments=arguments)


def _resource(uri: str) -> types.Resource:
    return types.Resource(uri=uri, name=uri.removeprefix("test://"), mime_type="text/plain")


def _template() -> types.ResourceTemplate:
    return types.ResourceTemplate(uri_template=TEMPLATE, name="template", mime_type="application/json")


async def _read(__: Context, params: types.ReadResourceRequestParams) -> HandlerResult:
    uri = str(params.uri)
    before, _, after = TEMPLATE.partition("{id}")
    content: types.TextResourceContents | types.BlobResourceContents
    if uri in TEXTS:
        content = types.TextResourceContents(uri=uri, mime_type="text/plain", text=TEXTS[uri])
    elif uri == BINARY:
        content = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    elif uri.startswith(before) and uri.endswith(after):
        row_id = uri.removeprefix(before).removesuffix(after)
        text = json.dumps({"id": row_id, "templateTest": True, "data": f"Data for ID: {row_id}"})
        content = types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
    else:
        return None
    return types.ReadResourceResult(contents=[content])


async def _follow(
    _: Context, params: types.SubscribeRequestParams | types.UnsubscribeRequestParams
) -> types.EmptyResult | None:
    return types.EmptyResult() if str(params.uri) in TEXTS else None


async def _get(ctx: Context, params: types.GetPromptRequestParams) -> HandlerResult:
    name, values = params.name, params.arguments or {}
    if name not in PROMPTS:
        return None
    missing = [one for one in PROMPTS[name] if one not in values]
    if missing:
        raise MCPError(code=types.INVALID_PARAMS, message=f"'{missing[0]}' is missing.")
    match name:
        case "test_simple_prompt":
            return _messages(_text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            return _messages(_text("Prompt with arguments: arg1='{arg1}', arg2='{arg2}'".format(**values)))
        case "test_prompt_with_embedded_resource":
            resource = types.TextResourceContents(
                uri=values["resourceUri"], mime_type="text/plain", text="Embedded resource content for testing."
            )
            embedded = types.EmbeddedResource(type="resource", resource=resource)
            return _messages(embedded, _text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            return _messages(IMAGE, _text("Please analyze the image above."))
    answer = (params.input_responses or {}).get("user_context")
    if not isinstance(answer, types.ElicitResult):
        asked = question("What context should the prompt use?", context="string")
        return types.InputRequiredResult(input_requests={"user_context": asked})
    return _messages(_text(f"In the context of {answer.content}."))


def _messages(*contents: types.ContentBlock) -> types.GetPromptResult:
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=one) for one in contents])


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


async def _complete(_: Context, params: types.CompleteRequestParams) -> HandlerResult:
    if not isinstance(params.ref, types.PromptReference) or params.ref.name not in PROMPTS:
        return None
    return types.CompleteResult(completion=types.Completion(values=[f"{params.argument.value}-value"], total=1))
