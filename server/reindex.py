"""`one-mcp reindex`: the person's side."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from server import __version__
from server.endpoint import Hello
from server.launch import reach

_QUIET_SECONDS = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Have the hub build its index anew and show how far it is; the process's exit status.

    Raises:
        Refused: the hub says why it cannot.
    """
    link = reach(arguments.data, Hello(__version__, client="control"))
    started = time.monotonic()
    try:
        if sys.stderr.isatty():
            answer = _with_bar(link.call, embed=arguments.embed)
        else:
            answer = link.call("reindex", _Lines(), embed=arguments.embed)
    finally:
        link.close()
    seconds = time.monotonic() - started
    sys.stdout.write(f"{answer['rows']:,} rows indexed in {seconds:.1f} s.\n")
    return 0


def _with_bar(call: Any, *, embed: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(report: dict[str, Any]) -> None:
            bar.update(task, completed=report["done"], total=report["total"])

        answer: dict[str, Any] = call("reindex", show, embed=embed)
    return answer


class _Lines:
    """Now and then a line, where there is no terminal."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, report: dict[str, Any]) -> None:
        if time.monotonic() - self._said >= _QUIET_SECONDS:
            self._said = time.monotonic()
            sys.stderr.write(f"{report['done']:,} of {report['total']:,} rows\n")
