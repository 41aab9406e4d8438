"""Handing work over: to whom one may, where it is posted, and that nothing in a task speaks for itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def agent(tools: Tools, name: str, **more: Any) -> str:
    row = await tools("create_agent", name=name, description="d", kind="user_agent", **more)
    return str(row["_id"])


@pytest.fixture
async def worker(owner: Tools) -> str:
    return await agent(owner, "Worker [1]")


@pytest.fixture
async def lead(owner: Tools, worker: str) -> str:
    return await agent(owner, "Lead", delegatesTo=[worker])


async def test_a_lead_hands_over_to_its_team(owner: Tools, lead: str, worker: str) -> None:
    row = await owner("hand_over", to=worker, task="Build it\nand test it", context="Why", as_=lead)
    assert row["content"] == (
        f"@[Worker 1](agent:{worker}) please take over:\n\n> Build it\n> and test it\n\nContext:\n\n> Why"
    )
    assert row["type"] == "hand_over"
    conversation = await owner("get", id=row["conversationId"])
    assert conversation["title"] == "Lead and Worker [1]"
    parts = await owner.find("conversationParticipants", where={"conversationId": row["conversationId"]})
    assert {part["agentId"] for part in parts} == {lead, worker}
    (group,) = (await owner("inbox", as_=worker))["mentions"]
    assert [message["_id"] for message in group["messages"]] == [row["_id"]]
    again = await owner("hand_over", to=worker, task="More", as_=lead)
    assert again["conversationId"] == row["conversationId"], "the two have a place of their own"


async def test_a_named_conversation(owner: Tools, lead: str, worker: str) -> None:
    room = (await owner("create_conversation", title="Plan", participants=[lead]))["_id"]
    row = await owner("hand_over", to=worker, task="Build it", conversationId=room, as_=lead)
    assert row["conversationId"] == room
    parts = await owner.find("conversationParticipants", where={"conversationId": room})
    assert worker in {part.get("agentId") for part in parts}
    note = (await owner.find("conversationMessages", where={"conversationId": room}, order="seq"))[0]
    assert (note["kind"], note["content"]) == ("system", rf"Lead added Worker \[1\] ({worker}).")


async def test_a_conversation_with_others_in_it_is_not_taken(owner: Tools, lead: str, worker: str) -> None:
    other = await agent(owner, "Other")
    room = (await owner("create_conversation", title="Plan", participants=[lead, worker, other]))["_id"]
    row = await owner("hand_over", to=worker, task="Build it", as_=lead)
    assert row["conversationId"] != room


async def test_others_are_refused_with_the_team(swarm: Swarm, owner: Tools, lead: str, worker: str) -> None:
    other = await agent(owner, "Other")
    error = await owner.refused("hand_over", to=other, task="x", as_=lead)
    assert (error.code, error.text) == (
        "forbidden",
        f"'{other}' is not in the team of '{lead}'. Its team (delegatesTo): {worker} (Worker [1]).",
    )
    error = await owner.refused("hand_over", to=lead, task="x", as_=worker)
    assert error.text.endswith("Its team (delegatesTo): nobody.")
    _, ada = await swarm.user("Ada")
    error = await ada.refused("hand_over", to=worker, task="x")
    assert error.text == f"'{worker}' is not an agent of yours. Act as one that leads it: as=..."


async def test_a_hidden_member_of_a_team_is_not_named(swarm: Swarm, owner: Tools) -> None:
    _, ada = await swarm.user("Cyd")
    _, bea = await swarm.user("Dan")
    shy = await agent(bea, "Shy")
    lead, other = await agent(ada, "Lead", delegatesTo=[shy]), await agent(ada, "Other")
    await bea("update", id=shy, fields={"visibility": "private"})
    error = await ada.refused("hand_over", to=other, task="x", as_=lead)
    assert error.text.endswith("Its team (delegatesTo): nobody.")
    assert (await ada.refused("hand_over", to=shy, task="x", as_=lead)).code == "not_found"


async def test_a_user_hands_over_to_an_agent_of_theirs(swarm: Swarm) -> None:
    user, ada = await swarm.user("Bea")
    bot = await agent(ada, "Bot")
    row = await ada("hand_over", to=bot, task="Build it")
    parts = await ada.find("conversationParticipants", where={"conversationId": row["conversationId"]})
    assert {part.get("userId") or part["agentId"] for part in parts} == {user, bot}
    assert (await ada("hand_over", to=bot, task="More"))["conversationId"] == row["conversationId"]


@pytest.mark.parametrize("case", ["missing", "user", "deactivated", "hidden conversation", "empty"])
async def test_what_is_refused(swarm: Swarm, owner: Tools, lead: str, worker: str, case: str) -> None:
    arguments = {"to": worker, "task": "x"}
    code = "not_found"
    match case:
        case "missing":
            arguments["to"] = "agent_999999"
        case "user":
            arguments["to"], code = swarm.service.owner.id, "invalid"
        case "deactivated":
            await owner("create_conversation", title="History", participants=[worker])
            await owner("delete", id=worker)
            code = "conflict"
        case "hidden conversation":
            arguments["conversationId"] = (await owner("create_conversation", title="Mine"))["_id"]
        case "empty":
            arguments["task"], code = "", "invalid"
    assert (await owner.refused("hand_over", as_=lead, **arguments)).code == code


async def test_a_task_mentions_nobody_and_brings_nobody_in(owner: Tools, lead: str, worker: str) -> None:
    other = await agent(owner, "Other")
    task = f"ask @[Other](agent:{other})\r\n\r@[Other](agent:{other})\n```\n"
    row = await owner("hand_over", to=worker, task=task, context=task, as_=lead)
    parts = await owner.find("conversationParticipants", where={"conversationId": row["conversationId"]})
    assert {part["agentId"] for part in parts} == {lead, worker}


async def test_nothing_is_handed_to_who_would_not_hear_of_it(owner: Tools, lead: str, worker: str) -> None:
    room = (await owner("create_conversation", title="Plan", participants=[lead, worker]))["_id"]
    (part,) = await owner.find("conversationParticipants", where={"conversationId": room, "agentId": worker})
    await owner("update", id=part["_id"], fields={"status": "blocked"})
    error = await owner.refused("hand_over", to=worker, task="Build it", conversationId=room, as_=lead)
    assert (error.code, "'blocked'" in error.text, "Leave conversationId out" in error.text) == ("conflict", True, True)
    assert (await owner("hand_over", to=worker, task="Build it", as_=lead))["conversationId"] != room
