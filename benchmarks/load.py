"""A light load generator: keep-alive connections that each send the next request when their answer is complete.

It runs in a process of its own, on uvloop; requests are made before the clock starts, and answers are only looked at
for their status, their length and whether they are errors.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import cast

import httptools
import uvloop

from benchmarks.wire import HOST, Call, Era, open_session, opening, rest


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured. `latencies` in seconds, ascending; `busy` is the share of its time the generator computed."""

    latencies: tuple[float, ...]
    seconds: float
    mean_bytes: float
    busy: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def p50(self) -> float:
        """Median latency in seconds."""
        return median(self.latencies)

    def quantile(self, share: float) -> float:
        """The latency in seconds that `share` of the answers did not exceed."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class Target:
    """A server on a port, spoken to in one era; sessions, where the era has them, are opened once."""

    def __init__(self, port: int, era: Era) -> None:
        self.port = port
        self.era = era
        self._sessions: list[str] = []
        self._ids = 100_000_000  # one width, so that answers do not differ by their ids

    def openings(self, connections: int) -> list[bytes]:
        """The first headers for each of so many connections."""
        if self.era is Era.STATELESS:
            return [opening(self.port, self.era)] * connections
        while len(self._sessions) < connections:
            self._sessions.append(open_session(self.port))
        return [opening(self.port, self.era, session) for session in self._sessions[:connections]]

    def requests(self, calls: Sequence[Call]) -> list[bytes]:
        """The calls as they are sent."""
        first, self._ids = self._ids, self._ids + len(calls)
        return [rest(call, first + number, self.era) for number, call in enumerate(calls)]

    def run(self, calls: Sequence[Call], connections: int) -> Round:
        """Make all calls over so many connections.

        Raises:
            RuntimeError: an answer was an error.
        """
        requests, openings = self.requests(calls), self.openings(connections)
        gc.collect()
        gc.disable()
        try:
            return uvloop.run(_run(self.port, openings, requests))
        finally:
            gc.enable()


class _Connection(asyncio.Protocol):
    """Sends a request, times its answer, sends the next."""

    def __init__(self, opening: bytes, requests: Iterator[bytes], latencies: list[float]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.received = 0
        self._opening = opening
        self._requests = requests
        self._latencies = latencies
        self._parser = httptools.HttpResponseParser(self)
        self._body = b""
        self._sent = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass

    def send_next(self) -> None:
        """Send the next request, or end when there is none."""
        request = next(self._requests, None)
        if request is None:
            self._end(None)
            return
        self._body = b""
        self._sent = time.perf_counter()
        self._transport.write(self._opening + request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._sent)
        body = self._body
        self.received += len(body)
        status = self._parser.get_status_code()
        if status != 200 or b'"isError":true' in body or b'"result":' not in body[:200]:
            self._end(RuntimeError(f"status {status}: {body[:400].decode(errors='replace')}"))
        else:
            self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self._transport.close()


def _itself(connection: _Connection) -> _Connection:
    return connection


async def _run(port: int, openings: list[bytes], requests: list[bytes]) -> Round:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    queue = iter(requests)
    connections = [_Connection(opening, queue, latencies) for opening in openings]
    for connection in connections:
        await loop.create_connection(partial(_itself, connection), HOST, port)
    started, computed = time.perf_counter(), time.process_time()
    for connection in connections:
        connection.send_next()
    await asyncio.gather(*(connection.ended for connection in connections))
    seconds, computed = time.perf_counter() - started, time.process_time() - computed
    received = sum(connection.received for connection in connections)
    return Round(tuple(sorted(latencies)), seconds, received / len(latencies), computed / seconds)
