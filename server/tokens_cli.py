"""`one-mcp token`: the person's side."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

from server import __version__
from server.endpoint import Hello
from server.launch import reach
from server.status import NotReached

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def run(arguments: argparse.Namespace) -> int:
    """Make, list or revoke tokens through the hub; the process's exit status.

    Raises:
        Refused: the hub says why not.
        NotReached: `--expires` is not a duration.
    """
    lasts = duration_ms(arguments.expires) if arguments.action == "create" and arguments.expires else None
    link = reach(arguments.data, Hello(__version__, client="control"))
    try:
        match arguments.action:
            case "create":
                answer = link.call(
                    "token.create",
                    owner=arguments.user or arguments.agent,
                    scopes=list(arguments.scopes),
                    name=arguments.name,
                    expiresInMs=lasts,
                )
                _print_new(answer)
            case "list":
                _print_all(link.call("token.list")["tokens"], as_json=arguments.json)
            case _:
                answer = link.call("token.revoke", id=arguments.token_id)
                sys.stdout.write(f"{answer['_id']} is worthless from now on.\n")
    finally:
        link.close()
    return 0


def duration_ms(text: str) -> int:
    """`90m`, `12h`, `30d` or `8w` in milliseconds.

    Raises:
        NotReached: it is none.
    """
    match = re.fullmatch(r"(\d+)\s*([mhdw])", text)
    if match is None or int(match[1]) == 0:
        raise NotReached(f"--expires takes a duration like 90m, 12h, 30d or 8w, not '{text}'.")
    return int(match[1]) * _UNITS_MS[match[2]]


def _print_new(answer: dict[str, Any]) -> None:
    until = f", until {_when(answer['expirationTime'])}" if "expirationTime" in answer else ""
    sys.stdout.write(
        f"{answer['token']}\n\n{answer['_id']} for {answer['ownerId']} ({', '.join(answer['scopes'])}){until}. "
        "It is shown only now.\n"
    )


def _print_all(tokens: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(tokens) + "\n")
        return
    for token in tokens:
        state = "active"
        if "revokedTime" in token:
            state = f"revoked {_when(token['revokedTime'])}"
        elif "expirationTime" in token:
            ended = token["expirationTime"] <= time.time() * 1000
            state = f"{'expired' if ended else 'until'} {_when(token['expirationTime'])}"
        used = f"used {_when(token['lastUsedTime'])}" if "lastUsedTime" in token else "never used"
        words = (token["_id"], token["ownerId"], ",".join(token["scopes"]), token.get("name", ""), state, used)
        sys.stdout.write("  ".join(word for word in words if word) + "\n")
    if not tokens:
        sys.stdout.write("There are no tokens.\n")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().isoformat(sep=" ", timespec="seconds")
