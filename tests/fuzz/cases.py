"""Hostile requests, each made of a seed and a number only: the bytes that go over the wire, and what must come back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.fuzz import bodies, wires
from tests.fuzz.values import TEXTS, nonsense
from tests.fuzz.world import Caller, World

JSON = "application/json"
BOTH = f"{JSON}, text/event-stream"
MODERN, EARLY = "2026-07-28", "2025-11-25"
VERSIONS = (
    "",
    "1",
    "2024-11-05",
    "2025-03-26",
    "2025-06-18",
    "2099-01-01",
    "DRAFT",
    "2026-07-28 ",
    "\xff",
    "9" * 3_000,
)


@dataclass
class Case:
    """One request. `refused`: the only status that may come. `closes`: the connection may end without an answer.
    `head_only`: the answer may not end. `bare`: it has no body. `sends_no_more`: the server is told that
    nothing follows.
    """

    kind: str
    raw: bytes
    caller: Caller | None = None
    refused: int | None = None
    head_only: bool = False
    bare: bool = False
    sends_no_more: bool = False
    closes: bool = False
    fresh: bool = False
    request_id: Any = None


@dataclass
class Draft:
    """A request while it is made."""

    body: bytes = b""
    method: str = "POST"
    path: str = "/mcp"
    headers: list[tuple[str, str]] = field(default_factory=list)
    length: bool = True

    def bytes(self) -> bytes:
        """As it goes over the wire. Nothing is checked: what is wrong shall arrive so."""
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        if self.length:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + self.body


def case(world: World, seed: int, number: int) -> Case:
    """The request of that number."""
    random = Random(f"{seed}/{number}")
    kind, make = random.choices(KINDS, WEIGHTS)[0]
    made = make(world, random)
    made.kind = kind
    return made


def _headers(world: World, caller: Caller | None, *more: tuple[str, str]) -> list[tuple[str, str]]:
    given = [("Host", world.host), ("Content-Type", JSON), ("Accept", BOTH)]
    if caller is not None:
        given.append(("Authorization", f"Bearer {caller.token}"))
    return [*given, *more]


def _modern(world: World, caller: Caller | None, message: Any, body: bytes) -> Draft:
    """A request of the stateless era, with the headers that its body asks for."""
    params = message.get("params") if isinstance(message, dict) else None
    method = message.get("method") if isinstance(message, dict) else None
    headers = [("MCP-Protocol-Version", MODERN)]
    if isinstance(method, str):
        headers.append(("Mcp-Method", _header_text(method)))
    if isinstance(params, dict) and isinstance(name := params.get("name", params.get("uri")), str):
        headers.append(("Mcp-Name", _header_text(name)))
    return Draft(body, headers=_headers(world, caller, *headers))


def _header_text(text: str) -> str:
    """How a name goes into a header: as it is, or in Base64."""
    if text.isascii() and text.isprintable() and text.strip() == text and len(text) < 2_000:
        return text
    return f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?="


def _early(world: World, caller: Caller, body: bytes) -> Draft:
    more = ("MCP-Protocol-Version", EARLY), ("Mcp-Session-Id", caller.session)
    return Draft(body, headers=_headers(world, caller, *more))


def _rpc(world: World, random: Random, message: Any) -> Case:
    """A message as it is, of either era."""
    caller = world.caller(random)
    if random.random() < 0.7:
        message = bodies.with_envelope(message)
        draft = _modern(world, caller, message, bodies.encoded(random, message))
    else:
        draft = _early(world, caller, bodies.encoded(random, message))
    method = message.get("method") if isinstance(message, dict) else None
    listens = method == "subscriptions/listen"
    return Case("", draft.bytes(), caller, head_only=listens, fresh=listens, request_id=bodies.scalar_id(message))


def _tool(world: World, random: Random) -> Case:
    return _rpc(world, random, bodies.tool_call(world, random))


def _other(world: World, random: Random) -> Case:
    return _rpc(world, random, bodies.other_method(world, random))


def _envelope(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.bent(world, random)
    body = bodies.encoded(random, message)
    draft = _modern(world, caller, message, body) if random.random() < 0.6 else _early(world, caller, body)
    listens = b"subscriptions/listen" in body
    return Case("", draft.bytes(), caller, head_only=listens, fresh=listens)


def _broken(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.with_envelope(bodies.tool_call(world, random))
    body = bodies.broken(random, bodies.encoded(random, message))
    draft = _modern(world, caller, message, body) if random.random() < 0.6 else _early(world, caller, body)
    return Case("", draft.bytes(), caller, fresh=len(body) > 1_000_000)


def _session(world: World, random: Random) -> Case:
    """Session ids that are somebody else's, ended, forged or doubled."""
    caller = world.caller(random)
    others = [one.session for one in world.callers if one is not caller]
    forged = [*others, *world.ended_sessions, "0" * 32, "", "\t", "a" * 5_000, "../x", caller.session[:-1], "é"]
    draft = _early(world, caller, bodies.encoded(random, bodies.tool_call(world, random)))
    draft.headers = [pair for pair in draft.headers if pair[0] != "Mcp-Session-Id"]
    draft.headers += [("Mcp-Session-Id", random.choice(forged)) for _ in range(random.choice((1, 1, 2)))]
    draft.method = random.choice(("POST", "POST", "DELETE", "GET"))
    got = draft.method == "GET"
    return Case("", draft.bytes(), caller, head_only=got, fresh=got)


