"""create_event, its conflicts, and what may be changed of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()
HOUR = 3_600_000


async def person(swarm: Swarm) -> tuple[str, Tools]:
    return await swarm.user(f"P{next(NUMBERS)}")


async def event(tools: Tools, begin: int, end: int, **more: Any) -> dict[str, Any]:
    return await tools("create_event", title="E", startTime=begin * HOUR, endTime=end * HOUR, **more)


async def test_an_event_with_everything(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    other, others = await person(swarm)
    tools = await swarm.connect(user, era=era)
    mine = (await tools("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    row = await tools(
        "create_event", title=" Kick-off ", description="all hands", startTime="2030-03-01T09:00:00+01:00",
        endTime="2030-03-01T10:00:00+01:00", participants=[other, mine, other], tags=["launch"],
    )  # fmt: skip
    assert row == {
        "_id": row["_id"],
        "title": "Kick-off",
        "description": "all hands",
        "startTime": 1_898_582_400_000,
        "endTime": 1_898_586_000_000,
        "createdBy": user,
        "participants": [other, mine],
        "tags": ["launch"],
        "createdAt": row["createdAt"],
        "seq": row["seq"],
    }
    name = (await tools("get", id=other))["name"]
    assert (await others("get", id=row["_id"]))["who"] == [{"_id": other, "name": name}, {"_id": mine, "name": "A"}]
    assert await tools("get", id=row["_id"], as_=mine)
    _, stranger = await person(swarm)
    assert (await stranger.refused("get", id=row["_id"])).code == "not_found"
    assert (await others.refused("delete", id=row["_id"])).code == "forbidden"
    assert (await event(tools, 0, 0, as_=mine))["createdBy"] == mine
    keyed = [await event(tools, 100, 101, idempotencyKey=era) for _ in range(2)]
    assert keyed[0] == keyed[1]


async def test_conflicts_are_told(swarm: Swarm) -> None:
    user, tools = await person(swarm)
    other, others = await person(swarm)
    own = await event(tools, 10, 12)
    assert "conflicts" not in own
    invited = await event(others, 11, 13, participants=[user])
    assert invited.get("conflicts") is None  # of what the other has they may not know
    # At the same time, for the creator, and for one who takes part.
    row = await event(tools, 11, 12, participants=[other])
    assert row["conflicts"] == [
        {"_id": own["_id"], "title": "E", "startTime": own["startTime"], "who": [user]},
        {"_id": invited["_id"], "title": "E", "startTime": invited["startTime"], "who": [other, user]},
    ]
    assert (await tools("get", id=row["_id"])).get("conflicts") is None
    # Touching is no conflict.
    assert "conflicts" not in await event(tools, 13, 14)
    assert "conflicts" not in await event(tools, 9, 10)
    # A moment within is.
    moment = 10 * HOUR + 1
    row = await tools("create_event", title="E", startTime=moment, endTime=moment)
    assert [one["_id"] for one in row["conflicts"]] == [own["_id"]]


async def test_at_most_five_conflicts(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    rows = [await event(tools, begin, 30) for begin in range(20, 28)]
    assert [one["_id"] for one in (await event(tools, 20, 30))["conflicts"]] == [row["_id"] for row in rows[:5]]


async def test_conflicts_reveal_nothing_hidden(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    other, others = await person(swarm)
    third, _ = await person(swarm)
    for begin, participants in enumerate(([other], [third], [other, third])):
        await event(others, begin, begin + 1, participants=[third])
        assert "conflicts" not in await event(tools, begin, begin + 1, participants=participants)
    # An admin sees all, who is invited sees that.
    assert len((await event(swarm.owner, 0, 1, participants=[third]))["conflicts"]) == 1
    assert len((await event(others, 0, 1))["conflicts"]) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"startTime": 2, "endTime": 1}, "invalid", "endTime is before startTime."),
        ({"endTime": 1}, "invalid", "Missing argument 'startTime'."),
        ({"startTime": "soon", "endTime": 1}, "invalid", "'startTime': a time is ISO 8601 or epoch milliseconds."),
        ({"startTime": True, "endTime": 1}, "invalid", "'startTime': a time is ISO 8601 or epoch milliseconds."),
        ({"startTime": 1, "endTime": 10**18}, "invalid", "'endTime': a time is in epoch milliseconds, between the ye"),
        ({"start_time": 1, "endTime": 1}, "invalid", "Unknown argument 'start_time': did you mean 'startTime'?"),
        ({"startTime": 1, "endTime": 2, "participants": ["user_99999"]}, "not_found", "No user 'user_99999'."),
        ({"startTime": 1, "endTime": 2, "participants": ["conv_1"]}, "invalid", "'conv_1' is an id of conversations"),
        ({"startTime": 1, "endTime": 2, "participants": "user_1"}, "invalid", "'participants' must be a list, not"),
        ({"startTime": 1, "endTime": 2, "title": ""}, "invalid", "'title' must not be empty."),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_events(owner: Tools, arguments: dict[str, Any], code: str, text: str) -> None:
    before = len(await owner.find("events"))
    error = await owner.refused("create_event", **{"title": "E", **arguments})
    assert error.code == code
    assert error.text.startswith(text)
    assert len(await owner.find("events")) == before


async def test_changing(swarm: Swarm) -> None:
    user, tools = await person(swarm)
    row = await event(tools, 5, 6)
    for fields in ({"startTime": 7 * HOUR}, {"endTime": 4 * HOUR}, {"startTime": 9, "endTime": 8}):
        error = await tools.refused("update", id=row["_id"], fields=fields)
        assert error == Refusal("invalid", "endTime is before startTime.")
    changed = await tools("update", id=row["_id"], fields={"startTime": 0, "endTime": 0, "participants": [user, user]})
    assert (changed["startTime"], changed["endTime"], changed["participants"]) == (0, 0, [user])
    error = await tools.refused("update", id=row["_id"], fields={"endTime": -1})
    assert error.text == "endTime is before startTime."
    assert (await tools("delete", id=row["_id"]))["outcome"] == "deleted"
