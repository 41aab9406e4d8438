"""Whose token a request brings: each kind of token has a verifier, and a request is asked of them in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from storage.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Grant:
    """What a good token allows.

    `id` names it in logs and never tells its text; tokens that follow one another in one sign-in have the same, so that
    what one of them began the next goes on with. `member_id` is the user or agent for whom it speaks;
    `expiration_time` is in epoch ms, None for a token without an end.
    """

    id: str
    member_id: str
    scopes: frozenset[str]
    expiration_time: int | None = None


class Unavailable(Exception):
    """Whether a token is good cannot be told now. The text is a sentence for people."""


class Verifier(Protocol):
    """Knows one kind of token."""

    async def verify(self, token: str) -> Grant | None:
        """What the token allows now; None if it is not of this kind, or worthless. Raises Unavailable."""
        ...

    def is_good(self, grant_id: str) -> bool:
        """Whether a grant of this kind that was good when its stream began still is."""
        ...


class StoredTokens:
    """Tokens made by `one-mcp token create`."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._grants: dict[str, Grant] = {}

    async def verify(self, token: str) -> Grant | None:
        """What the token allows now, or None."""
        found = self._tokens.check(token)
        if found is None:
            return None
        # What a token allows never changes. A caller's next request is known by the very same grant.
        grant = self._grants.get(found.id)
        if grant is None:
            grant = Grant(found.id, found.owner_id, frozenset(found.scopes), found.expiration_time)
            self._grants[found.id] = grant
        return grant

    def is_good(self, grant_id: str) -> bool:
        """Whether the token of that id is neither revoked nor expired."""
        return self._tokens.is_good(grant_id)


class Verifiers:
    """All kinds of token that this hub takes."""

    def __init__(self, *verifiers: Verifier) -> None:
        self._verifiers = list(verifiers)

    def add(self, verifier: Verifier) -> None:
        """Take another kind of token."""
        self._verifiers.append(verifier)

    def remove(self, verifier: Verifier) -> None:
        """Take that kind no more."""
        self._verifiers.remove(verifier)

    async def verify(self, token: str) -> Grant | None:
        """What the token allows now, or None. Raises Unavailable."""
        for verifier in self._verifiers:
            grant = await verifier.verify(token)
            if grant is not None:
                return grant
        return None

    def is_good(self, grant_id: str) -> bool:
        """Whether a grant that was good still is."""
        return any(verifier.is_good(grant_id) for verifier in self._verifiers)
