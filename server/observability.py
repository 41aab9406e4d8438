"""What whoever operates a hub asks over HTTP: `/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import TYPE_CHECKING

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import __version__
from server.verification import Unavailable

if TYPE_CHECKING:
    from server.service import Service
    from server.verification import Verifiers

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_STOPPING = "The hub is stopping. What was asked for may have been done; ask again in a moment."
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def operations_routes(service: Service, verifiers: Verifiers | None) -> list[Route]:
    """The routes. Without `verifiers` every caller is the local owner, who may read everything."""
    started = time.monotonic()

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": __version__, "uptimeSeconds": int(time.monotonic() - started)})

    async def readyz(_: Request) -> JSONResponse:
        reason = service.unready()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "unready", "reason": reason}, 503, {"Retry-After": "1"})

    async def metrics(request: Request) -> Response:
        refused = await _refused(request, service, verifiers)
        if refused is not None:
            return refused
        from server.exposition import exposition

        return Response(exposition(service), media_type=_CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


async def _refused(request: Request, service: Service, verifiers: Verifiers | None) -> Response | None:
    """What to answer to somebody who may not read the metrics; None to others."""
    access = service.metrics_access
    if access == "off":
        return PlainTextResponse("Not Found", 404)
    if verifiers is None or (access == "loopback" and _is_local(request)):
        return None
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        grant = await verifiers.verify(token) if kind.lower() == "bearer" else None
    except Unavailable as error:
        return PlainTextResponse(str(error), 503, {"Retry-After": "5"})
    if grant is None or not await service.is_active(grant.member_id):
        text = "The metrics are for tokens with the scope admin: `one-mcp token create --scopes read,admin`."
        return PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})
    if "admin" not in grant.scopes:
        return PlainTextResponse("This token has not the scope admin.", 403)
    return None


def _is_local(request: Request) -> bool:
    """Whether a request comes from this machine, and not through a proxy on it."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _origin(scope: Scope) -> str:
    """The address of whoever asks. A proxy may pass on anything."""
    client = scope.get("client")
    try:
        return str(ipaddress.ip_address(client[0])) if client else "unknown"
    except ValueError:
        return "unknown"


class Observed:
    """Counts what is answered, notes in the audit log from where wrong tokens come, and answers who is cut off.

    When the hub ends, requests that take longer than its grace are cancelled.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._responses = service.metrics.responses
        self._service = service
        self._running = 0
        service.metrics.gauges["one_http_requests"] = ("Requests over HTTP under way.", lambda: self._running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._running += 1
        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            if status:
                raise
            with anyio.CancelScope(shield=True):
                await JSONResponse({"error": _STOPPING}, 503, {"Retry-After": "2"})(scope, receive, watch)
        finally:
            self._running -= 1
            self._responses[status] += 1
        if status == 401 and any(name == b"authorization" for name, _ in scope["headers"]):
            await self._service.audit.note("sign_in_refused", member_id=None, grant_id=None, origin=_origin(scope))
