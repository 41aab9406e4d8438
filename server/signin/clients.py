"""Programs that ask users for access: those that registered, and those that describe themselves at an https URL."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mcp.shared.auth import OAuthClientInformationFull

from server.config import SignInSettings
from server.signin.documents import Documents, NoDocument, is_document_url
from server.signin.site import is_loopback_name
from storage.auth_file import AuthFile
from storage.auth_tables import AuthClient, AuthSession

URIS = 10
URI_CHARS = 2_000
NAME_CHARS = 100
GRANTS = ("authorization_code", "refresh_token")
_REFUSED_SCHEMES = frozenset({"about", "blob", "data", "file", "ftp", "javascript", "mailto", "vbscript", "ws", "wss"})


class BadClient(Exception):
    """A client's description cannot be used. `code` is that of RFC 7591, the text says what is wrong."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Client:
    """`host` is who vouches for the description: None if nobody but the client itself."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    host: str | None = None

    def takes(self, uri: str) -> bool:
        """Whether answers may go to that redirect URI: exactly one of its own, of programs on the user's machine with
        any port (RFC 8252).
        """
        return any(uri == own or _same_but_port(uri, own) for own in self.redirect_uris)

    def for_sdk(self) -> OAuthClientInformationFull:
        """As the SDK's handlers take it: public, without a secret."""
        return OAuthClientInformationFull(
            client_id=self.id,
            token_endpoint_auth_method="none",  # noqa: S106 - "none" is a method
            grant_types=list(GRANTS),
            client_name=self.name,
        )


def _same_but_port(uri: str, own: str) -> bool:
    try:
        asked, known = urlsplit(uri), urlsplit(own)
        _ = asked.port
    except ValueError:
        return False
    return (
        known.scheme == asked.scheme == "http"
        and is_loopback_name(known.hostname)
        and asked.hostname == known.hostname
        and asked.username is None
        and (asked.path, asked.query, asked.fragment) == (known.path, known.query, "")
    )


def check_redirect_uri(uri: str) -> None:
    """Check that answers may be sent there: by TLS, to this machine, or to a program's own scheme.

    Raises:
        BadClient: they may not.
    """
    try:
        parts = urlsplit(uri)
        local, port = is_loopback_name(parts.hostname), parts.port
    except ValueError:
        raise BadClient("invalid_redirect_uri", "A redirect URI is no URI.") from None
    good = (
        len(uri) <= URI_CHARS
        and uri.isascii()
        and uri.isprintable()
        and not any(character in uri for character in ' \\"<>')
        and not parts.fragment
        and "#" not in uri
        and parts.username is None
        and port != 0
        and bool(parts.scheme)
        and parts.scheme not in _REFUSED_SCHEMES
        and (parts.scheme != "http" or local)
        and (parts.scheme not in ("http", "https") or bool(parts.hostname))
    )
    if not good:
        raise BadClient(
            "invalid_redirect_uri",
            "A redirect URI is an https URL, an http URL of this machine (127.0.0.1), or has a scheme of the program's "
            "own; it has no fragment and no user.",
        )


def checked_uris(uris: object) -> tuple[str, ...]:
    """The redirect URIs of a description.

    Raises:
        BadClient: one cannot be used, or there is none.
    """
    if not isinstance(uris, list) or not 1 <= len(uris) <= URIS or not all(isinstance(uri, str) for uri in uris):
        raise BadClient("invalid_redirect_uri", f"redirect_uris is a list of 1 to {URIS} URIs.")
    for uri in uris:
        check_redirect_uri(uri)
    return tuple(uris)


def checked_name(name: object, fallback: str) -> str:
    """A client's name as it is shown: one short line of what can be printed."""
    text = name if isinstance(name, str) else ""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text[: 10 * NAME_CHARS]).split())
    return plain[:NAME_CHARS] or fallback


class Clients:
    """The clients that this hub knows."""

    def __init__(self, file: AuthFile, settings: SignInSettings, clock: Callable[[], int]) -> None:
        self._file = file
        self._settings = settings
        self._clock = clock
        self.documents = Documents(frozenset(settings.private_document_hosts), clock)

    def registered(self, client_id: str) -> Client | None:
        """A client that registered itself."""
        found = self._file.where(AuthClient, "client_id", client_id)
        return Client(client_id, found[0].name, tuple(found[0].redirect_uris)) if found else None

    async def find(self, client_id: str) -> Client:
        """The client of that id; its description is fetched if it has one.

        Raises:
            BadClient: there is none.
        """
        if self._settings.client_documents and is_document_url(client_id):
            return await self._described(client_id)
        client = self.registered(client_id)
        if client is None:
            raise BadClient("invalid_client", "This client is not known here. Let it connect anew.")
        return client

    async def _described(self, url: str) -> Client:
        try:
            content = await self.documents.get(url)
        except NoDocument as error:
            raise BadClient("invalid_client", str(error)) from error
        if content.get("client_id") != url:
            raise BadClient("invalid_client_metadata", "The client's description is of another client.")
        if content.get("token_endpoint_auth_method", "none") != "none":
            raise BadClient("invalid_client_metadata", "The client wants to use a secret; there are none here.")
        host = urlsplit(url).hostname or url
        uris = checked_uris(content.get("redirect_uris"))
        return Client(url, checked_name(content.get("client_name"), host), uris, host)

    def at_token_endpoint(self, client_id: str) -> Client | None:
        """The client as far as its tokens need it: nothing is fetched, for they were made for what was allowed."""
        if is_document_url(client_id):
            return Client(client_id, client_id, ())
        return self.registered(client_id)

    async def register(self, description: dict[str, object]) -> AuthClient:
        """Keep the description of a new client.

        Raises:
            BadClient: it cannot be used, or there are too many.
        """
        uris = checked_uris(description.get("redirect_uris"))
        for name, default in (("grant_types", "authorization_code"), ("response_types", "code")):
            given = description.get(name, [default])
            if not isinstance(given, list) or default not in given:
                raise BadClient("invalid_client_metadata", f"{name} must have '{default}' among them.")
        now = self._clock()
        async with self._file.change(now) as change:
            if (spare := self._one_too_many()) is not None:
                change.delete(spare)
            return change.insert(
                AuthClient,
                client_id=f"client_{secrets.token_urlsafe(16)}",
                name=checked_name(description.get("client_name"), "A client without a name"),
                redirect_uris=list(uris),
            )

    def _one_too_many(self) -> AuthClient | None:
        """The registration that makes room for another, if that is needed."""
        every = self._file.all(AuthClient)
        if len(every) < self._settings.max_clients:
            return None
        unused = [client for client in every if client.last_used_time is None]
        if unused:
            return unused[0]
        idle = [client for client in every if not self._file.where(AuthSession, "client_id", client.client_id)]
        if idle:
            return min(idle, key=lambda client: client.last_used_time or 0)
        raise BadClient("invalid_client_metadata", "Too many clients are registered. Ask the owner of this server.")

    async def used(self, client_id: str) -> None:
        """Note that a user allowed a client something."""
        now = self._clock()
        async with self._file.change(now) as change:
            for client in self._file.where(AuthClient, "client_id", client_id):
                change.update(client, last_used_time=now)
