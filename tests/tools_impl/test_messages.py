from __future__ import annotations

from typing import Any

import pytest

from storage.tables import Conversation, Message, Participant
from storage.transaction import Transaction
from tests.clients import Refusal, Swarm, Tools, said


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


@pytest.fixture
async def place(owner: Tools) -> str:
    return str((await owner("create_conversation", title="Plan"))["_id"])


async def participant(tools: Tools, place: str, member: str) -> dict[str, Any]:
    rows = await tools.find("conversationParticipants", where={"conversationId": place})
    return next(row for row in rows if member in (row.get("userId"), row.get("agentId")))


async def agent(tools: Tools) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent"))["_id"])


async def test_a_message_with_everything(swarm: Swarm, place: str, era: str) -> None:
    tools = await swarm.connect(era=era)
    me = (await participant(tools, place, swarm.service.owner.id))["_id"]
    given = {
        "conversationId": place,
        "authorParticipantId": me,
        "content": "Hello,\n\tworld \U0001f30d",
        "step": "Hook",
        "kind": "system",
        "type": "note",
        "tags": ["greeting"],
        "attachments": [{"url": "https://example.org"}, "x", None],
        "vector": [0.5, -0.25],
        "meta": {"nested": [1, 2.5, {"deep": None}]},
    }
    row = await tools("send_message", **given)
    assert {key: row[key] for key in given} == given
    assert row["status"] == "sent"
    assert await tools("get", id=row["_id"]) == row
    page = await tools("list_messages", conversationId=place)
    assert page["messages"][-1] == {
        key: row[key] for key in row if key not in ("conversationId", "vector", "status", "seq")
    }
    (tag,) = await tools.find("tags", where={"name": "greeting"})
    assert tag["createdBy"] == swarm.service.owner.id


async def test_what_is_usual_is_left_out(swarm: Swarm, owner: Tools, place: str) -> None:
    sent = await owner("send_message", conversationId=place, content="x")
    page = await owner("list_messages", conversationId=place)
    assert page == {
        "conversation": {"_id": place, "title": "Plan"},
        "authors": {sent["authorParticipantId"]: {"_id": swarm.service.owner.id, "name": swarm.service.owner.name}},
        "messages": [
            {
                "_id": sent["_id"],
                "createdAt": sent["createdAt"],
                "authorParticipantId": sent["authorParticipantId"],
                "kind": "participant",
                "content": "x",
            }
        ],
    }


async def test_an_empty_conversation_has_an_empty_page(owner: Tools, place: str) -> None:
    page = await owner("list_messages", conversationId=place)
    assert page == {"conversation": {"_id": place, "title": "Plan"}, "authors": {}, "messages": []}


async def test_sending_sets_the_last_message_time(owner: Tools, place: str) -> None:
    assert "lastMessageTime" not in await owner("get", id=place)
    for _ in range(2):
        sent = await owner("send_message", conversationId=place, content="x")
        assert (await owner("get", id=place))["lastMessageTime"] == sent["createdAt"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"content": ""}, "'content' must not be empty."),
        ({"content": None}, "'content' must be a text, not null."),
        ({"content": 5}, "'content' must be a text, not 5."),
        ({"content": "x" * 100_001}, "'content' has 100,001 characters; at most 100,000 are possible."),
        ({"step": "hook"}, "'step' must be 'Foundation', 'Hook', 'Gift', 'Identify', 'Engage', 'Sell', 'Nurture', "
                           "'Upsell', 'Educate' or 'Share', not 'hook'."),
        ({"kind": "user"}, "'kind' must be 'participant' or 'system', not 'user'."),
        ({"vector": []}, "'vector' must not be empty."),
        ({"vector": [1e39]}, "'vector': the numbers of a vector are finite and of single precision."),
        ({"vector": ["x"]}, "'vector.0' must be a number, not 'x'."),
        ({"vector": [0.5] * 8_193}, "'vector' has 8193 items; at most 8192 are possible."),
        ({"attachments": {}}, "'attachments' must be a list, not dict."),
        ({"conversation_id": "x"}, "Unknown argument 'conversation_id': did you mean 'conversationId'?"),
        ({"text": "x"}, "Unknown argument 'text'. Known: conversationId, content, authorParticipantId, step, kind, "
                        "type, tags, attachments, vector, meta, as, idempotencyKey."),
        ({"tags": [""]}, "'tags.0' must not be empty."),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_wrong_arguments(owner: Tools, place: str, arguments: dict[str, Any], text: str) -> None:
    error = await owner.refused("send_message", **{"conversationId": place, "content": "x"} | arguments)
    assert error.code == "invalid"
    assert error.text == text
    assert (await owner("list_messages", conversationId=place))["messages"] == []


