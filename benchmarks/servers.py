"""Starts and ends the processes that are measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from server.status import control

ROOT = Path(__file__).resolve().parents[1]
ONE_MCP = [sys.executable, "-P", "-c", "from server.cli import main; main()"]
SECONDS = 300.0
POLL_SECONDS = 0.2
IDLE_PERCENT = 8.0
REST_SECONDS = 1.3
"""After a second without writes the hub makes a checkpoint."""


class Running(NamedTuple):
    """A server process and the port it serves on."""

    pid: int
    port: int

    def memory(self) -> int:
        """Resident bytes now."""
        return int(psutil.Process(self.pid).memory_info().rss)


def environment() -> dict[str, str]:
    """The environment without settings of one-mcp, with this source tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONE_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def status(data: Path) -> dict[str, Any]:
    """What the hub of a directory says of itself."""
    link = control(data)
    assert link is not None
    facts = link.call("status")
    link.close()
    return facts


def settle(data: Path, seconds: float = SECONDS) -> None:
    """Wait until the hub of a directory rests.

    It has loaded, indexed and checkpointed what its start or the last writes left to do.

    Raises:
        TimeoutError: after so many seconds it is still at work.
    """
    deadline = time.monotonic() + seconds
    hub, rests_since = psutil.Process(status(data)["pid"]), time.monotonic()
    hub.cpu_percent()
    opened = False
    while not opened or time.monotonic() < rests_since + REST_SECONDS:
        time.sleep(POLL_SECONDS)
        opened = opened or _has_opened(status(data))
        if hub.cpu_percent() > IDLE_PERCENT or not opened:
            rests_since = time.monotonic()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the hub is still busy after {seconds:.0f} s")


def _has_opened(facts: dict[str, Any]) -> bool:
    """Whether a hub has begun with what it does behind its first answers; the index comes last."""
    return facts["unready"] is None and (facts["index"]["open"] or not facts["messages"])


@contextmanager
def product(data: Path) -> Iterator[Running]:
    """`one-mcp serve` on a data directory."""
    command = [*ONE_MCP, "--data", str(data), "serve", "--port", "0", "--no-auth"]
    with (data.parent / f"{data.name}.log").open("w") as log:
        yield from served(command, r"http://[^:]+:(\d+)/mcp", log.fileno())


@contextmanager
def peer(sizes: dict[str, int]) -> Iterator[Running]:
    """The no-op server, with texts of these sizes by tool."""
    command = [sys.executable, "-m", "benchmarks.peer", *(f"{name}={size}" for name, size in sizes.items())]
    yield from served(command, r"^(\d+)$", None)


def served(command: list[str], port: str, errors: int | None) -> Iterator[Running]:
    """Start a server whose output tells the port, and end it afterwards."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        found = next((match for line in process.stdout if (match := re.search(port, line))), None)
        if found is None:
            raise RuntimeError(f"{command[-3:]} did not start: status {process.wait(SECONDS)}")
        yield Running(process.pid, int(found[1]))
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
