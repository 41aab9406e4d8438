"""One whole run, in an order in which nothing disturbs what comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from benchmarks.compare import Plan, Side, compare
from benchmarks.data import fresh_copy, loaded, stored_bytes
from benchmarks.dataset import PAGE, Dataset
from benchmarks.load import Round, Target
from benchmarks.machine import others, sync_ms
from benchmarks.measurements import MANY, Cold, Footprint, Measurements, Sustained
from benchmarks.report import progress
from benchmarks.servers import Running, product, settle, status
from benchmarks.startup import start_up
from benchmarks.wire import Call, Era
from benchmarks.workload import Workload

SOME = 2_000
FIRST_READS = 50
"""Cold reads that compete with what a hub loads after its start; they are shown apart."""


def measure(plan: Plan, small: Dataset, large: Dataset) -> Measurements:
    """Measure everything on two datasets."""
    without_messages, *_ = (stored_bytes(loaded(dataset)) for dataset in (Dataset(0), small, large))
    found = Measurements(small.messages, large.messages, busy_before=others())
    with ExitStack() as stack:
        copies = [stack.enter_context(fresh_copy(dataset)) for dataset in (small, large)]
        before = [stored_bytes(copy) for copy in copies]
        _measure_starts(plan, found, small, large, copies)
        for operation in ("list_messages", "get"):
            with product(copies[1]) as running:
                found.cold += _cold(copies[1], running, Workload(large, seed=2), operation, plan.cold_reads)
        idle, loaded_memory, sent = _measure_load(plan, found, (small, large), copies)
        for index, dataset in enumerate((small, large)):
            found.footprints.append(
                Footprint(
                    dataset.messages,
                    idle[index],
                    loaded_memory[index],
                    imported_message=(before[index] - without_messages) / dataset.messages,
                    sent_message=(stored_bytes(copies[index]) - before[index]) / sent[index],
                )
            )
    if plan.embedding:
        found.sustained.append(_measure_embedding(plan, small))
    found.busy_after = others()
    return found


def _measure_starts(plan: Plan, found: Measurements, small: Dataset, large: Dataset, copies: list[Path]) -> None:
    with TemporaryDirectory() as place:
        new = start_up("new directory", Path(place) / "data", Call("find", {"table": "agents"}), plan.rounds)
    found.starts.append(new)
    for dataset, copy in zip((small, large), copies, strict=True):
        found.starts.append(start_up(f"{dataset.messages:,} messages", copy, _hottest_page(dataset), plan.rounds))


def _hottest_page(dataset: Dataset) -> Call:
    conversation = max(range(len(dataset.conversations)), key=dataset.weights.__getitem__)
    return Call("list_messages", {"conversationId": dataset.conversations[conversation], "limit": PAGE})


def _cold(data: Path, running: Running, workload: Workload, operation: str, most: int) -> Iterator[Cold]:
    """Reads of old messages, which no cache holds; one at a time, on a hub that has just started."""
    target = Target(running.port, Era.STATELESS)
    calls = workload.old(operation, most)
    first = min(FIRST_READS, len(calls) // 4)
    yield _summary(operation, target.run(calls[:first], 1), settled=False)
    settle(data)
    yield _summary(operation, target.run(calls[first:], 1), settled=True)


def _summary(operation: str, measured: Round, *, settled: bool) -> Cold:
    p50, p95, p99 = (1000 * measured.quantile(share) for share in (0.5, 0.95, 0.99))
    return Cold(operation, settled, len(measured.latencies), p50, p95, p99)


def _measure_load(
    plan: Plan, found: Measurements, datasets: tuple[Dataset, Dataset], copies: list[Path]
) -> tuple[list[int], list[int], list[int]]:
    """The comparison with the no-op. Returns the hubs' memory before and after it, and how much was sent to each."""
    with ExitStack() as stack:
        hubs = [stack.enter_context(product(copy)) for copy in copies]
        sides = [
            Side(dataset.messages, copy, hub, Workload(dataset, seed=10 + number))
            for number, (dataset, copy, hub) in enumerate(zip(datasets, copies, hubs, strict=True))
        ]
        for dataset, side in zip(datasets, sides, strict=True):
            side.targets[Era.STATELESS].run([_hottest_page(dataset)], 1)
            settle(side.data)
        idle = [hub.memory() for hub in hubs]
        for cell in compare(sides, plan):
            found.cells.append(cell)
            progress(cell)
        found.sync_ms = sync_ms(copies[1])
        found.sustained.append(_sustained("without a model", sides[1], plan.sustained))
        sent = [status(copy)["messages"] - dataset.messages for copy, dataset in zip(copies, datasets, strict=True)]
        return idle, [hub.memory() for hub in hubs], sent


def _measure_embedding(plan: Plan, small: Dataset) -> Sustained:
    """Sending while the default model embeds what was sent, as far as others leave it the processor."""
    with fresh_copy(small, embedding=True) as copy, product(copy) as hub:
        side = Side(small.messages, copy, hub, Workload(small, seed=20))
        side.targets[Era.STATELESS].run([_hottest_page(small)], 1)
        settle(copy)
        return _sustained("with the default model", side, plan.sustained // 6)


def _sustained(what: str, side: Side, messages: int) -> Sustained:
    calls = side.workload.draw("send_message", messages)
    target = side.targets[Era.STATELESS]
    with side.no_op("send_message", target.era) as no_op:
        settle(side.data)
        rates = [no_op.run(calls[:SOME], MANY).rate]
        measured = target.run(calls, MANY)
        settle(side.data)
        rates.append(no_op.run(calls[:SOME], MANY).rate)
    longest = 1000 * measured.latencies[-1]
    return Sustained(
        what, messages, measured.rate, measured.rate / mean(rates), 1000 * measured.quantile(0.99), longest
    )
