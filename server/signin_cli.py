"""`one-mcp user` and `one-mcp session`: the person's side."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from server import __version__
from server.endpoint import Hello
from server.launch import reach


def run(arguments: argparse.Namespace) -> int:
    """Carry out what the owner says about accounts and sessions, through the hub; the process's exit status.

    Raises:
        Refused: the hub says why not.
    """
    link = reach(arguments.data, Hello(__version__, client="control"))
    try:
        answer = link.call(f"{arguments.command}.{arguments.action}", **_sent(arguments))
    finally:
        link.close()
    if getattr(arguments, "json", False):
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(_SAID[arguments.command, arguments.action](answer))
    return 0


def _sent(arguments: argparse.Namespace) -> dict[str, Any]:
    given = {name: getattr(arguments, name, None) for name in ("email", "name", "scopes")}
    given["id"] = getattr(arguments, "session_id", None)
    return {name: list(value) if name == "scopes" else value for name, value in given.items() if value}


def _invited(answer: dict[str, Any]) -> str:
    scopes = ", ".join(answer["scopes"])
    return (
        f"{answer['link']}\n\nWho has this link becomes {answer['email']} ({scopes}). Give it to them alone. It is "
        f"good until {_when(answer['expirationTime'])}, once, and is shown only now.\n"
    )


def _link(answer: dict[str, Any]) -> str:
    return (
        f"{answer['link']}\n\nWho has this link chooses a new password for {answer['email']}. Give it to them alone. "
        f"It is good until {_when(answer['expirationTime'])}, once, and is shown only now.\n"
    )


def _users(answer: dict[str, Any]) -> str:
    lines = []
    for user in answer["users"]:
        state = f"disabled {_when(user['disabledTime'])}" if "disabledTime" in user else f"{user['sessions']} sessions"
        lines.append(_line(user["userId"], user["email"], user.get("name"), ",".join(user["scopes"]), state))
    for one in answer["invitations"]:
        until = f"invited until {_when(one['expirationTime'])}"
        lines.append(_line("-", one["email"], None, ",".join(one["scopes"]), until))
    return "".join(lines) or "There are no accounts.\n"


def _sessions(answer: dict[str, Any]) -> str:
    lines = []
    for session in answer["sessions"]:
        what = session.get("clientName") or "browser"
        used = f"used {_when(session['lastUsedTime'])}" if "lastUsedTime" in session else "never used"
        scopes = ",".join(session.get("scopes", []))
        lines.append(_line(session["_id"], session["email"], what, scopes, used))
    return "".join(lines) or "There are no sessions.\n"


def _line(*words: str | None) -> str:
    return "  ".join(word for word in words if word) + "\n"


def _disabled(answer: dict[str, Any]) -> str:
    return f"{answer['email']} cannot sign in any more. Its sessions have ended.\n"


def _enabled(answer: dict[str, Any]) -> str:
    return f"{answer['email']} can sign in; its clients may be given {', '.join(answer['scopes'])} at most.\n"


def _ended(answer: dict[str, Any]) -> str:
    return "".join(f"{one} has ended.\n" for one in answer["ended"]) or "There was none.\n"


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().isoformat(sep=" ", timespec="seconds")


_SAID = {
    ("user", "invite"): _invited,
    ("user", "list"): _users,
    ("user", "disable"): _disabled,
    ("user", "enable"): _enabled,
    ("user", "reset"): _link,
    ("session", "list"): _sessions,
    ("session", "revoke"): _ended,
}
