"""The pages of the built-in sign-in: HTML without scripts, and one style sheet.

Forms post `csrf` and what the user typed: `email`, `password`, `code`, `name`, and what the page was given to carry:
`next`, `invitation`, `token`, `session`; `decision` is `allow` or `deny`. They go to the path of their page; a post to
/sign-in/code without a `code` asks for one to be sent.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_HERE = Path(__file__).parent
# Browsers hold redirects after a post to `form-action` too: the page `leaving` is how one gets to a client.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ALONE = frozenset({"sessions", "reset"})
"""Pages that no client opens in a window of its own, and that need no tie to who opened them."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})


def render(page: str, /, *, status: int = 200, **values: Any) -> Response:
    """The page with these values, escaped, and with the headers that every page has.

    Raises:
        jinja2.TemplateNotFound: there is no such page.
        jinja2.UndefinedError: the page needs a value that was not given; the first line of a template lists them.
    """
    html = _environment().get_template(f"{page}.html.jinja").render(values)
    alone = {"Cross-Origin-Opener-Policy": "same-origin"} if page in _ALONE else {}
    return HTMLResponse(html, status, headers=_HEADERS | alone)


def style() -> Response:
    """The style sheet, for /style.css."""
    return _kept("style.css", "text/css")


def icon() -> Response:
    """The icon that browsers show with the pages, for /icon.svg."""
    return _kept("icon.svg", "image/svg+xml")


def _kept(name: str, media_type: str) -> Response:
    """A file beside this one. Pages ask for it by its content, so that it may be kept for good."""
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_content(name), media_type=media_type, headers=headers)


@cache
def _content(name: str) -> bytes:
    return (_HERE / name).read_bytes()


def _address(name: str) -> str:
    return f"/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:16]}"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["address"] = _address
    environment.filters["moment"] = _moment
    environment.tests["loopback"] = _is_loopback
    return environment


def _moment(at: int) -> Markup:
    """A time in epoch milliseconds, for people and for programs."""
    from markupsafe import Markup

    time = datetime.fromtimestamp(at / 1000, UTC)
    words = f"{time.day} {time:%b %Y, %H:%M}\u00a0UTC"
    return Markup('<time datetime="{}">{}</time>').format(f"{time:%Y-%m-%dT%H:%M:%SZ}", words)


def _is_loopback(host: str) -> bool:
    """Whether a host, with a port or without, is this computer itself."""
    return re.sub(r":\d+$", "", host).lower() in _LOOPBACK
