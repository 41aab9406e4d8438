"""JSON-RPC messages that are wrong in one way or another."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from tests.fuzz.values import DEEP, HUGE, NUMBERS, TEXTS, arguments, nonsense, written
from tests.fuzz.world import World

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
IDS: tuple[Any, ...] = (
    None,
    -1,
    0,
    1.5,
    2**64,
    "",
    "x" * 10_000,
    "\ud800",
    "\0",
    [],
    {},
    True,
    DEEP,
    HUGE,
    float("nan"),
)
METHODS = (
    "tools/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "subscriptions/listen",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "server/discover",
    "ping",
    "logging/setLevel",
    "roots/list",
    "sampling/createMessage",
    "tasks/get",
    "tasks/cancel",
    "tasks/result",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "rpc.discover",
    "__init__",
    "",
    "\0",
    "tools/call/",
    "TOOLS/LIST",
)
URIS = (
    "one://schema",
    "one://conversations",
    "one://calendar.ics",
    "one://conversations/{id}",
    "one://conversations/{id}/messages",
    "one://agents/{id}",
    "one://agents/{id}/brief",
    "one://users/{id}",
    "one://knowledge/{id}",
    "one://conversations/{id}/../x",
    "one://{id}",
    "http://127.0.0.1/{id}",
    "{id}",
)
SQL = (
    "SELECT 1",
    "SELECT * FROM messages LIMIT 3",
    "SELECT * FROM read_text('/etc/hostname')",
    "COPY messages TO '/dev/null'",
    "ATTACH 'x.db'",
    "INSTALL httpfs",
    "SET memory_limit = '1TB'",
    "DELETE FROM messages",
    "SELECT 1; SELECT 2",
    "SELECT",
    "\0",
    "'",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 10) SELECT * FROM t",
    "SELECT repeat('x', 10000000)",
    "(" * 2_000,
)


def message(method: Any, number: Any = 1, **params: Any) -> dict[str, Any]:
    """A request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def with_envelope(one: Any) -> Any:
    """A message with what the stateless era says in each request."""
    if not isinstance(one, dict) or not isinstance(one.get("params"), dict):
        return one
    given = one["params"].get("_meta")
    meta = _META | given if isinstance(given, dict) else given if "_meta" in one["params"] else _META
    return one | {"params": one["params"] | {"_meta": meta}}


def scalar_id(one: Any) -> Any:
    """The id that the answer must have."""
    number = one.get("id") if isinstance(one, dict) else None
    plain = type(number) is int or (isinstance(number, str) and number.isascii() and number not in (DEEP, HUGE))
    return number if plain and "method" in one else None


def tool_call(world: World, random: Random) -> dict[str, Any]:
    """A call of a tool by its schema."""
    name = random.choice(world.tools)
    given = arguments(random, world.schemas[name], world.ids)
    if name == "wait_for_messages" and isinstance(given, dict):  # nobody writes to those who wait
        given["timeoutSeconds"] = random.choice((0, 0.01, -1, "x", 10**9, None if random.random() < 0.001 else 0))
    if name == "delete" and isinstance(given, dict) and given.get("id") in world.kept:
        given["id"] = "user_0"  # their tokens would end with them
    params: dict[str, Any] = {"name": name, "arguments": given}
    if random.random() < 0.05:
        params["_meta"] = {"progressToken": random.choice(IDS)}
    if random.random() < 0.03:
        params[random.choice(("requestState", "inputResponses", "task"))] = nonsense(random)
    return message("tools/call", _number(random), **params)


def _number(random: Random) -> int | str:
    """The id of a request: mostly one that no other has, for those that are under way in a session must differ."""
    return random.getrandbits(48) if random.random() < 0.9 else random.choice((1, "a", 2**40))


def other_method(world: World, random: Random) -> dict[str, Any]:
    """A request besides calls of tools."""
    method = random.choice(METHODS[:10]) if random.random() < 0.75 else random.choice(METHODS)
    row_id = random.choice(world.ids) if random.random() < 0.7 else random.choice(TEXTS)
    uri = random.choice(URIS).replace("{id}", row_id)
    name = random.choice((*world.prompts, row_id, random.choice(TEXTS)))
    values = {random.choice(("agentId", "conversationId", "x", "")): random.choice((row_id, nonsense(random)))}
    cursor = random.choice(
        (row_id, "agents:" + row_id, "conversations:1", random.choice(TEXTS), nonsense(random), "9" * 30)
    )
    match method:
        case "resources/read" | "resources/subscribe" | "resources/unsubscribe":
            params: dict[str, Any] = {"uri": uri if random.random() < 0.9 else nonsense(random)}
        case "subscriptions/listen":
            uris = [uri, nonsense(random)] if random.random() < 0.3 else [uri] * random.choice((1, 1_200))
            params = {"notifications": {"resourceSubscriptions": uris, "promptsListChanged": random.choice((True, 1))}}
        case "prompts/get":
            params = {"name": name, "arguments": values}
        case "completion/complete":
            prompt, resource = (
                {"type": "ref/prompt", "name": name},
                {"type": "ref/resource", "uri": random.choice(URIS)},
            )
            argument = {
                "name": random.choice(("id", "agentId", "x")),
                "value": random.choice((row_id, nonsense(random))),
            }
            params = {"ref": random.choice((prompt, resource, nonsense(random))), "argument": argument}
        case _:
            params = {"cursor": cursor} if random.random() < 0.8 else {"x": nonsense(random)}
    sent = message(method, _number(random), **params)
    if method.startswith("notifications/") and random.random() < 0.7:
        del sent["id"]
    return sent


