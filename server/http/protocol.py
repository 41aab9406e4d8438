"""uvicorn's HTTP protocol with limits on what a client may send before it is understood, and on how slow it may be."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

_PROGRESS = 65_536
"""A client that takes fewer bytes of what waits for it, in the time it is given, stands still."""
_MOST_OVERHEAD = 8
"""Bytes on the wire for a byte of a body in chunks, at most: chunks of one byte are about that bad."""


@dataclass(frozen=True)
class Limits:
    """Connections open at once; bytes of a request's headers and body; seconds for sending it, and for taking what
    is answered.
    """

    connections: int
    header_bytes: int
    body_bytes: int
    request_seconds: float
    stalled_seconds: float

    @property
    def wire_bytes(self) -> int:
        """The most that the body of a request takes on the wire, with the frames of its chunks and its trailers."""
        return self.body_bytes * _MOST_OVERHEAD + self.header_bytes


class Config(uvicorn.Config):
    """uvicorn's configuration with our limits for connections."""

    def __init__(self, app: Any, limits: Limits, **options: Any) -> None:
        super().__init__(app, http=Protocol, **options)
        self.limits = limits


class Protocol(HttpToolsProtocol):
    """A connection. Time is kept by numbers that a sweep looks at: timers would cost every request."""

    config: Config

    @override
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = self.config.limits
        self._reading_since = math.inf
        self._stalled_since = math.inf
        self._unsent = 0
        self._chunk = 0
        self._read = 0
        self._in_body = False
        self._had_headers = False
        self._too_large = False

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_since = self.loop.time()
        if len(self.connections) > self._limits.connections:
            self._refuse(503)

    @override
    def data_received(self, data: bytes) -> None:
        if self._reading_since == math.inf:
            self._reading_since = self.loop.time()
        self._chunk = len(data)
        self._read += self._chunk
        super().data_received(data)
        most = self._limits.wire_bytes if self._in_body else self._limits.header_bytes
        # A request that was read to its end was within its limits.
        if self._read > most and self._reading_since != math.inf and not self.transport.is_closing():
            self._refuse(413 if self._in_body else 431)

    @override
    def on_message_begin(self) -> None:
        self._reading_since = self.loop.time()
        self._read = 0  # a piece may hold the end of another request: it is not counted
        self._in_body = False
        super().on_message_begin()

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value.strip(b" \t"))  # white space around a value is no part of it

    @override
    def on_headers_complete(self) -> None:
        if self._chunk > self._limits.header_bytes:
            self._count_headers()
        super().on_headers_complete()
        self._read = 0
        self._in_body = self._had_headers = True
        self.headers = []  # what follows a body in chunks are no headers: nobody checked them

    def _count_headers(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.header_bytes:
            self._too_large = True
            raise ValueError("the headers are too large")

    @override
    def on_message_complete(self) -> None:
        self._reading_since = math.inf
        self._in_body = False
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(431 if self._too_large else 400)

    def _refuse(self, status: int) -> None:
        """Answer a request that is not served, and end the connection."""
        cycle = self.cycle  # of this request, or when its headers are not there yet of the one before, if there was one
        if self._had_headers and (cycle.response_started if self._in_body else not cycle.response_complete):
            self.transport.abort()  # amid an answer, or after one, there is no place for another
        else:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_since = self.loop.time()
        self._unsent = self.transport.get_write_buffer_size()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled_since = math.inf

    def sweep(self, now: float) -> None:
        """End the connection if its client takes too long."""
        if now - self._reading_since > self._limits.request_seconds:
            self._reading_since = math.inf
            if not self.transport.is_closing():
                self._refuse(408)
        if self._stalled_since == math.inf and self.transport.is_closing():
            self._stalled_since, self._unsent = now, self.transport.get_write_buffer_size()
        elif now - self._stalled_since > self._limits.stalled_seconds:
            unsent = self.transport.get_write_buffer_size()
            if unsent > self._unsent - _PROGRESS:
                self.transport.abort()
            self._stalled_since, self._unsent = now, unsent
