"""`one-mcp sql`: the person's side. A worker of its own on the published snapshot; the hub need not run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server import __version__
from server.endpoint import Failure, Hello
from server.launch import attach, reach

if TYPE_CHECKING:
    from storage.sql import Answer
    from storage.sql.process import Worker

SCREEN_ROWS = 1_000
"""Rows on a terminal and in Markdown, unless told otherwise. Files and pipes of CSV and JSON get all."""
FORMATS = ("table", "csv", "json", "markdown")
ENDINGS = ("csv", "json", "parquet", "arrow")
FILE_SECONDS = 600.0
"""Seconds for a query that is written to a file, unless told otherwise: a file may take a while."""
PREFIX = "sql-"

Ask = Callable[[dict[str, Any], Callable[[Any], None]], dict[str, Any]]
"""Carries out a request of the worker; parts of the answer go to the function, what the end says is returned."""


def run(arguments: argparse.Namespace) -> int:
    """Carry out a statement and print or write what it reads; the process's exit status.

    Raises:
        Failure: the statement, or where its answer is to go, is wrong; or there is no snapshot.
    """
    from server.config import SettingsError, load_settings
    from storage.errors import DomainError
    from storage.sql.errors import SqlError
    from tools_impl.query import explained

    ending = _ending(arguments.output)
    sql = sys.stdin.read() if arguments.sql == "-" else arguments.sql
    try:
        settings = load_settings(arguments.data)
        snapshot = _snapshot(arguments.data, fresh=arguments.fresh)
        seconds = arguments.seconds or (FILE_SECONDS if ending else None)
        with _worker(snapshot, settings, seconds, arrow=ending in ("parquet", "arrow")) as worker:
            _answer(arguments, sql, ending, worker)
    except SqlError as error:
        text = explained(error)
        if error.kind == "time":
            text += " --seconds 60 allows more."
        raise Failure(text) from None
    except (DomainError, SettingsError) as error:
        raise Failure(str(error)) from None
    return 0


def _ending(output: Path | None) -> str | None:
    if output is None:
        return None
    ending = output.suffix.removeprefix(".").lower()
    if ending not in ENDINGS:
        raise Failure(f"--output takes a file that ends in .csv, .json, .parquet or .arrow, not '{output}'.")
    return ending


def _snapshot(data_dir: Path, *, fresh: bool) -> Path:
    """The published file. A hub is started only when there is none, or it is to be fresh."""
    hello = Hello(__version__, client="control")
    published = data_dir / "analytics.duckdb"
    link = reach(data_dir, hello) if fresh or not published.exists() else attach(data_dir, hello)
    if link is None:
        return published
    try:
        return Path(link.call("snapshot", fresh=fresh)["path"])
    finally:
        link.close()


@contextmanager
def _worker(snapshot: Path, settings: Any, seconds: float | None, *, arrow: bool) -> Iterator[Worker]:
    from dataclasses import replace

    from storage.sql import copies
    from storage.sql.process import Worker

    limits = replace(settings.analytics.limits, seconds=seconds or settings.analytics.query_seconds)
    copies.remove_orphans(snapshot.parent, prefix=PREFIX)
    copy = copies.copied(snapshot, prefix=f"{PREFIX}{os.getpid()}-")
    try:
        worker = Worker(copy, limits, arrow=arrow)
        try:
            yield worker
        finally:
            worker.kill()
    finally:
        copies.remove(copy)


@contextmanager
def questions(data_dir: Path, *, fresh: bool) -> Iterator[Callable[[str, int], Answer]]:
    """A function that asks the published snapshot: a statement and how many rows at most in, the answer out.

    Raises:
        Failure: a statement, or the data directory, is wrong; or there is no snapshot.
    """
    from server.config import SettingsError, load_settings
    from storage.errors import DomainError
    from storage.sql import Answer, SqlError
    from tools_impl.query import explained

    try:
        snapshot = _snapshot(data_dir, fresh=fresh)
        as_of = round(snapshot.stat().st_mtime * 1000)
        with _worker(snapshot, load_settings(data_dir), None, arrow=False) as worker:

            def ask(sql: str, max_rows: int) -> Answer:
                columns: list[tuple[str, str]] = []
                rows: list[list[Any]] = []

                def take(part: Any) -> None:
                    columns.extend((name, kind) for name, kind in part.get("columns", ()))
                    rows.extend(part.get("rows", ()))

                end = worker.ask({"sql": sql, "max_rows": max_rows, "audit": True}, take)
                return Answer(columns, rows, bool(end.get("truncated")), as_of)

            yield ask
    except SqlError as error:
        raise Failure(explained(error)) from None
    except (DomainError, SettingsError) as error:
        raise Failure(str(error)) from None


def _answer(arguments: argparse.Namespace, sql: str, ending: str | None, worker: Worker) -> None:
    from server import sql_output

    style = ending or arguments.format or ("table" if sys.stdout.isatty() else "csv")
    limit = arguments.max_rows
    if limit is None and style in ("table", "markdown"):
        limit = SCREEN_ROWS
    request = {"sql": sql, "max_rows": limit, "arrow": style in ("parquet", "arrow"), "audit": True}
    with _progress(worker.ask) as ask:
        if arguments.output is not None:
            rows = sql_output.to_file(arguments.output, style, request, ask)
            sys.stderr.write(f"{rows:,} row{'' if rows == 1 else 's'} in {arguments.output}\n")
        else:
            truncated = sql_output.to_stream(sys.stdout, style, request, ask)
            if truncated:
                sys.stderr.write(f"The first {limit:,} rows; there are more: --max-rows, or --output FILE for all.\n")


@contextmanager
def _progress(ask: Ask) -> Iterator[Ask]:
    """`ask`, with a bar on stderr while a query takes long, if somebody looks at it."""
    if not sys.stderr.isatty():
        yield ask
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("query"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=100, visible=False)

        def asked(request: dict[str, Any], take: Callable[[Any], None]) -> dict[str, Any]:
            def show(part: Any) -> None:
                if isinstance(part, dict) and "progress" in part:
                    bar.update(task, completed=max(part["progress"], 0), visible=True)
                    return
                bar.update(task, visible=False)
                take(part)

            return ask({**request, "progress": True}, show)

        yield asked