@pytest.mark.parametrize("tool", ["send_message", "list_messages"])
@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        ("conv_99999", "not_found", "No row 'conv_99999' in conversations."),
        ("Plan of nobody", "not_found", "No row 'Plan of nobody' in conversations."),
        ("agent_3", "invalid", "'agent_3' is an id of agents; here an id of conversations is needed, like 'conv_12'."),
        ("", "invalid", "'conversationId' must not be empty."),
        ("c" * 201, "invalid", "'conversationId' has 201 characters; at most 200 are possible."),
    ],
)
async def test_the_conversation_must_exist(owner: Tools, tool: str, wrong: str, code: str, text: str) -> None:
    error = await owner.refused(tool, conversationId=wrong, **({"content": "x"} if tool == "send_message" else {}))
    assert error.code == code
    assert error.text.startswith(text)


# Who writes.


async def test_people_write_for_themselves_and_their_agents(swarm: Swarm, owner: Tools, place: str) -> None:
    user, tools = await swarm.user("Writer")
    mine, theirs = await agent(tools), await agent(owner)
    for member in ({"kind": "user", "userId": user}, {"kind": "agent", "agentId": mine}):
        await owner("add_participant", conversationId=place, **member)
    their_part = (await owner("add_participant", conversationId=place, kind="agent", agentId=theirs))["_id"]
    my_part = (await participant(tools, place, mine))["_id"]
    me = (await participant(tools, place, user))["_id"]
    for arguments, author in [
        ({}, me),
        ({"authorParticipantId": me}, me),
        ({"authorParticipantId": my_part}, my_part),
        ({"as_": mine}, my_part),
        ({"as_": mine, "authorParticipantId": my_part}, my_part),
    ]:
        sent = await tools("send_message", conversationId=place, content="x", **arguments)
        assert sent["authorParticipantId"] == author
    owner_part = (await participant(tools, place, swarm.service.owner.id))["_id"]
    for named, acting in [(their_part, None), (owner_part, None), (me, mine), (their_part, mine)]:
        acting_as = {"as_": acting} if acting else {}
        error = await tools.refused(
            "send_message", conversationId=place, content="x", authorParticipantId=named, **acting_as
        )
        text = f"'{named}' is somebody else. Leave authorParticipantId out to write as yourself."
        assert error == Refusal("forbidden", text)
    # An admin speaks for any agent, but for no other person.
    await owner("send_message", conversationId=place, content="x", authorParticipantId=my_part)
    assert (await owner.refused("send_message", conversationId=place, content="x", authorParticipantId=me)).code == (
        "forbidden"
    )


async def test_who_takes_no_part_cannot_write(swarm: Swarm, owner: Tools) -> None:
    _, tools = await swarm.user("Alone")
    place = (await tools("create_conversation", title="C"))["_id"]
    error = await owner.refused("send_message", conversationId=place, content="x")
    assert error.code == "forbidden"
    assert error.text.startswith(f"You take no part in '{place}'. Join with add_participant")


async def test_authors_are_participants_of_this_conversation(owner: Tools, place: str) -> None:
    other = (await owner("create_conversation", title="Other"))["_id"]
    (elsewhere,) = await owner.find("conversationParticipants", where={"conversationId": other})
    for wrong, code, text in [
        (elsewhere["_id"], "invalid", f"'{elsewhere['_id']}' is a participant of another conversation."),
        ("part_99999", "not_found", "No row 'part_99999' in conversationParticipants."),
        ("user_1", "invalid", "'user_1' is an id of users; here an id of conversationParticipants is needed, like "
                              "'part_12'."),
    ]:  # fmt: skip
        error = await owner.refused("send_message", conversationId=place, content="x", authorParticipantId=wrong)
        assert error.code == code
        assert error.text.startswith(text)


