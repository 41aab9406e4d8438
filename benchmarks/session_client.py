"""The clients of `benchmarks.sessions`: raw keep-alive connections of both protocol eras, each with its own pauses.

A session of the handshake era has a second connection on which it hears of changes; every second stateless one listens,
too. Answers are looked at for their status, for errors, and for the id of a message that was sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from benchmarks.wire import CLIENT, ENVELOPE, HOST, PATH, Era
from benchmarks.words import Words

WAIT_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
MIX = {
    "send_message": 20,
    "list_messages": 20,
    "get": 15,
    "inbox": 10,
    "search": 8,
    "find": 7,
    "resources/read": 7,
    "react": 5,
    "wait_for_messages": 5,
    "resources/subscribe": 3,
}
"""How often each call is made, of a hundred."""
LIMITED = (429, 503)
"""The statuses of a documented limit."""
_SENT = re.compile(rb'"_id":"(msg_\d+)"')
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass
class Seen:
    """What all sessions saw. Latencies in seconds by call; errors by kind."""

    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    limited: int = 0
    heard: int = 0
    reopened: int = 0
    opened: int = 0


@dataclass
class Place:
    """A conversation, and the newest message that is known of it."""

    id: str
    newest: str


@dataclass
class Person:
    """Whose token it is, and where they take part."""

    token: str
    places: list[Place]


class Session:
    """One client, which calls, pauses, and calls again. A connection that was closed while it paused is opened anew."""

    def __init__(self, port: int, era: Era, person: Person, seen: Seen, words: Words, number: int) -> None:
        self._port = port
        self._era = era
        self._person = person
        self._seen = seen
        self._words = words
        self._rng = random.Random(number)
        self._listens = era is Era.SESSIONS or number % 4 == 1
        self._session: str | None = None
        self._id = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def run(self, deadline: float, pause: float) -> None:
        """Open, call until `deadline` (of the loop's clock) with pauses of `pause` seconds on average, close."""
        loop = asyncio.get_running_loop()
        await self._connect()
        await self._open()
        self._seen.opened += 1
        hearing = asyncio.create_task(self._hear()) if self._listens else None
        names, weights = list(MIX), list(MIX.values())
        try:
            while (wait := self._rng.expovariate(1 / pause)) + loop.time() < deadline:
                await asyncio.sleep(wait)
                await self._call(*self._rng.choices(names, weights))
        finally:
            if hearing is not None:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        await self._close()

    async def call_each(self) -> None:
        """Make each call once, without pauses."""
        await self._connect()
        await self._open()
        for name in MIX:
            await self._call(name)
        await self._close()

    async def _connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(HOST, self._port)

    async def _open(self) -> None:
        if self._era is Era.STATELESS:
            return
        hello = {"protocolVersion": self._era.value, "capabilities": {}, "clientInfo": CLIENT}
        head, _ = await self._post("initialize", hello)
        found = re.search(rb"mcp-session-id: (\S+)", head, re.IGNORECASE)
        if found is None:
            raise RuntimeError(f"no session was opened: {head[:200]!r}")
        self._session = found[1].decode()
        await self._post("notifications/initialized", None)

    async def _close(self) -> None:
        if self._session is not None:
            self._writer.write(self._head("DELETE", "", 0))
            await self._answer()
        self._writer.close()

    # -- calls -------------------------------------------------------------------------------------------------------

    async def _call(self, name: str) -> None:
        place = self._rng.choice(self._person.places)
        method, params = self._request(name, place)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head, body = await self._post(method, params)
        except TimeoutError:
            self._seen.errors[f"{name}: no answer within {PATIENCE_SECONDS:.0f} s"] += 1
            raise
        self._seen.latencies[name].append(time.perf_counter() - began)
        status = int(head[9:12])
        if status in LIMITED:
            self._seen.limited += 1
        elif status != 200 or b'"isError":true' in body or b'"error":{' in body:
            self._seen.errors[f"{name}: {status} {body[:300].decode(errors='replace')}"] += 1
        elif name == "send_message" and (sent := _SENT.search(body)):
            place.newest = sent[1].decode()

    def _request(self, name: str, place: Place) -> tuple[str, dict[str, Any]]:
        uri = f"one://conversations/{place.id}"
        if name == "resources/read" or (name == "resources/subscribe" and self._era is Era.STATELESS):
            return "resources/read", {"uri": uri}
        if name == "resources/subscribe":
            return name, {"uri": uri}
        arguments: dict[str, dict[str, Any]] = {
            "send_message": {"conversationId": place.id, "content": self._words.message()},
            "list_messages": {"conversationId": place.id, "limit": 20},
            "get": {"id": place.newest},
            "inbox": {"limit": 20},
            "search": {"query": self._words.title(), "mode": "text"},
            "find": {"table": "conversationParticipants", "where": {"conversationId": place.id}},
            "react": {"messageId": place.newest, "type": self._rng.choice(("like", "love", "laugh"))},
            "wait_for_messages": {"conversationId": place.id, "timeoutSeconds": WAIT_SECONDS},
        }
        return "tools/call", {"name": name, "arguments": arguments[name]}

    # -- the wire ----------------------------------------------------------------------------------------------------

    async def _post(self, method: str, params: dict[str, Any] | None) -> tuple[bytes, bytes]:
        if not self._reader.at_eof():
            self._send(self._writer, method, params)
            try:
                return await self._answer()
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise
        # It was idle for longer than the server keeps it; what was sent at that moment was not read.
        self._seen.reopened += 1
        self._writer.close()
        await self._connect()
        self._send(self._writer, method, params)
        return await self._answer()

    def _send(self, writer: asyncio.StreamWriter, method: str, params: dict[str, Any] | None) -> None:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        headers = ""
        if params is not None:
            self._id += 1
            message |= {"id": self._id, "params": params}
            if self._era is Era.STATELESS:
                message["params"] = params | {"_meta": ENVELOPE}
                named = params.get("name", params.get("uri", ""))
                headers = f"Mcp-Method: {method}\r\n" + (f"Mcp-Name: {named}\r\n" if named else "")
        body = json.dumps(message, separators=(",", ":")).encode()
        writer.write(self._head("POST", headers, len(body)) + body)

    def _head(self, verb: str, headers: str, length: int) -> bytes:
        session = f"Mcp-Session-Id: {self._session}\r\n" if self._session is not None else ""
        return (
            f"{verb} {PATH} HTTP/1.1\r\nHost: {HOST}:{self._port}\r\nAuthorization: Bearer {self._person.token}\r\n"
            f"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
            f"MCP-Protocol-Version: {self._era.value}\r\n{session}{headers}Content-Length: {length}\r\n\r\n"
        ).encode()

    async def _answer(self) -> tuple[bytes, bytes]:
        """The head and the body of an answer, with a length or in chunks."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        if length := _LENGTH.search(head):
            return head, await self._reader.readexactly(int(length[1]))
        body = b""
        while b"transfer-encoding: chunked" in head.lower():
            size = int((await self._reader.readline()).strip(), 16)
            body += (await self._reader.readexactly(size + 2))[:-2]
            if size == 0:
                break
        return head, body

    async def _hear(self) -> None:
        """Keep the stream of changes open, and count what comes on it."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            if self._era is Era.SESSIONS:
                writer.write(self._head("GET", "", 0))
            else:
                uris = [f"one://conversations/{place.id}" for place in self._person.places]
                wanted = {"notifications": {"resourceSubscriptions": uris, "resourcesListChanged": True}}
                self._send(writer, "subscriptions/listen", wanted)
            while data := await reader.read(65_536):
                self._seen.heard += data.count(b"data: {")
            self._seen.errors["the stream of changes was closed"] += 1
        finally:
            writer.close()
