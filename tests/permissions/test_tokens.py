"""Over HTTP, without a good token: every row of the matrix is answered alike, and says nothing."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from tests.clients import ERAS, Swarm
from tests.permissions.asking import Ask
from tests.permissions.calls import SECTIONS
from tests.permissions.table import WITHOUT_A_TOKEN
from tests.permissions.world import world_of
from tests.remote import bearer, served

VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}


def message(ask: Ask, era: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers and the body of a request, in an era."""
    params = dict(ask.params)
    headers = {"MCP-Protocol-Version": VERSIONS[era], "Accept": "application/json, text/event-stream"}
    if era == "auto":
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": VERSIONS[era],
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        headers |= {"Mcp-Method": ask.method, "Mcp-Name": str(params.get("name", params.get("uri", "")))}
    return headers, {"jsonrpc": "2.0", "id": 1, "method": ask.method, "params": params}


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Callable[[dict[str, str], dict[str, Any]], Awaitable[tuple[str, str]]]]:
    """Posts on one connection; gives the head of an answer, without the time, and its body. Clients take ten times as
    long."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)

    async def post(headers: dict[str, str], message: dict[str, Any]) -> tuple[str, str]:
        content = json.dumps(message).encode()
        lines = {
            "Host": place.netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
        } | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"POST {place.path} HTTP/1.1\r\n{head}\r\n".encode() + content)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode()
        found = re.search(r"content-length: (\d+)", answered)
        assert found is not None
        body = await reader.readexactly(int(found[1]))
        return re.sub(r"date: [^\r]*\r\n", "", answered), body.decode()

    yield post
    writer.close()
    await writer.wait_closed()


async def test_without_a_good_token_every_row_is_answered_alike(swarm: Swarm) -> None:
    world = await world_of(swarm, "stranger")
    tokens = await swarm.service.tokens()
    owner, scopes = swarm.service.owner.id, ["read", "write", "analyst", "admin"]
    expired, _ = await tokens.create(owner, scopes, expiration_time=int(time.time() * 1000) - 1)
    revoked, stored = await tokens.create(owner, scopes)
    await tokens.revoke(stored.id)
    sent = {
        "no token": {},
        "expired": bearer(expired),
        "revoked": bearer(revoked),
        "forged": bearer(revoked[:-1] + ("a" if revoked[-1] != "a" else "b")),
    }
    assert set(sent) == set(WITHOUT_A_TOKEN)
    before = swarm.service.engine.writer.next_seq
    calls = [call for section in SECTIONS.values() for call in section.values()]
    async with served(swarm, wrong_tokens_per_minute=100_000) as (url, _), wire(url) as post:
        for turn, (kind, header) in enumerate(sent.items()):
            # In the one era for one kind, in the other for the next.
            asked = [message(call(world.rows), ERAS[(turn + row) % 2]) for row, call in enumerate(calls)]
            ((head, body),) = {await post(headers | header, body) for headers, body in asked}
            assert head.startswith("HTTP/1.1 401 "), kind
            assert "www-authenticate: Bearer" in head
            assert set(json.loads(body)) <= {"error", "error_description"}
    assert swarm.service.engine.writer.next_seq == before


async def test_a_session_is_of_the_token_that_opened_it(swarm: Swarm) -> None:
    """Another token with its id finds no session, whether to call, to listen, or to end it."""
    tokens = await swarm.service.tokens()
    (_, first), (user, _) = await tokens.create(swarm.service.owner.id, ["read"]), await swarm.user("Eve")
    mine, _ = await tokens.create(swarm.service.owner.id, ["read"])
    others, _ = await tokens.create(user, ["read"])
    assert first is not None
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    accept = {"Accept": "application/json, text/event-stream"}
    async with served(swarm) as (url, _), httpx2.AsyncClient(headers=accept) as http:
        body = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
        opened = await http.post(url, headers=bearer(mine), json=body)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for given in (bearer(others), {}):
            status = 404 if given else 401
            for method, content in (("POST", listing), ("GET", None), ("DELETE", None)):
                answer = await http.request(method, url, headers=session | given, json=content)
                assert answer.status_code == status, method
        assert (await http.post(url, headers=session | bearer(mine), json=listing)).status_code == 200
