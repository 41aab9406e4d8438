"""Calls `search` as a client over HTTP does."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.wire import CLIENT, HOST, PATH, Era

POLL_SECONDS = 0.5
_META = {
    "io.modelcontextprotocol/protocolVersion": Era.STATELESS.value,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Searcher:
    """Calls `search` over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=3_600)

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        """The structured result.

        Raises:
            RuntimeError: the tool refused.
        """
        params = {"name": "search", "arguments": arguments, "_meta": _META}
        headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": Era.STATELESS.value,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "search",
        }
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        self._connection.request("POST", PATH, body, headers)
        answer = json.loads(self._connection.getresponse().read())
        result = answer.get("result")
        if result is None or result.get("isError"):
            raise RuntimeError(f"search failed: {answer}")
        found: dict[str, Any] = result["structuredContent"]
        return found

    def wait_until_embedded(self) -> float:
        """Wait until nothing is pending; how many seconds that took."""
        started = time.monotonic()
        while self(query="anything", limit=1).get("pending"):
            time.sleep(POLL_SECONDS)
        return time.monotonic() - started


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
