"""Where HTTP is served: which addresses may be listened on, and by which names clients may call."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from storage.errors import StorageFault

if TYPE_CHECKING:
    from server.config import HttpSettings

PATH = "/mcp"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether a server on `host` is reached by every address of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def check_address(http: HttpSettings, *, no_auth: bool) -> None:
    """Check that what is served there is kept from those whom it does not concern.

    Raises:
        StorageFault: others could call without a token, or read what goes over the wire.
    """
    if bool(http.tls_certificate) != bool(http.tls_key):
        missing = "http.tls_key" if http.tls_certificate else "http.tls_certificate"
        raise StorageFault(f"TLS needs a certificate and its key: set {missing}, too.")
    if no_auth and (http.behind_proxy or not is_loopback(http.host)):
        others = "a proxy" if http.behind_proxy else http.host
        raise StorageFault(f"--no-auth serves this machine only, and {others} is reached by others. Leave one out.")
    if is_loopback(http.host) or http.tls_certificate or http.behind_proxy:
        return
    raise StorageFault(
        f"{http.host} is reached by others, and without TLS they can read the tokens. Set http.tls_certificate and "
        "http.tls_key (--tls-certificate, --tls-key), or say with http.behind_proxy = true (--behind-proxy) that a "
        "proxy speaks TLS and nobody else reaches this port."
    )


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=2048)


def listening_url(http: HttpSettings, port: int) -> str:
    """The URL of `/mcp` at the port that was opened."""
    scheme = "https" if http.tls_certificate else "http"
    return f"{scheme}://{_in_url(http.host)}:{port}{PATH}"


def as_called(url: str, host: str) -> str:
    """A URL of this server by the name (a Host header) under which it was called: this machine has several for one
    address, and clients compare URLs letter by letter.
    """
    own, called = urlsplit(url), urlsplit(f"//{host}")
    try:
        same = is_loopback(own.hostname or "") and is_loopback(called.hostname or "") and own.port == called.port
    except ValueError:
        return url
    return own._replace(netloc=host).geturl() if same else url


def allowed_hosts(http: HttpSettings) -> list[str]:
    """The Host headers by which this server may be called; `name:*` is any port."""
    names = ["127.0.0.1", "localhost", "[::1]"] if is_loopback(http.host) else [_in_url(http.host)]
    parts = urlsplit(http.public_url)
    public = [parts.netloc.lower()] if http.public_url else []
    if parts.port in (80, 443):  # clients leave out a scheme's own port
        public.append(public[0].rpartition(":")[0])
    return [*(form for name in names for form in (name, f"{name}:*")), *public, *map(str.lower, http.allowed_hosts)]


def allowed_origins(http: HttpSettings) -> list[str]:
    """The Origin headers of pages that may call; `scheme://name:*` is any port."""
    own = ["127.0.0.1", "localhost", "[::1]"] if is_loopback(http.host) else []
    public = urlsplit(http.public_url)
    pages = [f"{public.scheme}://{public.netloc}".lower()] if http.public_url else []
    local = [f"http://{name}{port}" for name in own for port in ("", ":*")]
    return [*local, *pages, *map(str.lower, http.allowed_origins)]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
