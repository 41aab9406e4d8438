"""Compares the product with the no-op: the same calls in turns, answers of the same length, the median of the pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import median

from benchmarks.load import Round, Target
from benchmarks.servers import Running, peer, settle
from benchmarks.wire import Call, Era
from benchmarks.workload import Workload

OPERATIONS = ("list_messages", "get", "send_message")
"""Reads first: what is sent changes what is read."""
WRITES = frozenset({"send_message"})
CALIBRATION = 2_000
WARM_UP = {"list_messages": 20_000, "get": 40_000, "send_message": 20_000}
"""Calls before the clock starts, so that the caches hold what the law makes hot."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    `rounds` pairs for each cell, each round of about so many `seconds`, and `older_rounds` pairs in the older era;
    `warm_up` is a share of `WARM_UP`; `embedding`: also with the default model.
    """

    rounds: int
    seconds: float
    warm_up: float
    connections: tuple[int, ...]
    older_rounds: int
    cold_reads: int
    sustained: int
    embedding: bool

    def of(self, era: Era) -> int:
        """The pairs for each cell of an era."""
        return self.rounds if era is Era.STATELESS else self.older_rounds


@dataclass(frozen=True, slots=True)
class Cell:
    """One operation on one dataset at one concurrency, in pairs of rounds (product, no-op)."""

    operation: str
    era: Era
    messages: int
    connections: int
    pairs: tuple[tuple[Round, Round], ...]

    @property
    def ratios(self) -> list[float]:
        """Our answers a second, of the no-op's in the same pair."""
        return [ours.rate / theirs.rate for ours, theirs in self.pairs]

    @property
    def ratio(self) -> float:
        """The median of the paired ratios."""
        return median(self.ratios)

    def ours(self, measure: Callable[[Round], float]) -> float:
        """The median over our rounds."""
        return median(measure(ours) for ours, _ in self.pairs)

    def theirs(self, measure: Callable[[Round], float]) -> float:
        """The median over the no-op's rounds."""
        return median(measure(theirs) for _, theirs in self.pairs)

    @property
    def extra_p50(self) -> float:
        """Seconds that our median answer takes longer."""
        return median(ours.p50 - theirs.p50 for ours, theirs in self.pairs)


def growth(smaller: Cell, larger: Cell) -> float:
    """How much slower the median answer of the larger dataset is; both were measured in turns."""
    return median(large.p50 / small.p50 for (small, _), (large, _) in zip(smaller.pairs, larger.pairs, strict=True))


class Side:
    """The product on one dataset, with the calls to make."""

    def __init__(self, messages: int, data: Path, running: Running, workload: Workload) -> None:
        self.messages = messages
        self.data = data
        self.workload = workload
        self.targets = {era: Target(running.port, era) for era in Era}

    def run(self, target: Target, calls: Sequence[Call], connections: int) -> Round:
        """A round on a target of this side; what it left to do behind the answers is done before the next round."""
        measured = target.run(calls, connections)
        if target in self.targets.values() and calls[0].tool in WRITES:
            settle(self.data)
        return measured

    def warm_up(self, operation: str, calls: int) -> None:
        """Make calls that are not measured."""
        self.run(self.targets[Era.STATELESS], self.workload.draw(operation, calls), 64)

    @contextmanager
    def no_op(self, operation: str, era: Era) -> Iterator[Target]:
        """A no-op server with the same tool, whose answers are as long as ours are on average."""
        ours = self.targets[era].run(self.workload.draw(operation, CALIBRATION), 8).mean_bytes
        with peer({operation: 0}) as empty:
            overhead = Target(empty.port, era).run(self.workload.draw(operation, 10), 1).mean_bytes
        # The text is in the answer twice: as content, and in the structured result.
        with peer({operation: round((ours - overhead) / 2)}) as running:
            yield Target(running.port, era)


def compare(sides: Sequence[Side], plan: Plan) -> Iterator[Cell]:
    """Measure each operation in each era at each concurrency on all sides, in turns."""
    for operation in OPERATIONS:
        for side in sides:
            side.warm_up(operation, int(plan.warm_up * WARM_UP[operation]))
        for era in (era for era in Era if plan.of(era)):
            with ExitStack() as stack:
                pairs = [(side.targets[era], stack.enter_context(side.no_op(operation, era))) for side in sides]
                for connections in plan.connections:
                    yield from _cells(operation, era, connections, sides, pairs, plan)


def _cells(
    operation: str,
    era: Era,
    connections: int,
    sides: Sequence[Side],
    targets: Sequence[tuple[Target, Target]],
    plan: Plan,
) -> list[Cell]:
    """The cells of all sides; `targets` are the product and its no-op on each."""
    counts = [
        _enough_calls(side, operation, pair, connections, plan.seconds)
        for side, pair in zip(sides, targets, strict=True)
    ]
    pairs: list[list[tuple[Round, Round]]] = [[] for _ in sides]
    for number in range(plan.of(era)):
        for index, (ours, theirs) in enumerate(targets):
            calls = sides[index].workload.draw(operation, counts[index])
            first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
            results = {target: sides[index].run(target, calls, connections) for target in (first, second)}
            pairs[index].append((results[ours], results[theirs]))
    return [
        Cell(operation, era, side.messages, connections, tuple(found)) for side, found in zip(sides, pairs, strict=True)
    ]


def _enough_calls(side: Side, operation: str, pair: tuple[Target, Target], connections: int, seconds: float) -> int:
    """Calls for rounds of about so many seconds, by a short round of each."""
    calls = side.workload.draw(operation, 100 + 4 * connections)
    rates = [side.run(target, calls, connections).rate for target in pair]
    return max(200, 10 * connections, round(seconds * sqrt(rates[0] * rates[1])))
