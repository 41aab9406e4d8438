"""Which path leads where."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.config import SignInSettings
from server.signin.authorize import Authorization
from server.signin.core import SignIn
from server.signin.pages import icon, style
from server.signin.provider import SessionTokens, TokenEndpoints
from server.signin.registration import Registration
from server.signin.senders import Sender
from server.signin.site import Site
from server.signin.views import Handler, Views
from storage.auth_file import now_ms

if TYPE_CHECKING:
    from server.service import Service


@contextlib.asynccontextmanager
async def opened(
    service: Service,
    settings: SignInSettings,
    url: str,
    *,
    clock: Callable[[], int] = now_ms,
    sender: Sender | None = None,
) -> AsyncIterator[SignIn]:
    """The built-in sign-in of a hub whose /mcp is at `url`. The hub takes its tokens meanwhile.

    Raises:
        StorageFault: `auth.duckdb` cannot be used.
    """
    sign_in = SignIn(service, settings, Site.at(url), clock=clock, sender=sender)
    tokens = SessionTokens(sign_in)
    await sign_in.start()
    service.sign_in = sign_in
    service.verifiers.add(tokens)
    try:
        yield sign_in
    finally:
        service.verifiers.remove(tokens)
        service.sign_in = None
        with anyio.CancelScope(shield=True):
            await sign_in.stop()


def routes(sign_in: SignIn) -> list[Route]:
    """The pages and endpoints of the built-in sign-in."""
    views, consent, tokens, clients = (
        Views(sign_in),
        Authorization(sign_in),
        TokenEndpoints(sign_in),
        Registration(sign_in),
    )
    pages = [
        _page("/authorize", views.handler(consent.authorize), "GET"),
        _page("/consent", views.handler(consent.consent), "POST"),
        _page("/sign-in", views.handler(views.sign_in), "GET", "POST"),
        _page("/sign-in/code", views.handler(views.code), "GET", "POST"),
        _page("/sign-up", views.handler(views.sign_up), "GET", "POST"),
        _page("/reset", views.handler(views.reset), "GET", "POST"),
        _page("/account", views.handler(views.account), "GET"),
        _page("/account/revoke", views.handler(views.revoke), "POST"),
        _page("/account/sign-out", views.handler(views.sign_out), "POST"),
        _page("/style.css", _style, "GET"),
        _page("/icon.svg", _icon, "GET"),
    ]
    endpoints = [
        _page("/.well-known/oauth-authorization-server", clients.metadata, "GET"),
        _page("/token", tokens.token, "POST"),
        _page("/revoke", tokens.revoke, "POST"),
    ]
    if sign_in.settings.register_clients:
        endpoints.append(_page("/register", clients.register, "POST"))
    return pages + endpoints


def _page(path: str, handler: Handler, *methods: str) -> Route:
    return Route(path, handler, methods=list(methods))


async def _style(_: Request) -> Response:
    return style()


async def _icon(_: Request) -> Response:
    return icon()
