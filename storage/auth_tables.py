"""The six tables of the auth package, in `auth.duckdb`. Sign-in flows and the CLI own them; MCP never reaches them."""

from __future__ import annotations

from typing import Annotated, ClassVar

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
    """PKCE verifiers."""

    table: ClassVar[str] = "authVerifiers"
    prefix: ClassVar[str] = "verifier"
    indexes: ClassVar = {"signature": ("signature",)}

    session_id: SessionId | None = None
    signature: str | None = None


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


AUTH_TABLES: tuple[type[Row], ...] = (
    AuthSession,
    AuthAccount,
    AuthRefreshToken,
    AuthVerificationCode,
    AuthVerifier,
    AuthRateLimit,
)
"""The seed's six."""
