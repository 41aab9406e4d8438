"""How guessing is slowed down: waits that double, counted in `authRateLimits`.

An attempt is counted before it is made and given back when it was good. A refused one costs nothing: whoever waits is
let in, however many others knock meanwhile.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import NamedTuple

from storage.auth_file import AuthChange, AuthFile, digest
from storage.auth_tables import AuthRateLimit

MINUTE_MS = 60_000
KNOWN_MS = 90 * 24 * 60 * MINUTE_MS
"""How long an address from which somebody signed in is known as theirs."""
FORGOTTEN_MS = 24 * 60 * MINUTE_MS
MOST_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Rule:
    """`free` attempts, then a wait that doubles with each up to `longest_ms`; one comes back in `back_ms`."""

    free: int
    longest_ms: int
    back_ms: int
    first_ms: int = 2_000


ONE_FROM_ONE = Rule(5, 15 * MINUTE_MS, 15 * MINUTE_MS)
"""One account from one address."""
ALL_FROM_ONE = Rule(20, 15 * MINUTE_MS, 5 * MINUTE_MS)
"""All accounts from one address."""
ONE_FROM_ALL = Rule(20, MINUTE_MS, MINUTE_MS)
"""One account from all addresses but those from which its user signed in before."""
CODES_TO_ONE = Rule(5, 15 * MINUTE_MS, 10 * MINUTE_MS)
"""Codes sent to one account that one address asked for."""
CODE_TRIES = Rule(5, FORGOTTEN_MS, FORGOTTEN_MS, FORGOTTEN_MS)
"""Tries of one code. There is no sixth."""
REQUESTS = Rule(30, 5 * MINUTE_MS, MINUTE_MS)
"""Registrations, descriptions of clients and links tried from one address."""


class Limit(NamedTuple):
    """A rule, and what it is applied to."""

    rule: Rule
    identifier: str


class TooMany(Exception):
    """An attempt must wait for so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Limits:
    """Counts attempts. Times are epoch ms."""

    def __init__(self, file: AuthFile) -> None:
        self._file = file

    async def take(self, now: int, *limits: Limit) -> None:
        """Count an attempt against all of these.

        Raises:
            TooMany: it must wait; it was not counted.
        """
        async with self._file.change(now) as change:
            waits = [self._wait_ms(now, limit) for limit in limits]
            if max(waits) > 0:
                raise TooMany(-(-max(waits) // 1000))
            for limit in limits:
                self._set(change, limit, self._left(now, limit) - 1)

    async def passed(self, now: int, email: str, origin: str, *limits: Limit) -> None:
        """An attempt was good: its first limit starts anew, it does not count for the others, and its address is known
        as this user's.
        """
        async with self._file.change(now) as change:
            for place, limit in enumerate(limits):
                left = self._left(now, limit) + 1 if place else limit.rule.free
                self._set(change, limit, min(limit.rule.free, left))
            self._set(change, Limit(ONE_FROM_ONE, _known(email, origin)), 0)

    async def give_back(self, now: int, limit: Limit) -> None:
        """An attempt was good, and does not count."""
        async with self._file.change(now) as change:
            self._set(change, limit, min(limit.rule.free, self._left(now, limit) + 1))

    def knows(self, now: int, email: str, origin: str) -> bool:
        """Whether somebody signed in from there lately."""
        row = self._row(_known(email, origin))
        return row is not None and now - row.last_attempt_time < KNOWN_MS

    async def forget_old(self, now: int) -> None:
        """Drop what counts no more, and the oldest when there are too many."""
        rows = sorted(self._file.all(AuthRateLimit), key=lambda row: row.last_attempt_time)
        spare = len(rows) - MOST_ROWS
        async with self._file.change(now) as change:
            for place, row in enumerate(rows):
                kept = KNOWN_MS if row.identifier.startswith("known:") else FORGOTTEN_MS
                if place < spare or now - row.last_attempt_time >= kept:
                    change.delete(row)

    def _row(self, identifier: str) -> AuthRateLimit | None:
        found = self._file.where(AuthRateLimit, "identifier", identifier)
        return found[0] if found else None

    def _left(self, now: int, limit: Limit) -> float:
        row, rule = self._row(limit.identifier), limit.rule
        if row is None:
            return rule.free
        return min(rule.free, row.attempts_left + max(0, now - row.last_attempt_time) / rule.back_ms)

    def _wait_ms(self, now: int, limit: Limit) -> int:
        row, left = self._row(limit.identifier), self._left(now, limit)
        if row is None or left >= 1:
            return 0
        # What came back while waiting does not shorten the wait.
        doublings = min(20, round(max(0.0, -row.attempts_left)))
        wait = min(limit.rule.first_ms * 2**doublings, limit.rule.longest_ms)
        return int(row.last_attempt_time + wait - now)

    def _set(self, change: AuthChange, limit: Limit, left: float) -> None:
        row = self._row(limit.identifier)
        if row is None:
            change.insert(
                AuthRateLimit, identifier=limit.identifier, last_attempt_time=change.now, attempts_left=float(left)
            )
        else:
            change.update(row, last_attempt_time=change.now, attempts_left=float(left))


def guesses(email: str, origin: str, *, known: bool, kind: str) -> tuple[Limit, ...]:
    """The limits of guessing what only a user knows. `kind` tells passwords from codes."""
    account, address = digest(email)[:32], _network(origin)
    limits = (
        Limit(ONE_FROM_ONE if kind == "password" else CODES_TO_ONE, f"{kind}:{account}|{address}"),
        Limit(ALL_FROM_ONE, f"{kind}|{address}"),
    )
    return limits if known else (*limits, Limit(ONE_FROM_ALL, f"{kind}:{account}"))


def requests(kind: str, origin: str) -> Limit:
    """The limit of what needs no account."""
    return Limit(REQUESTS, f"{kind}|{_network(origin)}")


def tries(ticket: str) -> Limit:
    """The limit of tries of a code."""
    return Limit(CODE_TRIES, f"code-of:{digest(ticket)[:32]}")


def _known(email: str, origin: str) -> str:
    return f"known:{digest(email)[:32]}|{_network(origin)}"


def _network(origin: str) -> str:
    """Whoever has one address of IPv6 has 2^64 of them."""
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return origin
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
