"""The keys of an identity provider: found through its metadata, kept, and fetched again when others are needed."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from server.http.addresses import is_loopback
from server.verification import Unavailable

if TYPE_CHECKING:
    from server.config import OauthSettings

log = logging.getLogger(__name__)

PAUSE_SECONDS = 10.0
"""So long the provider is left alone after it was asked, whatever tokens come."""
_FRESH_SECONDS = 3_600.0
_KEPT_SECONDS = 86_400.0
"""So long keys are used when the provider does not answer."""
_FETCH_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_MOST_KEYS = 100


class FetchFailed(Exception):
    """The provider did not say what it must. The text is a sentence."""


class Keys:
    """The public keys of the issuer, by their id."""

    def __init__(self, oauth: OauthSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = oauth.issuer
        self._jwks_url = oauth.jwks_url
        self._algorithms = frozenset[str](oauth.algorithms)
        self._clock = clock
        self._keys: dict[str | None, list[dict[str, Any]]] = {}
        self._made: dict[tuple[str | None, str], PyJWK] = {}
        self._fetched: float | None = None
        self._asked: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._client = httpx2.AsyncClient(timeout=_FETCH_SECONDS, headers={"Accept": "application/json"})
        self.generation = 0
        """Counts the sets of keys: what was verified with an earlier one is to be verified again."""

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key of that id for that algorithm, or None. Without an id it must be the only one.

        Raises:
            Unavailable: the provider's keys cannot be had.
        """
        if self._fetched is None or self._clock() - self._fetched > _KEPT_SECONDS:
            await self._ask()
            if self._fetched is None or self._clock() - self._fetched > _KEPT_SECONDS:
                raise Unavailable("The identity provider cannot be reached, so no token of it can be checked now.")
        elif self._clock() - self._fetched > _FRESH_SECONDS:
            self._begin_to_ask()  # behind: those at hand are good meanwhile
        found = self._key(key_id, algorithm)
        if found is None and key_id is not None and key_id not in self._keys:
            await self._ask()
            found = self._key(key_id, algorithm)
        return found

    def _key(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        made = self._made.get((key_id, algorithm))
        if made is not None:
            return made
        sets = self._keys.values() if key_id is None else [self._keys.get(key_id, [])]
        named = [one for some in sets for one in some]
        fitting = [key for one in named if (key := _usable(one, algorithm)) is not None]
        if len(fitting) != 1:
            return None
        self._made[key_id, algorithm] = fitting[0]
        return fitting[0]

    async def _ask(self) -> None:
        asking = self._begin_to_ask()
        if asking is not None:
            await asyncio.shield(asking)

    def _begin_to_ask(self) -> asyncio.Task[None] | None:
        """The one question that is under way; None while the provider is left alone."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        if self._asked is not None and self._clock() - self._asked < PAUSE_SECONDS:
            return None
        self._asked = self._clock()
        self._asking = asyncio.create_task(self._fetch())
        return self._asking

    async def _fetch(self) -> None:
        try:
            url = self._jwks_url or await self._discover()
            document = await self._read(url)
        except FetchFailed as error:
            log.warning("keys of %s: %s", self._issuer, error)
            return
        keys = document.get("keys")
        if not isinstance(keys, list):
            log.warning("keys of %s: %s is no set of keys", self._issuer, url)
            return
        self._keys = {}
        for one in keys[:_MOST_KEYS]:
            if isinstance(one, dict) and one.get("kty") in ("RSA", "EC", "OKP") and one.get("use", "sig") == "sig":
                key_id = one.get("kid")
                self._keys.setdefault(key_id if isinstance(key_id, str) else None, []).append(one)
        self._made.clear()
        self._fetched = self._clock()
        self.generation += 1

    async def _discover(self) -> str:
        """Where the keys are, as the issuer's metadata says (RFC 8414, OpenID Connect Discovery)."""
        parts = urlsplit(self._issuer)
        root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        failure = FetchFailed("there is no metadata")
        for url in (
            f"{root}/.well-known/oauth-authorization-server{path}",
            f"{root}{path}/.well-known/openid-configuration",
            f"{root}/.well-known/openid-configuration{path}",
        ):
            try:
                document = await self._read(url)
            except FetchFailed as error:
                failure = error
                continue
            if document.get("issuer") != self._issuer:
                raise FetchFailed(f"{url} is the metadata of another issuer; oauth.issuer must be exactly what it says")
            found = document.get("jwks_uri")
            if isinstance(found, str):
                return found
            failure = FetchFailed(f"{url} names no jwks_uri; set oauth.jwks_url")
        raise failure

    async def _read(self, url: str) -> dict[str, Any]:
        """A JSON object, over TLS unless it is on this machine."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            raise FetchFailed(f"{url} is not https")
        try:
            # A whole answer in time, too: one that drips is none.
            async with asyncio.timeout(_FETCH_SECONDS), self._client.stream("GET", url) as response:
                if response.status_code != 200:
                    raise FetchFailed(f"{url} answers {response.status_code}")
                body = b""
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise FetchFailed(f"{url} answers more than {_MOST_BYTES:,} bytes")
            document = json.loads(body)
        except (httpx2.HTTPError, TimeoutError, ValueError, RecursionError) as error:
            raise FetchFailed(f"{url} cannot be read: {type(error).__name__}") from error
        if not isinstance(document, dict):
            raise FetchFailed(f"{url} is no JSON object")
        return document

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._client.aclose()


def _usable(key: dict[str, Any], algorithm: str) -> PyJWK | None:
    """The key for that algorithm, if it is one for it."""
    if key.get("alg", algorithm) != algorithm:
        return None
    try:
        return PyJWK(key, algorithm)
    except PyJWTError:
        return None
