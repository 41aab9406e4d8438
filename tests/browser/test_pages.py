"""The pages of the sign-in in a real browser: for everybody, at every size, and against those who mean harm."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from server.signin.pages import render
from tests.sign_in_pages import SAMPLES
from tests.sites import Samples, client, has_ipv6, site

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
FRAME = "at => document.body.append(Object.assign(document.createElement('iframe'), {src: at}))"
LEAVING: dict[str, Any] = {"client_name": "Claude", "redirect_host": "elsewhere"}


@pytest.fixture
async def samples() -> Samples:
    """The site of the samples."""
    return Samples()


@pytest.fixture
async def origin(samples: Samples) -> AsyncIterator[str]:
    """Where it is served."""
    async with site(samples.app) as served:
        yield served


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible(page: Page, origin: str, scheme: Literal["light", "dark"]) -> None:
    await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for name in SAMPLES:
        await page.goto(f"{origin}/show/{name}")
        results = await Axe().run(page, options=RULES)
        assert not results.violations_count, f"{name}, {scheme}: {results.generate_report()}"
        unsure = [check["id"] for check in results.response["incomplete"]]
        assert not unsure, f"{name}, {scheme}: {unsure}"


async def test_nothing_is_cut_off_on_a_narrow_page_or_with_large_letters(page: Page, origin: str) -> None:
    for width, letters in ((320, "100%"), (320, "200%")):
        await page.set_viewport_size({"width": width, "height": 640})
        for path in ("show", "attack"):
            for name in SAMPLES:
                await page.goto(f"{origin}/{path}/{name}")
                await page.evaluate("size => document.documentElement.style.fontSize = size", letters)
                assert not await page.evaluate(WIDE), f"{path}, {name}: wider than {width} px at {letters}"


async def test_what_others_wrote_does_nothing(page: Page, origin: str) -> None:
    for name in SAMPLES:
        await page.goto(f"{origin}/attack/{name}")
        assert await page.title() != "taken", name
        assert not await page.locator("script, img").count(), name


async def _opened(page: Page, url: str) -> None:
    """The page, ready for keys: the browser moves the focus to the first field a moment after the page has loaded."""
    await page.goto(url)
    if await page.locator("[autofocus]").count():
        await page.locator("[autofocus]:focus").wait_for()


async def _tabbed(page: Page, stops: int) -> list[str]:
    """What has the focus at first and after each Tab; each must be seen to have it."""
    names = []
    for stop in range(stops + 1):
        if stop:
            await page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if not await focused.count():
            names.append("")
            continue
        assert await focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        names.append(await focused.evaluate("e => e.name || e.textContent.trim()"))
    return names


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("sign in", ["email", "password", "Sign in", "Email me a code instead", "Create an account"]),
        ("sign in, wrong", ["password", "Sign in", "Email me a code instead", "Create an account"]),
        ("code", ["code", "Sign in", "Send a new code", "Sign in another way"]),
        ("sign up", ["name", "email", "password", "Create account", "Sign in"]),
        ("sign up, no invitation", ["name", "email", "password", "Create account", "Sign in"]),
        ("reset, wrong", ["password", "Save password"]),
        ("consent", ["", "decision", "decision", "your account"]),  # nothing is chosen by a key that was on its way
        ("account, no client", ["", "Sign out"]),
    ],
)
async def test_the_keyboard_reaches_all_in_order(page: Page, origin: str, name: str, order: list[str]) -> None:
    await _opened(page, f"{origin}/show/{name}")
    assert await _tabbed(page, len(order) - 1) == order


async def test_signing_in_by_keyboard(page: Page, origin: str, samples: Samples) -> None:
    await _opened(page, f"{origin}/show/sign in")
    for text, key in (("ada@example.com", "Tab"), ("four words will do", "Enter")):
        await page.keyboard.type(text)
        await page.keyboard.press(key)
    await page.get_by_role("heading", name="Password saved").wait_for()
    sent = {"csrf": "csrf-1", "next": "/consent?request=r1&x=<y>", "email": "ada@example.com"}
    assert samples.posted.pop() == ("/sign-in", sent | {"password": "four words will do"})

    await page.goto(f"{origin}/show/sign in")
    await page.get_by_label("Email").fill("ada@example.com")
    await page.get_by_role("button", name="Email me a code").click()
    await page.get_by_role("heading", name="Password saved").wait_for()
    assert samples.posted.pop() == ("/sign-in/code", sent | {"password": ""})


async def test_an_error_is_announced_with_the_field(page: Page, origin: str) -> None:
    await page.goto(f"{origin}/show/sign in, wrong")
    assert await page.get_by_role("alert").inner_text() == "Error: The email or the password is wrong."
    described = await page.get_by_label("Password").evaluate("e => e.ariaDescribedByElements[0].textContent")
    assert "The email or the password is wrong." in described
    assert (await page.title()).startswith("Error: ")


async def test_a_session_is_ended_by_its_own_button(page: Page, origin: str, samples: Samples) -> None:
    await page.goto(f"{origin}/show/account")
    await page.get_by_role("button", name="Disconnect Visual Studio Code").click()
    await page.get_by_role("heading", name="Password saved").wait_for()
    assert samples.posted == [("/account/revoke", {"csrf": "csrf-1", "session": "s2"})]
    await page.goto(f"{origin}/show/account")
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.get_by_role("heading", name="Password saved").wait_for()
    assert samples.posted[1] == ("/account/sign-out", {"csrf": "csrf-1"})


async def test_the_second_click_of_a_double_click_decides_nothing(page: Page, origin: str) -> None:
    await page.goto(f"{origin}/show/consent")
    allow = page.get_by_role("button", name="Allow")
    taken: dict[str, Any] = await allow.evaluate(
        """button => {
            const [guard] = button.getAnimations(), clicks = () => getComputedStyle(button).pointerEvents;
            guard.pause(); guard.currentTime = 0; const first = clicks();
            guard.currentTime = 650; const before = clicks(); guard.finish();
            return {first, before, after: clicks()};
        }"""
    )
    assert taken == {"first": "none", "before": "none", "after": "auto"}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6"))],
)
async def test_consent_leads_back_to_the_client_wherever_that_sends_on(
    page: Page, origin: str, samples: Samples, host: str
) -> None:
    async with site(client()) as last, site(client(onward=last), host) as first:
        samples.answer = render("leaving", url=f"{first}/callback?code=c%201&state=<s>", **LEAVING)
        await page.goto(f"{origin}/show/consent")
        await page.get_by_role("button", name="Allow").click()
        await page.wait_for_url(f"{last}/callback?again=1&code=c%201&state=**")
        assert await page.locator("#here").inner_text() == "arrived"
        assert samples.posted == [("/consent", {"csrf": "csrf-1", "decision": "allow"})]


async def test_a_client_that_is_no_web_site_is_offered_as_a_link(page: Page, origin: str, samples: Samples) -> None:
    samples.answer = render("leaving", url="com.example.app:/callback?code=c1", **LEAVING)
    await page.goto(f"{origin}/show/consent")
    async with page.expect_event("requestfailed", lambda asked: asked.url == "com.example.app:/callback?code=c1"):
        await page.get_by_role("button", name="Deny").click()  # the browser hands it to the system, which has none
    link = page.get_by_role("link", name="continue to elsewhere")
    assert await link.get_attribute("href") == "com.example.app:/callback?code=c1"
    assert samples.posted == [("/consent", {"csrf": "csrf-1", "decision": "deny"})]


async def test_a_client_that_opened_a_window_hears_from_it(page: Page, origin: str, samples: Samples) -> None:
    async with site(client()) as home:
        samples.answer = render("leaving", url=f"{home}/callback?code=c1", **LEAVING)
        await page.goto(f"{home}/open?at={origin}/show/consent")
        async with page.expect_popup() as opened:
            await page.locator("#open").click()
        window = await opened.value
        await window.get_by_role("button", name="Allow").click()
        await page.locator("#heard", has_text="?code=c1").wait_for()


async def test_no_other_site_shows_a_page_in_a_frame(chromium: Browser, origin: str) -> None:
    async with site(client()) as other:
        page = await chromium.new_page()
        await page.goto(f"{other}/callback")
        async with page.expect_event("console", lambda said: "frame-ancestors 'none'" in said.text):
            await page.evaluate(FRAME, f"{origin}/show/consent")
        await page.close()
