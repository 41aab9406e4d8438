"""Whose request it is: the bearer token, and what is answered when it is missing, wrong or too weak."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import NamedTuple

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken as SdkToken
from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.gate import HEADERS
from server.http.limits import Pace, answer, too_many
from server.http.metadata import Challenge
from server.session import SESSION, Session
from server.verification import Grant, Unavailable, Verifiers

_MOST_KEPT = 10_000
_SOON = (b"retry-after", b"5")
_NEXT_STEP = "`one-mcp token create` makes a token."


IsActive = Callable[[str], Awaitable[bool]]


class Principal(NamedTuple):
    """A caller as our code and as the SDK know them."""

    grant: Grant
    session: Session
    user: AuthenticatedUser


class Bearer:
    """Lets in requests with a good token and says whose they are."""

    def __init__(
        self, app: ASGIApp, verifiers: Verifiers, is_active: IsActive, challenge: Challenge, wrong_per_minute: int
    ) -> None:
        self._app = app
        self._verifiers = verifiers
        self._is_active = is_active
        self._challenge = challenge
        self._wrong = Pace(wrong_per_minute, wrong_per_minute)
        self._per_minute = wrong_per_minute
        self._principals: dict[tuple[str, str], Principal] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        value: bytes = scope[HEADERS].get(b"authorization", b"")
        client = scope.get("client")
        origin = _address(client[0]) if client else "unknown"
        if value[:7].lower() != b"bearer ":
            await self._refuse(
                scope, send, 401, "", f"A bearer token is required. {self._challenge.help or _NEXT_STEP}"
            )
            return
        try:
            grant = await self._verifiers.verify(value[7:].decode("latin-1"))
        except Unavailable as error:
            await answer(send, 503, {"error": "temporarily_unavailable", "error_description": str(error)}, _SOON)
            return
        if grant is None or not await self._is_active(grant.member_id):
            await self._wrong_token(origin, scope, send)
        elif not grant.scopes:
            text = "The token has none of the scopes that are needed here."
            await self._refuse(scope, send, 403, "insufficient_scope", text)
        else:
            principal = self._principals.get((grant.id, origin))
            if principal is None or principal.grant is not grant:
                principal = self._principal(grant, origin)
            scope[SESSION], scope["user"] = principal.session, principal.user
            await self._app(scope, receive, send)

    def _principal(self, grant: Grant, origin: str) -> Principal:
        session = Session(grant.member_id, grant.scopes, grant_id=grant.id, origin=origin)
        # For the SDK, which lets a session be used with the credential that opened it, or its successor.
        token = SdkToken(token="", client_id=grant.id, subject=grant.member_id, scopes=[])
        if len(self._principals) >= _MOST_KEPT:
            self._principals.clear()
        principal = self._principals[grant.id, origin] = Principal(grant, session, AuthenticatedUser(token))
        return principal

    async def _wrong_token(self, origin: str, scope: Scope, send: Send) -> None:
        wait = self._wrong.take(_neighbourhood(origin))
        if wait:
            text = f"{self._per_minute} wrong tokens came from this address within a minute."
            await too_many(text, wait, send)
            return
        text = f"The token is unknown, expired or revoked. {self._challenge.help or _NEXT_STEP}"
        await self._refuse(scope, send, 401, "invalid_token", text)

    async def _refuse(self, scope: Scope, send: Send, status: int, error: str, text: str) -> None:
        host = scope[HEADERS].get(b"host", b"").decode("latin-1")
        header = (b"www-authenticate", self._challenge.header(error, text, host))
        await answer(send, status, {"error": error or "unauthorized", "error_description": text}, header)


@lru_cache(maxsize=4096)
def _address(text: str) -> str:
    """An address as one writes it. A proxy may pass on anything."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return "unknown"


def _neighbourhood(address: str) -> str:
    """An address, or the network that one customer has of the longer ones."""
    return str(ipaddress.ip_network((address, 64), strict=False)) if ":" in address else address
