"""The how-tos: every call in them is made, from top to bottom on a fresh swarm, and answers what is printed there.

In a block of `calls` a line with a tool and its arguments is a call. After → stands a part of its structured result,
or in quotes a part of the error that it must give.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.clients import Swarm

DOCS = Path(__file__).parents[1] / "docs"
HOWTOS = sorted(path.name for path in DOCS.glob("howto-*.md") if "```calls" in path.read_text(encoding="utf-8"))
SECONDS = 10.0

_BLOCK = re.compile(r"^```calls\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"([a-z_]+) (\{.*\})")


def steps(text: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """The calls of a page, each with what it is to answer."""
    lines = [line for block in _BLOCK.findall(text) for line in block.splitlines() if line]
    while lines:
        call = _CALL.fullmatch(lines.pop(0))
        assert call is not None, "a line that is no call"
        answer = json.loads(lines.pop(0)[2:]) if lines and lines[0].startswith("→ ") else {}
        yield call[1], json.loads(call[2]), answer


def is_part(part: Any, whole: Any) -> bool:
    """Whether everything in `part` is in `whole`, too. Lists are as long; texts may go on where `…` stands."""
    match part, whole:
        case dict(), dict():
            return all(key in whole and is_part(value, whole[key]) for key, value in part.items())
        case list(), list():
            return len(part) == len(whole) and all(map(is_part, part, whole))
        case str(), str() if part.endswith("…"):
            return whole.startswith(part[:-1])
    return bool(part == whole)


@pytest.mark.parametrize("name", HOWTOS)
async def test_every_call_answers_what_is_printed(swarm: Swarm, name: str) -> None:
    count = 0
    for tool, arguments, answer in steps((DOCS / name).read_text(encoding="utf-8")):
        count += 1
        if isinstance(answer, str):
            assert answer in (await swarm.owner.refused(tool, **arguments)).text
            continue
        with anyio.move_on_after(SECONDS):
            found = await swarm.owner(tool, **arguments)
            while tool == "inbox" and not is_part(answer, found):  # a reminder is about to fire
                found = await swarm.owner(tool, **arguments)
        assert is_part(answer, found), f"{tool} {arguments}: {found}"
    assert count >= 4


def test_there_are_how_tos() -> None:
    assert len(HOWTOS) == 7
