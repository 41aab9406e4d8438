"""The process that carries out SQL. It opens one snapshot, gives up what it does not need, and answers.

It is started with `python -I worker.py` and uses the standard library and DuckDB only (and pyarrow, when asked for
Arrow). Requests and answers are frames on stdin and stdout: four bytes with the length of what follows, one byte for
its kind (J: JSON, A: an Arrow IPC stream).
It ends when stdin does. Whoever started it kills it when its time is up: nothing here is asked to stop.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":  # -I leaves out where this package may be, and where users install others
    sys.path[:0] = [str(Path(__file__).parents[2])]
    sys.path += sys.argv[1:]

import duckdb

from storage.sql import guard, values

FETCH_ROWS = 256
ARROW_ROWS = 50_000
PROGRESS_SECONDS = 0.2
OVERHEAD_BYTES = 512 << 20
"""What Python, DuckDB's threads and the allocator may take besides the memory for the query."""
OPEN_FILES = 64


class Answers:
    """Where answers go; frames of several threads do not mix."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def json(self, data: dict[str, Any]) -> None:
        """Send an object."""
        self._frame(b"J", json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())

    def arrow(self, data: Any) -> None:
        """Send an Arrow IPC stream."""
        self._frame(b"A", data)

    def _frame(self, kind: bytes, data: Any) -> None:
        with self._lock:
            self._stream.write(struct.pack(">Ic", len(data) + 1, kind))
            self._stream.write(data)
            self._stream.flush()


def read_frame(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """The kind and the content of the next frame; None at the end."""
    head = stream.read(5)
    if len(head) < 5:
        return None
    size, kind = struct.unpack(">Ic", head)
    data = stream.read(size - 1)
    return (kind, data) if len(data) == size - 1 else None


def opened(options: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """The snapshot, from which nothing else can be reached."""
    connection = duckdb.connect(
        options["path"],
        read_only=True,
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "memory_limit": options["memory"],
            "threads": options["threads"],
            "temp_directory": options["temp"],
            "max_temp_directory_size": options["temp_size"],
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    # Without a progress bar nobody is told of the progress; it is not printed here.
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")
    connection.execute("SET lock_configuration = true")
    return connection


def give_up_rights(options: dict[str, Any]) -> None:
    """Bound what the system gives to this process, and end with whoever started it."""
    if sys.platform == "win32":
        return
    import resource

    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: options["temp_bytes"],
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        taken = pages * os.sysconf("SC_PAGE_SIZE")
        bounds[resource.RLIMIT_AS] = taken + options["memory_bytes"] + OVERHEAD_BYTES
        _die_with_parent()
    for what, bound in bounds.items():
        _, hard = resource.getrlimit(what)
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(what, (least, least))


def _die_with_parent() -> None:
    import ctypes
    import signal

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


INTERNAL = frozenset({"requests", "aliases", "meta", "auditPending"})
"""What the hub keeps for itself: results of calls with a key, where imported rows are, versions."""
AUDIT = "auditLog"
"""Only for requests that say so."""
AUDIT_REFUSED = "auditLog is for admins only: a token with the scope admin, or `one-mcp sql` on the hub's machine."


def catalogue(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """The columns of each table and view that a statement may read."""
    found = dict(
        connection.execute(
            "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
            "WHERE NOT internal AND schema_name = 'main' GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    )
    return {name: names for name, names in found.items() if name not in INTERNAL}


def lowered(names: Iterable[str]) -> frozenset[str]:
    """Names as the guard compares them."""
    return frozenset(name.lower() for name in names)


class Worker:
    """Carries out requests, one at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, answers: Answers) -> None:
        self._connection = connection
        self._answers = answers
        everything = catalogue(connection)
        self.tables = {name: names for name, names in everything.items() if name != AUDIT}
        self._of_admins = lowered(everything)
        self._of_analysts = lowered(self.tables)

    def answer(self, request: dict[str, Any]) -> None:
        """Carry out a request and send everything that belongs to its answer."""
        done = threading.Event()
        if request.get("progress"):
            threading.Thread(target=self._report, args=(done,), daemon=True).start()
        try:
            sql = self._checked(request["sql"], audit=request.get("audit", False))
            if request.get("arrow"):
                end = self._arrow(sql, request.get("max_rows"))
            else:
                end = self._rows(sql, request.get("max_rows"), request.get("max_bytes"))
        except guard.Refused as refused:
            end = {"error": "refused", "message": str(refused), "unknown": refused.unknown}
        except duckdb.Error as error:
            end = {"error": type(error).__name__, "message": str(error)}
        except (MemoryError, RecursionError) as error:
            end = {"error": type(error).__name__, "message": "The answer is too large."}
        finally:
            done.set()
        self._answers.json({"end": True, **end})
        if end.get("truncated"):
            # The query behind the rows that nobody wants may still run, and may never end.
            self._connection.interrupt()
            self._connection.execute("SELECT 1").fetchall()
            self._answers.json({"rested": True})

    def _checked(self, sql: str, *, audit: bool) -> str:
        if audit:
            return guard.checked(self._connection, sql, self._of_admins, lowered(INTERNAL))
        try:
            return guard.checked(self._connection, sql, self._of_analysts, lowered(INTERNAL | {AUDIT}))
        except guard.Refused as refused:
            if (refused.unknown or "").lower() == AUDIT.lower():
                raise guard.Refused(AUDIT_REFUSED) from None
            raise

    def _report(self, done: threading.Event) -> None:
        while not done.wait(PROGRESS_SECONDS):
            self._answers.json({"progress": self._connection.query_progress()})

    def _execute(self, sql: str) -> list[tuple[str, str]]:
        found = self._connection.execute(sql)
        columns = [(name, str(kind)) for name, kind, *_ in found.description or ()]
        texts = [any(part in kind for part in values.AS_TEXT) for _, kind in columns]
        if any(texts):
            names = [f"c{place}" for place in range(len(columns))]
            parts = [f"{name}::VARCHAR" if text else name for name, text in zip(names, texts, strict=True)]
            self._connection.execute(f"SELECT {', '.join(parts)} FROM (\n{sql}\n) AS q({', '.join(names)})")
        return columns

    def _rows(self, sql: str, max_rows: int | None, max_bytes: int | None) -> dict[str, Any]:
        self._answers.json({"columns": self._execute(sql)})
        rows = _Limited(self._fetched(), max_rows, max_bytes)
        batch: list[Any] = []
        for row in rows:
            batch.append(row)
            if len(batch) == FETCH_ROWS:
                self._answers.json({"rows": batch})
                batch = []
        self._answers.json({"rows": batch})
        return {"truncated": rows.truncated, "too_wide": rows.too_wide}

    def _fetched(self) -> Iterator[list[Any]]:
        size = 16  # the first rows may be large
        while found := self._connection.fetchmany(size):
            for row in found:
                yield [values.plain(value) for value in row]
            size = FETCH_ROWS

    def _arrow(self, sql: str, max_rows: int | None) -> dict[str, Any]:
        import pyarrow as pa

        reader: Any = self._connection.execute(sql).to_arrow_reader(ARROW_ROWS)

        def send(*batches: Any) -> None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, reader.schema) as stream:
                for batch in batches:
                    stream.write_batch(batch)
            self._answers.arrow(sink.getvalue())

        send()
        left = max_rows
        for batch in reader:
            if left is not None and batch.num_rows > left:
                send(batch.slice(0, left))
                return {"truncated": True}
            send(batch)
            left = None if left is None else left - batch.num_rows
        return {"truncated": False}


