"""The pages of the sign-in, as HTML: what they show, what they escape, and their headers."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest
from starlette.responses import Response

from server.signin import pages
from server.signin.pages import icon, render, style
from tests.sign_in_pages import HOSTILE, SAMPLES, hostile

FIELDS = {"email", "password", "code", "name", "csrf", "next", "invitation", "token", "decision", "session"}
PATHS = {"/sign-in", "/sign-in/code", "/sign-up", "/reset", "/consent", "/account/sign-out", "/account/revoke"}
FLOW = {"sign_in", "code", "sign_up", "consent", "leaving", "message", "error"}

samples = pytest.mark.parametrize(("page", "values"), SAMPLES.values(), ids=SAMPLES)


class Seen(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: {tag} {attrs}"
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, *names: str) -> list[dict[str, str | None]]:
        """The attributes of the elements with one of these names."""
        return [attributes for tag, attributes in self.tags if tag in names]


def seen(page: str, values: dict[str, Any]) -> Seen:
    """The page as a browser parses it."""
    return Seen(bytes(render(page, **values).body).decode())


@samples
def test_a_page_asks_for_nothing_but_its_own(page: str, values: dict[str, Any]) -> None:
    found = seen(page, values)
    assert not found.all("script", "style", "iframe", "img", "object", "base")
    assert all(name not in ("style", "id_") and not name.startswith("on") for _, tag in found.tags for name in tag)
    assert {tag["name"] for tag in found.all("input")} <= FIELDS
    assert {tag["name"] for tag in found.all("button") if "name" in tag} <= FIELDS
    targets = [tag["action"] for tag in found.all("form")] + [
        tag["formaction"] for tag in found.all("button") if "formaction" in tag
    ]
    assert set(targets) <= PATHS
    assert all(tag["method"] == "post" for tag in found.all("form"))
    assert bytes(render(page, **values).body).count(b'name="csrf" value="csrf-1"') == len(found.all("form"))


@samples
def test_every_input_has_a_label_and_says_what_fills_it(page: str, values: dict[str, Any]) -> None:
    found = seen(page, values)
    ids = [tag["id"] for _, tag in found.tags if "id" in tag]
    assert len(ids) == len(set(ids))
    for tag in found.all("input"):
        if tag["type"] == "hidden":
            continue
        assert {"for": tag["id"]} in found.all("label")
        assert tag["autocomplete"]
        if "readonly" in tag:
            continue
        assert ("aria-invalid" in tag) == bool(values["error"])
        assert ("problem" in (tag.get("aria-describedby") or "")) == bool(values["error"])
        assert set((tag.get("aria-describedby") or "").split()) <= set(ids)
    if values.get("error"):
        assert {"class": "problem", "id": "problem", "role": "alert"} in found.all("p")
        assert "Error: " in found.text.partition("one-mcp")[0]


@samples
def test_what_others_wrote_is_text(page: str, values: dict[str, Any]) -> None:
    attacked = seen(page, hostile(values))
    assert not attacked.all("script", "img")
    allowed = {tag for tag, _ in seen(page, values).tags} | {"p", "input", "strong", "a", "ul", "li", "h3"}
    assert {tag for tag, _ in attacked.tags} <= allowed
    assert HOSTILE.partition("{")[0].strip() not in bytes(render(page, **hostile(values)).body).decode()
    assert "49" not in attacked.text


@samples
def test_the_headers_allow_nothing_but_the_style_sheet(page: str, values: dict[str, Any]) -> None:
    headers = render(page, status=403, **values).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    )
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-type"] == "text/html; charset=utf-8"
    # A client's window that opened the flow must hear from it at the end: see the decision record.
    assert headers.get("cross-origin-opener-policy") == (None if page in FLOW else "same-origin")
    assert render(page, status=403, **values).status_code == 403


@samples
def test_a_page_needs_each_of_its_values(page: str, values: dict[str, Any]) -> None:
    unused = set() if values.get("link", True) else {"link_text"}
    for missing in set(values) - unused:
        with pytest.raises(jinja2.UndefinedError, match=missing):
            render(page, **{name: value for name, value in values.items() if name != missing})


def test_every_page_has_a_sample() -> None:
    templates = {name.partition(".")[0] for name in pages._environment().list_templates()}
    assert {page for page, _ in SAMPLES.values()} == templates - {"base", "parts"}


@pytest.mark.parametrize(("name", "asset"), [("style.css", style), ("icon.svg", icon)])
def test_what_a_page_loads_is_asked_for_by_its_content_and_kept(name: str, asset: Callable[[], Response]) -> None:
    addresses = [link["href"] or "" for link in seen(*SAMPLES["reset"]).all("link")]
    assert [found for found in addresses if re.fullmatch(rf"/{re.escape(name)}\?v=[0-9a-f]{{16}}", found)]
    answer = asset()
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"url(" not in answer.body
    assert b"@import" not in answer.body


def test_consent_warns_of_a_name_that_nobody_checked() -> None:
    assert "Nobody checked" not in seen(*SAMPLES["consent"]).text
    claimed = seen(*SAMPLES["consent, name only claimed"]).text
    assert "Nobody checked this name." in claimed
    assert "app.example:8443" in claimed
    here = seen(*SAMPLES["consent, this computer"]).text
    assert "Any program on this computer can claim this name." in here
    assert "localhost:33418 (a program on this computer)" in here


def test_a_long_name_does_not_push_the_warning_away() -> None:
    page, values = SAMPLES["consent, name only claimed"]
    assert seen(page, values | {"client_name": "Bank " * 500}).text.count("Bank") < 40


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]", "[::1]:8000"])
def test_loopback_hosts_are_known(host: str) -> None:
    assert "(a program on this computer)" in seen("consent", SAMPLES["consent"][1] | {"redirect_host": host}).text


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example:80", "com.example.app", ""])
def test_other_hosts_are_not(host: str) -> None:
    assert "this computer" not in seen("consent", SAMPLES["consent"][1] | {"redirect_host": host}).text


def test_the_account_shows_times_for_people_and_programs() -> None:
    found = seen(*SAMPLES["account"])
    assert {"datetime": "2026-11-27T09:00:00Z"} in found.all("time")
    assert "27 Nov 2026, 09:00\u00a0UTC" in found.text
    assert [tag["value"] for tag in found.all("button") if tag.get("name") == "session"] == ["s1", "s2", "s4"]
    assert "None yet." in seen(*SAMPLES["account, no client"]).text


def test_leaving_goes_to_the_client_without_a_redirect() -> None:
    found = seen(*SAMPLES["leaving"])
    address = "https://claude.ai/callback?code=c1&state=a%20b"
    assert {"http-equiv": "refresh", "content": f"0;url={address}"} in found.all("meta")
    assert found.all("a") == [{"href": address}]
