"""Processes that read a published snapshot, as analysts have them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

_READS = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read") as connection:
    for statement in sys.stdin:
        print(connection.execute(statement).fetchall(), flush=True)
"""
_HOLDS = """
import sys
with open(sys.argv[1], "rb"):
    for _ in sys.stdin:
        print("[]", flush=True)
"""


class Analyst:
    """A process that has opened a file; it answers statements."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, statement: str) -> str:
        """The rows of a statement as Python writes them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        assert answer, "the analyst's process ended"
        return answer


@contextmanager
def analyst(path: Path, how: str = "read") -> Iterator[Analyst]:
    """A process with the file open: DuckDB to "read" or to "write", or "plain"; killed in the end."""
    program = _HOLDS if how == "plain" else _READS
    command = [sys.executable, "-c", program, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            opened = Analyst(process)
            opened("SELECT 1")
            yield opened
        finally:
            process.kill()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """What a program reads that opens the file for one query."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()
