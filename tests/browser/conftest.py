"""A real Chromium, driven from tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is here, and skips it where there is no browser."""
    found = any(map(shutil.which, NAMES))
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            if not found:
                item.add_marker(pytest.mark.skip(reason=f"no browser: none of {', '.join(NAMES)} is installed"))


@pytest.fixture(scope="session")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    """The installed browser, without a window."""
    path = next(filter(None, map(shutil.which, NAMES)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """A page in a profile of its own. What the browser complained of at any time fails the test at its end."""
    context = await chromium.new_context()
    context.set_default_timeout(20_000)
    await context.route("https://claude.ai/**", lambda route: route.fulfill(status=204))  # stays where it is
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        shown = message.page.url if message.page is not None else ""
        refused = message.location["url"] == shown and " status of 4" in message.text  # a page that says what is wrong
        over = "net::ERR_CONNECTION_REFUSED" in message.text  # the icon is asked for late, when the test has ended
        if message.type in ("warning", "error") and not (refused or over):
            complaints.append(f"{shown}: {message.text}")

    context.on("console", heard)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield await context.new_page()
    await context.close()
    assert not complaints
