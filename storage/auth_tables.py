"""The six tables of the auth package, in `auth.duckdb`. Sign-in flows and the CLI own them; MCP never reaches them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from storage.fields import AccountId, Extension, Number, RefreshTokenId, SessionId, Time, UserId
from storage.row import Row

Ext = Extension()


class AuthSession(Row):
    """One sign-in on one device."""

    table: ClassVar[str] = "authSessions"
    prefix: ClassVar[str] = "session"
    indexes: ClassVar = {"userId": ("user_id",)}

    user_id: UserId
    expiration_time: Time
    kind: Annotated[Literal["browser", "client"] | None, Ext] = None
    hash: Annotated[str | None, Ext] = Field(default=None, description="of the secret in a browser's cookie")
    client_id: Annotated[str | None, Ext] = None
    client_name: Annotated[str | None, Ext] = None
    scopes: Annotated[list[str] | None, Ext] = None
    resource: Annotated[str | None, Ext] = Field(default=None, description="the URL for which its tokens are good")
    last_used_time: Annotated[Time | None, Ext] = None


class AuthAccount(Row):
    """A way in which a user signs in."""

    table: ClassVar[str] = "authAccounts"
    prefix: ClassVar[str] = "account"
    indexes: ClassVar = {
        "userIdAndProvider": ("user_id", "provider"),
        "providerAndAccountId": ("provider", "provider_account_id"),
    }

    user_id: UserId
    provider: str
    provider_account_id: str
    secret: str | None = None
    email_verified: str | None = None
    phone_verified: str | None = None
    scopes: Annotated[list[str] | None, Ext] = Field(default=None, description="what its sessions may be given at most")
    disabled_time: Annotated[Time | None, Ext] = None


class AuthRefreshToken(Row):
    """Refresh tokens of a session; each use makes a child."""

    table: ClassVar[str] = "authRefreshTokens"
    prefix: ClassVar[str] = "refresh"
    indexes: ClassVar = {
        "sessionId": ("session_id",),
        "sessionIdAndParentRefreshTokenId": ("session_id", "parent_refresh_token_id"),
    }

    session_id: SessionId
    expiration_time: Time
    first_used_time: Time | None = None
    parent_refresh_token_id: RefreshTokenId | None = None
    hash: Annotated[str | None, Ext] = None
    access_hash: Annotated[str | None, Ext] = Field(default=None, description="of the access token made with it")
    access_expiration_time: Annotated[Time | None, Ext] = None
    access_scopes: Annotated[list[str] | None, Ext] = None


class AuthVerificationCode(Row):
    """One-time codes."""

    table: ClassVar[str] = "authVerificationCodes"
    prefix: ClassVar[str] = "code"
    indexes: ClassVar = {"accountId": ("account_id",), "code": ("code",)}

    account_id: AccountId
    provider: str
    code: str
    expiration_time: Time
    verifier: str | None = None
    email_verified: str | None = None
    phone_verified: str | None = None


class AuthVerifier(Row):
    """PKCE verifiers: authorization codes, each with the challenge (`signature`) that its client must answer."""

    table: ClassVar[str] = "authVerifiers"
    prefix: ClassVar[str] = "verifier"
    indexes: ClassVar = {"signature": ("signature",)}

    session_id: SessionId | None = None
    signature: str | None = None
    hash: Annotated[str | None, Ext] = None
    user_id: Annotated[UserId | None, Ext] = None
    client_id: Annotated[str | None, Ext] = None
    client_name: Annotated[str | None, Ext] = None
    redirect_uri: Annotated[str | None, Ext] = None
    redirect_given: Annotated[bool | None, Ext] = Field(
        default=None, description="whether the client named it in its request"
    )
    scopes: Annotated[list[str] | None, Ext] = None
    resource: Annotated[str | None, Ext] = None
    expiration_time: Annotated[Time | None, Ext] = None


class AuthRateLimit(Row):
    """Attempts left per identifier."""

    table: ClassVar[str] = "authRateLimits"
    prefix: ClassVar[str] = "limit"
    indexes: ClassVar = {"identifier": ("identifier",)}

    identifier: str
    last_attempt_time: Time
    attempts_left: Number


class AccessToken(Row):
    """Bearer tokens made by `one-mcp token create`: ours, not the auth package's. Only a hash is kept."""

    table: ClassVar[str] = "accessTokens"
    prefix: ClassVar[str] = "token"
    indexes: ClassVar = {"hash": ("hash",)}

    hash: Annotated[str, Ext]
    name: Annotated[str | None, Ext] = None
    owner_id: Annotated[str, Ext]
    scopes: Annotated[list[str], Ext]
    expiration_time: Annotated[Time | None, Ext] = None
    last_used_time: Annotated[Time | None, Ext] = None
    revoked_time: Annotated[Time | None, Ext] = None


class AuthClient(Row):
    """Programs that registered themselves as clients: ours, not the auth package's. They have no secret."""

    table: ClassVar[str] = "authClients"
    prefix: ClassVar[str] = "client"
    indexes: ClassVar = {"clientId": ("client_id",)}

    client_id: Annotated[str, Ext]
    name: Annotated[str, Ext]
    redirect_uris: Annotated[list[str], Ext]
    last_used_time: Annotated[Time | None, Ext] = None


class AuthInvitation(Row):
    """Who may sign up: ours, not the auth package's. A row goes when its account is there."""

    table: ClassVar[str] = "authInvitations"
    prefix: ClassVar[str] = "invitation"
    indexes: ClassVar = {"hash": ("hash",)}

    email: Annotated[str, Ext]
    name: Annotated[str | None, Ext] = None
    scopes: Annotated[list[str], Ext]
    hash: Annotated[str, Ext] = Field(description="of the link's token, or of what the browser must show")
    code: Annotated[str | None, Ext] = Field(
        default=None, description="hash of the code that was sent to who signs up without being invited"
    )
    expiration_time: Annotated[Time, Ext]
    secret: Annotated[str | None, Ext] = Field(default=None, description="the account's, once it is known")
    started_time: Annotated[Time | None, Ext] = Field(
        default=None, description="when it was accepted: after a crash, what is missing is made at the next start"
    )


AUTH_TABLES: tuple[type[Row], ...] = (
    AuthSession,
    AuthAccount,
    AuthRefreshToken,
    AuthVerificationCode,
    AuthVerifier,
    AuthRateLimit,
)
"""The seed's six."""
OWN_AUTH_TABLES: tuple[type[Row], ...] = (AccessToken, AuthClient, AuthInvitation)
"""Ours."""
