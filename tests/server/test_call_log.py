"""Logs that a client hears of its own calls."""

from __future__ import annotations

import warnings
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning

from server.session import Session
from tests.clients import Swarm, Tools, transport


async def test_a_client_that_sets_a_level_hears_of_its_calls(swarm: Swarm) -> None:
    heard: list[types.LoggingMessageNotificationParams] = []

    async def hear(params: types.LoggingMessageNotificationParams) -> None:
        heard.append(params)

    session = Session(swarm.service.owner.id)
    async with Client(transport(swarm.service, session), mode="legacy", logging_callback=hear) as client:
        tools = Tools(client)
        await tools("inbox")
        assert heard == []  # it has not asked
        await _set_level(client, "warning")
        await tools("inbox")
        await tools.refused("get", id="conv_9")
        await _set_level(client, "debug")
        await tools("inbox")
    told: list[tuple[str, Any]] = [(one.level, one.data) for one in heard]
    assert [level for level, _ in told] == ["warning", "debug"]
    assert told[0][1]["tool"] == "get"
    assert told[0][1]["error"] == "not_found"
    assert told[1][1]["milliseconds"] > 0


async def _set_level(client: Client, level: types.LoggingLevel) -> None:
    with warnings.catch_warnings(action="ignore", category=MCPDeprecationWarning):
        await client.set_logging_level(level)
