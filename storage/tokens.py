"""Bearer tokens, in `auth.duckdb`. Only a hash of a token is kept: it is shown once, when it is made."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path

from storage.auth_tables import AccessToken
from storage.database import Database, open_file
from storage.errors import NotFound
from storage.migrate import migrate
from storage.migrations import AUTH_MIGRATIONS
from storage.row import column_list

PREFIX = "one_"
"""Lets people and secret scanners recognise a token."""
USE_NOTED_EVERY_MS = 60_000


def digest(token: str) -> str:
    """What is stored of a token. Tokens have 256 random bits, so a plain hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _good(token: AccessToken, now: int) -> bool:
    expires = token.expiration_time
    return token.revoked_time is None and (expires is None or expires > now)


class Tokens:
    """The access tokens of a data directory. All of them are held in memory: a check costs a hash."""

    def __init__(self, database: Database, stored: list[AccessToken]) -> None:
        self._database = database
        self._by_hash = {token.hash: token for token in stored}
        self._hashes = {token.id: token.hash for token in stored}
        self._next_seq = max((token.seq for token in stored), default=0) + 1

    @classmethod
    def open(cls, directory: Path, memory_limit: str) -> Tokens:
        """Open `auth.duckdb`, migrated.

        Raises:
            StorageFault: the file cannot be used.
        """
        path = directory / "auth.duckdb"
        connection = open_file(path, memory_limit)
        path.chmod(0o600)
        migrate(connection, path, AUTH_MIGRATIONS)
        rows = connection.execute(f'SELECT {column_list(AccessToken)} FROM "{AccessToken.table}"').fetchall()
        return cls(Database(connection, read_threads=1), [AccessToken.loaded(row) for row in rows])

    def all(self) -> list[AccessToken]:
        """Every token, also revoked and expired ones, in the order they were made."""
        return sorted(self._by_hash.values(), key=lambda token: token.seq)

    async def create(
        self, owner_id: str, scopes: list[str], *, name: str | None = None, expiration_time: int | None = None
    ) -> tuple[str, AccessToken]:
        """Make a token; its text is returned once and never stored. `expiration_time` is in epoch ms."""
        text = PREFIX + secrets.token_urlsafe(32)
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        token = AccessToken.model_validate(
            {
                "id": f"{AccessToken.prefix}_{seq}",
                "seq": seq,
                "rev": seq,
                "created_at": _now(),
                "hash": digest(text),
                "name": name,
                "owner_id": owner_id,
                "scopes": scopes,
                "expiration_time": expiration_time,
            }
        )
        marks = ", ".join("?" * len(token.stored()))
        await self._database.write(
            lambda connection: connection.execute(f'INSERT INTO "{token.table}" VALUES ({marks})', token.stored())
        )
        self._by_hash[token.hash] = token
        self._hashes[token.id] = token.hash
        return text, token

    async def revoke(self, token_id: str) -> AccessToken:
        """Make a token worthless from now on.

        Raises:
            NotFound: there is no such token.
        """
        for token in self._by_hash.values():
            if token.id == token_id:
                return await self._changed(token, revoked_time=token.revoked_time or _now())
        raise NotFound(f"No token '{token_id}'. `one-mcp token list` shows them.")

    async def check(self, text: str) -> AccessToken | None:
        """The token of that text, if it is known, not revoked and not expired."""
        token, now = self._by_hash.get(digest(text)), _now()
        if token is None or not _good(token, now):
            return None
        if now - (token.last_used_time or 0) > USE_NOTED_EVERY_MS:
            token = await self._changed(token, last_used_time=now)
        return token

    def is_good(self, token_id: str) -> bool:
        """Whether the token of that id is known, not revoked and not expired."""
        token = self._by_hash.get(self._hashes.get(token_id, ""))
        return token is not None and _good(token, _now())

    async def _changed(self, token: AccessToken, **times: int) -> AccessToken:
        after = token.changed(**times)
        self._by_hash[token.hash] = after
        await self._database.write(
            lambda connection: connection.execute(
                f'UPDATE "{token.table}" SET "lastUsedTime" = make_timestamp_ms(?), '
                '"revokedTime" = make_timestamp_ms(?) WHERE seq = ?',
                [after.last_used_time, after.revoked_time, token.seq],
            )
        )
        return after

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()
