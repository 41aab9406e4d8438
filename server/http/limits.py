"""How much one caller may ask for, so that none takes the hub from the others."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic_core import to_json
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.streams import is_stream
from server.session import PLACE, SESSION

if TYPE_CHECKING:
    from server.config import HttpSettings

TOO_MANY = -32029
"""The JSON-RPC code of an answer that asks to wait."""
_MOST_KEPT = 10_000
_LINE = 4
"""So many times as many requests as may be in progress wait for that."""
_PATIENCE_SECONDS = 5.0


class Pace:
    """So many events in a minute, after a burst, for each key: a token bucket that keeps one number a key."""

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._ahead = self._interval * max(burst - 1, 0)
        self._clock = clock
        self._due: dict[str, float] = {}

    def take(self, key: str) -> float:
        """Count one event; 0.0, or the seconds after which there is room for it. Then it is not counted."""
        now = self._clock()
        due = self._due.get(key, now)
        if due < now:
            due = now
        elif due - now > self._ahead:
            return due - now - self._ahead
        if len(self._due) >= _MOST_KEPT:
            self._forget(now)
        self._due[key] = due + self._interval
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop keys that are as good as new; if nearly all are busy, the half that was seen first."""
        kept = [(key, due) for key, due in self._due.items() if due > now]
        self._due = dict(kept if len(kept) < _MOST_KEPT * 3 // 4 else kept[_MOST_KEPT // 2 :])


class Use:
    """What one caller has in progress. Requests beyond `most` wait in line for a while."""

    __slots__ = ("_line", "_most", "running", "waiting")

    def __init__(self, most: int) -> None:
        self.running = 0
        self.waiting = 0
        self._most = most
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing of the caller is here."""
        return not (self.running or self.waiting or self._line)

    async def enter(self) -> bool:
        """Begin a request, as soon as there is room for it; False when that is not to be expected."""
        if self.running < self._most:
            self.running += 1
            return True
        if len(self._line) >= self._most * _LINE:
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await turn
        except TimeoutError:
            return turn.done() and not turn.cancelled()  # its turn may have come at the last moment
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise
        return True

    def leave(self) -> None:
        """A request is over: the next in line has its room."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1


class Place:
    """The place of one request among those of its caller."""

    __slots__ = ("_most_waiting", "_use", "_waits")

    def __init__(self, use: Use, most_waiting: int, *, waits: bool = False) -> None:
        """Of a request that has entered; or of one that only waits, and needed not to."""
        self._use = use
        self._most_waiting = most_waiting
        self._waits = waits
        use.waiting += waits

    def wait(self) -> None:
        """From now on the request only waits. When too many do, it goes on counting as one that works."""
        if not self._waits and self._use.waiting < self._most_waiting:
            self._use.leave()
            self._use.waiting += 1
            self._waits = True

    def leave(self) -> None:
        """The request is over."""
        if self._waits:
            self._use.waiting -= 1
        else:
            self._use.leave()


class CallerLimits:
    """Serves a caller's requests as long as they are not too many, in a minute and at once."""

    def __init__(self, app: ASGIApp, http: HttpSettings) -> None:
        self._app = app
        self._http = http
        self._pace = Pace(http.requests_per_minute, http.burst_requests) if http.requests_per_minute else None
        self._uses: dict[str, Use] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller: str = scope[SESSION].member_id
        wait = self._pace.take(caller) if self._pace is not None else 0.0
        if wait:
            await self._too_fast(caller, wait, send)
            return
        use = self._uses.get(caller) or self._first_use(caller)
        most_waiting = self._http.concurrent_waits
        waits = is_stream(scope)
        if waits and use.waiting >= most_waiting:
            text = f"{caller} has {use.waiting:,} streams and waiting calls open, as many as there may be. Close some."
            await too_many(text, 5.0, send)
        elif not waits and not await use.enter():
            text = f"{caller} has {use.running:,} requests in progress and others wait for them. Do less at once."
            await too_many(text, 1.0, send)
        else:
            place = scope[PLACE] = Place(use, most_waiting, waits=waits)
            try:
                await self._app(scope, receive, send)
            finally:
                place.leave()

    def _first_use(self, caller: str) -> Use:
        if len(self._uses) >= _MOST_KEPT:
            self._uses = {key: use for key, use in self._uses.items() if not use.idle}
        use = self._uses[caller] = Use(self._http.concurrent_requests)
        return use

    async def _too_fast(self, caller: str, wait: float, send: Send) -> None:
        pace = f"{caller} has made more than {self._http.requests_per_minute:,} requests a minute."
        await too_many(f"{pace} Do less at once; wait_for_messages spares asking again.", wait, send)


async def too_many(text: str, seconds: float, send: Send) -> None:
    """Answer 429: what was too much, and when there is room again."""
    after = max(1, math.ceil(seconds))
    message = f"{text} Try again in {after} s."
    error = {"code": TOO_MANY, "message": message, "data": {"retryAfterSeconds": after}}
    retry = (b"retry-after", str(after).encode())
    await answer(send, 429, {"jsonrpc": "2.0", "id": None, "error": error}, retry)


async def answer(send: Send, status: int, content: object, *headers: tuple[bytes, bytes]) -> None:
    """Send a whole answer in JSON."""
    body = to_json(content)
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
