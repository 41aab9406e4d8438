"""The built-in sign-in as a person with a browser meets it: invited, asked for consent, signed in, signed out."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from playwright.async_api import Page

from server.service import Service
from tests.clients import Swarm
from tests.remote import bearer, served
from tests.remote import client as connect
from tests.sites import client, site

EMAIL, PASSWORD = "ada@example.com", "a few words will do"
SIGN_IN = {"enabled": True, "password_memory_kib": 64, "password_rounds": 1}
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


async def invited(service: Service) -> str:
    """The token of an invitation."""
    sign_in = service.sign_in
    assert sign_in is not None
    now = sign_in.clock()
    return await sign_in.accounts.invite(now, EMAIL, "Ada", ["read", "write"], now + 60_000)


async def registered(http: httpx2.AsyncClient, callback: str) -> str:
    """The id of a client that registered itself."""
    answer = await http.post("/register", json={"client_name": "Probe", "redirect_uris": [callback]})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["client_id"])


def asking(callback: str, client_id: str, **more: str) -> str:
    """The path to which a client sends its user."""
    asked = {
        "client_id": client_id,
        "redirect_uri": callback,
        "response_type": "code",
        "state": "s 1",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    return f"/authorize?{urlencode(asked | more)}"


async def answered(page: Page, callback: str) -> dict[str, str]:
    """What the client gets when the browser is back at it."""
    await page.wait_for_url(f"{callback}?**")
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def tokens(http: httpx2.AsyncClient, callback: str, client_id: str, code: str) -> dict[str, Any]:
    """What the client gets for a code."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": client_id,
        "redirect_uri": callback,
        "code_verifier": VERIFIER,
    }
    answer = await http.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_from_the_invitation_to_a_client_that_is_sent_away(page: Page, swarm: Swarm) -> None:
    async with served(swarm, sign_in=SIGN_IN) as (url, _), site(client()) as home:
        base, callback = url.removesuffix("/mcp"), f"{home}/callback"
        async with httpx2.AsyncClient(base_url=base) as http:
            client_id = await registered(http, callback)
            await page.goto(f"{base}/sign-up?invitation={await invited(swarm.service)}")
            await page.get_by_label("Password").fill(PASSWORD)
            await page.keyboard.press("Enter")
            await page.get_by_role("heading", name="Your account").wait_for()

            await page.goto(base + asking(callback, client_id))
            await page.get_by_text("Nobody checked this name.").wait_for()
            await page.get_by_role("button", name="Allow").click()
            answer = await answered(page, callback)
            assert (answer["state"], answer["iss"]) == ("s 1", base)
            token = (await tokens(http, callback, client_id, answer["code"]))["access_token"]
            async with connect(url, "auto", bearer(token)) as tools:
                assert "conversations" in await tools("find", table="conversations")

            await page.goto(f"{base}/account")
            await page.get_by_role("button", name="Disconnect Probe").click()
            await page.get_by_text("None yet.").wait_for()
            refused = await http.post("/mcp", headers={"Authorization": f"Bearer {token}"}, json={})
            assert refused.status_code == 401
            await page.get_by_role("button", name="Sign out", exact=True).click()
            await page.get_by_role("heading", name="Signed out").wait_for()
            await page.goto(f"{base}/account")
            await page.get_by_role("heading", name="Sign in").wait_for()


async def test_who_signs_in_for_a_client_gets_back_to_it_whatever_the_answer(page: Page, swarm: Swarm) -> None:
    async with served(swarm, sign_in=SIGN_IN) as (url, _), site(client()) as home:
        base, callback = url.removesuffix("/mcp"), f"{home}/callback"
        sign_in = swarm.service.sign_in
        assert sign_in is not None
        await sign_in.sign_up(await invited(swarm.service), EMAIL, "Ada", PASSWORD, "test")
        async with httpx2.AsyncClient(base_url=base) as http:
            client_id = await registered(http, callback)
        for more, expected in (
            ({}, {"error": "access_denied"}),
            ({"resource": "https://elsewhere.example/mcp"}, {"error": "invalid_target"}),
        ):
            await page.context.clear_cookies()
            await page.goto(base + asking(callback, client_id, **more))
            await page.get_by_label("Email").fill(EMAIL)
            await page.get_by_label("Password").fill(PASSWORD)
            await page.keyboard.press("Enter")
            if not more:
                await page.get_by_role("button", name="Deny").click()
            answer = await answered(page, callback)
            assert answer.items() >= expected.items()
            assert "code" not in answer


async def test_a_lost_password_is_replaced_by_the_owners_link(page: Page, swarm: Swarm) -> None:
    async with served(swarm, sign_in=SIGN_IN) as (url, _):
        base, sign_in = url.removesuffix("/mcp"), swarm.service.sign_in
        assert sign_in is not None
        account = await sign_in.sign_up(await invited(swarm.service), EMAIL, "Ada", PASSWORD, "test")
        now = sign_in.clock()
        token = await sign_in.accounts.reset_link(now, account.id, now + 60_000)

        await page.goto(f"{base}/reset?token={token}")
        assert await page.get_by_label("Email").input_value() == EMAIL
        await page.locator("[autofocus]:focus").wait_for()
        await page.keyboard.type("short")
        await page.keyboard.press("Enter")
        field = page.get_by_label("New password")
        assert await field.evaluate("input => input.validity.tooShort"), "the browser itself says so"
        await field.fill("other words this time")
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Sign in").click()

        for password, found in (
            (PASSWORD, page.get_by_role("alert")),
            ("other words this time", page.get_by_text(EMAIL)),
        ):
            await page.get_by_label("Email").fill(EMAIL)
            await page.get_by_label("Password").fill(password)
            await page.keyboard.press("Enter")
            await found.wait_for()
        assert page.url == f"{base}/account"
