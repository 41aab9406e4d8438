"""The token endpoint: the SDK's handler on our sessions."""

from __future__ import annotations

from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import ClientAuthenticator
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.signin.core import SignIn
from server.verification import Grant
from storage.accounts import allowed_scopes
from storage.auth_tables import AuthSession
from storage.sessions import Issued, Outcome

ACCESS_PREFIX = "one_at_"
MOST_KEPT = 10_000
_NEVER = float("inf")
"""Our own clock says what has expired."""


class _Code(AuthorizationCode):
    verifier_id: str


class Provider(OAuthAuthorizationServerProvider[_Code, RefreshToken, AccessToken]):
    """What the SDK's handler of /token asks for. The other endpoints are our own."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._sessions = sign_in.sessions

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        """The client, if it is known."""
        client = self._sign_in.clients.at_token_endpoint(client_id)
        return client.for_sdk() if client is not None else None

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Not asked for: /register is our own."""
        raise NotImplementedError

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """Not asked for: /authorize is our own."""
        raise NotImplementedError

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> _Code | None:
        """What a code stands for, also when it was used."""
        found = self._sessions.authorized(authorization_code)
        if found is None or found.client_id is None or found.redirect_uri is None or found.signature is None:
            return None
        return _Code(
            code=authorization_code,
            scopes=found.scopes or [],
            expires_at=_NEVER,
            client_id=found.client_id,
            code_challenge=found.signature,
            redirect_uri=AnyUrl(found.redirect_uri),
            redirect_uri_provided_explicitly=bool(found.redirect_given),
            resource=found.resource,
            subject=found.user_id,
            verifier_id=found.id,
        )

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: _Code
    ) -> OAuthToken:
        """The first tokens of a session.

        Raises:
            TokenError: the code was used or has expired, or its user may not sign in any more.
        """
        if authorization_code.subject is None or not await self._may(authorization_code.subject):
            raise TokenError("invalid_grant", "the user may not sign in any more")
        return await self._answer(await self._sessions.exchange(self._sign_in.clock(), authorization_code.verifier_id))

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        """What a refresh token stands for, also when it was used."""
        found = self._sessions.refresh_token(refresh_token)
        if found is None or found[0].client_id is None:
            return None
        session = found[0]
        return RefreshToken(
            token=refresh_token,
            client_id=found[0].client_id,
            scopes=session.scopes or [],
            resource=session.resource,
            subject=session.user_id,
        )

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        """The next tokens of a session.

        Raises:
            TokenError: the token has expired or was used before, or its user may not sign in any more.
        """
        if refresh_token.subject is None or not await self._may(refresh_token.subject):
            raise TokenError("invalid_grant", "the user may not sign in any more")
        return await self._answer(await self._sessions.refresh(self._sign_in.clock(), refresh_token.token, scopes))

    async def _may(self, user_id: str) -> bool:
        account = self._sign_in.accounts.of_user(user_id)
        return account is not None and await self._sign_in.may_sign_in(account)

    async def _answer(self, outcome: Outcome) -> OAuthToken:
        if not isinstance(outcome, Issued):
            if outcome == "misused":
                await self._sign_in.note("session_misused", origin="client")
            raise TokenError("invalid_grant", "it was used before, or has expired")
        account = self._sign_in.accounts.of_user(outcome.session.user_id)
        allowed = allowed_scopes(account) if account is not None else frozenset()
        return OAuthToken(
            access_token=outcome.access,
            expires_in=self._sign_in.settings.access_token_seconds,
            scope=" ".join(scope for scope in outcome.scopes if scope in allowed),
            refresh_token=outcome.refresh,
        )

    async def load_access_token(self, token: str) -> AccessToken | None:
        """What an access token stands for, also when it has expired: it names a session to end."""
        found = self._sessions.access_token(token)
        if found is None or found[0].client_id is None:
            return None
        return AccessToken(token=token, client_id=found[0].client_id, scopes=[], subject=found[0].user_id)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """End the session of a token."""
        found = self._sessions.access_token(token.token) or self._sessions.refresh_token(token.token)
        if found is not None:
            await self._sessions.end(self._sign_in.clock(), found[0].id)
            await self._sign_in.note(
                "session_revoked", member_id=found[0].user_id, grant_id=found[0].id, origin="client"
            )


class TokenEndpoints:
    """/token and /revoke."""

    def __init__(self, sign_in: SignIn) -> None:
        self._site = sign_in.site
        self._provider = Provider(sign_in)
        self._token = TokenHandler(self._provider, ClientAuthenticator(self._provider))

    async def token(self, request: Request) -> Response:
        """Tokens for a code or a refresh token."""
        form = await request.form()
        refusal = _malformed(form)
        if refusal is None and any(not self._site.is_own(str(one)) for one in form.getlist("resource")):
            refusal = JSONResponse(
                {"error": "invalid_target", "error_description": "the resource is not this one"}, 400
            )
        return _kept_by_nobody(refusal or await self._token.handle(request))

    async def revoke(self, request: Request) -> Response:
        """The end of a token's session (RFC 7009). The SDK's handler wants a secret, which no client has here."""
        form = await request.form()
        refusal = _malformed(form)
        client = await self._provider.get_client(str(form.get("client_id", "")))
        if refusal is None and client is None:
            refusal = _refusal("invalid_client", "the client is not known here", 401)
        text = str(form.get("token", ""))
        token = await self._provider.load_access_token(text)
        if refusal is None and client is not None:
            found = token or await self._provider.load_refresh_token(client, text)
            if found is not None and found.client_id == client.client_id:
                await self._provider.revoke_token(found)
        return _kept_by_nobody(refusal or Response())


def _malformed(form: FormData) -> Response | None:
    """The answer to a form with a parameter twice, or a file: what it means would depend on who reads it."""
    names = [name for name, _ in form.multi_items() if name != "resource"]
    if len(set(names)) == len(names) and all(isinstance(value, str) for _, value in form.multi_items()):
        return None
    return _refusal("invalid_request", "a parameter is given twice")


def _refusal(code: str, text: str, status: int = 400) -> Response:
    return JSONResponse({"error": code, "error_description": text}, status)


def _kept_by_nobody(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


class SessionTokens:
    """Access tokens of clients that a user allowed."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._grants: dict[str, Grant] = {}

    async def verify(self, token: str) -> Grant | None:
        """What the token allows now, or None. The id of the grant is the session's: renewing a token keeps it."""
        if not token.startswith(ACCESS_PREFIX):
            return None
        found = self._sign_in.sessions.of_access(self._sign_in.clock(), token)
        if found is None:
            return None
        session, issued = found
        account = self._sign_in.accounts.of_user(session.user_id)
        if account is None or account.disabled_time is not None or not self._is_for_us(session):
            return None
        scopes = allowed_scopes(account) & frozenset(issued.access_scopes or ())
        grant = Grant(session.id, session.user_id, scopes, issued.access_expiration_time)
        # A caller's next request is known by the very same grant.
        if self._grants.get(session.id) != grant:
            if len(self._grants) >= MOST_KEPT:
                self._grants.clear()
            self._grants[session.id] = grant
        return self._grants[session.id]

    def _is_for_us(self, session: AuthSession) -> bool:
        return session.resource is not None and self._sign_in.site.is_own(session.resource)

    def is_good(self, grant_id: str) -> bool:
        """Whether the session has not ended, and its client still renews its tokens."""
        return self._sign_in.sessions.has_access(self._sign_in.clock(), grant_id)
