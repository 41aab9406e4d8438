"""Web sites for tests in a browser: the pages of the sign-in with samples, and a client's own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from server.signin.pages import icon, render, style
from tests.sign_in_pages import SAMPLES, hostile

POSTS = ("/sign-in", "/sign-in/code", "/sign-up", "/reset", "/consent", "/account/sign-out", "/account/revoke")


async def _nothing(_: Request) -> Response:
    return Response(status_code=204)


_ICON = Route("/favicon.ico", _nothing)
"""Browsers ask for one and complain where there is none."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are those of the tests."""
        yield


def has_ipv6() -> bool:
    """Whether this machine can be reached by ::1."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@contextlib.asynccontextmanager
async def site(app: ASGIApp, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The origin at which an app is served meanwhile."""
    server = _Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        finally:
            server.should_exit = True
            await serving


class Samples:
    """Every sample at /show/NAME, those of an attacker at /attack/NAME; posts are kept, and answered by `answer`."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.answer: Response = render("message", **SAMPLES["message"][1])
        self.app = Starlette(
            routes=[
                Route("/show/{name}", self._show),
                Route("/attack/{name}", self._attack),
                Route("/style.css", self._style),
                Route("/icon.svg", self._icon),
                *(Route(path, self._post, methods=["POST"]) for path in POSTS),
            ]
        )

    async def _show(self, request: Request) -> Response:
        page, values = SAMPLES[request.path_params["name"]]
        return render(page, **values)

    async def _attack(self, request: Request) -> Response:
        page, values = SAMPLES[request.path_params["name"]]
        return render(page, **hostile(values))

    async def _style(self, _: Request) -> Response:
        return style()

    async def _icon(self, _: Request) -> Response:
        return icon()

    async def _post(self, request: Request) -> Response:
        async with request.form() as form:
            self.posted.append((request.url.path, dict(form)))
        return self.answer


def client(onward: str | None = None) -> Starlette:
    """A client's site. /open opens `?at=` in a window and shows what that says; /callback tells its opener its address,
    or first sends the browser to `onward`, as clients do."""

    async def opening(request: Request) -> Response:
        return HTMLResponse(
            f"<a id=open target=w rel=opener href='{request.query_params['at']}'>open</a><p id=heard></p>"
            "<script>onmessage = event => heard.textContent = event.data</script>"
        )

    async def callback(request: Request) -> Response:
        if onward and "again" not in request.query_params:
            return RedirectResponse(f"{onward}/callback?again=1&{request.url.query}", 302)
        return HTMLResponse("<p id=here>arrived</p><script>opener?.postMessage(location.search, '*')</script>")

    return Starlette(routes=[_ICON, Route("/open", opening), Route("/callback", callback)])
