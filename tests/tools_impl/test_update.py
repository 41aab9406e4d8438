from __future__ import annotations

from typing import Any

import pytest

from storage.row import by_name
from storage.tables import BY_NAME, TABLES, Event, Reminder, Tool
from tests.clients import Refusal, Swarm, Tools
from tools_impl.rows import ALWAYS_IMMUTABLE, IMMUTABLE


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


@pytest.fixture
async def agent(owner: Tools) -> dict[str, Any]:
    return await owner("create_agent", name="A", description="d", kind="user_agent", goal="g")


async def test_fields_are_set_and_removed(swarm: Swarm, agent: dict[str, Any], era: str) -> None:
    tools = await swarm.connect(era=era)
    changed = await tools("update", id=agent["_id"], fields={"name": " B ", "goal": None, "tags": ["new", "new"]})
    assert changed == {
        **{key: value for key, value in agent.items() if key != "goal"},
        "name": "B",
        "tags": ["new"],
        "updatedAt": changed["updatedAt"],
        "updatedBy": swarm.service.owner.id,
        "seq": changed["seq"],
    }
    assert changed["seq"] > agent["seq"]
    assert await tools("get", id=agent["_id"]) == changed


async def test_a_lost_update_is_refused(owner: Tools, agent: dict[str, Any]) -> None:
    row_id = agent["_id"]
    changed = await owner("update", id=row_id, fields={"goal": "1"}, ifSeq=agent["seq"])
    error = await owner.refused("update", id=row_id, fields={"goal": "2"}, ifSeq=agent["seq"])
    assert error == Refusal(
        "conflict",
        f"'{row_id}' changed at seq {changed['seq']}, after {agent['seq']}. Read it again and decide.",
        {"seq": changed["seq"]},
    )
    await owner("update", id=row_id, fields={"goal": "3"}, ifSeq=(await owner("get", id=row_id))["seq"])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "fields is empty; name at least one field and its new value."),
        ({"titel": "x"}, "agents has no field 'titel'. What can change: name, description, kind,"),
        ({"avatar_url": "x"}, "agents has no field 'avatar_url'. Did you mean 'avatarUrl'? What can change:"),
        ({"createdBy": "user_1"}, "'createdBy' of agents cannot change. What can: name,"),
        ({"_id": "x"}, "'_id' of agents cannot change."),
        ({"seq": 1}, "'seq' of agents cannot change."),
        ({"rev": 1}, "'rev' of agents cannot change."),
        ({"createdAt": 1}, "'createdAt' of agents cannot change."),
        ({"deactivatedAt": 1}, "'deactivatedAt' of agents cannot change."),
        ({"name": None}, "'name' must be a text, not null."),
        ({"name": 5}, "'name' must be a text, not 5."),
        ({"name": ""}, "'name' must not be empty."),
        ({"name": "n" * 201}, "'name' has 201 characters; at most 200 are possible."),
        ({"systemPrompt": "x" * 20_001}, "'systemPrompt' has 20,001 characters; at most 20,000 are possible."),
        ({"kind": "robot"}, "'kind' must be 'system_agent' or 'user_agent', not 'robot'."),
        ({"tags": "x"}, "'tags' must be a list, not 'x'."),
        ({"tags": [""]}, "'tags.0' must not be empty."),
        ({"tools": [5]}, "'tools.0' must be a text, not 5."),
        ({"avatarUrl": ["x"]}, "'avatarUrl' must be a text, not list."),
        ({"memories": {"x": eval("[" * 101 + "]" * 101)}}, "'memories': this is not JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_fields(owner: Tools, agent: dict[str, Any], fields: dict[str, Any], text: str) -> None:
    error = await owner.refused("update", id=agent["_id"], fields=fields)
    assert error.code == "invalid"
    assert error.text.startswith(text)
    assert await owner("get", id=agent["_id"]) == agent


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"tools": ["tool_99999"]}, "not_found", "No row 'tool_99999' in tools."),
        ({"tools": ["conv_1"]}, "invalid", "'conv_1' is an id of conversations; here an id of tools is needed"),
        ({"delegatesTo": ["agent_99999"]}, "not_found", "No row 'agent_99999' in agents."),
        ({"attachedPrompts": ["prompt_99999"]}, "not_found", "No row 'prompt_99999' in prompts."),
    ],
)
async def test_references_must_exist(
    owner: Tools, agent: dict[str, Any], fields: dict[str, Any], code: str, text: str
) -> None:
    error = await owner.refused("update", id=agent["_id"], fields=fields)
    assert error.code == code
    assert error.text.startswith(text)


