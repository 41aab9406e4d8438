"""Clients that register, and clients that describe themselves at a URL."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.signin.clients import BadClient, check_redirect_uri
from server.signin.documents import BYTES, Documents, NoDocument, is_document_url, is_public
from tests.certificates import certificate
from tests.clients import Swarm
from tests.signing_in import REDIRECT, Browser, Door, Program, door


async def test_a_client_that_registers_gets_no_secret_whatever_it_asks_for(hall: Door) -> None:
    program = hall.program()
    answer = await program.register(
        token_endpoint_auth_method="client_secret_basic", client_name="  A\u202e\nname\x00 ", scope="admin"
    )
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    content = answer.json()
    assert content["token_endpoint_auth_method"] == "none"
    assert "client_secret" not in content
    assert content["client_name"] == "A name"
    assert content["redirect_uris"] == [REDIRECT]


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uris": []},
        {"redirect_uris": "http://127.0.0.1/"},
        {"redirect_uris": [1]},
        {"redirect_uris": ["http://evil.example.org/"]},
        {"redirect_uris": [REDIRECT] * 11},
        {"grant_types": ["client_credentials"]},
        {"grant_types": "authorization_code"},
        {"response_types": ["token"]},
    ],
)
async def test_a_description_that_cannot_be_used_is_refused(hall: Door, changes: dict[str, Any]) -> None:
    answer = await hall.program().register(**changes)
    assert answer.status_code == 400
    assert answer.json()["error"] in ("invalid_redirect_uri", "invalid_client_metadata")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 60_000])
async def test_what_is_no_description_is_refused(hall: Door, content: bytes) -> None:
    answer = await hall.browser().http.post("/register", content=content)
    assert answer.json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("https://app.example.org/callback?x=1", True),
        ("http://127.0.0.1/callback", True),
        ("http://[::1]:7777/callback", True),
        ("http://localhost:7777/", True),
        ("cursor://anysphere.cursor/oauth", True),
        ("com.example.app:/callback", True),
        ("http://app.example.org/callback", False),
        ("http://127.0.0.1.evil.example.org/", False),
        ("https://user@app.example.org/", False),
        ("https://app.example.org/#here", False),
        ("https://app.example.org/#", False),
        ("https:///callback", False),
        ("https://app.example.org/\nx", False),
        ("https://app.example.org/\\", False),
        ("https://\u0430pp.example.org/", False),
        ("javascript:alert(1)", False),
        ("JavaScript:alert(1)", False),
        ("data:text/html,x", False),
        ("/callback", False),
        ("", False),
    ],
)
def test_where_answers_may_go(uri: str, good: bool) -> None:
    with contextlib.nullcontext() if good else pytest.raises(BadClient):
        check_redirect_uri(uri)


async def test_registrations_are_limited_and_make_room_for_each_other(swarm: Swarm) -> None:
    async with door(swarm, max_clients=3) as hall:
        used = hall.program()
        ann = await hall.person("Ann")
        await used.connect(ann)
        for _ in range(4):
            await hall.program().register()
        assert len(swarm.service.auth_file().all(type(_first(hall)))) == 3
        assert hall.sign_in.clients.registered(used.client_id) is not None
        pushy = hall.program()
        answers = [(await pushy.register()).status_code for _ in range(31)]
        assert answers == [201] * 30 + [429]


def _first(hall: Door) -> Any:
    from storage.auth_tables import AuthClient

    return hall.swarm.service.auth_file().all(AuthClient)[0]


async def test_registration_can_be_switched_off(swarm: Swarm) -> None:
    async with door(swarm, register_clients=False) as hall:
        assert (await hall.program().register()).status_code == 404
        metadata = await hall.browser().http.get("/.well-known/oauth-authorization-server")
        assert "registration_endpoint" not in metadata.json()


# -- descriptions at a URL ---------------------------------------------------------------------------------------------


class Host:
    """A web server of somebody's. `answers` are by path; `asked` are the paths that were asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.port = 0

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def says(self, path: str, content: Any, head: str = "200 OK") -> str:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.answers[path] = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        return self.url(path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):  # who does not trust us, or has read enough, leaves
            request = await reader.readuntil(b"\r\n\r\n")
            path = request.split(b" ")[1].decode()
            self.asked.append(path)
            if path in self.answers:
                writer.write(self.answers[path])
                await writer.drain()
            else:
                await reader.read()  # says nothing until the other side gives up
            writer.close()


