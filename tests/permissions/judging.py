"""Which outcome of the matrix an answer is."""

from __future__ import annotations

import json
import re

from mcp import Client

from server.binding import BOUND
from tests.permissions.asking import Answer, Ask, answer
from tests.permissions.calls import Call
from tests.permissions.world import World

_SUGGESTION = re.compile(r" Did you mean '[^']*'( \(.*?\))?\?")
"""It hangs on how an id is spelt; that none names what is hidden has tests of its own."""
NOTHING_FOLLOWED = "followed: []"
LETTERS = {"forbidden": "f", "conflict": "c", "invalid": "i"}


async def outcome(world: World, call: Call) -> str:
    """The letter for what happens to a request, in each era that it is of; it must be the same in both."""
    found = {await _in_era(world, client, call) for client in _clients(world, call(world.rows))}
    assert len(found) == 1, f"the eras differ: {found}"
    return found.pop()


def _clients(world: World, asked: Ask) -> list[Client]:
    """Who asks: what changes something, or takes long, is asked once."""
    early, late = world.client.client, world.later.client
    match asked.method:
        case "resources/subscribe":
            return [early]
        case "subscriptions/listen":
            return [late]
        case "tools/call" if BOUND[asked.params["name"]].writes or asked.params["name"] == "chart":
            return [early if len(world.role) % 2 else late]
    return [early, late]


async def _in_era(world: World, client: Client, call: Call) -> str:
    asked, unasked = call(world.rows), call(world.missing)
    given = await answer(client, asked)
    told = _names_private(world, asked, given)
    if not given.code and given.text != NOTHING_FOLLOWED:
        if world.is_stranger and asked != unasked:
            assert _without_numbers(given.text) == _without_numbers((await answer(client, unasked)).text)
        return "s" if told else "+"
    assert not (world.is_stranger and told), f"an error tells of what is private: {given.text}"
    if given.code in LETTERS:
        return LETTERS[given.code]
    if asked == unasked:  # an error of the protocol, which has no code of ours, and nothing private was asked for
        return "f"
    missing = await answer(client, unasked)
    assert _plain(given, world.rows) == _plain(missing, world.missing), f"{given.text} is not {missing.text}"
    return "h"


def _names_private(world: World, asked: Ask, given: Answer) -> bool:
    """Whether an answer has an id or a text of a private row that was not in the question."""
    question = json.dumps(asked.params)
    words = {world.marker, *(world.rows[name] for name in world.private)}
    return any(re.search(rf"\b{word}\b", given.text) for word in words if not re.search(rf"\b{word}\b", question))


def _without_numbers(text: str) -> str:
    """A success without what differs each time: ids, commit numbers, times."""
    return re.sub(r"\d+", "0", text)


def _plain(given: Answer, ids: dict[str, str]) -> tuple[str, str]:
    """An answer without the ids that were asked for."""
    text = _SUGGESTION.sub("", given.text)
    for row_id in set(ids.values()):
        text = re.sub(rf"\b{re.escape(row_id)}\b", "ID", text)
    return given.code, text
