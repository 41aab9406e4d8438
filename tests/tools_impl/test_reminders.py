from __future__ import annotations

import itertools
from typing import Any

import pytest

from storage.tables import Reminder
from storage.transaction import Transaction
from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()
LATER = 4_000_000_000_000


async def person(swarm: Swarm) -> tuple[str, Tools]:
    return await swarm.user(f"P{next(NUMBERS)}")


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent", **more))["_id"])


async def test_for_oneself_and_for_ones_agents(swarm: Swarm, era: str) -> None:
    user, _ = await person(swarm)
    tools = await swarm.connect(user, era=era)
    mine = await agent(tools)
    row = await tools("create_reminder", message="call", remindAt=LATER, relatedEntity=mine)
    assert row == {
        "_id": row["_id"],
        "userId": user,
        "message": "call",
        "remindAt": LATER,
        "relatedEntity": mine,
        "status": "pending",
        "createdAt": row["createdAt"],
        "seq": row["seq"],
    }
    assert await tools("get", id=row["_id"]) == row
    for given in ({"forId": mine}, {"as_": mine}, {"as_": mine, "forId": mine}):
        theirs = await tools("create_reminder", message="m", remindAt=LATER, **given)
        assert (theirs["agentId"], "userId" in theirs) == (mine, False)
        # It is the agent's own.
        assert (await tools.refused("get", id=theirs["_id"])).code == "not_found"
        assert await tools("get", id=theirs["_id"], as_=mine) == theirs
    assert (await tools("create_reminder", message="m", remindAt=LATER, forId=user))["userId"] == user
    _, stranger = await person(swarm)
    assert (await stranger.refused("get", id=row["_id"])).code == "not_found"
    keyed = [await tools("create_reminder", message="m", remindAt=LATER, idempotencyKey=era) for _ in range(2)]
    assert keyed[0] == keyed[1]
    assert (await tools("delete", id=row["_id"]))["outcome"] == "deleted"


async def test_for_whom_not(swarm: Swarm, owner: Tools) -> None:
    user, tools = await person(swarm)
    theirs, private = await agent(owner), await agent(owner, visibility="private")
    mine = await agent(tools)
    for given in ({"forId": theirs}, {"forId": swarm.service.owner.id}, {"forId": user, "as_": mine}):
        error = await tools.refused("create_reminder", message="m", remindAt=LATER, **given)
        text = f"Reminders are for yourself or an agent of yours; '{given['forId']}' is neither."
        assert error == Refusal("forbidden", text)
    never = f"agent_8{private.removeprefix('agent_')}8"
    hidden = await tools.refused("create_reminder", message="m", remindAt=LATER, forId=private)
    missing = await tools.refused("create_reminder", message="m", remindAt=LATER, forId=never)
    assert (hidden.code, hidden.text.replace(private, "ID")) == ("not_found", missing.text.replace(never, "ID"))


async def test_what_it_is_about_must_be_visible(swarm: Swarm, owner: Tools) -> None:
    _, tools = await person(swarm)
    place = (await owner("create_conversation", title="C"))["_id"]
    never = f"conv_8{place.removeprefix('conv_')}8"
    hidden = await tools.refused("create_reminder", message="m", remindAt=LATER, relatedEntity=place)
    missing = await tools.refused("create_reminder", message="m", remindAt=LATER, relatedEntity=never)
    assert (hidden.code, hidden.text.replace(place, "ID")) == ("not_found", missing.text.replace(never, "ID"))
    row = (await tools("create_reminder", message="m", remindAt=LATER))["_id"]
    assert (await tools.refused("update", id=row, fields={"relatedEntity": place})).code == "not_found"
    mine = await agent(tools)
    assert (await tools("update", id=row, fields={"relatedEntity": mine}))["relatedEntity"] == mine
    assert "relatedEntity" not in await tools("update", id=row, fields={"relatedEntity": None})


async def test_another_time_makes_it_pending_again(swarm: Swarm) -> None:
    _, tools = await person(swarm)
    row = await tools("create_reminder", message="m", remindAt=LATER)

    async def fire(tx: Transaction) -> Reminder:
        reminder = await tx.find_row(row["_id"], Reminder)
        assert reminder is not None
        return tx.update(reminder, status="fired", fired_at=tx.now)

    await swarm.service.engine.writer.run(fire)
    changed = await tools("update", id=row["_id"], fields={"message": "n", "remindAt": LATER})
    assert changed["status"] == "fired"
    snoozed = await tools("update", id=row["_id"], fields={"remindAt": LATER + 1})
    assert (snoozed["status"], "firedAt" in snoozed, snoozed["remindAt"]) == ("pending", False, LATER + 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"remindAt": 1}, "Missing argument 'message'."),
        ({"message": "m"}, "Missing argument 'remindAt'."),
        ({"message": "", "remindAt": 1}, "'message' must not be empty."),
        ({"message": "m", "remindAt": "tomorrow"}, "'remindAt': a time is ISO 8601 or epoch milliseconds."),
        ({"message": "m", "remind_at": 1}, "Unknown argument 'remind_at': did you mean 'remindAt'?"),
        ({"message": "m", "remindAt": 1, "forId": "conv_1"}, "'conv_1' is an id of conversations; here a user or an "),
        ({"message": "m", "remindAt": 1, "status": "fired"}, "Unknown argument 'status'."),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_reminders(owner: Tools, arguments: dict[str, Any], text: str) -> None:
    error = await owner.refused("create_reminder", **arguments)
    assert error.code == "invalid"
    assert error.text.startswith(text)