async def test_a_refused_update_leaves_no_tag_behind(owner: Tools, agent: dict[str, Any]) -> None:
    await owner.refused("update", id=agent["_id"], fields={"tags": ["never"], "tools": ["tool_99999"]})
    assert await owner.find("tags", where={"name": "never"}) == []


async def test_times_come_in_both_forms(swarm: Swarm, owner: Tools) -> None:
    me = swarm.service.owner.id
    event = await swarm.insert(Event, title="E", start_time=1, end_time=2_000_000_000_000, created_by=me)
    for given, stored in [
        (1_700_000_000_000, 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T23:13:20.250+01:00", 1_700_000_000_250),
        (-5, -5),
    ]:
        assert (await owner("update", id=event.id, fields={"startTime": given}))["startTime"] == stored
    wrongs: list[Any] = ["soon", 10**19, True, [], {"$date": 5}, None]
    for wrong in wrongs:
        error = await owner.refused("update", id=event.id, fields={"startTime": wrong})
        assert error.code == "invalid"
        assert "startTime" in error.text
    await owner("update", id=event.id, fields={"participants": [swarm.service.owner.id]})
    error = await owner.refused("update", id=event.id, fields={"participants": ["user_99999"]})
    assert error.text.startswith("No user 'user_99999'.")


async def test_email_stays_unique_and_well_formed(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Mail")
    await swarm.user("Taken")
    changed = await owner("update", id=user, fields={"email": " New@Example.ORG "})
    assert changed["email"] == "new@example.org"
    error = await owner.refused("update", id=user, fields={"email": "TAKEN@example.org"})
    assert error.code == "conflict"
    error = await owner.refused("update", id=user, fields={"email": "nonsense"})
    assert error.text == "'email' must be an address like ana@example.org, not 'nonsense'."
    error = await tools.refused("update", id=user, fields={"email": "mine@example.org"})
    assert error == Refusal("forbidden", "Only an admin changes an email.")
    # The old address is free again, the same one is no conflict.
    await owner("create_user", name="Other", email="mail@example.org")
    await tools("update", id=user, fields={"email": "new@example.org", "name": "Renamed"})


async def test_people_cannot_verify_themselves(swarm: Swarm) -> None:
    user, tools = await swarm.user("Vera")
    for field in ("emailVerificationTime", "phoneVerificationTime", "isAnonymous", "deactivatedAt"):
        error = await tools.refused("update", id=user, fields={field: 1})
        assert error.text.startswith(f"'{field}' of users cannot change.")


async def test_messages(swarm: Swarm, owner: Tools) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    sent = await owner("send_message", conversationId=place, content="first", vector=[0.5])
    edited = await owner("update", id=sent["_id"], fields={"content": "second", "vector": None, "status": "read"})
    assert (edited["content"], edited["status"], "vector" in edited) == ("second", "read", False)
    for fields, text in [
        ({"status": "deleted"}, f"'{sent['_id']}' is deleted with delete, not by its status."),
        ({"content": ""}, "'content' must not be empty."),
        ({"content": "x" * 100_001}, "'content' has 100,001 characters; at most 100,000 are possible."),
        ({"vector": [1e39]}, "'vector': the numbers of a vector are finite and of single precision."),
        ({"kind": "system"}, "'kind' of conversationMessages cannot change."),
        ({"authorParticipantId": "part_1"}, "'authorParticipantId' of conversationMessages cannot change."),
    ]:
        error = await owner.refused("update", id=sent["_id"], fields=fields)
        assert error.code == "invalid"
        assert error.text.startswith(text)
    await owner("delete", id=sent["_id"])
    error = await owner.refused("update", id=sent["_id"], fields={"content": "back"})
    assert error == Refusal("conflict", f"'{sent['_id']}' was deleted; what is left of it cannot be changed.")


async def test_participants(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Part")
    other, others = await swarm.user("Other")
    place = (await owner("create_conversation", title="C", participants=[user, other]))["_id"]
    parts = {
        row["userId"]: row["_id"]
        for row in await owner.find("conversationParticipants", where={"conversationId": place})
    }
    assert (await tools("update", id=parts[user], fields={"lastReadSeq": 5}))["lastReadSeq"] == 5
    error = await tools.refused("update", id=parts[user], fields={"status": "active"})
    assert error.text == "Only the conversation's creator or an admin changes a participant's status."
    error = await others.refused("update", id=parts[user], fields={"isRemoved": True})
    assert error.code == "forbidden"
    for wrong in (-1, 2**63, "x", 1.5):
        assert (
            "'lastReadSeq' must be"
            in (await tools.refused("update", id=parts[user], fields={"lastReadSeq": wrong})).text
        )
    mine = (await tools("create_conversation", title="Mine", participants=[other]))["_id"]
    rows = await tools.find("conversationParticipants", where={"conversationId": mine, "userId": other})
    assert (await tools("update", id=rows[0]["_id"], fields={"status": "muted"}))["status"] == "muted"
    error = await tools.refused("update", id=rows[0]["_id"], fields={"lastReadSeq": 1})
    assert error == Refusal("forbidden", "lastReadSeq is the participant's own.")


CHANGES: list[tuple[str, dict[str, Any]]] = [("update", {"fields": {"name": "x"}}), ("delete", {})]


async def test_rows_of_others_are_theirs(swarm: Swarm, owner: Tools, agent: dict[str, Any]) -> None:
    user, tools = await swarm.user("Nosy")
    mine = (await tools("create_agent", name="Mine", description="d", kind="user_agent"))["_id"]
    tool = await swarm.insert(Tool, name="t", description="d", created_by=swarm.service.owner.id)
    for row_id in (agent["_id"], tool.id, swarm.service.owner.id):
        for call, fields in CHANGES:
            error = await tools.refused(call, id=row_id, **fields)
            text = f"'{row_id}' belongs to somebody else; only its creator or an admin changes it."
            assert error == Refusal("forbidden", text, {"id": row_id})
    # An agent acts for its creator on what the server named the creator of, not on the creator.
    await tools("update", id=mine, fields={"goal": "own"}, as_=mine)
    for call, fields in CHANGES:
        assert (await tools.refused(call, id=user, **fields, as_=mine)).code == "forbidden"


async def test_an_agent_does_not_edit_what_its_creator_wrote(swarm: Swarm) -> None:
    _, tools = await swarm.user("Author")
    agents = [(await tools("create_agent", name=n, description="d", kind="user_agent"))["_id"] for n in "AB"]
    place = (await tools("create_conversation", title="C", participants=agents))["_id"]
    mine = (await tools("send_message", conversationId=place, content="x"))["_id"]
    theirs = (await tools("send_message", conversationId=place, content="x", as_=agents[0]))["_id"]
    await tools("update", id=theirs, fields={"content": "y"})
    await tools("update", id=theirs, fields={"content": "y"}, as_=agents[0])
    for row_id, acting in ((mine, agents[0]), (theirs, agents[1])):
        error = await tools.refused("update", id=row_id, fields={"content": "z"}, as_=acting)
        assert error.code == "forbidden"


async def test_reminders_are_fired_by_the_hub(swarm: Swarm, owner: Tools) -> None:
    row = await swarm.insert(Reminder, user_id=swarm.service.owner.id, message="m", remind_at=1)
    for field in ("status", "firedAt", "userId"):
        assert (await owner.refused("update", id=row.id, fields={field: 1})).code == "invalid"
    assert (await owner("update", id=row.id, fields={"message": "n"}))["message"] == "n"


def test_every_table_says_what_never_changes() -> None:
    assert set(IMMUTABLE) == set(BY_NAME)
    for table in TABLES:
        assert set(by_name(table)) >= IMMUTABLE[table.table]
        assert not IMMUTABLE[table.table] & ALWAYS_IMMUTABLE
        # Whom a row belongs to and where it hangs is never changed.
        parents = {"createdBy", "conversationId", "messageId", "ownerId", "agentId", "userId", "followerId"}
        assert parents & set(by_name(table)) <= IMMUTABLE[table.table]