class _Limited:
    """Rows up to so many, and up to so many bytes as JSON; afterwards it is known whether there were more."""

    def __init__(self, rows: Iterator[list[Any]], max_rows: int | None, max_bytes: int | None) -> None:
        self._rows = rows
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.truncated = False
        self.too_wide = False

    def __iter__(self) -> Iterator[list[Any]]:
        used = 0
        for count, row in enumerate(self._rows):
            used += len(json.dumps(row, ensure_ascii=False).encode()) if self._max_bytes is not None else 0
            self.too_wide = self._max_bytes is not None and used > self._max_bytes
            if self.too_wide or count == self._max_rows:
                self.truncated = True
                self.too_wide = self.too_wide and count == 0
                return
            yield row


def main() -> None:
    """Serve until stdin ends."""
    requests, answers = sys.stdin.buffer, Answers(sys.stdout.buffer)
    first = read_frame(requests)
    if first is None:
        return
    options = json.loads(first[1])
    try:
        if options["arrow"]:
            import pyarrow.ipc  # noqa: F401  before files can no longer be opened
        connection = opened(options)
        worker = Worker(connection, answers)
        give_up_rights(options)
    except (duckdb.Error, OSError, ImportError) as error:
        answers.json({"error": f"{type(error).__name__}: {error}"})
        return
    answers.json({"tables": worker.tables})
    while (request := read_frame(requests)) is not None:
        worker.answer(json.loads(request[1]))


if __name__ == "__main__":
    main()
    os._exit(0)  # DuckDB's threads and files have nothing to finish
