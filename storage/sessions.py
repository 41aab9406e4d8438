"""Sessions, authorization codes and the tokens that are made from them, in `auth.duckdb`.

A session is a browser that signed in, or a client that a user allowed to act for them. When it ends its row and all its
tokens go at once: what is not there is worthless.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from storage.auth_file import AuthChange, AuthFile, digest
from storage.auth_tables import AuthRefreshToken, AuthSession, AuthVerifier

REUSE_MS = 10_000
"""How long a refresh token may be used again: its answer may have been lost, or two requests may have crossed."""
CODE_MS = 60_000
"""How long an authorization code may be exchanged."""
CODE_KEPT_MS = 600_000
"""How long a code is remembered, so that a second use of it is noticed."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In ms: of an access token, of an unused refresh token, and of a session whatever happens."""

    access_ms: int
    refresh_ms: int
    session_ms: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A pair of tokens, whose texts are not stored."""

    session: AuthSession
    access: str
    refresh: str
    scopes: list[str]


Outcome = Issued | Literal["unknown", "misused"]
"""`misused`: a code or token was shown twice, so its session has ended."""


def end_sessions(file: AuthFile, change: AuthChange, ended: Iterable[AuthSession]) -> None:
    """Stage the end of sessions with all their tokens."""
    for session in ended:
        for token in file.where(AuthRefreshToken, "session_id", session.id):
            change.delete(token)
        change.delete(session)


class Sessions:
    """Who is signed in where. Times are epoch ms."""

    def __init__(self, file: AuthFile, lifetimes: Lifetimes) -> None:
        self._file = file
        self._lifetimes = lifetimes

    def all(self) -> list[AuthSession]:
        """Every session, in the order they were made."""
        return self._file.all(AuthSession)

    def get(self, session_id: str) -> AuthSession | None:
        """The session of that id."""
        return self._file.get(AuthSession, session_id)

    def of_user(self, now: int, user_id: str) -> list[AuthSession]:
        """The sessions of a user that have not expired."""
        return [one for one in self._file.where(AuthSession, "user_id", user_id) if one.expiration_time > now]

    async def end(self, now: int, *session_ids: str) -> None:
        """End sessions. Those that ended before are no error."""
        async with self._file.change(now) as change:
            found = (self._file.get(AuthSession, session_id) for session_id in session_ids)
            end_sessions(self._file, change, [session for session in found if session is not None])

    # -- browsers ------------------------------------------------------------------------------------------------

    async def sign_in(self, now: int, user_id: str, until: int) -> str:
        """A browser's session; the secret that its cookie holds, which is not stored."""
        secret = secrets.token_urlsafe(32)
        async with self._file.change(now) as change:
            change.insert(
                AuthSession,
                user_id=user_id,
                expiration_time=until,
                kind="browser",
                hash=digest(secret),
                last_used_time=now,
            )
        return secret

    def of_browser(self, now: int, secret: str) -> AuthSession | None:
        """The session whose cookie holds that secret."""
        found = self._file.where(AuthSession, "hash", digest(secret))
        if not found or found[0].expiration_time <= now:
            return None
        self._file.note_use(found[0], now)
        return found[0]

    # -- clients -------------------------------------------------------------------------------------------------

    async def authorize(self, now: int, **request: object) -> str:
        """A code for what a user allowed (fields of `AuthVerifier`); its text, which is not stored."""
        code = secrets.token_urlsafe(32)
        async with self._file.change(now) as change:
            change.insert(AuthVerifier, hash=digest(code), expiration_time=now + CODE_MS, **request)
        return code

    def authorized(self, code: str) -> AuthVerifier | None:
        """What a code stands for, also when it was used or has expired."""
        found = self._file.where(AuthVerifier, "hash", digest(code))
        return found[0] if found else None

    async def exchange(self, now: int, verifier_id: str) -> Outcome:
        """The first tokens of a session, for a code whose challenge was answered. A second use ends what it made."""
        async with self._file.change(now) as change:
            verifier = self._file.get(AuthVerifier, verifier_id)
            if verifier is None or verifier.user_id is None or verifier.expiration_time is None:
                return "unknown"
            if verifier.session_id is not None:
                made = self._file.get(AuthSession, verifier.session_id)
                end_sessions(self._file, change, [made] if made is not None else [])
                return "misused"
            if verifier.expiration_time <= now:
                return "unknown"
            session = change.insert(
                AuthSession,
                user_id=verifier.user_id,
                expiration_time=now + self._lifetimes.session_ms,
                kind="client",
                client_id=verifier.client_id,
                client_name=verifier.client_name,
                scopes=verifier.scopes,
                resource=verifier.resource,
                last_used_time=now,
            )
            change.update(verifier, session_id=session.id)
            return self._issue(change, session, verifier.scopes or [], parent=None)

    def refresh_token(self, text: str) -> tuple[AuthSession, AuthRefreshToken] | None:
        """What a refresh token is, also when it was used."""
        return self._with_session(self._file.where(AuthRefreshToken, "hash", digest(text)))

    async def refresh(self, now: int, text: str, scopes: list[str]) -> Outcome:
        """The next tokens of a session.

        A token that was used longer than `REUSE_MS` ago is in the hands of two, and nobody knows which is the right
        one: the session ends with all that came of it.
        """
        async with self._file.change(now) as change:
            found = self.refresh_token(text)
            if found is None:
                return "unknown"
            session, token = found
            if token.first_used_time is not None and now - token.first_used_time > REUSE_MS:
                end_sessions(self._file, change, [session])
                return "misused"
            if min(token.expiration_time, session.expiration_time) <= now:
                return "unknown"
            if token.first_used_time is None:
                change.update(token, first_used_time=now)
            session = change.update(session, last_used_time=now)
            return self._issue(change, session, scopes, parent=token.id)

    def _issue(self, change: AuthChange, session: AuthSession, scopes: list[str], *, parent: str | None) -> Issued:
        now, access, refresh = change.now, f"one_at_{secrets.token_urlsafe(32)}", f"one_rt_{secrets.token_urlsafe(32)}"
        change.insert(
            AuthRefreshToken,
            session_id=session.id,
            expiration_time=min(now + self._lifetimes.refresh_ms, session.expiration_time),
            parent_refresh_token_id=parent,
            hash=digest(refresh),
            access_hash=digest(access),
            access_expiration_time=min(now + self._lifetimes.access_ms, session.expiration_time),
            access_scopes=scopes,
        )
        return Issued(session, access, refresh, scopes)

    def of_access(self, now: int, text: str) -> tuple[AuthSession, AuthRefreshToken] | None:
        """The session of an access token that is good now, and the row that says what it may do and how long."""
        found = self.access_token(text)
        if found is None or (found[1].access_expiration_time or 0) <= now:
            return None
        self._file.note_use(found[0], now)
        return found

    def access_token(self, text: str) -> tuple[AuthSession, AuthRefreshToken] | None:
        """What an access token is, also when it has expired."""
        return self._with_session(self._file.where(AuthRefreshToken, "access_hash", digest(text)))

    def has_access(self, now: int, session_id: str) -> bool:
        """Whether the session has an access token that is good now."""
        tokens = self._file.where(AuthRefreshToken, "session_id", session_id)
        return self.get(session_id) is not None and any((one.access_expiration_time or 0) > now for one in tokens)

    def _with_session(self, found: list[AuthRefreshToken]) -> tuple[AuthSession, AuthRefreshToken] | None:
        session = self._file.get(AuthSession, found[0].session_id) if found else None
        return (session, found[0]) if session is not None else None

    # -- order ---------------------------------------------------------------------------------------------------

    async def forget_expired(self, now: int) -> None:
        """Drop what nobody can use any more."""
        async with self._file.change(now) as change:
            expired = [session for session in self.all() if session.expiration_time <= now]
            end_sessions(self._file, change, expired)
            gone = {session.id for session in expired}
            for token in self._file.all(AuthRefreshToken):
                if token.expiration_time <= now and token.session_id not in gone:
                    change.delete(token)
            for verifier in self._file.all(AuthVerifier):
                if (verifier.expiration_time or 0) + CODE_KEPT_MS <= now:
                    change.delete(verifier)
