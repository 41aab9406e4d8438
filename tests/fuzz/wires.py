"""What is wrong below JSON: headers, paths and the framing of bodies."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.fuzz.values import TEXTS
from tests.fuzz.world import World

if TYPE_CHECKING:
    from tests.fuzz.cases import Draft

METHODS = ("GET", "PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "DELETE", "CONNECT", "PROPFIND", "get", "POST", "X" * 300)
PATHS = (
    "/mcp",
    "/mcp/",
    "//mcp",
    "/mcp/../mcp",
    "/mcp%00",
    "/mcp%2f",
    "/%6dcp",
    "/mcp;x=1",
    "/MCP",
    "/",
    "*",
    "/healthz",
    "/healthz/../mcp",
    "/.well-known/oauth-protected-resource",
    "/metrics",
    "/readyz",
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/%ff%fe",
    "/" + "a" * 60_000,
    "http://evil.example.org/mcp",
    "mcp",
    "/mcp#x",
    "/mcp?%",
)
FORM_PATHS = (
    "/authorize",
    "/consent",
    "/token",
    "/register",
    "/revoke",
    "/sign-in",
    "/sign-in/code",
    "/sign-up",
    "/reset",
    "/account",
    "/account/revoke",
    "/account/sign-out",
)
FORM_FIELDS = (
    "grant_type",
    "code",
    "client_id",
    "client_secret",
    "redirect_uri",
    "code_verifier",
    "code_challenge",
    "refresh_token",
    "resource",
    "scope",
    "state",
    "token",
    "email",
    "password",
    "csrf",
    "next",
)
_FORM_VALUES = (
    *TEXTS,
    "authorization_code",
    "refresh_token",
    "https://evil.example.org/",
    "//evil.example.org",
    "javascript:alert(1)",
    "x" * 20_000,
)
HOSTS = (
    "evil.example.org",
    "",
    "localhost:99999",
    "127.0.0.1.evil.example.org",
    "[::1",
    "a" * 5_000,
    "127.0.0.1:80, x",
    "\xff",
)
ORIGINS = (
    "http://evil.example.org",
    "null",
    "",
    "file://",
    "http://localhost.evil.example.org",
    "http://" + "a" * 9_000,
)
TYPES = (
    "text/plain",
    "",
    "application/json; charset=utf-7",
    "multipart/form-data; boundary=x",
    "application/xml",
    "json",
)
ACCEPTS = ("", "*/*", "text/html", "application/json", "text/event-stream", ";q=0", "application/json;q=0", "," * 5_000)
VERSIONS = ("", "1", "2024-11-05", "2025-03-26", "2025-11-25", "2099-01-01", "DRAFT", "\xff", "9" * 3_000)


def bend_headers(world: World, random: Random, draft: Draft) -> None:
    """Put one thing wrong into the headers of a request."""
    names = [name for name, _ in draft.headers]
    match random.randrange(12):
        case 0:
            _put(draft, "Host", random.choice(HOSTS))
        case 1:
            _put(draft, "Origin", random.choice(ORIGINS))
        case 2:
            _put(draft, "Content-Type", random.choice(TYPES))
        case 3:
            _put(draft, "Accept", random.choice(ACCEPTS))
        case 4:
            _put(draft, "MCP-Protocol-Version", random.choice(VERSIONS))
        case 5:
            _put(draft, random.choice(("Mcp-Method", "Mcp-Name")), random.choice(TEXTS))
        case 6:  # doubled, the second one another
            draft.headers.append((random.choice(names), random.choice(("x", "", world.host, "2025-11-25"))))
        case 7:
            draft.headers += [(f"X-{number}", "y" * 50) for number in range(random.choice((10, 1_000, 5_000)))]
        case 8:
            draft.headers.append(("X-Long", "z" * random.choice((9_000, 70_000, 300_000))))
        case 9:
            draft.headers.append((random.choice(("X\0", "X Y", "", "X\r\n Y", "é", "X:")), random.choice(TEXTS)))
        case 10:
            name = random.choice(("Mcp-Param-Id", "X-Forwarded-For", "X-Forwarded-Proto", "Last-Event-ID", "Referer"))
            draft.headers.append((name, random.choice((*TEXTS, "=?base64?!!?=", "127.0.0.1, x"))))
        case _:
            gone = random.choice(names)
            draft.headers = [pair for pair in draft.headers if pair[0] != gone]


def form(random: Random, draft: Draft) -> None:
    """Make a request one to the pages and endpoints of a sign-in, where there is one."""
    draft.path = random.choice(FORM_PATHS)
    pairs = [(random.choice(FORM_FIELDS), random.choice(_FORM_VALUES)) for _ in range(random.choice((0, 2, 8, 3_000)))]
    text = urlencode(pairs, errors="surrogatepass")
    draft.method = random.choice(("GET", "POST", "POST"))
    if draft.method == "GET":
        draft.path, draft.body = f"{draft.path}?{text}", b""
    elif random.random() < 0.8:
        draft.body = text.encode()
        _put(draft, "Content-Type", "application/x-www-form-urlencoded")
    if random.random() < 0.3:
        draft.headers.append(("Cookie", f"session={random.choice(TEXTS)}; one_session=x; csrf=x"))


def _put(draft: Draft, name: str, value: str) -> None:
    draft.headers = [*((one, old) for one, old in draft.headers if one != name), (name, value)]


def misframed(random: Random, draft: Draft) -> bytes:
    """A request whose end is not where it says."""
    body, draft.length = draft.body, False
    match random.randrange(12):
        case 0:
            draft.headers += [("Transfer-Encoding", "chunked")]
            draft.body = _chunks(random, body)
        case 1:
            draft.headers += [("Transfer-Encoding", "chunked")]
            draft.body = random.choice((b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nab")) + body
        case 2:  # who believes the one sees a second request in the body
            draft.headers += [("Content-Length", str(len(body))), ("Transfer-Encoding", "chunked")]
            draft.body = b"0\r\n\r\nGET /mcp HTTP/1.1\r\nHost: x\r\n\r\n"
        case 3:
            draft.headers += [
                ("Content-Length", random.choice(("-1", "x", "0x10", "99999999999999999999", "1,1", "+5")))
            ]
        case 4:
            draft.headers += [("Content-Length", "5"), ("Content-Length", str(len(body)))]
        case 5:  # it ends before it has all
            draft.headers += [("Content-Length", str(len(body) + 10))]
        case 6:
            draft.headers += [
                ("Transfer-Encoding", random.choice(("gzip", "chunked, identity", "xchunked", "\x0bchunked")))
            ]
        case 7:
            draft.headers += [("Content-Encoding", "gzip"), ("Content-Length", str(len(body)))]
        case 8:
            draft.headers += [("Expect", random.choice(("100-continue", "x"))), ("Content-Length", str(len(body)))]
        case 9:
            draft.headers += [("Connection", "Upgrade"), ("Upgrade", random.choice(("websocket", "h2c")))]
            draft.length = True
        case 10:
            draft.length = True
            return draft.bytes().replace(
                b"HTTP/1.1", random.choice((b"HTTP/9.9", b"HTTP/1.0", b"HTTP/2", b"", b"X")), 1
            )
        case _:
            draft.length = True
            return random.choice(
                (
                    draft.bytes().replace(b"\r\n", b"\n"),
                    b"\x16\x03\x01\x02\x00\x01" + random.randbytes(200),
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                )
            )
    return draft.bytes()


def _chunks(random: Random, body: bytes) -> bytes:
    size = max(1, len(body) // random.choice((1, 3, 50)))
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    extension = random.choice((b"", b";x=y", b";" + b"e" * 5_000))
    lines = b"".join(f"{len(part):x}".encode() + extension + b"\r\n" + part + b"\r\n" for part in parts)
    return lines + b"0\r\n" + random.choice((b"", b"X-Trailer: 1\r\n")) + b"\r\n"
