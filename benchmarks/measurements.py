"""What a run found, and which target each figure is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.compare import OPERATIONS, Cell, growth
from benchmarks.startup import StartUp
from benchmarks.wire import Era

RATIOS = {"send_message": (0.9, 1.3), "list_messages": (1.0, 2.0), "get": (1.0, 1.5)}
"""Floor and aim of our answers a second at 64 connections, of the no-op's."""
SEND_EXTRA_MS = 4.0
GROWTH = 1.3
COLD_P95_MS = 10.0
START_WITH_HUB_SECONDS = 0.3
START_WITHOUT_HUB = 1.5
MANY = 64


@dataclass(frozen=True, slots=True)
class Cold:
    """Reads that memory cannot answer, one at a time, in milliseconds. `settled`: some seconds after the start."""

    operation: str
    settled: bool
    reads: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Sustained:
    """Sending at 64 connections in one go, with the checkpoints that it causes."""

    what: str
    messages: int
    rate: float
    ratio: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of the hub's memory, and of the file for each message."""

    messages: int
    idle: int
    after_load: int
    imported_message: float
    sent_message: float


@dataclass(slots=True)
class Measurements:
    """Everything that one run measured. `sync_ms`: p50 and p95 of making a small write durable.

    `busy_before`, `busy_after`: cores that other programs used then.
    """

    smaller: int
    larger: int
    sync_ms: tuple[float, float] = (0.0, 0.0)
    busy_before: float = 0.0
    busy_after: float = 0.0
    cells: list[Cell] = field(default_factory=list)
    cold: list[Cold] = field(default_factory=list)
    sustained: list[Sustained] = field(default_factory=list)
    starts: list[StartUp] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)

    def cell(self, operation: str, era: Era, messages: int, connections: int) -> Cell | None:
        """The cell, if it was measured."""
        return next(
            (
                cell
                for cell in self.cells
                if (cell.operation, cell.era, cell.messages, cell.connections)
                == (operation, era, messages, connections)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with its floor and aim (both as text) and what was measured."""

    target: str
    floor: str
    aim: str
    measured: str
    holds: bool


def verdicts(found: Measurements) -> Iterator[Verdict]:
    """Each target, with what was measured in the headline era."""
    yield from _ratios(found)
    yield from _growths(found)
    for cold in filter(lambda cold: cold.settled, found.cold):
        what = f"{cold.operation}, cold, {found.larger:,} messages: p95"
        yield Verdict(what, f"<= {COLD_P95_MS:g} ms", "", f"{cold.p95:.1f} ms", cold.p95 <= COLD_P95_MS)
    for start in found.starts:
        seconds, share = start.running, start.ratio
        what = f"first result on stdio, {start.what}"
        limit = START_WITH_HUB_SECONDS
        yield Verdict(f"{what}: a hub runs", f"<= {limit:g} s", "", f"{seconds:.2f} s", seconds <= limit)
        limit = START_WITHOUT_HUB
        measured = f"{share:.2f} ({start.without:.2f} s)"
        yield Verdict(f"{what}: no hub, of the imports", f"<= {limit:g}", "", measured, share <= limit)


def _ratios(found: Measurements) -> Iterator[Verdict]:
    for operation in OPERATIONS:
        floor, aim = RATIOS[operation]
        for messages in (found.smaller, found.larger):
            cell = found.cell(operation, Era.STATELESS, messages, MANY)
            if cell is not None:
                what = f"{operation}, {MANY} connections, {messages:,} messages: of the no-op"
                yield Verdict(what, f">= {floor:g}", f"{aim:g}", f"{cell.ratio:.2f}", cell.ratio >= floor)
    for messages in (found.smaller, found.larger):
        cell = found.cell("send_message", Era.STATELESS, messages, 1)
        if cell is not None:
            extra = 1000 * cell.extra_p50
            what = f"send_message, 1 connection, {messages:,} messages: p50 above the no-op"
            yield Verdict(what, f"<= {SEND_EXTRA_MS:g} ms", "", f"{extra:.2f} ms", extra <= SEND_EXTRA_MS)


def plural(connections: int) -> str:
    """1 connection, 64 connections."""
    return f"{connections} connection{'' if connections == 1 else 's'}"


def _growths(found: Measurements) -> Iterator[Verdict]:
    for operation in OPERATIONS:
        for connections in (1, MANY):
            smaller = found.cell(operation, Era.STATELESS, found.smaller, connections)
            larger = found.cell(operation, Era.STATELESS, found.larger, connections)
            if smaller is not None and larger is not None:
                factor = growth(smaller, larger)
                what = f"{operation}, {plural(connections)}: p50 from {found.smaller:,} to {found.larger:,} messages"
                yield Verdict(what, f"<= {GROWTH:g}", "", f"{factor:.2f}", factor <= GROWTH)
