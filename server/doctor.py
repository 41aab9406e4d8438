"""`one-mcp doctor`: looks at everything that can be wrong, says what to do, and changes nothing.

This module needs the standard library only, for a package may be missing; `server/checkup.py` does the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from server import __version__
from server.requirements import requirements

_COLOURS = {"ok": 32, "warning": 33, "error": 31}


class Outcome(NamedTuple):
    """What one check says. `advice` is what to do."""

    status: Literal["ok", "warning", "error"]
    name: str
    message: str
    advice: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the process's exit status: 1 when something is an error."""
    outcomes: list[Outcome] = []
    for outcome in _examine(arguments.data):
        outcomes.append(outcome)
        if not arguments.json:
            _print(outcome)
    errors = sum(outcome.status == "error" for outcome in outcomes)
    warnings = sum(outcome.status == "warning" for outcome in outcomes)
    if arguments.json:
        shown = [{key: value for key, value in outcome._asdict().items() if value} for outcome in outcomes]
        sys.stdout.write(json.dumps({"ok": errors == 0, "checks": shown}) + "\n")
    else:
        sys.stdout.write(f"\n{count(errors, 'error')}, {count(warnings, 'warning')}.\n")
    return 1 if errors else 0


def _print(outcome: Outcome) -> None:
    status = f"{outcome.status:<9}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        status = f"\033[{_COLOURS[outcome.status]}m{status}\033[0m"
    sys.stdout.write(f"{status}{outcome.name:<16}{outcome.message}\n")
    if outcome.advice:
        sys.stdout.write(f"{'':<25}{outcome.advice}\n")
    sys.stdout.flush()


def count(number: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _examine(data_dir: Path) -> Iterator[Outcome]:
    yield Outcome("ok", "python", f"{platform.python_version()} ({sys.executable})")
    complete = True
    for outcome in _packages():
        complete = complete and outcome.status != "error"
        yield outcome
    if complete:
        from server.checkup import checkup

        yield from checkup(data_dir)


def _packages() -> Iterator[Outcome]:
    needed = requirements()
    for package in needed:
        if package.satisfied:
            continue
        found = f"{package.name} {package.installed or 'is not installed'}; wanted: {package.wanted or 'any version'}."
        exact = package.wanted.startswith("==")
        status: Literal["error", "warning"] = "error" if package.installed is None or exact else "warning"
        yield Outcome(status, "packages", found, f"pip install '{package.name}{package.wanted}'")
    right = ", ".join(f"{package.name} {package.installed}" for package in needed if package.satisfied)
    yield Outcome("ok", "packages", f"one-mcp {__version__}; {right or 'unknown, this is a copy of the source'}")
