"""The run as a page for people (Markdown) and as numbers (JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.compare import Cell
from benchmarks.load import Round
from benchmarks.machine import machine, programs
from benchmarks.measurements import Cold, Measurements, plural, verdicts

RESULTS = Path(__file__).with_name("results")
_WHICH = ("operation", "era", "messages", "connections")
_SPEEDS = ("answers/s", "no-op/s", "p50 ms", "p95 ms", "no-op p50", "no-op p95", "bytes", "no-op bytes")


def targets(found: Measurements) -> str:
    """The table of targets."""
    rows = [
        (verdict.target, verdict.floor, verdict.aim, verdict.measured, "yes" if verdict.holds else "**no**")
        for verdict in verdicts(found)
    ]
    return table(("target", "floor", "aim", "measured", "holds"), rows)


def details(found: Measurements) -> str:
    """What was measured beside the targets."""
    cells = table(
        (*_WHICH, "of the no-op (lowest to highest pair)", *_SPEEDS),
        [_cell(cell) for cell in found.cells],
    )
    cold = table(
        ("cold reads", "calls", "p50 ms", "p95 ms", "p99 ms"),
        [(_when(c), c.reads, f"{c.p50:.1f}", f"{c.p95:.1f}", f"{c.p99:.1f}") for c in found.cold],
    )
    sustained = table(
        ("sent in one go", "sent", "messages/s", "of the no-op", "p99 ms", "longest ms"),
        [
            (s.what, f"{s.messages:,}", f"{s.rate:.0f}", f"{s.ratio:.2f}", f"{s.p99_ms:.0f}", f"{s.longest_ms:.0f}")
            for s in found.sustained
        ],
    )
    starts = table(
        ("start on stdio", "a hub runs", "no hub", "imports alone"),
        [(s.what, f"{s.running:.2f} s", f"{s.without:.2f} s", f"{s.imports:.2f} s") for s in found.starts],
    )
    footprints = table(
        ("messages", "hub idle", "hub after the load", "bytes on disk per imported message", "per sent message"),
        [
            (f"{f.messages:,}", _mib(f.idle), _mib(f.after_load), f"{f.imported_message:.0f}", f"{f.sent_message:.0f}")
            for f in found.footprints
        ],
    )
    return f"{cells}\n\n{cold}\n\n{sustained}\n\n{starts}\n\n{footprints}"


def progress(cell: Cell) -> None:
    """One line as soon as a cell was measured."""
    where = f"{cell.operation:14} {cell.era.value} {cell.messages:>9,} messages {plural(cell.connections):>14}"
    speed = f"{cell.ours(_rate):5.0f}/s, no-op {cell.theirs(_rate):5.0f}/s"
    print(f"{where}: {cell.ratio:.2f} of the no-op ({speed}, p50 {1000 * cell.ours(_p50):.2f} ms)", flush=True)


def conditions(found: Measurements) -> str:
    """How fast the disk was, and whether the machine was ours alone."""
    p50, p95 = found.sync_ms
    busy = f"Other programs used {found.busy_before:.1f} cores before the run and {found.busy_after:.1f} after it."
    return f"Without us a small write was durable after {p50:.1f} ms (p95 {p95:.1f} ms). {busy}"


def _when(cold: Cold) -> str:
    return cold.operation if cold.settled else f"{cold.operation}, right after the start"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _cell(cell: Cell) -> tuple[object, ...]:
    def ms(seconds: float) -> str:
        return f"{1000 * seconds:.2f}"

    return (
        cell.operation,
        cell.era.value,
        f"{cell.messages:,}",
        cell.connections,
        f"**{cell.ratio:.2f}** ({min(cell.ratios):.2f} to {max(cell.ratios):.2f})",
        f"{cell.ours(_rate):.0f}",
        f"{cell.theirs(_rate):.0f}",
        ms(cell.ours(_p50)),
        ms(cell.ours(_p95)),
        ms(cell.theirs(_p50)),
        ms(cell.theirs(_p95)),
        f"{cell.ours(_bytes):.0f}",
        f"{cell.theirs(_bytes):.0f}",
    )


def _rate(measured: Round) -> float:
    return measured.rate


def _p50(measured: Round) -> float:
    return measured.p50


def _p95(measured: Round) -> float:
    return measured.quantile(0.95)


def _bytes(measured: Round) -> float:
    return measured.mean_bytes


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table whose columns line up in a terminal as well."""
    lines = [tuple(head), *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(padded)


def keep(found: Measurements, minutes: float) -> Path:
    """Write the results of today."""
    today = datetime.now(UTC).date().isoformat()
    about = f"On {today}, on {machine()}.\n{programs()}. {minutes:.0f} minutes.\n{conditions(found)}"
    page = RESULTS / f"{today}.md"
    page.write_text(
        f"# Benchmarks of {today}\n\n{about}\n\n## Targets\n\n{targets(found)}\n\n## Details\n\n{details(found)}\n"
    )
    numbers = {
        "date": today,
        "machine": machine(),
        "programs": programs(),
        "syncMs": found.sync_ms,
        "othersCores": [found.busy_before, found.busy_after],
        **_numbers(found),
    }
    page.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n")
    return page


def _numbers(found: Measurements) -> dict[str, Any]:
    return {
        "targets": [asdict(verdict) for verdict in verdicts(found)],
        "cells": [
            {
                "operation": cell.operation,
                "era": cell.era.value,
                "messages": cell.messages,
                "connections": cell.connections,
                "ratio": round(cell.ratio, 3),
                "pairs": [[_round(ours), _round(theirs)] for ours, theirs in cell.pairs],
            }
            for cell in found.cells
        ],
        "cold": [asdict(cold) for cold in found.cold],
        "sustained": [asdict(sustained) for sustained in found.sustained],
        "starts": [asdict(start) for start in found.starts],
        "footprints": [asdict(footprint) for footprint in found.footprints],
    }


def _round(measured: Round) -> dict[str, float]:
    return {
        "perSecond": round(measured.rate, 1),
        "p50ms": round(1000 * measured.p50, 3),
        "p95ms": round(1000 * measured.quantile(0.95), 3),
        "bytes": round(measured.mean_bytes, 1),
        "generatorBusy": round(measured.busy, 3),
    }
