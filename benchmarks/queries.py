"""`python -m benchmarks.queries`: a query on a warm worker beside DuckDB in this process on the same file."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb

from benchmarks.report import table
from storage.snapshots import Published
from storage.sql import Limits, SqlRunner

QUERIES = {
    "one row": "SELECT 42",
    "count": "SELECT count(*) FROM messages",
    "50 rows": "SELECT * FROM messages ORDER BY seq DESC LIMIT 50",
    "a group by day": 'SELECT "createdAt"::DATE AS day, count(*) FROM messages GROUP BY day ORDER BY day',
    "words": "SELECT count(*) FROM messages WHERE content ILIKE '%word 77%'",
    "1,000 rows": "SELECT * FROM messages LIMIT 1000",
}


class _OneSnapshot:
    """A published file that stays as it is."""

    def __init__(self, path: Path) -> None:
        self.listeners: list[object] = []
        self._published = Published(path, 0, 1)

    async def latest(self, *, fresh: bool = False) -> Published:
        return self._published


def fill(path: Path, rows: int) -> None:
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.2.0"}) as connection:
        connection.execute(
            "CREATE TABLE messages AS SELECT 'msg_' || range AS _id, range AS seq, 'conv_' || range % 1000 AS conv, "
            "'some words and word ' || range % 100 AS content, ['a', 'b'] AS tags, "
            "TIMESTAMP '2026-01-01' + INTERVAL (range) SECOND AS \"createdAt\" FROM range(?)",
            [rows],
        )


async def measured(path: Path, rounds: int) -> list[tuple[str, ...]]:
    runner = SqlRunner(_OneSnapshot(path), path.parent, Limits(60), max_rows=1_000, max_bytes=1 << 20)  # type: ignore[arg-type]
    found = []
    with duckdb.connect(str(path), read_only=True, config={"threads": 2, "memory_limit": "512MB"}) as connection:
        for name, sql in QUERIES.items():
            alone, through = [], []
            for _ in range(rounds):
                begun = time.perf_counter()
                connection.execute(sql).fetchall()
                alone.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                await runner.run(sql, max_rows=1_000)
                through.append(time.perf_counter() - begun)
            pair = [1000 * median(times) for times in (alone, through)]
            found.append((name, *(f"{ms:.1f}" for ms in pair), f"{pair[1] - pair[0]:+.1f}"))
    await runner.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "analytics.duckdb"
        fill(path, arguments.rows)
        rows = asyncio.run(measured(path, arguments.rounds))
    print(table(("query", "DuckDB alone, ms", "through a worker, ms", "more, ms"), rows))


if __name__ == "__main__":
    main()
