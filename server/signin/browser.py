"""A browser: its cookie, its session, and the tokens that show that a form came from a page that it was shown.

A browser that is not signed in has a random cookie that is stored nowhere. Signing in gives it another one, so a cookie
that somebody planted before is worth nothing. The token of a form is a signature with the cookie's secret; it carries
what the page was about, so that a form can do nothing but what was shown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from storage.auth_tables import AuthSession
from storage.sessions import Sessions

FORM_MS = 3_600_000
"""How long a page may be open before its form is sent."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class Forged(Exception):
    """A form did not come from a page of ours that this browser was shown lately."""


@dataclass(slots=True)
class Browser:
    """Who asks for a page. `session` is None for who is not signed in."""

    secret: str
    session: AuthSession | None
    secure: bool
    is_new: bool

    @classmethod
    def of(cls, request: Request, sessions: Sessions, now: int, *, secure: bool) -> Browser:
        """The browser of a request."""
        secret = request.cookies.get(_cookie(secure), "")
        if not _SECRET.fullmatch(secret):
            return cls(secrets.token_urlsafe(32), None, secure, is_new=True)
        return cls(secret, sessions.of_browser(now, secret), secure, is_new=False)

    def become(self, secret: str) -> None:
        """Take another cookie."""
        self.secret, self.is_new = secret, True

    def leave(self) -> None:
        """Be nobody again."""
        self.session = None
        self.become(secrets.token_urlsafe(32))

    def keep(self, response: Response) -> None:
        """Send the cookie along, if it is new."""
        if self.is_new:
            response.set_cookie(
                _cookie(self.secure), self.secret, path="/", secure=self.secure, httponly=True, samesite="lax"
            )

    def form_token(self, form: str, now: int, **carried: Any) -> str:
        """The token of a form, with what it carries (JSON)."""
        content = json.dumps({"form": form, "until": now + FORM_MS, **carried}, separators=(",", ":")).encode()
        return f"{_text(content)}.{_text(self._signature(content))}"

    def carried(self, form: str, token: str, now: int) -> dict[str, Any]:
        """What the token of a form carries.

        Raises:
            Forged: it is not of this form and this browser, or too old.
        """
        try:
            content, signature = (_bytes(part) for part in token.split("."))
        except (ValueError, binascii.Error):
            raise Forged from None
        if not hmac.compare_digest(signature, self._signature(content)):
            raise Forged
        found: dict[str, Any] = json.loads(content)
        if found["form"] != form or found["until"] <= now:
            raise Forged
        return found

    def _signature(self, content: bytes) -> bytes:
        return hmac.digest(self.secret.encode(), content, hashlib.sha256)


def _cookie(secure: bool) -> str:
    return "__Host-one" if secure else "one_sign_in"


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
