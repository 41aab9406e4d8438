"""Bodies of the handshake era, what a client of the stateless era asks to hear while it waits, and who leaves early."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest

from tests.clients import Swarm
from tests.processes import INITIALIZED, initialize, modern, request
from tests.remote import served

BOTH = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[" * 10_000, -32700),
        (b"\xff", -32700),
        (b"[]", -32600),
        (b"5", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
    ],
)
async def test_what_is_no_message_is_told_so_in_our_words(swarm: Swarm, body: bytes, code: int) -> None:
    async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=BOTH) as http:
        answer = await http.post(url, content=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == code
        assert error["message"].startswith("The body ")


async def test_a_second_request_with_the_id_of_one_under_way_is_refused(swarm: Swarm) -> None:
    async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=BOTH, timeout=20) as http:
        opened = await http.post(url, json=initialize(1))
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        await http.post(url, headers=session, json=INITIALIZED)
        wait = request(7, "tools/call", name="wait_for_messages", arguments={"timeoutSeconds": 20})
        async with http.stream("POST", url, headers=session, json=wait) as first:
            assert first.status_code == 200
            second = await http.post(url, headers=session, json=request("7", "ping"))
            assert second.status_code == 400
            assert "is under way in this session" in second.json()["error"]["message"]
            other = await http.post(url, headers=session, json=request(8, "ping"))
            assert other.status_code == 200
            await swarm.owner("create_reminder", message="Now", remindAt="2020-01-01T00:00:00Z")
            await http.delete(url, headers=session)


async def test_spaces_around_a_header_are_no_part_of_its_value(swarm: Swarm) -> None:
    body = json.dumps(modern(1, "tools/call", name="inbox", arguments={})).encode()
    async with served(swarm, no_auth=True) as (url, _):
        port = int(url.removesuffix("/mcp").rpartition(":")[2])
        headers = BOTH | {"MCP-Protocol-Version": " 2026-07-28 ", "Mcp-Method": "tools/call", "Mcp-Name": "\t inbox "}
        more = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)), "Connection": "close"}
        lines = ["POST /mcp HTTP/1.1", *(f"{name}: {value}" for name, value in (headers | more).items()), "", ""]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write("\r\n".join(lines).encode() + body)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("meta", "accept", "kind"),
    [
        ({}, BOTH["Accept"], "application/json"),
        ({"io.modelcontextprotocol/logLevel": "debug"}, BOTH["Accept"], "text/event-stream"),
        ({"io.modelcontextprotocol/logLevel": "debug"}, "application/json", "application/json"),
        ({"io.modelcontextprotocol/logLevel": "warning"}, BOTH["Accept"], "application/json"),
        ({"progressToken": 1}, BOTH["Accept"], "application/json"),
    ],
)
async def test_a_stream_comes_when_there_is_something_to_hear(
    swarm: Swarm, meta: dict[str, Any], accept: str, kind: str
) -> None:
    message = modern(1, "tools/call", name="inbox", arguments={})
    message["params"]["_meta"] = message["params"]["_meta"] | meta
    headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "inbox"}
    async with served(swarm, no_auth=True) as (url, _), httpx2.AsyncClient(headers=BOTH | headers) as http:
        answer = await http.post(url, json=message, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith(kind)
        if kind == "text/event-stream":
            told, result = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
            assert told["params"]["data"]["tool"] == "inbox"
            assert result["result"]["isError"] is False


async def test_a_client_that_leaves_in_the_middle_is_no_error(swarm: Swarm, caplog: pytest.LogCaptureFixture) -> None:
    async with served(swarm, no_auth=True) as (url, _):
        port = int(url.removesuffix("/mcp").rpartition(":")[2])
        for version in ("2025-11-25", "2026-07-28"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nMCP-Protocol-Version: {version}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())
            await writer.drain()
            writer.write_eof()
            await reader.read()
            writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
