"""Client ID metadata documents: descriptions that are fetched from where a client says that they are.

Whoever signs in may name any URL, so this is where a hub could be made to knock at doors behind its firewall. It asks
by https only, never an address of a private network, connects to the address that it has checked, follows no redirect,
and takes little time and few bytes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

SECONDS = 5.0
BYTES = 65_536
KEPT_MS = 3_600_000
FAILED_KEPT_MS = 60_000
KEPT_MOST = 1_000
AT_ONCE = 4


class NoDocument(Exception):
    """A description cannot be had. The text says why, and nothing of what was there."""


def is_document_url(client_id: str) -> bool:
    """Whether a client's id is the URL of its description."""
    try:
        parts = urlsplit(client_id)
        port = parts.port
    except ValueError:
        return False
    return (
        len(client_id) <= 2_000
        and bool(re.fullmatch(r"[!-~]+", client_id))
        and parts.scheme == "https"
        and bool(parts.hostname)
        and parts.path not in ("", "/")
        and not {".", ".."} & set(parts.path.split("/"))
        and parts.username is None
        and port != 0
        and "#" not in client_id
    )


class Documents:
    """Fetches descriptions and keeps them for an hour. `private_hosts` may have private addresses."""

    def __init__(self, private_hosts: frozenset[str], clock: Callable[[], int]) -> None:
        self._private_hosts = private_hosts
        self._clock = clock
        self._kept: dict[str, tuple[int, dict[str, Any] | NoDocument]] = {}
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self.trust: ssl.SSLContext | bool = True
        """Whose certificates are believed; the system's, unless a test has its own."""

    async def get(self, url: str) -> dict[str, Any]:
        """The object at a URL for which `is_document_url` holds.

        Raises:
            NoDocument: it cannot be had.
        """
        until, found = self._kept.pop(url, (0, NoDocument()))
        if until <= self._clock():
            try:
                async with self._slots:
                    with anyio.fail_after(SECONDS):
                        found = await self._fetch(url)
                until = self._clock() + KEPT_MS
            except (NoDocument, TimeoutError, httpx2.HTTPError, OSError) as error:
                why = str(error) if isinstance(error, NoDocument) else "it does not answer as it should"
                found = NoDocument(f"The description of this client cannot be had: {why}.")
                until = self._clock() + FAILED_KEPT_MS
        self._kept[url] = (until, found)
        while len(self._kept) > KEPT_MOST:
            del self._kept[next(iter(self._kept))]
        if isinstance(found, NoDocument):
            raise NoDocument(str(found))
        return found

    async def _fetch(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        address = await self._address(host, port)
        literal = f"[{address}]" if ":" in address else address
        # To the address that was checked: the name may lead elsewhere a moment later.
        place = parts._replace(netloc=f"{literal}:{port}").geturl()
        headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            httpx2.AsyncClient(verify=self.trust, follow_redirects=False, trust_env=False, timeout=SECONDS) as client,
            client.stream("GET", place, headers=headers, extensions={"sni_hostname": host}) as answer,
        ):
            if answer.status_code != 200:
                raise NoDocument(f"its server says {answer.status_code}")
            content = b""
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > BYTES:
                    raise NoDocument("it is too long")
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise NoDocument("it is no JSON") from None
        if not isinstance(document, dict):
            raise NoDocument("it is no object")
        return document

    async def _address(self, host: str, port: int) -> str:
        """An address of a host that may be asked.

        Raises:
            NoDocument: it has none, or one that may not.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise NoDocument("there is no such host") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise NoDocument("there is no such host")
        if host not in self._private_hosts and not all(is_public(address) for address in addresses):
            raise NoDocument("its host is on a private network")
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether anybody on the internet reaches an address: not this machine, not a private network, not a group."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or _translated(found)
        if inner is not None:
            found = inner
    return found.is_global and not found.is_multicast and not found.is_reserved


def _translated(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address behind one of NAT64."""
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
