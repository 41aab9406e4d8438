"""The built-in sign-in from outside: a person in a browser, and the SDK's client that they let act for them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from server.config import load_settings
from server.http import build_app
from server.signin import SignIn, opened, routes
from storage.auth_tables import AuthAccount
from tests.clients import Swarm, Tools

REDIRECT = "http://127.0.0.1:7777/callback"
PASSWORD = "a horse that counts to nine"
LIGHT = {"password_memory_kib": 64, "password_rounds": 1}
"""Hashes that take no time: what is tested is not argon2."""


class Outbox:
    """A sender that keeps what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self._more = asyncio.Event()

    async def send(self, address: str, subject: str, text: str) -> None:
        self.sent.append((address, text))
        self._more.set()

    async def code(self, address: str) -> str:
        """The newest code that was sent there."""
        async with asyncio.timeout(10):
            while not (texts := [text for to, text in self.sent if to == address]):
                self._more.clear()
                await self._more.wait()
        found = re.match(r"\d+", texts[-1])
        assert found is not None
        return found[0]


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@dataclass
class Door:
    """A swarm with the built-in sign-in, without a port. `http` reaches the application."""

    swarm: Swarm
    sign_in: SignIn
    outbox: Outbox
    clock: Clock
    app: Any
    _count: Iterator[int] = field(default_factory=itertools.count)

    def browser(self, origin: str | None = None) -> Browser:
        """A browser of somebody at that address, or at one where nobody was before."""
        origin = origin or str(ipaddress.IPv4Address("10.0.0.1") + next(self._count))
        transport = httpx2.ASGITransport(app=self.app, client=(origin, 50_000))
        return Browser(httpx2.AsyncClient(transport=transport, base_url=self.sign_in.site.base))

    def program(self) -> Program:
        """A client of somebody at a new address."""
        return Program(self.browser().http)

    async def invite(self, email: str, *, scopes: tuple[str, ...] = ("read", "write")) -> str:
        """The token of an invitation."""
        until = self.clock() + 86_400_000
        return await self.sign_in.accounts.invite(self.clock(), email, None, list(scopes), until)

    async def person(self, name: str, *, scopes: tuple[str, ...] = ("read", "write")) -> Browser:
        """Somebody new who signed up and is signed in."""
        browser = self.browser()
        email = f"{name.lower()}.{next(self._count)}@example.org"
        await browser.sign_up(await self.invite(email, scopes=scopes), email, name)
        return browser

    def account(self, person: Browser) -> AuthAccount:
        """Their account."""
        found = self.sign_in.accounts.by_email(person.email)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def door(swarm: Swarm, url: str = "http://127.0.0.1:8000/mcp", **sign_in: Any) -> AsyncIterator[Door]:
    """The application with the built-in sign-in in this process, with a clock and a sender of the test's."""
    http = {"port": 0, "public_url": "" if "//127.0.0.1" in url else url}
    overrides = {"http": http, "sign_in": {"enabled": True, **LIGHT, **sign_in}}
    settings = load_settings(swarm.directory, environment=False, overrides=overrides)
    outbox, clock = Outbox(), Clock()
    async with opened(swarm.service, settings.sign_in, url, clock=clock, sender=outbox) as found:
        verifiers = swarm.service.verifiers
        app = build_app(swarm.service, settings, verifiers, asyncio.Event(), url=url, routes=routes(found))
        async with app.router.lifespan_context(app):
            yield Door(swarm, found, outbox, clock, app)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((found["action"], {}))
        elif tag in ("input", "button") and self.forms and found.get("name"):
            if tag == "input" or "session" in found["name"]:
                self.forms[-1][1][found["name"]] = found.get("value", "")
        elif tag == "a":
            self.links.append(found["href"])


@dataclass
class Page:
    """What a browser shows."""

    status: int
    text: str
    url: str
    headers: Any
    forms: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, answer: httpx2.Response) -> Self:
        parsed = _Forms()
        parsed.feed(answer.text)
        return cls(answer.status_code, answer.text, str(answer.url), answer.headers, parsed.forms, parsed.links)

    @property
    def error(self) -> str:
        """What the page says is wrong."""
        found = re.search(r'role="alert">(?:<strong>Error:</strong> )?([^<]*)', self.text)
        return found[1].replace("&#39;", "'") if found else ""


