"""What the claims of a token mean here: a user, and scopes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from server.session import ALL_SCOPES
from storage.tables import User
from storage.transaction import Transaction

if TYPE_CHECKING:
    from server.config import OauthSettings
    from server.service import Service

_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._+-]")


def scopes_of(claims: dict[str, Any], oauth: OauthSettings) -> frozenset[str]:
    """The scopes that a token has here."""
    said = {word for claim in oauth.scope_claims for word in _words(_inside(claims, claim))}
    mapped = {"read": oauth.read, "write": oauth.write, "analyst": oauth.analyst, "admin": oauth.admin}
    given = {scope for scope, words in mapped.items() if not said.isdisjoint(words)}
    return frozenset(given | set(oauth.default_scopes)) & ALL_SCOPES


def _inside(claims: dict[str, Any], name: str) -> Any:
    """The claim of that name, or what a path of names with dots leads to."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def address_of(claims: dict[str, Any], oauth: OauthSettings) -> str | None:
    """The email by which the hub knows the person, or None if the claims name nobody."""
    value = _inside(claims, oauth.user_claim)
    if not isinstance(value, str) or not value or len(value) > 255:
        return None
    if re.split(r"[/.]", oauth.user_claim)[-1] != "email":
        # Whatever somebody chose as a name there, it is never the address of somebody else.
        return f"{_NOT_PLAIN.sub(lambda found: f'%{ord(found[0]):02x}', value)}@{urlsplit(oauth.issuer).hostname}"
    if oauth.verified_claim and _inside(claims, oauth.verified_claim) not in (True, "true"):
        return None
    # The address of the first user of a directory, user@localhost, is nobody's whom a provider could know.
    return value if _ADDRESS.fullmatch(value) and not value.lower().endswith("@localhost") else None


async def user_of(service: Service, claims: dict[str, Any], oauth: OauthSettings) -> str | None:
    """The id of the user whom the claims mean, or None: unknown, or deactivated."""
    address = address_of(claims, oauth)
    if address is None:
        return None
    view = service.engine.view()
    known = await view.where(User, "email", address) or await view.where(User, "email", address.lower())
    if known:
        return known[0].id if known[0].deactivated_at is None else None
    if not oauth.create_users or not scopes_of(claims, oauth):
        return None
    name = next((claims[claim] for claim in ("name", "preferred_username") if isinstance(claims.get(claim), str)), "")
    user = await service.engine.writer.run(_Newcomer(address.lower(), name.strip()[:200] or address.partition("@")[0]))
    return user.id if user.deactivated_at is None else None


class _Newcomer:
    """Adds a person whom the provider knows, unless another request of theirs was faster."""

    def __init__(self, address: str, name: str) -> None:
        self._address = address
        self._name = name

    async def __call__(self, tx: Transaction) -> User:
        known = await tx.where(User, "email", self._address)
        return known[0] if known else tx.insert(User, name=self._name, email=self._address)