async def test_removed_and_blocked_participants_are_silent(swarm: Swarm, owner: Tools, place: str) -> None:
    other = await agent(owner)
    part = (await owner("add_participant", conversationId=place, kind="agent", agentId=other))["_id"]
    await owner("update", id=part, fields={"status": "muted"})
    error = await owner.refused("send_message", conversationId=place, content="x", authorParticipantId=part)
    assert error.text == f"'{part}' cannot write in '{place}': its status is 'muted'."
    await owner("delete", id=part)
    error = await owner.refused("send_message", conversationId=place, content="x", authorParticipantId=part)
    assert error.text == f"'{part}' was removed from '{place}'. add_participant brings it back."
    # The agent itself sees the conversation no more.
    assert (await owner.refused("send_message", conversationId=place, content="x", as_=other)).code == "not_found"


async def test_a_deactivated_agent_is_silent(owner: Tools, place: str) -> None:
    other = await agent(owner)
    part = (await owner("add_participant", conversationId=place, kind="agent", agentId=other))["_id"]
    assert (await owner("delete", id=other))["outcome"] == "deactivated"
    error = await owner.refused("send_message", conversationId=place, content="x", authorParticipantId=part)
    assert error == Refusal("forbidden", f"'{other}' is deactivated.")
    assert (await owner.refused("send_message", conversationId=place, content="x", as_=other)) == Refusal(
        "forbidden", f"'{other}' is deactivated."
    )


async def test_system_messages_come_from_admins(swarm: Swarm, place: str) -> None:
    user, tools = await swarm.user("Pretender")
    await swarm.owner("add_participant", conversationId=place, kind="user", userId=user)
    error = await tools.refused("send_message", conversationId=place, content="x", kind="system")
    assert error == Refusal("forbidden", "Messages of kind 'system' come from the hub and from admins.")
    await swarm.owner("send_message", conversationId=place, content="x", kind="system")


# Pages.


async def fill(swarm: Swarm, place: str, count: int) -> list[str]:
    """Many messages in one request, as an import brings them."""
    (part,) = await swarm.owner.find("conversationParticipants", where={"conversationId": place})
    ids: list[str] = []

    async def insert(tx: Transaction) -> Message:
        rows = [
            tx.insert(
                Message,
                conversation_id=place,
                author_participant_id=part["_id"],
                kind="participant",
                status="sent",
                content=f"{number}",
            )
            for number in range(count)
        ]
        ids.extend(row.id for row in rows)
        return rows[-1]

    await swarm.service.engine.writer.run(insert)
    return ids


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_pages_go_back_in_time_without_gaps(swarm: Swarm, owner: Tools, place: str, limit: int) -> None:
    sent = [(await owner("send_message", conversationId=place, content=f"{n}"))["_id"] for n in range(15)]
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await owner("list_messages", conversationId=place, limit=limit, **cursor)
        pages.insert(0, [message["_id"] for message in page["messages"]])
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
        # What comes meanwhile belongs in front of the pages that were read.
        await owner("send_message", conversationId=place, content="new")
    assert [row for page_of in pages for row in page_of] == sent
    assert {len(page_of) for page_of in pages[1:]} <= {limit}


