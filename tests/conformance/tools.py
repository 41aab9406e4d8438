"""The tools of the conformance suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as types
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from server.service import Service
from server.session import Session
from storage.tables import Prompt
from storage.transaction import Transaction
from tests.conformance.values import AUDIO, IMAGE, embedded, form, question, sampling

Context = ServerRequestContext[Session, Any]
Params = types.CallToolRequestParams
Tool = Callable[[Context, Params], Awaitable[HandlerResult]]

PAUSE = 0.05
"""Seconds between two notifications: the suite asks for them, so that a client gets each by itself."""


def _said(*content: types.ContentBlock | str, is_error: bool = False) -> types.CallToolResult:
    blocks = [types.TextContent(type="text", text=one) if isinstance(one, str) else one for one in content]
    return types.CallToolResult(content=blocks, is_error=is_error)


def _always(*content: types.ContentBlock | str, is_error: bool = False) -> Tool:
    async def tool(_: Context, __: Params) -> HandlerResult:
        return _said(*content, is_error=is_error)

    return tool


# -- what a tool says while it works ---------------------------------------------------------------------------------


async def _log(ctx: Context, text: str) -> None:
    params = types.LoggingMessageNotificationParams(level="info", data=text)
    notification = types.LoggingMessageNotification(params=params)
    await ctx.session.send_notification(notification, related_request_id=ctx.request_id)


async def _with_logging(ctx: Context, _: Params) -> HandlerResult:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await _log(ctx, text)
        await asyncio.sleep(PAUSE)
    return _said("Logged three times.")


async def _with_progress(ctx: Context, _: Params) -> HandlerResult:
    for progress in (0, 50, 100):
        await ctx.session.report_progress(progress, 100)
        await asyncio.sleep(PAUSE)
    return _said("Reported three times.")


async def _closes_its_stream(ctx: Context, _: Params) -> HandlerResult:
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    return _said("Reconnected.")


# -- what a tool asks of a client of the handshake era ---------------------------------------------------------------


def _requires(ctx: Context, **capabilities: Any) -> None:
    declared = ctx.session.client_capabilities
    missing: dict[str, dict[str, Any]] = {
        name: {} for name in capabilities if declared is None or getattr(declared, name) is None
    }
    if missing:
        text = f"This needs a client with {', '.join(missing)}."
        data = {"requiredCapabilities": missing}
        raise MCPError(code=types.MISSING_REQUIRED_CLIENT_CAPABILITY, message=text, data=data)


async def _sampling(ctx: Context, params: Params) -> HandlerResult:
    _requires(ctx, sampling={})
    request = sampling(str((params.arguments or {})["prompt"]), 100)
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    result = await ctx.session.send_request(request, types.CreateMessageResult, metadata=related)
    return _said(f"LLM response: {result.content}")


def _asks(fields: dict[str, Any]) -> Tool:
    async def tool(ctx: Context, params: Params) -> HandlerResult:
        _requires(ctx, elicitation={})
        message = str((params.arguments or {}).get("message", "Please fill this in."))
        result = await ctx.session.elicit_form(message, form(**fields), related_request_id=ctx.request_id)
        return _said(f"Elicitation completed: action={result.action}, content={json.dumps(result.content)}")

    return tool


DEFAULTS: dict[str, Any] = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}
_NAMES = ["option1", "option2", "option3"]
_TITLED = [{"const": f"value{number}", "title": f"Choice {number}"} for number in (1, 2, 3)]
ENUMS: dict[str, Any] = {
    "untitledSingle": {"type": "string", "enum": _NAMES},
    "titledSingle": {"type": "string", "oneOf": _TITLED},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _NAMES}},
    "titledMulti": {"type": "array", "items": {"anyOf": _TITLED}},
}


# -- what a tool asks of a client of the stateless era ---------------------------------------------------------------

_NAME = question("What is your name?", name="string")
_CAPITAL = sampling("What is the capital of France?", 100)
_ROOTS = types.ListRootsRequest(params=types.RequestParams())
_NEEDS: dict[type[Any], str] = {
    types.ElicitRequest: "elicitation",
    types.CreateMessageRequest: "sampling",
    types.ListRootsRequest: "roots",
}
_ANSWERS: dict[type[Any], tuple[type[Any], ...]] = {
    types.ElicitRequest: (types.ElicitResult,),
    types.CreateMessageRequest: (types.CreateMessageResult, types.CreateMessageResultWithTools),
    types.ListRootsRequest: (types.ListRootsResult,),
}


def _needs_input(*rounds: dict[str, Any], says: str = "state-ok", keeps_state: bool = False) -> Tool:
    """A tool that asks in rounds, each of them once what the last asked for is there. The state counts the rounds."""

    async def tool(_: Context, params: Params) -> HandlerResult:
        number = int(params.request_state or 0)
        answers = params.input_responses or {}
        answered = all(isinstance(answers.get(key), _ANSWERS[type(asked)]) for key, asked in rounds[number].items())
        if answered and number == len(rounds) - 1:
            return _said(f"{says}: {sorted(answers)}")
        number += answered
        state = str(number) if keeps_state else None
        return types.InputRequiredResult(input_requests=rounds[number], request_state=state)

    return tool


async def _asks_what_it_may(ctx: Context, params: Params) -> HandlerResult:
    if params.input_responses:
        return _said("Thank you.")
    declared = ctx.session.client_capabilities
    wanted: dict[str, types.InputRequest] = {"user_name": _NAME, "capital_question": _CAPITAL}
    asked = {key: one for key, one in wanted.items() if getattr(declared, _NEEDS[type(one)], None) is not None}
    return types.InputRequiredResult(input_requests=asked) if asked else _said("There is nobody to ask.")


async def _needs_sampling(ctx: Context, _: Params) -> HandlerResult:
    _requires(ctx, sampling={})
    return _said("The client has a model.")


_CONFIRM = {"confirm": question("Please confirm", ok="boolean")}
_THREE = {"user_name": _NAME, "greeting": sampling("Generate a greeting", 50), "client_roots": _ROOTS}
_STEPS = (
    {"step1": question("Step 1: What is your name?", name="string")},
    {"step2": question("Step 2: What is your favorite color?", color="string")},
)

TOOLS: dict[str, Tool] = {
    "test_simple_text": _always("This is a simple text response for testing."),
    "test_image_content": _always(IMAGE),
    "test_audio_content": _always(AUDIO),
    "test_embedded_resource": _always(
        embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ),
    "test_multiple_content_types": _always(
        "Multiple content types test:",
        IMAGE,
        embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ),
    "test_error_handling": _always("This tool intentionally returns an error for testing", is_error=True),
    "test_tool_with_logging": _with_logging,
    "test_logging_tool": _with_logging,
    "test_tool_with_progress": _with_progress,
    "test_reconnection": _closes_its_stream,
    "test_sampling": _sampling,
    "test_elicitation": _asks(
        {
            "username": {"type": "string", "description": "User's response"},
            "email": {"type": "string", "description": "User's email address"},
        }
    ),
    "test_elicitation_sep1034_defaults": _asks(DEFAULTS),
    "test_elicitation_sep1330_enums": _asks(ENUMS),
    "test_missing_capability": _needs_sampling,
    "test_streaming_elicitation": _needs_input({"user_name": _NAME}),
    "test_input_required_result_elicitation": _needs_input({"user_name": _NAME}),
    "test_input_required_result_sampling": _needs_input({"capital_question": _CAPITAL}),
    "test_input_required_result_list_roots": _needs_input({"client_roots": _ROOTS}),
    "test_input_required_result_request_state": _needs_input(_CONFIRM, keeps_state=True),
    "test_input_required_result_multiple_inputs": _needs_input(_THREE, keeps_state=True),
    "test_input_required_result_multi_round": _needs_input(*_STEPS, keeps_state=True),
    "test_input_required_result_tampered_state": _needs_input(_CONFIRM, keeps_state=True),
    "test_input_required_result_capabilities": _asks_what_it_may,
    "test_x_mcp_header": _always("The headers agree with the arguments."),
    "json_schema_2020_12_tool": _always("The schema came through."),
}


def triggers(service: Service) -> dict[str, Tool]:
    """The tools that change what a service lists."""

    async def change_prompts(_: Context, __: Params) -> HandlerResult:
        async def request(tx: Transaction) -> Prompt:
            return tx.insert(
                Prompt, title="Another", template="Say so.", step="Foundation", created_by=service.owner.id
            )

        await service.engine.writer.run(request)
        return _said("There is one more prompt.")

    return {
        "test_trigger_prompt_change": change_prompts,
        "test_trigger_tool_change": _always("Tools change with the program only."),
    }


def _plain(**properties: str) -> dict[str, Any]:
    return form(**properties) | {"additionalProperties": False}


SCHEMAS: dict[str, dict[str, Any]] = {
    **{name: _plain() for name in (*TOOLS, "test_trigger_prompt_change", "test_trigger_tool_change")},
    "test_sampling": _plain(prompt="string"),
    "test_elicitation": _plain(message="string"),
    "test_x_mcp_header": {
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "query": {"type": "string"}},
        "required": ["region"],
    },
    "json_schema_2020_12_tool": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
}