class Browser:
    """A person who fills in forms."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.email = ""
        self.page = Page(0, "", "", {})

    async def open(self, url: str) -> Page:
        """Go somewhere."""
        return await self._show(await self.http.get(url, follow_redirects=False))

    async def send(self, action: str | None = None, /, *, form: int = 0, **fields: str) -> Page:
        """Fill in a form of the page and send it."""
        own, values = self.page.forms[form]
        return await self._show(await self.http.post(action or own, data=values | fields, follow_redirects=False))

    async def _show(self, answer: httpx2.Response) -> Page:
        for _ in range(5):
            if not answer.is_redirect:
                break
            place = answer.headers["location"]
            if "iss=" in place:  # to a client
                self.page = Page(answer.status_code, "", place, answer.headers, links=[place])
                return self.page
            answer = await self.http.get(place, follow_redirects=False)
        self.page = Page.of(answer)
        return self.page

    async def sign_in(self, email: str = "", password: str = PASSWORD) -> Page:
        """Sign in on the page for that, or on the one that is shown."""
        if not self.page.url.split("?")[0].endswith("/sign-in"):
            await self.open("/sign-in")
        return await self.send(email=email or self.email, password=password)

    async def sign_up(self, invitation: str, email: str, name: str = "Ann") -> Page:
        """Accept an invitation."""
        self.email = email
        await self.open(f"/sign-up?invitation={invitation}")
        page = await self.send(email=email, name=name, password=PASSWORD)
        assert page.url.endswith("/account"), page.error
        return page

    async def allow(self, url: str, decision: str = "allow") -> dict[str, str]:
        """Answer a client's question; what the client gets."""
        page = await self.open(url)
        assert page.forms, page.text or page.url
        page = await self.send(decision=decision)
        return answer_in(page)


def answer_in(page: Page) -> dict[str, str]:
    """What the client gets from the page that leads back to it."""
    place = next(link for link in page.links if "iss=" in link)
    return dict(parse_qsl(urlsplit(place).query))


@dataclass
class Program:
    """A client that does each step itself, right or wrong."""

    http: httpx2.AsyncClient
    client_id: str = ""
    verifier: str = "v" * 43

    async def register(self, **changes: Any) -> httpx2.Response:
        """Introduce itself."""
        answer = await self.http.post(
            "/register", json={"client_name": "Probe", "redirect_uris": [REDIRECT], **changes}
        )
        if answer.status_code == 201:
            self.client_id = answer.json()["client_id"]
        return answer

    def url(self, **changes: str | None) -> str:
        """Where it sends its user; None leaves a parameter out."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "state": "s1",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        return f"/authorize?{urlencode({k: v for k, v in (asked | changes).items() if v is not None})}"

    async def token(self, **changes: str) -> httpx2.Response:
        """Ask for tokens."""
        form = {"client_id": self.client_id, "redirect_uri": REDIRECT, "code_verifier": self.verifier}
        return await self.http.post("/token", data={"grant_type": "authorization_code", **form, **changes})

    async def refresh(self, token: str, **changes: str) -> httpx2.Response:
        """Ask for the next tokens."""
        form = {"grant_type": "refresh_token", "client_id": self.client_id, "refresh_token": token}
        return await self.http.post("/token", data=form | changes)

    async def connect(self, person: Browser, **changes: str) -> dict[str, Any]:
        """The first tokens, which a person allows."""
        if not self.client_id:
            await self.register()
        answer = await person.allow(self.url(**changes))
        tokens = await self.token(code=answer["code"])
        assert tokens.status_code == 200, tokens.text
        found: dict[str, Any] = tokens.json()
        return found

    async def may(self, access_token: str) -> bool:
        """Whether /mcp takes a token."""
        answer = await self.http.post("/mcp", headers={"Authorization": f"Bearer {access_token}"}, json={})
        assert answer.status_code in (400, 401, 406), answer.status_code
        return answer.status_code != 401


@dataclass
class Stored:
    """Where the SDK's client keeps what it got."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def oauth(url: str, person: Browser, stored: Stored, **options: Any) -> OAuthClientProvider:
    """The SDK's OAuth client. `person` is asked in their browser."""
    answers: list[dict[str, str]] = []

    async def ask(where: str) -> None:
        answers.append(await person.allow(where))

    async def answered() -> AuthorizationCodeResult:
        answer = answers.pop()
        return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))

    metadata = OAuthClientMetadata(client_name="Probe", redirect_uris=[AnyUrl(REDIRECT)])
    return OAuthClientProvider(url, metadata, stored, ask, answered, **options)


@contextlib.asynccontextmanager
async def connected(url: str, provider: OAuthClientProvider, mode: str = "auto") -> AsyncIterator[Tools]:
    """The tools of the SDK's client that signs in by OAuth."""
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield Tools(client)