@pytest.fixture
async def host(hall: Door, tmp_path: Path) -> AsyncIterator[Host]:
    """A web server that the hub trusts and may ask."""
    pem, key = certificate(tmp_path, "localhost")
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(pem))
    server.load_cert_chain(pem, key)
    found = Host()
    listening = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=server)
    found.port = listening.sockets[0].getsockname()[1]
    documents = Documents(frozenset({"localhost"}), hall.clock)
    documents.trust = client
    hall.sign_in.clients.documents = documents
    yield found
    listening.close()
    await listening.wait_closed()


def described(host: Host, path: str = "/client.json", **changes: Any) -> str:
    content = {"client_id": host.url(path), "client_name": "Described", "redirect_uris": [REDIRECT]}
    return host.says(path, content | changes)


async def test_a_client_may_be_named_by_the_url_of_its_description(hall: Door, ann: Browser, host: Host) -> None:
    url = described(host)
    program = hall.program()
    program.client_id = url
    stranger = hall.browser()
    await stranger.open(program.url())
    assert host.asked == []  # nothing is fetched for who is not signed in
    page = await ann.open(program.url())
    assert "Described" in page.text
    assert "localhost" in page.text
    tokens = await program.connect(ann)
    assert await program.may(tokens["access_token"])
    assert (await program.refresh(tokens["refresh_token"])).status_code == 200
    assert host.asked == ["/client.json"]
    hall.clock.now += 3_600_001
    await ann.open(program.url())
    assert host.asked == ["/client.json"] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://other.example.org/client.json"},
        {"redirect_uris": ["http://evil.example.org/"]},
        {"redirect_uris": None},
        {"token_endpoint_auth_method": "client_secret_post"},
    ],
)
async def test_a_description_must_be_of_its_client(
    hall: Door, ann: Browser, host: Host, changes: dict[str, Any]
) -> None:
    program = hall.program()
    program.client_id = described(host, **changes)
    page = await ann.open(program.url())
    assert page.status == 400
    assert not page.forms


@pytest.mark.parametrize(
    ("content", "head", "why"),
    [
        (b"", "302 Found\r\nLocation: https://localhost/other", "302"),
        (b"x", "200 OK", "no JSON"),
        (b"[]", "200 OK", "no object"),
        (b" " * (BYTES + 1), "200 OK", "too long"),
        (b"{}", "404 Not Found", "404"),
    ],
)
async def test_a_description_is_short_json_right_there(
    hall: Door, host: Host, content: bytes, head: str, why: str
) -> None:
    url = host.says("/client.json", content, head)
    for _ in range(2):
        with pytest.raises(NoDocument, match=why):
            await hall.sign_in.clients.documents.get(url)
    assert host.asked == ["/client.json"]  # that it failed is remembered for a while


async def test_a_server_that_is_not_trusted_or_does_not_answer_is_left(
    hall: Door, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.signin.documents.SECONDS", 0.2)
    with pytest.raises(NoDocument, match="does not answer"):
        await hall.sign_in.clients.documents.get(host.url("/silent"))
    strangers = Documents(frozenset({"localhost"}), hall.clock)
    with pytest.raises(NoDocument, match="does not answer"):
        await strangers.get(described(host))


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "10.1.2.3", "169.254.169.254", "0.0.0.0"])
async def test_no_door_of_a_private_network_is_knocked_at(hall: Door, host: Host, name: str) -> None:
    documents = Documents(frozenset(), hall.clock)
    documents.trust = hall.sign_in.clients.documents.trust
    described(host)
    with pytest.raises(NoDocument, match="private network"):
        await documents.get(f"https://{name}:{host.port}/client.json")
    assert host.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False),
        ("x", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://app.example.org/client.json", True),
        ("http://app.example.org/client.json", False),
        ("https://app.example.org/", False),
        ("https://app.example.org", False),
        ("https://user@app.example.org/client.json", False),
        ("https://app.example.org/a/../client.json", False),
        ("https://app.example.org/client.json#x", False),
        ("https://app.example.org:99999/client.json", False),
        ("https://app.example.org/client json", False),
        ("file:///client.json", False),
        ("client_1", False),
    ],
)
def test_urls_of_descriptions(url: str, good: bool) -> None:
    assert is_document_url(url) is good


async def test_descriptions_can_be_switched_off(swarm: Swarm) -> None:
    async with door(swarm, client_documents=False) as hall:
        ann = await hall.person("Ann")
        program = Program(hall.browser().http, client_id="https://app.example.org/client.json")
        assert "not known here" in (await ann.open(program.url())).error
