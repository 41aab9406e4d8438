"""Serving: the port, the token of the first start, and the order of beginning and ending."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

import anyio
import uvicorn
from starlette.routing import BaseRoute, Route
from typing_extensions import override

from server.http.addresses import check_address, is_wildcard, listening_url, open_socket
from server.http.app import build_app
from server.http.protocol import Config, Limits, Protocol
from server.http.streams import Streams
from server.http.tls import Certificate
from server.session import ALL_SCOPES

if TYPE_CHECKING:
    from server.config import HttpSettings, OauthSettings, Settings
    from server.service import Service

log = logging.getLogger(__name__)

_SWEEP_TICKS = 5
_STREAM_TICKS = 20
_RENEW_TICKS = 300
"""uvicorn ticks ten times a second."""
_OWN_DESCRIPTORS = 256
"""Descriptors that the hub needs besides those of connections."""


class _Server(uvicorn.Server):
    """A uvicorn server inside the hub, which has its own handlers for signals. `ready` runs when it serves."""

    def __init__(
        self,
        config: Config,
        streams: Streams,
        certificate: Certificate | None,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._streams = streams
        self._certificate = certificate
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self._ready()

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                cast(Protocol, connection).sweep(now)
        if counter % _STREAM_TICKS == 0:
            self._streams.end_worthless()
        if counter % _RENEW_TICKS == 0 and self._certificate is not None:
            self._certificate.renew()
        return await super().on_tick(counter)


async def serve_http(
    service: Service,
    settings: Settings,
    *,
    no_auth: bool,
    started: Callable[[str, str | None], None],
    routes: Sequence[BaseRoute] = (),
) -> None:
    """Serve until cancelled.

    `started` gets the URL when the port is open and, if there was no token yet, one for the local owner: it can be
    shown now and never again. `routes` are served besides `/mcp`.

    Raises:
        OSError: the address cannot be used.
        StorageFault: `auth.duckdb` or the certificate cannot be used, or others could call who must not.
    """
    for name in ("uvicorn", "mcp"):
        logging.getLogger(name).setLevel(logging.ERROR)  # they tell of each session, and of what strangers send
    http = settings.http
    check_address(http, no_auth=no_auth)
    if is_wildcard(http.host) and not (http.public_url or http.allowed_hosts):
        log.warning("http.public_url is not set: clients are served only when they call this machine by its address")
    certificate = Certificate(http.tls_certificate, http.tls_key, service.data_dir) if http.tls_certificate else None
    tokens = None if no_auth else await service.tokens()
    verifiers = None if no_auth else service.verifiers
    with open_socket(http.host, http.port) as listening:
        url = listening_url(http, listening.getsockname()[1])

        async def ready() -> None:
            first = None
            if tokens is not None and not tokens.all():
                first, _ = await tokens.create(service.owner.id, sorted(ALL_SCOPES), name="first")
            started(url, first)

        place = http.public_url or url
        async with (
            _provider(service, settings.oauth, place, no_auth=no_auth),
            _sign_in(service, settings, place, no_auth=no_auth) as pages,
        ):
            ending = asyncio.Event()
            app = build_app(service, settings, verifiers, ending, url=url, routes=[*pages, *routes])
            server = _Server(_config(app, http, certificate), app.state.streams, certificate, ready)
            await _run(server, listening, ending)


async def _run(server: _Server, listening: socket.socket, ending: asyncio.Event) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    finally:
        ending.set()
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serving


@contextlib.asynccontextmanager
async def _provider(service: Service, oauth: OauthSettings, url: str, *, no_auth: bool) -> AsyncIterator[None]:
    """Meanwhile the tokens of the identity provider are taken, if there is one."""
    if no_auth or not oauth.issuer:
        yield
        return
    from server.oauth import ProviderTokens

    provider = ProviderTokens(service, oauth, default_audience=url)
    service.verifiers.add(provider)
    try:
        yield
    finally:
        service.verifiers.remove(provider)
        with anyio.CancelScope(shield=True):
            await provider.close()


@contextlib.asynccontextmanager
async def _sign_in(service: Service, settings: Settings, url: str, *, no_auth: bool) -> AsyncIterator[list[Route]]:
    """The routes of the built-in sign-in, whose tokens are taken meanwhile, if it is on."""
    if no_auth or not settings.sign_in.enabled:
        yield []
        return
    from server.signin import opened, routes

    async with opened(service, settings.sign_in, url) as sign_in:
        yield routes(sign_in)


def _config(app: object, http: HttpSettings, certificate: Certificate | None) -> Config:
    limits = Limits(
        _most_connections(http.max_connections),
        http.max_header_bytes,
        http.max_body_bytes,
        http.request_seconds,
        http.stalled_seconds,
    )
    options = {}
    if certificate is not None:
        options["ssl_context_factory"] = lambda _config, _default: certificate.context
    return Config(
        app,
        limits,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=http.behind_proxy,
        forwarded_allow_ips=http.trusted_proxies,
        timeout_keep_alive=http.keep_alive_seconds,
        timeout_graceful_shutdown=2,
        **options,
    )


def _most_connections(wanted: int) -> int:
    """As many connections as are wanted, if the system lets this process have that many."""
    try:
        import resource
    except ImportError:  # Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OWN_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = max(soft - _OWN_DESCRIPTORS, 16)
    log.warning("the system lets this process have %d open files: %d connections at most", soft, most)
    return most
