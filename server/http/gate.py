"""The first to see a request: by which name it calls, from which page, and to which application it goes."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.addresses import PATH

HEADERS = "one.headers"
"""Where the scope of a request has its headers as a dict: what comes after looks at several of them."""
EXPOSED = ("Mcp-Session-Id", "MCP-Protocol-Version", "WWW-Authenticate", "Retry-After")
_ONCE = frozenset({b"host", b"origin", b"authorization", b"content-type"})
_KNOWN = 1_000
_PATHS = frozenset({PATH, f"{PATH}/"})


class Gate:
    """Lets in requests with a known Host and Origin, and brings those to `/mcp` there without a detour.

    What the SDK's own check does for `/mcp` is done here for every path, and once.
    """

    def __init__(self, app: ASGIApp, *, mcp: ASGIApp, hosts: Sequence[str], origins: Sequence[str]) -> None:
        self._mcp = mcp
        self._others = app
        self._hosts = Names(hosts)
        self._origins = Names(origins)
        # No cookies are read at /mcp, so an allowed page may send what headers it likes: the protocol has open ones.
        self._for_pages = CORSMiddleware(
            self._pass,
            allow_origin_regex=".*",  # who gets here is allowed
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        # Spaces around a value are no part of it; the parser of requests leaves them there.
        pairs = scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        headers: dict[bytes, bytes] = dict(pairs)
        if len(headers) != len(pairs) and _repeated(pairs):
            await PlainTextResponse("A header that may stand once is repeated", 400)(scope, receive, send)
            return
        scope[HEADERS] = headers
        host = headers.get(b"host", b"")
        if host not in self._hosts and not _is_own_address(host, scope):
            text = "Invalid Host header: the server's http.allowed_hosts or http.public_url must name it"
            await PlainTextResponse(text, 421)(scope, receive, send)
            return
        origin = headers.get(b"origin")
        if origin is None:
            await self._pass(scope, receive, send)
        elif origin in self._origins:
            await self._for_pages(scope, receive, send)
        elif scope["path"] not in _PATHS and origin in (b"null", scope["scheme"].encode() + b"://" + host):
            # A form of our own pages. They keep to themselves where they are, so browsers do not say it; who else sends
            # forms is told by their tokens, and reads no answer.
            await self._pass(scope, receive, send)
        else:
            text = "Invalid Origin header: the server's http.allowed_origins must name it"
            await PlainTextResponse(text, 403)(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._mcp if scope["path"] in _PATHS else self._others)(scope, receive, send)


class Names:
    """Names that are allowed. `name:*` stands for any port; what was found to be allowed is found at once again."""

    def __init__(self, names: Sequence[str]) -> None:
        self._found = {name.encode("latin-1", "replace") for name in names}
        self._stems = {name[:-1] for name in names if name.endswith(":*")}
        self._names = set(names)

    def __contains__(self, value: bytes) -> bool:
        """Whether the value of a header is allowed."""
        if value in self._found:
            return True
        text = value.decode("latin-1").lower()
        stem, colon, port = text.rpartition(":")
        good = text in self._names or (port.isascii() and port.isdecimal() and stem + colon in self._stems)
        if good and len(self._found) < _KNOWN:
            self._found.add(value)
        return good


def _repeated(pairs: Sequence[tuple[bytes, bytes]]) -> bool:
    names = [name for name, _ in pairs if name in _ONCE]
    return len(names) != len(set(names))


def _is_own_address(host: bytes, scope: Scope) -> bool:
    """Whether a Host header is the very address that was called: a name that was made to point here never is."""
    server = scope.get("server")
    if not host or server is None:
        return False
    address, port = server
    name = f"[{address}]" if ":" in address else address
    return host in (name.encode(), f"{name}:{port}".encode())