async def test_a_conversation_of_5000_messages(swarm: Swarm, owner: Tools, place: str) -> None:
    ids = await fill(swarm, place, 5_000)
    read: list[str] = []
    cursor: dict[str, str] = {}
    for number in range(25):
        page = await owner("list_messages", conversationId=place, limit=200, **cursor)
        read = [message["_id"] for message in page["messages"]] + read
        assert ("nextCursor" in page) == (number < 24)
        cursor = {"cursor": page.get("nextCursor", "")}
        if number % 8 == 0:
            await owner("delete", id=read[0])
            await owner("update", id=read[1], fields={"content": "edited"})
    assert read == ids
    assert (await owner("get", id=ids[0]))["status"] == "deleted"
    # 200 is the longest page, 50 the usual one.
    assert len((await owner("list_messages", conversationId=place))["messages"]) == 50
    error = await owner.refused("list_messages", conversationId=place, limit=201)
    assert error.text == "'limit' must be at most 200, not 201."


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "1e3", "٣", "9" * 19, " 1", "msg_1", "0x10"])
async def test_forged_cursors_are_refused(owner: Tools, place: str, cursor: str) -> None:
    error = await owner.refused("list_messages", conversationId=place, cursor=cursor)
    assert error == Refusal("invalid", "That cursor is not one of ours; pass nextCursor as it came.")


async def test_a_cursor_from_elsewhere_shows_nothing_of_elsewhere(owner: Tools, place: str) -> None:
    await owner("send_message", conversationId=place, content="x")
    for cursor in ("0", "1", "999999999999"):
        page = await owner("list_messages", conversationId=place, cursor=cursor)
        assert [message["content"] for message in page["messages"]] == (["x"] if cursor[0] == "9" else [])


async def test_limits_are_whole_numbers_of_at_least_one(owner: Tools, place: str) -> None:
    for wrong, text in [
        (0, "'limit' must be at least 1, not 0."),
        (-5, "'limit' must be at least 1, not -5."),
        (1.5, "'limit' must be a whole number, not 1.5."),
        ("many", "'limit' must be a whole number, not 'many'."),
    ]:
        assert (await owner.refused("list_messages", conversationId=place, limit=wrong)).text == text


async def test_authors_are_said_once_and_only_those_of_the_page(swarm: Swarm, owner: Tools, place: str) -> None:
    first, second = await agent(owner), await agent(owner)
    for member in (first, second):
        await owner("add_participant", conversationId=place, kind="agent", agentId=member)
        for _ in range(3):
            await owner("send_message", conversationId=place, content="x", as_=member)
    page = await owner("list_messages", conversationId=place, limit=3)
    assert [author["_id"] for author in page["authors"].values()] == [second]
    page = await owner("list_messages", conversationId=place, limit=4)
    assert {author["_id"] for author in page["authors"].values()} == {first, second}


async def test_a_conversation_of_an_imported_id(swarm: Swarm, owner: Tools) -> None:
    me = swarm.service.owner.id
    place = await swarm.insert(Conversation, title="Imported", created_by=me, row_id="Übung/1 #2")
    await swarm.insert(
        Participant,
        kind="user",
        conversation_id=place.id,
        user_id=me,
        status="active",
        is_removed=False,
        added_at=1,
    )
    sent = await owner("send_message", conversationId=place.id, content="x")
    assert (await owner("list_messages", conversationId=place.id))["messages"][0]["_id"] == sent["_id"]


async def test_a_page_that_was_read_before_shows_every_change(swarm: Swarm, owner: Tools, place: str) -> None:
    speaker = await agent(owner)
    await owner("add_participant", conversationId=place, kind="agent", agentId=speaker)
    author = (await participant(owner, place, speaker))["_id"]
    sent = await owner("send_message", conversationId=place, content="first words", **{"as": speaker})

    async def told() -> tuple[str, dict[str, Any]]:
        result = await owner.raw("list_messages", conversationId=place)
        again = await owner.raw("list_messages", conversationId=place)
        assert again.content == result.content
        assert again.structured_content == result.structured_content
        return said(result), result.structured_content or {}

    assert "first words" in (await told())[0]
    await owner("update", id=sent["_id"], fields={"content": "other words"})
    assert "other words" in (await told())[0]
    await owner("update", id=speaker, fields={"name": "Renamed"})
    text, data = await told()
    assert "Renamed" in text
    assert data["authors"][author]["name"] == "Renamed"
    await owner("update", id=place, fields={"title": "Another title"})
    assert (await told())[0].startswith("Another title")
    await owner("send_message", conversationId=place, content="one more")
    assert "one more" in (await told())[0]
    await owner("delete", id=sent["_id"])
    assert "other words" not in str(await told())
