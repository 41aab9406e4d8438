"""From process start to the first tool result on stdio, beside what the SDK and DuckDB take to import."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.servers import ONE_MCP, SECONDS, environment
from benchmarks.wire import CLIENT, Call, Era

_IMPORTS = "import mcp.server.mcpserver, duckdb; print(flush=True)"
_INITIALIZE = {"protocolVersion": Era.SESSIONS.value, "capabilities": {}, "clientInfo": CLIENT}


@dataclass(frozen=True, slots=True)
class StartUp:
    """Median seconds. `ratio`: of the start without a hub to the imports, in pairs."""

    what: str
    running: float
    without: float
    imports: float
    ratio: float


def start_up(what: str, data: Path, call: Call, rounds: int) -> StartUp:
    """Start on `data` and make one call; in turns without a hub, with one, and the imports alone."""
    imports, without, running = [], [], []
    for _ in range(rounds):
        imports.append(_until_answered([sys.executable, "-c", _IMPORTS], lambda process: process.stdout.readline()))
        without.append(_first_result(data, call))
        running.append(_first_result(data, call))
        subprocess.run([*ONE_MCP, "--data", str(data), "stop"], env=environment(), check=True, capture_output=True)
    ratio = median(ours / theirs for ours, theirs in zip(without, imports, strict=True))
    return StartUp(what, median(running), median(without), median(imports), ratio)


def _first_result(data: Path, call: Call) -> float:
    def converse(process: subprocess.Popen[str]) -> None:
        _send(process, id=1, method="initialize", params=_INITIALIZE)
        _answer(process, 1)
        _send(process, method="notifications/initialized")
        _send(process, id=2, method="tools/call", params={"name": call.tool, "arguments": call.arguments})
        if _answer(process, 2)["result"].get("isError"):
            raise RuntimeError(f"{call.tool} failed at start-up")

    return _until_answered([*ONE_MCP, "--data", str(data)], converse)


def _until_answered(command: list[str], converse: Callable[[Any], object]) -> float:
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        converse(process)
        seconds = time.perf_counter() - started
        process.communicate(timeout=SECONDS)
    return seconds


def _send(process: subprocess.Popen[str], **message: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str], request_id: int) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        message: dict[str, Any] = json.loads(line)
        if message.get("id") == request_id:
            return message
    raise RuntimeError("one-mcp ended before it answered")
