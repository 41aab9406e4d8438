"""What the pages of the sign-in are shown with in tests: typical values, and those of somebody who means harm."""

from __future__ import annotations

from typing import Any

HOSTILE = "\"'><script>document.title='taken'</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\u202e"

_FORM = {"csrf": "csrf-1", "next": "/consent?request=r1&x=<y>", "error": ""}
_WRONG = {"error": "The email or the password is wrong."}
_SIGN_IN = {**_FORM, "email": "", "allow_sign_up": True, "methods": ["password", "code"]}
_SIGN_UP = {**_FORM, "name": "Ada", "least": 10}
_RESET = {"csrf": "csrf-1", "token": "t1", "error": "", "email": "ada@example.com", "least": 10}
_CONSENT = {
    "csrf": "csrf-1",
    "client_name": "Claude",
    "client_host": "claude.ai",
    "redirect_host": "claude.ai",
    "scopes": [("read", "See what you can see"), ("write", "Write messages and knowledge in your name")],
    "user_email": "ada@example.com",
}
_SESSION = {
    "id": "s1",
    "clientName": "Claude",
    "scopes": ["read", "write"],
    "createdAt": 1_795_770_000_000,
    "lastUsedAt": 1_795_773_600_000,
    "current": False,
    "kind": "client",
}
_SESSIONS = [
    _SESSION,
    _SESSION | {"id": "s2", "clientName": "Visual Studio Code", "lastUsedAt": None},
    _SESSION | {"id": "s3", "clientName": None, "scopes": [], "kind": "browser", "current": True},
    _SESSION | {"id": "s4", "clientName": "Firefox on Linux", "scopes": [], "kind": "browser"},
]
_ACCOUNT = {"csrf": "csrf-1", "user_email": "ada@example.com"}

SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "sign in": ("sign_in", _SIGN_IN),
    "sign in, wrong": ("sign_in", _SIGN_IN | _WRONG | {"email": "ada@example.com"}),
    "sign in, password": ("sign_in", _SIGN_IN | {"methods": ["password"], "allow_sign_up": False, "next": ""}),
    "sign in, code": ("sign_in", _SIGN_IN | {"methods": ["code"], "allow_sign_up": False}),
    "code": ("code", _FORM | {"email": "ada@example.com"}),
    "code, wrong": ("code", _FORM | {"email": "ada@example.com", "error": "That code is wrong or too old."}),
    "sign up": ("sign_up", _SIGN_UP | {"invitation": "i1", "email": "ada@example.com"}),
    "sign up, no invitation": ("sign_up", _SIGN_UP | {"invitation": "", "email": ""}),
    "sign up, wrong": (
        "sign_up",
        _SIGN_UP | {"invitation": "i1", "email": "ada@example.com", "error": "That password is too short."},
    ),
    "consent": ("consent", _CONSENT),
    "consent, name only claimed": ("consent", _CONSENT | {"client_host": "", "redirect_host": "app.example:8443"}),
    "consent, this computer": ("consent", _CONSENT | {"redirect_host": "localhost:33418"}),
    "leaving": (
        "leaving",
        {
            "url": "https://claude.ai/callback?code=c1&state=a%20b",
            "client_name": "Claude",
            "redirect_host": "claude.ai",
        },
    ),
    "account": ("sessions", _ACCOUNT | {"sessions": _SESSIONS}),
    "account, no client": ("sessions", _ACCOUNT | {"sessions": _SESSIONS[2:3]}),
    "reset": ("reset", _RESET),
    "reset, wrong": ("reset", _RESET | {"error": "That password is too short."}),
    "message": (
        "message",
        {"title": "Password saved", "text": "Sign in with it.", "link": "/sign-in", "link_text": "Sign in"},
    ),
    "message, no link": ("message", {"title": "Signed out", "text": "See you.", "link": "", "link_text": ""}),
    "error": (
        "error",
        {"title": "This link is no longer good", "text": "Ask the owner of this server for a new one."},
    ),
}
"""By a name of the sample: the page and its values."""


def hostile(value: Any) -> Any:
    """The value with every text in it replaced, except those that only our own code sets."""
    match value:
        case str():
            return HOSTILE
        case tuple():
            return tuple(map(hostile, value))
        case list():
            return [hostile(item) for item in value]
        case dict():
            ours = {"kind", "methods", "link", "url"}
            return {name: item if name in ours else hostile(item) for name, item in value.items()}
        case _:
            return value
