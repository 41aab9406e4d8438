"""Which path leads where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.server.auth.routes import cors_middleware
from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response

from server.config import Settings
from server.signin.authorize import Authorization
from server.signin.core import SignIn
from server.signin.pages import icon, style
from server.signin.provider import SessionTokens, TokenEndpoints
from server.signin.registration import Registration
from server.signin.site import Site
from server.signin.views import Handler, Views

if TYPE_CHECKING:
    from server.service import Service

BODY_BYTES = 65_536


async def open_sign_in(service: Service, settings: Settings, url: str) -> SignIn:
    """The built-in sign-in of a hub whose /mcp is at `url`. The hub takes its tokens from now on.

    Raises:
        StorageFault: `auth.duckdb` cannot be used.
    """
    sign_in = SignIn(service, settings.sign_in, Site.at(url))
    await sign_in.start()
    service.sign_in = sign_in
    service.verifiers.add(SessionTokens(sign_in))
    return sign_in


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
        _endpoint("/.well-known/oauth-authorization-server", clients.metadata, "GET"),
        _endpoint("/token", tokens.token, "POST"),
        _endpoint("/revoke", tokens.revoke, "POST"),
    ]
    if sign_in.settings.register_clients:
        endpoints.append(_endpoint("/register", clients.register, "POST"))
    return pages + endpoints


def _page(path: str, handler: Handler, *methods: str) -> Route:
    return Route(path, RequestBodyLimitMiddleware(request_response(handler), BODY_BYTES), methods=list(methods))


def _endpoint(path: str, handler: Handler, method: str) -> Route:
    """For clients, which may be web pages of another host: they send no cookie."""
    limited = RequestBodyLimitMiddleware(cors_middleware(handler, [method, "OPTIONS"]), BODY_BYTES)
    return Route(path, limited, methods=[method, "OPTIONS"])


async def _style(_: Request) -> Response:
    return style()


async def _icon(_: Request) -> Response:
    return icon()
