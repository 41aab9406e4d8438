"""The URLs by which browsers and clients know this hub."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from server.http.addresses import PATH, as_called

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def is_loopback_name(host: str | None) -> bool:
    """Whether a URL's host is the machine itself."""
    return host in _LOOPBACK


@dataclass(frozen=True, slots=True)
class Site:
    """`resource` is the URL of /mcp: what tokens are made for. `base` is what it begins with, and the issuer."""

    resource: str
    base: str

    @classmethod
    def at(cls, url: str) -> Site:
        """The site whose /mcp has that URL."""
        return cls(url, url.removesuffix("/").removesuffix(PATH))

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.base.startswith("https://")

    def as_called(self, request: Request) -> Site:
        """The same by the name under which it was called: on this machine there are several for one address."""
        return Site.at(as_called(self.resource, request.headers.get("host", "")))

    def is_own(self, resource: str) -> bool:
        """Whether a resource indicator means this hub's /mcp."""
        wanted, own = urlsplit(resource), urlsplit(self.resource)
        try:
            same_host = wanted.hostname == own.hostname or (
                is_loopback_name(wanted.hostname) and is_loopback_name(own.hostname)
            )
            same_port = _port(wanted.scheme, wanted.port) == _port(own.scheme, own.port)
        except ValueError:
            return False
        same_path = wanted.path.removesuffix("/") == own.path.removesuffix("/")
        plain = not wanted.query and not wanted.fragment and wanted.username is None
        return wanted.scheme == own.scheme and same_host and same_port and same_path and plain


def _port(scheme: str, port: int | None) -> int | None:
    return port if port is not None else {"https": 443, "http": 80}.get(scheme)
