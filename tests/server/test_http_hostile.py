"""What hostile requests found, one by one."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from tests.clients import Swarm
from tests.processes import INITIALIZED, initialize, modern, request
from tests.remote import served

HALF = "\ud800"
BOTH = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
AGENT = f"one://agents/{HALF}"
PROMPT = {"type": "ref/prompt", "name": HALF}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/list", {"cursor": f"agents:{HALF}"}),
        ("prompts/list", {"cursor": HALF}),
        ("completion/complete", {"ref": PROMPT, "argument": {"name": "id", "value": HALF}}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [AGENT]}}),
    ],
)
async def test_half_a_character_is_nowhere_looked_for(swarm: Swarm, method: str, params: dict[str, Any]) -> None:
    headers = BOTH | {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
    async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=headers) as http:
        answer = await http.post(url, content=json.dumps(modern(1, method, **params)))
        assert answer.status_code == 400
        assert "Unicode" in answer.json()["error"]["message"]


async def test_values_of_a_prompt_are_json(swarm: Swarm) -> None:
    refusal = await swarm.owner.refused("render_prompt", promptId="catch_up", values={"conversationId": HALF})
    assert refusal.code == "invalid"
    assert "'values': this is not JSON" in refusal.text


async def test_meta_that_is_no_object_is_refused(swarm: Swarm) -> None:
    async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=BOTH) as http:
        session = {"Mcp-Session-Id": (await http.post(url, json=initialize(1))).headers["mcp-session-id"]}
        await http.post(url, headers=session, json=INITIALIZED)
        call = request(2, "tools/call", name="create_tag", arguments={"name": "x"}, _meta="x")
        answer = await http.post(url, headers=session, json=call)
        (line,) = [line for line in answer.text.splitlines() if line.startswith("data:") and line != "data:"]
        assert json.loads(line[5:])["error"]["message"] == "'_meta' must be an object."
