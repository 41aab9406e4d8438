"""Streamable HTTP: `/mcp` for remote clients, `/healthz` for whoever watches the hub."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken as SdkToken
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import __version__
from server.answers import Spliced
from server.session import ALL_SCOPES, Session
from server.verification import Verifiers
from storage.errors import StorageFault

if TYPE_CHECKING:
    from server.config import Settings
    from server.service import Service

PATH = "/mcp"
_VERSION_HEADER = b"mcp-protocol-version"
_LISTEN = (b"mcp-method", b"subscriptions/listen")
_HANDSHAKE_VERSIONS = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)


class _Eras:
    """Routes a request to the manager of its protocol era.

    Requests of the stateless era are answered in plain JSON, which costs half as much: no tool of ours sends anything
    before its result. The handshake era keeps its event streams, which its clients expect.
    """

    def __init__(self, handshake: ASGIApp, stateless: ASGIApp) -> None:
        self._handshake = handshake
        self._stateless = stateless

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = next((value for name, value in scope["headers"] if name == _VERSION_HEADER), None)
        early = version is None or version in _HANDSHAKE_VERSIONS
        await (self._handshake if early else self._stateless)(scope, receive, send)


class _Streams:
    """Ends the streams on which clients hear of changes when the server ends. It would wait for their clients."""

    def __init__(self, app: ASGIApp, ending: asyncio.Event) -> None:
        self._app = app
        self._ending = ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET" or _LISTEN in scope["headers"]:
            await self._stream(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        unfinished = False

        async def receive_or_end() -> Message:
            received, ended = asyncio.ensure_future(receive()), asyncio.ensure_future(self._ending.wait())
            try:
                await asyncio.wait({received, ended}, return_when=asyncio.FIRST_COMPLETED)
                return received.result() if received.done() else {"type": "http.disconnect"}
            finally:
                received.cancel()
                ended.cancel()

        async def watch(message: Message) -> None:
            nonlocal unfinished
            unfinished = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await self._app(scope, receive_or_end, watch)
        if unfinished and self._ending.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Verifier:
    """Our verifiers as the SDK's middleware asks them."""

    def __init__(self, verifiers: Verifiers) -> None:
        self._verifiers = verifiers

    async def verify_token(self, token: str) -> SdkToken | None:
        """The token, if it is good now."""
        grant = await self._verifiers.verify(token)
        if grant is None:
            return None
        return SdkToken(
            token=token,
            client_id=grant.id,
            subject=grant.member_id,
            scopes=sorted(grant.scopes),
            expires_at=grant.expiration_time // 1000 if grant.expiration_time is not None else None,
        )


class _WithSession:
    """Puts the session of the token's owner where the service looks for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token: SdkToken = scope["user"].access_token
        origin = scope["client"][0] if scope.get("client") else "unknown"
        session = Session(str(token.subject), frozenset(token.scopes), grant_id=token.client_id, origin=origin)
        scope["one.session"] = session
        await self._app(scope, receive, send)


def build_app(service: Service, settings: Settings, verifiers: Verifiers | None, ending: asyncio.Event) -> Starlette:
    """The ASGI application. Without `verifiers` every caller is the local owner. `ending` ends open streams."""
    http = settings.http
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*_with_ports(http.host), *http.allowed_hosts],
        allowed_origins=[f"http://{host}" for host in _with_ports(http.host)] + list(http.allowed_origins),
    )
    managers = [
        StreamableHTTPSessionManager(
            service.server,
            json_response=plain_json,
            security_settings=security,
            max_request_body_size=http.max_body_bytes,
            max_sessions=http.max_sessions,
        )
        for plain_json in (False, True)
    ]
    mcp: ASGIApp = _Streams(_Eras(managers[0].handle_request, Spliced(managers[1].handle_request)), ending)
    if verifiers is not None:
        backend = BearerAuthBackend(_Verifier(verifiers))
        mcp = AuthenticationMiddleware(RequireAuthMiddleware(_WithSession(mcp), []), backend=backend)
    started = time.monotonic()

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": __version__, "uptimeSeconds": int(time.monotonic() - started)})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with managers[0].run(), managers[1].run():
            yield

    return Starlette(routes=[Route(PATH, endpoint=_Asgi(mcp)), Route("/healthz", healthz)], lifespan=lifespan)


class _Asgi:
    """A class, so that Starlette takes it for an ASGI application and passes every method."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _with_ports(host: str) -> list[str]:
    """The Host headers by which this server may be called."""
    names = ["127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else [f"[{host}]" if ":" in host else host]
    return [form for name in names for form in (name, f"{name}:*")]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """A uvicorn server inside the hub, which has its own handlers for signals. `ready` runs when it serves."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()


async def serve_http(
    service: Service, settings: Settings, *, no_auth: bool, started: Callable[[str, str | None], None]
) -> None:
    """Serve until cancelled.

    `started` gets the URL when the port is open and, if there was no token yet, one for the local owner: it can be
    shown now and never again.

    Raises:
        OSError: the address cannot be used.
        StorageFault: `auth.duckdb` cannot be used, or without a token others than this machine could call.
    """
    for name in ("uvicorn", "mcp"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of each start and session
    http = settings.http
    if no_auth and not is_loopback(http.host):
        raise StorageFault(f"--no-auth serves this machine only, and {http.host} is reached by others. Leave one out.")
    tokens = None if no_auth else await service.tokens()
    listening = _listen(http.host, http.port)
    ending = asyncio.Event()
    config = uvicorn.Config(
        build_app(service, settings, None if no_auth else service.verifiers, ending),
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=2,
    )

    async def ready() -> None:
        first = None
        if tokens is not None and not tokens.all():
            first, _ = await tokens.create(service.owner.id, sorted(ALL_SCOPES), name="first")
        name = f"[{http.host}]" if ":" in http.host else http.host
        started(f"http://{name}:{listening.getsockname()[1]}{PATH}", first)

    server = _Server(config, ready)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    finally:
        ending.set()
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serving


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(address[:2], family=family, backlog=2048)
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, and an answer in two packets
    # would wait 40 ms for the acknowledgement of the first.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
