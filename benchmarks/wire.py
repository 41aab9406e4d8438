"""Tool calls as bytes on the wire, in both protocol eras, as the SDK's client sends them."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

HOST = "127.0.0.1"
PATH = "/mcp"
CLIENT = {"name": "benchmarks", "version": "1"}


class Era(Enum):
    """A protocol era, by the version that stands for it."""

    STATELESS = "2026-07-28"
    SESSIONS = "2025-11-25"


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call: its arguments are all that differs between calls of a round."""

    tool: str
    arguments: dict[str, Any]


ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": Era.STATELESS.value,
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def opening(port: int, era: Era, session: str | None = None) -> bytes:
    """The first headers of every request on a connection."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        f"Host: {HOST}:{port}",
        "Accept: application/json, text/event-stream",
        "Content-Type: application/json",
        f"MCP-Protocol-Version: {era.value}",
    ]
    if session is not None:
        lines.append(f"Mcp-Session-Id: {session}")
    return "\r\n".join([*lines, ""]).encode()


def rest(call: Call, request_id: int, era: Era) -> bytes:
    """What follows `opening`: the other headers and the body."""
    params: dict[str, Any] = {"name": call.tool, "arguments": call.arguments}
    headers = ""
    if era is Era.STATELESS:
        params["_meta"] = ENVELOPE
        headers = f"Mcp-Method: tools/call\r\nMcp-Name: {call.tool}\r\n"
    message = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
    body = json.dumps(message, separators=(",", ":")).encode()
    return f"{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def open_session(port: int) -> str:
    """Shake hands as a client of the older era does, and return the id of the session."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    params = {"protocolVersion": Era.SESSIONS.value, "capabilities": {}, "clientInfo": CLIENT}
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    connection.request("POST", PATH, json.dumps(hello), headers)
    answer = connection.getresponse()
    session = answer.getheader("mcp-session-id")
    answer.read()
    if session is None:
        raise RuntimeError(f"the server opened no session: status {answer.status}")
    headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": Era.SESSIONS.value}
    connection.request("POST", PATH, json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), headers)
    connection.getresponse().read()
    connection.close()
    return session
