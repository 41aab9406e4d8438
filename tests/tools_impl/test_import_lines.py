"""Which lines an import refuses, and that a refused one leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from server.import_command import ImportCommand
from tests.clients import Swarm
from tests.imports import (
    AGENT,
    CONVERSATION,
    MEMBER,
    MESSAGE,
    T0,
    USER,
    Line,
    check,
    load,
)

pytestmark = pytest.mark.anyio


# -- what is refused -------------------------------------------------------------------------------------------------

K: dict[str, Any] = {"table": "knowledge", "ownerType": "user", "ownerId": "u-ann", "content": "x"}
REFUSED: tuple[tuple[Line, str], ...] = (
    ("{not json", "This is not JSON in UTF-8"),
    ("[1]", "A line is a JSON object"),
    ('{"table": "users", "name": "\ud800", "email": "a@b"}', "This is not JSON in UTF-8"),
    ('{"table": "users", "name": "\\ud800", "email": "a@b"}', "This is not JSON in UTF-8"),
    ("[" * 300 + "]" * 300, "This is not JSON in UTF-8"),
    ({"name": "x"}, "The field 'table' is missing. It names one of: users,"),
    ({**MESSAGE, "table": "messages"}, "Unknown table 'messages'"),
    ({**MESSAGE, "table": "conversationmessages"}, "did you mean 'conversationMessages'?"),
    ({"table": "authAccounts", "userId": "u-ann"}, "'authAccounts' belongs to signing in; it is not imported."),
    ({"table": "accessTokens", "hash": "x"}, "'accessTokens' belongs to signing in"),
    ({**MESSAGE, "conversation_id": "c-launch"}, "Unknown field 'conversation_id': did you mean 'conversationId'?"),
    ({**MESSAGE, "seq": 5}, "Unknown field 'seq'"),
    ({**MESSAGE, "rev": 5}, "Unknown field 'rev'"),
    ({**MESSAGE, "id": "m1"}, "Unknown field 'id'"),
    ({name: value for name, value in MESSAGE.items() if name != "content"}, "Missing field 'content'."),
    ({**MESSAGE, "content": 5}, "'content' must be a text, not 5."),
    ({**MESSAGE, "content": None}, "'content' must be a text, not null."),
    ({**MESSAGE, "content": "x" * 100_001}, "'content' has 100,001 characters; at most 100,000 are possible."),
    ({**MESSAGE, "kind": "user"}, "'kind' must be 'participant' or 'system', not 'user'."),
    ({**MESSAGE, "step": "hook"}, "'step' must be 'Foundation'"),
    ({**MESSAGE, "tags": "red"}, "'tags' must be a list"),
    ({**MESSAGE, "tags": ["red", ""]}, "'tags' has at most 100 names of 1 to 100 characters."),
    ({**MESSAGE, "vector": [1e300]}, "single precision"),
    ({**MESSAGE, "vector": ["1"]}, "'vector.0' must be a number"),
    ('{"table": "conversationMessages", "meta": 1e999}', "Missing field"),
    ({**MESSAGE, "_id": 5}, "'_id' must be a text of 1 to 200 characters."),
    ({**MESSAGE, "_id": ""}, "'_id' must be a text of 1 to 200 characters."),
    ({**MESSAGE, "_id": "x" * 201}, "'_id' must be a text of 1 to 200 characters."),
    ({**MESSAGE, "_id": "conv_7"}, "'conv_7' has the form of an id of conversations; an id of conversationMessages"),
    ({**MESSAGE, "_id": "msg_9999999999999999"}, "The number in 'msg_9999999999999999' is too large."),
    ({**MESSAGE, "_id": "u-ann"}, "The id 'u-ann' is one of users; ids are unique over all tables."),
    ({**MESSAGE, "createdAt": "2023-11-14T22:13:20"}, "'createdAt': add an offset to the time, such as '2023-11-14T22"),
    ({**MESSAGE, "createdAt": "yesterday"}, "'createdAt' must be epoch milliseconds or an ISO 8601 time"),
    ({**MESSAGE, "createdAt": True}, "'createdAt' must be epoch milliseconds or an ISO 8601 time"),
    ({**MESSAGE, "createdAt": 10**15}, "between the years 1 and 9999"),
    ({**MESSAGE, "createdAt": 4_000_000_000_000}, "'createdAt' lies in the future."),
    ({**MESSAGE, "conversationId": "c-2"}, "'conversationId': no row 'c-2' in conversations."),
    ({**MESSAGE, "conversationId": "u-ann"}, "'conversationId': 'u-ann' is an id of users; one of conversations is"),
    ({**MESSAGE, "conversationId": "user_1"}, "'conversationId': 'user_1' is an id of users; one of conversations is"),
    ({**MESSAGE, "authorParticipantId": "m-2"}, "'authorParticipantId': no row 'm-2' in conversationParticipants."),
    ({**MEMBER, "_id": "m-2", "isRemoved": "no"}, "'isRemoved' must be true or false, not 'no'."),
    ({**MEMBER, "_id": "m-2", "agentId": "a-scout"}, "a participant of kind 'user' has userId and no other id"),
    ({**MEMBER, "_id": "m-2", "lastReadSeq": 2**70}, "'lastReadSeq'"),
    ({**USER, "_id": "u-2", "email": "nobody"}, "'email' must be an address like ana@example.org, not 'nobody'."),
    ({**USER, "name": "Anne"}, "'u-ann' exists with another name."),
    ({**USER, "image": "x.png"}, "'u-ann' exists with another image."),
    ({**AGENT, "tools": ["t-web"]}, "'a-scout' exists with another tools."),
    ({**AGENT, "_id": "a-2", "tools": ["t-none"]}, "'tools': no row 't-none' in tools."),
    ({**AGENT, "_id": "a-2", "delegatesTo": ["a-2"]}, "'delegatesTo': no row 'a-2' in agents."),
    ({"table": "tags", "name": ""}, "'name' must have 1 to 100 characters."),
    ({**K, "ownerType": "agent"}, "'u-ann' is a row of users, but 'ownerType' says 'agent'."),
    ({**K, "sources": ["nothing"]}, "'sources': there is no row 'nothing'."),
    ({**K, "supersedes": "k-none"}, "'supersedes': no row 'k-none' in knowledge."),
    (
        {"table": "follows", "followerId": "u-ann", "followeeId": "a-scout", "kind": "user"},
        "is a row of agents, but 'kind'",
    ),
    (
        {"table": "follows", "followerId": "t-web", "followeeId": "a-scout", "kind": "user"},
        "one of users or agents is needed",
    ),
    ({"table": "reminders", "message": "x", "remindAt": T0}, "A row of reminders has either 'userId' or 'agentId'."),
    (
        {"table": "reminders", "message": "x", "remindAt": T0, "userId": "u-ann", "agentId": "a-scout"},
        "A row of reminders has either 'userId' or 'agentId'.",
    ),
    ({"table": "attachments", "ownerType": "agent", "ownerId": "c-launch", "promptId": "p-hook"}, "'ownerType' says"),
    ({"table": "attachments", "ownerType": "group", "ownerId": "conv_999", "promptId": "p-hook"}, "no row 'conv_999'"),
)


@pytest.mark.parametrize(("line", "reason"), REFUSED, ids=[reason[:40] for _, reason in REFUSED])
async def test_a_refused_line_says_why_and_leaves_nothing(filled: Swarm, line: Line, reason: str) -> None:
    if isinstance(line, dict) and "tags" not in line and line.get("table") in ("conversationMessages", "knowledge"):
        line = {**line, "tags": ["only-here"]}
    before = await check(filled)
    outcome = await load(filled, "", line, "  ")
    assert reason in outcome.refused[2]
    assert (outcome.added, outcome.present, len(outcome.refused)) == (0, 0, 1)
    assert await check(filled) == before
    assert filled.failures == []


async def test_bad_lines_do_not_hurt_the_others(filled: Swarm) -> None:
    bad = {**MESSAGE, "content": "bad", "conversationId": "c-none", "tags": ["bad"]}
    lines = [{**MESSAGE, "content": str(number), "tags": ["good"]} if number % 3 else bad for number in range(30)]
    outcome = await load(filled, *lines, batch=4)
    assert (outcome.added, sorted(outcome.refused)) == (20, [number + 1 for number in range(0, 30, 3)])
    stored = await check(filled)
    assert len(stored["conversationMessages"]) == 20
    assert [row["name"] for row in stored["tags"].values()] == ["good"]


async def test_what_a_row_refers_to_comes_before_it(swarm: Swarm) -> None:
    outcome = await load(swarm, USER, {**MESSAGE, "_id": "x"}, CONVERSATION, MEMBER, {**MESSAGE, "_id": "y"})
    assert list(outcome.refused) == [2]
    assert (await load(swarm, {**MESSAGE, "_id": "x"})).added == 1


async def test_an_author_of_another_conversation_is_refused(filled: Swarm) -> None:
    other = {**CONVERSATION, "_id": "c-2"}
    comment = {"table": "comments", "messageId": "msg-2", "authorParticipantId": "m-ann", "content": "?"}
    outcome = await load(
        filled,
        other,
        {**MESSAGE, "conversationId": "c-2"},
        {**MEMBER, "_id": "m-2", "conversationId": "c-2"},
        {**MESSAGE, "_id": "msg-2", "conversationId": "c-2", "authorParticipantId": "m-2"},
        comment,
        {**comment, "authorParticipantId": "m-2"},
    )
    assert outcome.refused == dict.fromkeys((2, 5), "'m-ann' is a participant of 'c-launch', not of 'c-2'.")


async def test_what_changed_since_is_not_changed_back(filled: Swarm) -> None:
    line = {**MESSAGE, "_id": "msg-1"}
    await load(filled, line)
    await filled.owner("update", id="msg-1", fields={"content": "Edited"})
    outcome = await load(filled, line)
    assert outcome.refused == {1: "'msg-1' exists with another content. What is stored stays as it is."}
    await filled.owner("delete", id="msg-1")
    assert "exists with another" in (await load(filled, line)).refused[1]
    assert (await filled.owner("get", id="msg-1"))["status"] == "deleted"


async def test_what_was_deleted_is_no_reference_any_more(filled: Swarm) -> None:
    command = ImportCommand(filled.service)
    assert (await load(filled, MESSAGE, command=command)).added == 1
    await filled.owner("delete", id="c-launch")
    outcome = await load(filled, {**MESSAGE, "content": "late"}, command=command)
    assert "no row 'c-launch' in conversations" in outcome.refused[1]
    await check(filled)