def _opening(world: World, random: Random) -> Case:
    """Handshakes. Only few that could succeed: each keeps a session open."""
    message = bodies.handshake(random)
    draft = Draft(bodies.encoded(random, message), headers=_headers(world, world.caller(random)))
    if random.random() < 0.5:
        draft.headers.append(("MCP-Protocol-Version", random.choice(VERSIONS)))
    return Case("", draft.bytes(), fresh=True, closes=True)


def _token(world: World, random: Random) -> Case:
    """Tokens that are none."""
    message = bodies.with_envelope(bodies.tool_call(world, random))
    draft = _modern(world, None, message, bodies.encoded(random, message))
    good = random.choice(world.callers).token
    forged = (
        *world.dead_tokens,
        good[:-1],
        good + "x",
        good.swapcase(),
        good.partition("_")[2],
        f"{good},{good}",
        f"{good} {good}",
        bodies.unsigned_jwt(random, world),
        "",
        "x" * 20_000,
        "one_" + "0" * 43,
        random.choice(TEXTS).replace("\r", "").replace("\n", "").replace("\0", ""),
    )
    value = random.choice(forged)
    scheme = random.choice(("Bearer ", "Bearer ", "bearer ", "Basic ", "", "Bearer\t", "DPoP "))
    if value.strip() == good:  # in front of nothing, or after another scheme
        scheme = ""
    draft.headers.append(("Authorization", scheme + value))
    if random.random() < 0.1:
        draft.headers.append(("Cookie", f"session={good}"))
    if random.random() < 0.1:
        draft.path += f"?access_token={good}"
    # A parser may refuse the header before anybody asks for a token.
    return Case("", draft.bytes(), refused=401 if value.isascii() and value.isprintable() else None, closes=True)


def _headers_bent(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.with_envelope(bodies.tool_call(world, random))
    draft = _modern(world, caller, message, bodies.encoded(random, message))
    wires.bend_headers(world, random, draft)
    return Case("", draft.bytes(), caller, fresh=True, closes=True)


def _paths(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.with_envelope(bodies.tool_call(world, random))
    draft = _modern(world, caller, message, bodies.encoded(random, message))
    draft.method, draft.path = random.choice(wires.METHODS), random.choice(wires.PATHS)
    if random.random() < 0.3:
        draft.path += "?" + "&".join(f"a{number}=%00" for number in range(random.choice((1, 2_000))))
    streams, bare = draft.method == "GET", draft.method == "HEAD"
    return Case("", draft.bytes(), caller, head_only=streams, bare=bare, fresh=True, closes=True)


def _forms(world: World, random: Random) -> Case:
    draft = Draft(b"{}", headers=_headers(world, None))
    wires.form(random, draft)
    return Case("", draft.bytes(), fresh=True, closes=True)


def _framing(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.with_envelope(bodies.tool_call(world, random))
    draft = _modern(world, caller, message, bodies.encoded(random, message))
    ends = random.random() < 0.9
    return Case("", wires.misframed(random, draft), caller, sends_no_more=ends, fresh=True, closes=True)


def _oversized(world: World, random: Random) -> Case:
    caller = world.caller(random)
    message = bodies.with_envelope(bodies.message("tools/call", name="get", arguments={"id": "x" * world.max_body}))
    draft = _modern(world, caller, message, json.dumps(message).encode())
    return Case("", draft.bytes(), caller, refused=413, fresh=True, closes=True)


def _analyst(world: World, random: Random) -> Case:
    """SQL from somebody who may send it. What it costs makes it rare."""
    name = random.choice(("query", "chart"))
    schema = world.schemas[name]
    given = {"sql": random.choice(bodies.SQL)} | {
        key: nonsense(random) for key in schema["properties"] if key != "sql" and random.random() < 0.2
    }
    message = bodies.with_envelope(bodies.message("tools/call", name=name, arguments=given))
    draft = _modern(world, world.analyst, message, bodies.encoded(random, message))
    return Case("", draft.bytes(), world.analyst, request_id=message["id"])


Make = Callable[[World, Random], Case]
_WEIGHTED: tuple[tuple[str, Make, float], ...] = (
    ("tool calls", _tool, 40),
    ("other methods", _other, 14),
    ("bent envelopes", _envelope, 10),
    ("broken bodies", _broken, 9),
    ("tokens", _token, 8),
    ("headers", _headers_bent, 6),
    ("sessions", _session, 4),
    ("methods and paths", _paths, 3),
    ("framing", _framing, 2.5),
    ("forms", _forms, 2),
    ("handshakes", _opening, 1),
    ("oversized bodies", _oversized, 0.1),
    ("SQL", _analyst, 0.2),
)
KINDS = [(kind, make) for kind, make, _ in _WEIGHTED]
WEIGHTS = [weight for _, _, weight in _WEIGHTED]
