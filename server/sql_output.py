"""What `one-mcp sql` prints and writes."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from server.endpoint import Failure

if TYPE_CHECKING:
    from server.sql_command import Ask


def to_stream(stream: TextIO, style: str, request: dict[str, Any], ask: Ask) -> bool:
    """Print an answer as "table", "markdown", "csv" or "json"; whether there are more rows than were asked for."""
    if style in ("csv", "json"):
        writer = _WRITERS[style](stream)
        end = ask(request, writer.take)
        writer.close()
    else:
        table = _Whole()
        end = ask(request, table.take)
        (_print_table if style == "table" else _print_markdown)(stream, table)
    stream.flush()
    truncated: bool = end["truncated"]
    return truncated


def to_file(path: Path, style: str, request: dict[str, Any], ask: Ask) -> int:
    """Write an answer to a file, which appears when it is whole; the number of rows."""
    with _appearing(path) as fresh:
        if style in ("csv", "json"):
            with fresh.open("w", encoding="utf-8", newline="") as stream:
                writer = _WRITERS[style](stream)
                ask(request, writer.take)
                writer.close()
                return writer.rows
        return _write_arrow(fresh, style, request, ask)


def _write_arrow(path: Path, style: str, request: dict[str, Any], ask: Ask) -> int:
    import pyarrow as pa

    try:
        with _ArrowFile(path, style) as file:
            ask(request, file.take)
            return file.rows
    except pa.ArrowException as error:
        raise Failure(f"A {style} file cannot hold this: {error}. Cast such columns to VARCHAR.") from error


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class _Whole:
    """An answer in memory."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.kinds: list[str] = []
        self.rows: list[list[Any]] = []

    def take(self, part: Any) -> None:
        for name, kind in part.get("columns", ()):
            self.columns.append(name)
            self.kinds.append(kind)
        self.rows += part.get("rows", ())


def _print_table(stream: TextIO, table: _Whole) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, kind in zip(table.columns, table.kinds, strict=True):
        shown.add_column(Text(_cell(name)), justify="right" if _is_number(kind) else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text("NULL", style="dim") if value is None else Text(_cell(value)) for value in row))
    # A pipe is as wide as what goes through it.
    Console(file=stream, width=None if stream.isatty() else 100_000).print(shown)
    count = len(table.rows)
    sys.stderr.write(f"{count:,} row{'' if count == 1 else 's'}\n")


def _is_number(kind: str) -> bool:
    return kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")) or kind.endswith("INT") or kind in ("INTEGER", "BIGNUM")


def _print_markdown(stream: TextIO, table: _Whole) -> None:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    for line in lines:
        cells = (_cell("" if value is None else value).replace("|", "\\|") for value in line)
        stream.write(f"| {' | '.join(cells)} |\n")


def _cell(value: Any) -> str:
    """A value on one line; control characters, with which a text could rule a terminal, become visible."""
    text = value if isinstance(value, str) else _json(value)
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Csv:
    """Rows as CSV; lists and structs as JSON, null as nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self.rows = 0

    def take(self, part: Any) -> None:
        if "columns" in part:
            self._writer.writerow([name for name, _ in part["columns"]])
        for row in part.get("rows", ()):
            self.rows += 1
            self._writer.writerow([value if value is None or isinstance(value, str) else _json(value) for value in row])

    def close(self) -> None:
        """Nothing is left to write."""


class _Json:
    """Rows as a list of objects, one a line. A name that comes twice gets a number."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._names: list[str] = []
        self.rows = 0

    def take(self, part: Any) -> None:
        for name, _ in part.get("columns", ()):
            self._names.append(_unused(name, self._names))
        for row in part.get("rows", ()):
            self._stream.write(("[" if self.rows == 0 else ",\n") + _json(dict(zip(self._names, row, strict=True))))
            self.rows += 1

    def close(self) -> None:
        self._stream.write("]\n" if self.rows else "[]\n")


def _unused(name: str, names: list[str]) -> str:
    if name not in names:
        return name
    return next(other for number in range(2, len(names) + 3) if (other := f"{name}_{number}") not in names)


_WRITERS: dict[str, Callable[[TextIO], _Csv | _Json]] = {"csv": _Csv, "json": _Json}


class _ArrowFile:
    """A Parquet or Arrow file, written batch by batch."""

    def __init__(self, path: Path, style: str) -> None:
        self._path = path
        self._style = style
        self._writer: Any = None
        self.rows = 0

    def take(self, part: Any) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        with pa.ipc.open_stream(part) as stream:
            if self._writer is None:
                if self._style == "parquet":
                    self._writer = parquet.ParquetWriter(self._path, stream.schema, compression="zstd")
                else:
                    self._writer = pa.ipc.new_file(str(self._path), stream.schema)
            for batch in stream:
                self._writer.write_batch(batch)
                self.rows += batch.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
