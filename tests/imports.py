"""Importing in tests: a few rows that fit together, and what the command line does with lines."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from server.import_command import ImportCommand
from server.importer import chunks
from tests.clients import Swarm
from tests.invariants import Dump
from tests.invariants import check as check_all

Row = dict[str, Any]
T0 = 1_700_000_000_000
USER: Row = {"table": "users", "_id": "u-ann", "name": "Ann", "email": "ann@example.org"}
AGENT: Row = {"table": "agents", "_id": "a-scout", "name": "Scout", "description": "Looks around", "kind": "user_agent"}
TOOL: Row = {"table": "tools", "_id": "t-web", "name": "web", "description": "Reads pages"}
PROMPT: Row = {"table": "prompts", "_id": "p-hook", "title": "Hook", "template": "Say {{it}}", "step": "Hook"}
CONVERSATION: Row = {"table": "conversations", "_id": "c-launch", "title": "Launch", "createdBy": "u-ann"}
MEMBER: Row = {
    "table": "conversationParticipants",
    "_id": "m-ann",
    "kind": "user",
    "conversationId": "c-launch",
    "userId": "u-ann",
    "status": "active",
    "isRemoved": False,
    "addedAt": T0,
}
MESSAGE: Row = {
    "table": "conversationMessages",
    "conversationId": "c-launch",
    "authorParticipantId": "m-ann",
    "kind": "participant",
    "content": "Hello",
}
BASE = (USER, TOOL, PROMPT, AGENT, CONVERSATION, MEMBER)


@dataclass
class Outcome:
    """What an import said."""

    added: int = 0
    present: int = 0
    refused: dict[int, str] = field(default_factory=dict)


Line = dict[str, Any] | str
"""A row, or the text of a line as it is."""


async def load(swarm: Swarm, *lines: Line, batch: int = 500, command: ImportCommand | None = None) -> Outcome:
    """Import lines (rows, or text as it is) as the command line does."""
    command = command or ImportCommand(swarm.service)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    outcome = Outcome()
    for chunk in chunks(io.BytesIO(text.encode(errors="surrogatepass")), 7):
        arguments = {"first": chunk.first, "lines": chunk.lines, "repeats": chunk.repeats, "batch": batch}
        answer = await command(json.loads(json.dumps(arguments)), _no_progress)
        outcome.added += answer["added"]
        outcome.present += answer["present"]
        outcome.refused.update(dict(answer["refused"]))
    return outcome


async def _no_progress(_: dict[str, Any]) -> None:
    raise AssertionError("an import reports no progress of its own")


async def check(swarm: Swarm) -> Dump:
    """Check that everything fits together, and return what is stored."""
    return await check_all(swarm, imported=True)
