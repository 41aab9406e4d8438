"""The ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

from server.answers import Spliced
from server.http.addresses import PATH, allowed_hosts, allowed_origins, listening_url
from server.http.bearer import Bearer
from server.http.body import WholeBody
from server.http.gate import Gate
from server.http.limits import CallerLimits
from server.http.metadata import Challenge, Resource, metadata_routes
from server.http.streams import Eras, Streams
from server.observability import Observed, operations_routes

if TYPE_CHECKING:
    from server.config import HttpSettings, Settings
    from server.service import Service
    from server.verification import Verifiers

OFFERED = ("read", "write", "analyst")
"""What clients ask for where the sign-in is our own, unless they know better: each gets what its user may give it."""


_FORM_BYTES = 65_536
"""The largest body of a request to anything but `/mcp`."""


def build_app(
    service: Service,
    settings: Settings,
    verifiers: Verifiers | None,
    ending: asyncio.Event,
    *,
    url: str = "",
    routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """The application. Without `verifiers` every caller is the local owner. `ending` ends open streams.

    `url` is where it listens; `routes` are served besides `/mcp`.
    """
    http = settings.http
    resource = _resource(settings, http.public_url or url or listening_url(http, http.port))
    managers = [_Manager(service, http, plain_json=plain_json) for plain_json in (False, True)]
    eras = Eras(managers[0].handle_request, Spliced(managers[1].handle_request))
    streams = Streams(WholeBody(eras, http.max_body_bytes), ending, service.is_good)
    mcp: ASGIApp = streams
    if verifiers is not None:
        limited = CallerLimits(mcp, http)
        mcp = Bearer(limited, verifiers, service.is_active, Challenge(resource), http.wrong_tokens_per_minute)
    mcp = Observed(mcp, service)
    operations = operations_routes(service, verifiers)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with managers[0].run(), managers[1].run():
            yield

    app = Starlette(
        routes=[*operations, *([] if verifiers is None else metadata_routes(resource)), *routes],
        middleware=[
            Middleware(Gate, mcp=mcp, hosts=allowed_hosts(http), origins=allowed_origins(http)),
            Middleware(WholeBody, most_bytes=_FORM_BYTES),
        ],
        lifespan=lifespan,
    )
    app.state.streams = streams
    return app


def _resource(settings: Settings, url: str) -> Resource:
    oauth, own = settings.oauth, [url.removesuffix("/").removesuffix(PATH)] if settings.sign_in.enabled else []
    if not oauth.issuer:
        return Resource(url, own, OFFERED if own else ())
    names = (oauth.read, oauth.write, oauth.analyst, oauth.admin)
    return Resource(url, [oauth.issuer, *own], [some[0] for some in names if some])


class _Manager(StreamableHTTPSessionManager):
    """The SDK's, in which one caller cannot take all sessions. Host and Origin were checked before."""

    def __init__(self, service: Service, http: HttpSettings, *, plain_json: bool) -> None:
        super().__init__(
            service.server,
            json_response=plain_json,
            max_sessions=http.max_sessions,
        )
        self._most = http.sessions_per_caller
        self._held: Counter[str | None] = Counter()

    @override
    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, whose body was read within its limit before."""
        await self._handle_request(scope, receive, send)

    @override
    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        caller = requestor["subject"] if requestor is not None else None
        if caller is not None and self._held[caller] >= self._most:
            return None
        transport = super()._admit_session(requestor)
        if transport is not None:
            self._held[caller] += 1
        return transport

    @override
    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        owner = self._session_owners.get(session_id)
        if session_id in self._server_instances:
            caller = owner["subject"] if owner is not None else None
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]
        await super()._discard_session(session_id, transport)
