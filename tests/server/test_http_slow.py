"""Clients that are slow or send too much: they are let go, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest

from tests.clients import Swarm
from tests.remote import ACCEPT, MODERN, bearer, raw_post, request, served, with_meta


@contextlib.asynccontextmanager
async def connection(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to a server. What it may still read is small, so that a stalled client is noticed soon."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def head(url: str, *lines: str, method: str = "POST /mcp") -> bytes:
    host = urlsplit(url).netloc
    return "\r\n".join([f"{method} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


async def status_of(reader: asyncio.StreamReader) -> int:
    """The status of an answer; 0 if the connection ends without one."""
    try:
        line = await asyncio.wait_for(reader.readline(), 20)
    except ConnectionError:
        return 0
    return int(line.split()[1]) if line else 0


async def ends(reader: asyncio.StreamReader) -> None:
    """Wait until the server ends the connection."""
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1024), 20):
            pass


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0",
        b"POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",
        b"\r\n",
    ],
)
async def test_who_does_not_end_a_request_is_let_go(shared: Swarm, sent: bytes) -> None:
    async with served(shared, request_seconds=0.2) as (url, _), connection(url) as (reader, writer):
        writer.write(sent.replace(b"Host: x", f"Host: {urlsplit(url).netloc}".encode()))
        assert await status_of(reader) in (408, 401)  # a token is asked for before the body is read
        await ends(reader)


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
async def test_who_leaves_amid_a_request_is_no_error(
    shared: Swarm, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    async with served(shared, no_auth=True) as (url, _):
        lines = ("Content-Type: application/json", f"Accept: {ACCEPT}", f"MCP-Protocol-Version: {version}")
        async with connection(url) as (_, writer):
            writer.write(head(url, *lines, "Content-Length: 1000") + b"{")
            await writer.drain()
        async with httpx2.AsyncClient() as http:
            assert (await raw_post(http, url, "tools/list")).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_body_that_drips_is_let_go(shared: Swarm) -> None:
    async with served(shared, no_auth=True, request_seconds=0.2) as (url, _), connection(url) as (reader, writer):
        lines = ("Content-Type: application/json", f"Accept: {ACCEPT}", "Content-Length: 1000")
        writer.write(head(url, *lines) + b"{")
        dripping = asyncio.create_task(status_of(reader))
        while not dripping.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b" ")
                await writer.drain()
            await asyncio.wait({dripping}, timeout=0.02)
        assert await dripping == 408


async def test_an_unused_connection_is_closed(shared: Swarm) -> None:
    async with served(shared, keep_alive_seconds=0.2) as (url, _), connection(url) as (reader, writer):
        writer.write(head(url, method="GET /healthz"))
        assert await status_of(reader) == 200
        await ends(reader)


async def test_too_large_is_refused_however_it_is_sent(shared: Swarm) -> None:
    most: dict[str, Any] = {"max_body_bytes": 10_000, "max_header_bytes": 4096}
    json_lines = ("Content-Type: application/json", f"Accept: {ACCEPT}")
    padding = [f"X-Pad-{number}: {'x' * 100}" for number in range(50)]
    async with served(shared, no_auth=True, **most) as (url, _):
        cases = {
            "a declared body": (head(url, *json_lines, "Content-Length: 10001") + b"{", 413),
            "a body in chunks": (
                head(url, *json_lines, "Transfer-Encoding: chunked") + b"2710\r\n" + b"x" * 10_000 + b"\r\n1\r\ny\r\n",
                413,
            ),
            "many headers": (head(url, *padding), 431),
            "one header": (head(url, "X-Pad: " + "x" * 5000), 431),
            "a header without an end": (b"GET /mcp HTTP/1.1\r\nX-Pad: " + b"x" * 500_000, 431),
            "a line without an end": (b"GET /" + b"x" * 500_000, 431),
            "a long path": (head(url, method="GET /" + "x" * 5000), 431),
            "two Hosts": (head(url, "Host: evil.example.org"), 400),
            "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            "two lengths": (head(url, "Content-Length: 1", "Content-Length: 2"), 400),
            "a length and chunks": (head(url, "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
            "a padded header": (head(url, "X-Pad: a \t ", method="GET /healthz"), 200),
            "a slash behind the path": (head(url, "Content-Length: 0", method="POST /mcp/"), 400),
            "a header on two lines": (head(url, "X-A: b\r\n Authorization: c"), 400),
        }
        found = {}
        for name, (sent, _) in cases.items():
            async with connection(url) as (reader, writer):
                writer.write(sent)
                found[name] = await status_of(reader)
        assert found == {name: status for name, (_, status) in cases.items()}


@pytest.mark.parametrize("endless", [b"1;x" + b"y" * 1000, b"1\r\nz\r\n", b"0\r\n" + b"X-A: b\r\n" * 100])
async def test_chunks_and_trailers_without_an_end_are_cut_off(shared: Swarm, endless: bytes) -> None:
    async with (
        served(shared, no_auth=True, max_body_bytes=1000, max_header_bytes=4096) as (url, _),
        connection(url) as (reader, writer),
    ):
        writer.write(head(url, "Content-Type: application/json", "Transfer-Encoding: chunked"))
        ended = asyncio.create_task(status_of(reader))
        sent = 0
        while not ended.done() and sent < 10_000_000:
            with contextlib.suppress(ConnectionError):
                writer.write(endless)
                await writer.drain()
            sent += len(endless)
            await asyncio.sleep(0)
        assert await ended in (413, 400, 0)
        assert sent < 5_000_000


async def test_who_takes_no_answer_holds_up_nobody_and_is_let_go(shared: Swarm) -> None:
    plan = await shared.owner("create_conversation", title="Plan")
    for _ in range(40):
        await shared.owner("send_message", conversationId=plan["_id"], content="x" * 20_000)
    tokens = await shared.service.tokens()
    text, _ = await tokens.create(shared.service.owner.id, ["read"])
    call = {"name": "list_messages", "arguments": {"conversationId": plan["_id"], "limit": 40, "format": "detailed"}}
    body = json.dumps(request("tools/call", with_meta(call))).encode()
    lines = [
        f"Authorization: Bearer {text}",
        "Content-Type: application/json",
        f"Accept: {ACCEPT}",
        f"MCP-Protocol-Version: {MODERN}",
        "Mcp-Method: tools/call",
        "Mcp-Name: list_messages",
        f"Content-Length: {len(body)}",
    ]
    async with served(shared, stalled_seconds=0.5) as (url, _), connection(url) as (_, writer):
        writer.write((head(url, *lines) + body) * 20)  # answers of more than a megabyte each, in a row
        await writer.drain()
        async with httpx2.AsyncClient(headers=bearer(text)) as http:
            for _ in range(5):
                assert (await raw_post(http, url, "tools/call", call)).status_code == 200
        own = writer.get_extra_info("sockname")[1]
        async with asyncio.timeout(20):
            while served_ports(url, own):  # nothing is read: the server gives up
                await asyncio.sleep(0.02)


def served_ports(url: str, client_port: int) -> list[int]:
    """The server's ends of a client's connection that are open: both are in this process."""
    port = urlsplit(url).port
    found = psutil.Process().net_connections(kind="tcp")
    return [one.laddr.port for one in found if one.laddr.port == port and client_port in one.raddr]
