"""Sends hostile requests to a server, by several connections, and gathers what was wrong."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from tests.fuzz.cases import Case, case
from tests.fuzz.checks import faults
from tests.fuzz.wire import Closed, Wire
from tests.fuzz.world import World, prepare, serving, sessions, sings

CONNECTIONS = 16
SECONDS = 30.0
"""How long an answer may take: a tool waits for 25 at most, and the machine may be busy with others."""
CANARY_EVERY = 500
MOST_FINDINGS = 40


@dataclass
class Outcome:
    """What a run showed. `findings` has, for each request that was answered badly, its number and why."""

    requests: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    memory: tuple[int, int] = (0, 0)

    def report(self) -> str:
        """For people."""
        rate = self.requests / self.seconds if self.seconds else 0.0
        parts = [f"{self.requests:,} requests in {self.seconds:.0f} s, {rate:,.0f} a second"]
        parts.append("  ".join(f"{status or 'closed'}: {count:,}" for status, count in sorted(self.statuses.items())))
        parts.append("  ".join(f"{kind}: {count:,}" for kind, count in self.kinds.most_common()))
        parts.append("memory of the hub, MB: {} before, {} after".format(*(size >> 20 for size in self.memory)))
        parts += self.findings or ["Nothing was found."]
        return "\n".join(parts)


async def run(place: Path, numbers: range, seed: int) -> Outcome:
    """Send the requests of those numbers to a server of its own."""
    world = await prepare(place / "data")
    log = place / "serve.log"
    with serving(world, log) as process:
        hub = psutil.Process(world.pid)
        before = hub.memory_info().rss
        outcome = await send_all(world, numbers, seed)
        outcome.memory = before, hub.memory_info().rss
        if process.poll() is not None:
            outcome.findings.append(f"the hub ended with {process.returncode}")
    for one in (log, world.directory / "hub.log"):
        outcome.findings += _bad_lines(world, one)
    return outcome


def _bad_lines(world: World, log: Path) -> list[str]:
    said = log.read_text(errors="replace") if log.exists() else ""
    found = [f"{log.name} has a secret" for secret in world.private if secret in said]
    if "Traceback" in said:
        at = said.index("Traceback")
        found.append(f"{log.name} has {said.count('Traceback')} tracebacks: {said[max(0, at - 300) : at + 3000]}")
    return found


async def send_all(world: World, numbers: range, seed: int) -> Outcome:
    """Send the requests of those numbers to the server of a world."""
    outcome, waiting = Outcome(), iter(numbers)
    async with sessions(world), httpx2.AsyncClient(timeout=SECONDS) as http:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(_send(world, waiting, seed, outcome, http))
        outcome.seconds = time.monotonic() - began
        if not await sings(world, http):
            outcome.findings.append("the canary does not sing any more")
    return outcome


async def _send(world: World, numbers: Iterator[int], seed: int, outcome: Outcome, http: httpx2.AsyncClient) -> None:
    wire = Wire(world.port)
    for number in numbers:
        if len(outcome.findings) >= MOST_FINDINGS:
            break
        made = case(world, seed, number)
        outcome.requests += 1
        outcome.kinds[made.kind] += 1
        outcome.findings += [f"{number} ({made.kind}): {fault}" for fault in await _asked(world, made, wire, outcome)]
        if number % CANARY_EVERY == 0 and not await sings(world, http):
            outcome.findings.append(f"{number}: the canary does not sing any more")
    await wire.close()


async def _asked(world: World, made: Case, wire: Wire, outcome: Outcome) -> list[str]:
    try:
        async with asyncio.timeout(SECONDS):
            answer = await wire.ask(made)
    except Closed:
        outcome.statuses[0] += 1
        return [] if made.closes else ["the connection ended without an answer"]
    except TimeoutError:
        await wire.close()
        return [f"no answer within {SECONDS:.0f} s: {made.raw[:600]!r}"]
    outcome.statuses[answer.status] += 1
    return list(faults(world, made, answer))
