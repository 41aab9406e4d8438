"""JWTs of the provider, checked as RFC 9068 and RFC 8707 ask: signature, issuer, audience and time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from jwt.exceptions import PyJWTError
from jwt.types import Options

from server.oauth.claims import scopes_of, user_of
from server.oauth.keys import Keys
from server.verification import Grant

if TYPE_CHECKING:
    from server.config import OauthSettings
    from server.service import Service

_CHECKED_SECONDS = 60.0
"""So long the result of a check is used again: a signature costs more than the rest of a request's way in."""
_MOST_KEPT = 10_000
_MOST_CHARACTERS = 16_384
_UNCHECKED: Options = {"verify_signature": False}
_REQUIRED: Options = {"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True}


@dataclass(frozen=True, slots=True)
class _Checked:
    """A token that was good: with which keys, and until when that is believed."""

    grant: Grant
    generation: int
    until: float


class ProviderTokens:
    """Verifies tokens of the provider in `[oauth]`."""

    def __init__(
        self,
        service: Service,
        oauth: OauthSettings,
        *,
        default_audience: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self._oauth = oauth
        self._audience = oauth.audience or default_audience
        self._algorithms = frozenset[str](oauth.algorithms)
        self._clock = clock
        self.keys = Keys(oauth)
        self._checked: dict[str, _Checked] = {}
        self._ends: dict[str, float] = {}

    async def verify(self, token: str) -> Grant | None:
        """What the token allows now, or None. Raises Unavailable."""
        if token.count(".") != 2 or len(token) > _MOST_CHARACTERS:
            return None  # of another kind
        digest = hashlib.sha256(token.encode()).hexdigest()
        now = self._clock()
        known = self._checked.get(digest)
        if known is not None and known.until > now and known.generation == self.keys.generation:
            return known.grant
        claims = await self._claims(token)
        member_id = await user_of(self._service, claims, self._oauth) if claims is not None else None
        if claims is None or member_id is None:
            self._checked.pop(digest, None)
            return None
        return self._keep(digest, claims, member_id, now)

    def is_good(self, grant_id: str) -> bool:
        """Whether a token of that sign-in has not expired."""
        return self._ends.get(grant_id, 0.0) > self._clock()

    async def close(self) -> None:
        """Ask the provider no more."""
        await self.keys.close()

    async def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is good, or None."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = header.get("alg"), header.get("kid")
            unchecked = jwt.decode(token, options=_UNCHECKED)
        except PyJWTError:
            return None
        # The provider is asked for keys only for what says to be of it, and never for an algorithm that is not taken.
        if algorithm not in self._algorithms or unchecked.get("iss") != self._oauth.issuer:
            return None
        key = await self.keys.find(key_id, algorithm)
        if key is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self._oauth.issuer,
                audience=self._audience,
                leeway=self._oauth.leeway_seconds,
                options=_REQUIRED,
            )
        except PyJWTError:
            return None
        return claims

    def _keep(self, digest: str, claims: dict[str, Any], member_id: str, now: float) -> Grant:
        end = float(claims["exp"]) + self._oauth.leeway_seconds
        # Tokens of one sign-in follow one another; what they have in common is who, and by which program.
        program = claims.get("azp") or claims.get("client_id") or ""
        sign_in = f"{self._oauth.issuer}\n{claims.get('sub', '')}\n{program}\n{member_id}"
        grant = Grant(
            id=f"jwt_{hashlib.sha256(sign_in.encode()).hexdigest()[:16]}",
            member_id=member_id,
            scopes=scopes_of(claims, self._oauth),
            expiration_time=int(end * 1000),
        )
        if len(self._checked) >= _MOST_KEPT:
            self._checked = {key: one for key, one in self._checked.items() if one.until > now}
            if len(self._checked) >= _MOST_KEPT:
                self._checked.clear()
            self._ends = {key: until for key, until in self._ends.items() if until > now}
        self._checked[digest] = _Checked(grant, self.keys.generation, min(end, now + _CHECKED_SECONDS))
        self._ends[grant.id] = max(end, self._ends.get(grant.id, 0.0))
        return grant
