"""A client that sends bytes as they are, and reads just so much of HTTP as answers need."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from tests.fuzz.cases import Case

LIMIT = 1 << 20
"""Bytes of a line or of the headers of an answer."""


class Closed(Exception):
    """The connection ended before there was an answer."""


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ends: bool = False


class Wire:
    """One connection at a time; the next request opens another when the last one ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, case: Case) -> Answer:
        """Send a request and read its answer.

        Raises:
            Closed: the server ended the connection without one.
        """
        if case.fresh:
            await self.close()
        for last in (self._streams is None, True):
            try:
                answer = await self._ask(case)
            except (OSError, asyncio.IncompleteReadError, Closed) as error:
                await self.close()
                if last:  # a connection that was open before may have ended on its own
                    raise Closed from error
                continue
            if case.fresh or case.head_only or answer.ends:
                await self.close()
            return answer
        raise AssertionError

    async def _ask(self, case: Case) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=LIMIT)
        reader, writer = self._streams
        writer.write(case.raw)
        if case.sends_no_more:
            writer.write_eof()
        # An answer may come, and the connection end, before the whole request is sent.
        sending = asyncio.ensure_future(writer.drain())
        try:
            return await _read(reader, case)
        finally:
            sending.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):  # it was refused in the middle
                await sending

    async def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _read(reader: asyncio.StreamReader, case: Case) -> Answer:
    status = 100
    headers: dict[str, str] = {}
    while status < 200:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    answer = Answer(status, headers, ends=headers.get("connection", "").lower() == "close")
    streams = headers.get("content-type", "").startswith("text/event-stream")
    if case.bare or status in (204, 304) or (case.head_only and streams):
        return answer
    if "chunked" in headers.get("transfer-encoding", ""):
        answer.body = await _chunks(reader)
    elif "content-length" in headers:
        answer.body = await reader.readexactly(int(headers["content-length"]))
    elif status != 202 or answer.ends:
        answer.body, answer.ends = await reader.read(), True
    return answer


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(parts)