_SMALL = 2_000
"""Characters of a message of which a body may have many."""


def bent(world: World, random: Random) -> Any:
    """A message that is no proper JSON-RPC."""
    sent: Any = with_envelope(random.choice((tool_call, other_method))(world, random))
    match random.randrange(9):
        case 0:
            sent["jsonrpc"] = random.choice(("1.0", 2.0, None, "", "2.0\0", []))
        case 1:
            sent["id"] = random.choice(IDS)
        case 2:
            sent["method"] = nonsense(random)
        case 3:
            sent["params"] = nonsense(random)
        case 4:
            sent["params"]["_meta"] = _bent_meta(random)
        case 5:
            many = 500 if len(str(sent)) < _SMALL else 2
            sent = [sent] * random.choice((0, 1, 2, many))
        case 6:
            sent = {"jsonrpc": "2.0", "id": random.choice(IDS), random.choice(("result", "error")): nonsense(random)}
        case 7:
            del sent[random.choice(list(sent))]
        case _:
            sent = nonsense(random)
    return sent


def _bent_meta(random: Random) -> Any:
    if random.random() < 0.3:
        return nonsense(random)
    meta: dict[str, Any] = dict(_META)
    key = random.choice((*_META, "progressToken", "io.modelcontextprotocol/logLevel", "one-mcp/key", "traceparent"))
    meta[key] = random.choice((nonsense(random), "2025-11-25", "1", {}))
    if random.random() < 0.3:
        del meta[random.choice(list(_META))]
    return meta


def handshake(random: Random) -> dict[str, Any]:
    """`initialize`, mostly with something wrong."""
    params: dict[str, Any] = {
        "protocolVersion": random.choice(("2025-11-25", "1", "", 5, "2026-07-28")),
        "capabilities": {},
        "clientInfo": {"name": "fuzz", "version": "1"},
    }
    if random.random() < 0.9:
        params[random.choice(list(params))] = nonsense(random)
    return {"jsonrpc": "2.0", "id": random.choice(IDS), "method": "initialize", "params": params}


def encoded(random: Random, one: Any) -> bytes:
    """As JSON: pure ASCII, or with what is no UTF-8 in it."""
    text = json.dumps(one, ensure_ascii=random.random() < 0.8)
    return written(random, text).encode("utf-8", "surrogatepass")


def broken(random: Random, body: bytes) -> bytes:
    """A body that is no JSON any more, or an odd one."""
    at = random.randrange(len(body))
    match random.randrange(12):
        case 0:
            return body[:at]
        case 1:
            return body[:at] + bytes([random.randrange(256)]) + body[at + 1 :]
        case 2:
            return body[:at] + random.randbytes(random.choice((1, 8, 300))) + body[at:]
        case 3:
            return b"\xef\xbb\xbf" + body
        case 4:
            return body.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-32")))
        case 5:
            return random.choice(
                (b"", b"null", b"1", b'"x"', b"[", b"{", b"]", b"\0", b"NaN", b"{}", b"[]", b"\xff" * 99)
            )
        case 6:
            return body + body
        case 7:
            return body + b"\n" + random.randbytes(20)
        case 8:
            return (b"[" * 100_000) if random.random() < 0.5 else (b'{"a":' * 50_000)
        case 9:
            return body.replace(b'"params"', b'"params": {}, "params"', 1)
        case 10:
            return body.replace(b'"method"', b'"method": "ping", "method"', 1)
    return random.randbytes(random.choice((1, 100, 10_000)))


def unsigned_jwt(random: Random, world: World) -> str:
    """A token that says itself whose it is."""

    def part(one: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode()

    header = {"alg": random.choice(("none", "None", "HS256", "RS256")), "typ": "JWT", "kid": random.choice(TEXTS)}
    claims = {"sub": world.owner_id, "scope": "read write admin", "exp": random.choice(NUMBERS[:9]), "aud": "one-mcp"}
    return f"{part(header)}.{part(claims)}.{random.choice(('', 'AAAA', 'x' * 300))}"
