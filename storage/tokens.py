"""Bearer tokens, in `auth.duckdb`. Only a hash of a token is kept: it is shown once, when it is made."""

from __future__ import annotations

import secrets

from storage.auth_file import AuthFile, digest, now_ms
from storage.auth_tables import AccessToken
from storage.errors import NotFound

PREFIX = "one_"
"""Lets people and secret scanners recognise a token."""


def _good(token: AccessToken, now: int) -> bool:
    expires = token.expiration_time
    return token.revoked_time is None and (expires is None or expires > now)


class Tokens:
    """The access tokens of a data directory. A check costs a hash."""

    def __init__(self, file: AuthFile) -> None:
        self._file = file

    def all(self) -> list[AccessToken]:
        """Every token, also revoked and expired ones, in the order they were made."""
        return self._file.all(AccessToken)

    async def create(
        self, owner_id: str, scopes: list[str], *, name: str | None = None, expiration_time: int | None = None
    ) -> tuple[str, AccessToken]:
        """Make a token; its text is returned once and never stored. `expiration_time` is in epoch ms."""
        text = PREFIX + secrets.token_urlsafe(32)
        async with self._file.change(now_ms()) as change:
            token = change.insert(
                AccessToken,
                hash=digest(text),
                name=name,
                owner_id=owner_id,
                scopes=scopes,
                expiration_time=expiration_time,
            )
        return text, token

    async def revoke(self, token_id: str) -> AccessToken:
        """Make a token worthless from now on.

        Raises:
            NotFound: there is no such token.
        """
        now = now_ms()
        async with self._file.change(now) as change:
            token = self._file.get(AccessToken, token_id)
            if token is None:
                raise NotFound(f"No token '{token_id}'. `one-mcp token list` shows them.")
            if token.revoked_time is None:
                token = change.update(token, revoked_time=now)
        return token

    def check(self, text: str) -> AccessToken | None:
        """The token of that text, if it is known, not revoked and not expired."""
        found, now = self._file.where(AccessToken, "hash", digest(text)), now_ms()
        if not found or not _good(found[0], now):
            return None
        self._file.note_use(found[0], now)
        return found[0]

    def is_good(self, token_id: str) -> bool:
        """Whether the token of that id is known, not revoked and not expired."""
        token = self._file.get(AccessToken, token_id)
        return token is not None and _good(token, now_ms())
