"""Where HTTP may be served: loopback, TLS, or behind a proxy that is said to be there."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.config import load_settings
from server.http import is_loopback, serve_http
from server.http.addresses import allowed_hosts, allowed_origins, check_address, listening_url
from server.http.gate import Names
from server.http.tls import Certificate
from server.paste import instructions
from storage.errors import StorageFault
from tests.certificates import certificate
from tests.clients import Swarm
from tests.remote import bearer, client, raw_post, served


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_addresses(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("http", "no_auth", "refusal"),
    [
        ({}, True, None),
        ({"host": "0.0.0.0"}, False, r"Set http\.tls_certificate and http\.tls_key .* http\.behind_proxy = true"),
        ({"host": "0.0.0.0"}, True, "--no-auth serves this machine only, and 0.0.0.0 is reached by others"),
        ({"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k"}, False, None),
        ({"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k"}, True, "--no-auth serves this machine only"),
        ({"host": "0.0.0.0", "behind_proxy": True}, False, None),
        ({"behind_proxy": True}, True, "a proxy is reached by others"),
        ({"tls_certificate": "c"}, False, r"set http\.tls_key, too"),
        ({"tls_key": "k"}, False, r"set http\.tls_certificate, too"),
    ],
)
def test_beyond_this_machine_nothing_is_served_in_the_open(
    tmp_path: Path, http: dict[str, object], no_auth: bool, refusal: str | None
) -> None:
    settings = load_settings(tmp_path, environment=False, overrides={"http": http})
    if refusal is None:
        check_address(settings.http, no_auth=no_auth)
        return
    with pytest.raises(StorageFault, match=refusal):
        check_address(settings.http, no_auth=no_auth)


async def test_the_rule_holds_before_the_port_is_opened(swarm: Swarm) -> None:
    settings = load_settings(swarm.directory, environment=False, overrides={"http": {"host": "0.0.0.0", "port": 0}})
    with pytest.raises(StorageFault, match="without TLS they can read the tokens"):
        await serve_http(swarm.service, settings, no_auth=False, started=lambda url, token: None)


async def test_tls_is_spoken(swarm: Swarm) -> None:
    pem, key = certificate(swarm.directory, "first")
    async with served(swarm, tls_certificate=pem.name, tls_key=str(key)) as (url, token):
        assert url.startswith("https://127.0.0.1:")
        assert token is not None
        trust = ssl.create_default_context(cafile=str(pem))
        async with httpx2.AsyncClient(verify=trust, headers=bearer(token)) as http:
            assert (await raw_post(http, url, "tools/list")).status_code == 200


def test_a_certificate_is_renewed_whole_or_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pem, key = certificate(tmp_path, "server")
    used = Certificate("server.pem", "server.key", tmp_path)
    other, other_key = certificate(tmp_path / "new", "server")

    def put(source: Path, place: Path, age: int) -> None:
        place.write_bytes(source.read_bytes())
        os.utime(place, ns=(age, age))

    put(other, pem, 1)  # the key is still the old one
    used.renew()
    assert "is not the one of the certificate" in caplog.text
    put(other_key, key, 2)
    caplog.set_level("INFO")
    used.renew()
    assert "the renewed certificate is in use" in caplog.text


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda pem, key: key.unlink(), r"http\.tls_key: .*cannot be read: No such file"),
        (lambda pem, key: pem.write_text("hello"), "are no certificate and private key in PEM form"),
        (lambda pem, key: key.chmod(0o644), "Everybody on this machine can use the key .* chmod o= "),
        (lambda pem, key: certificate(pem.parent, "other")[0].replace(pem), "is not the one of the certificate"),
        (lambda pem, key: certificate(pem.parent, "other", password=b"x")[1].replace(key), "is encrypted"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said(tmp_path: Path, break_it: object, reason: str) -> None:
    pem, key = certificate(tmp_path, "server")
    break_it(pem, key)  # type: ignore[operator]
    with pytest.raises(StorageFault, match=reason) as failure:
        Certificate(str(pem), str(key), tmp_path)
    assert "\n" not in str(failure.value)


async def test_a_caller_has_the_address_that_a_trusted_proxy_says(swarm: Swarm) -> None:
    async def refusals(**options: Any) -> list[int]:
        async with (
            served(swarm, wrong_tokens_per_minute=2, **options) as (url, _),
            httpx2.AsyncClient(headers=bearer("one_wrong")) as http,
        ):
            asked = [
                await raw_post(http, url, "tools/list", headers={"X-Forwarded-For": f"203.0.113.{number}"})
                for number in range(4)
            ]
            return [answer.status_code for answer in asked]

    assert await refusals(behind_proxy=True) == [401] * 4
    assert await refusals(behind_proxy=True, trusted_proxies=["192.0.2.0/24"]) == [401, 401, 429, 429]
    assert await refusals() == [401, 401, 429, 429]


async def test_the_public_url_is_told_and_served(swarm: Swarm, era: str) -> None:
    public = "https://swarm.example.org/mcp"
    async with served(swarm, behind_proxy=True, public_url=public) as (url, token):
        assert token is not None
        headers = {**bearer(token), "Host": "swarm.example.org", "Origin": "https://swarm.example.org"}
        async with client(url, era, headers) as remote:
            assert (await remote("find", table="conversations"))["conversations"] == []
    assert public in instructions(swarm.directory, public, token=None, open_to_all=False)


def test_the_names_by_which_a_server_is_called(tmp_path: Path) -> None:
    http = {"public_url": "https://Swarm.example.org:443/mcp", "host": "10.0.0.5", "allowed_origins": ["https://App.x"]}
    settings = load_settings(tmp_path, environment=False, overrides={"http": http}).http
    hosts, origins = Names(allowed_hosts(settings)), Names(allowed_origins(settings))
    for host in (b"swarm.example.org", b"SWARM.example.org:443", b"10.0.0.5", b"10.0.0.5:8000"):
        assert host in hosts
    for host in (b"", b"swarm.example.org:80", b"evil.example.org", b"10.0.0.5:x", b"10.0.0.5:8000:1", b"localhost"):
        assert host not in hosts
    assert b"https://app.x" in origins
    assert b"http://localhost" not in origins


def test_the_url_names_the_scheme_and_brackets_long_addresses(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environment=False, overrides={"http": {"host": "::1", "tls_certificate": "c"}})
    assert listening_url(settings.http, 8000) == "https://[::1]:8000/mcp"
