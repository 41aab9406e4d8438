"""Typical mistakes of models, for every tool: what is unambiguous is accepted, of the rest is said what is right.

The first part is made from the declarations and so covers new tools; the second is a table of single cases.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic.alias_generators import to_snake

from server.binding import BOUND
from storage.row import by_name
from storage.tables import BY_NAME, TABLES
from tests.bad_inputs import Field, arguments_of, is_clear
from tests.clients import Swarm, Tools
from tests.one_of_each import creation, one_of_each, spares, working_calls

EACH = pytest.mark.parametrize("tool", list(BOUND))


@pytest.fixture(scope="module")
async def ids(shared: Swarm) -> dict[str, str]:
    """A row of each table, of the owner. Their names occur once."""
    made = await one_of_each(shared, shared.owner, shared.service.owner.id, "typical")
    return await spares(shared.owner, made, "typical")


def arguments(tool: str, ids: dict[str, str]) -> dict[str, Any]:
    """Arguments that work, of a fresh row where there is one of a kind only."""
    return dict(working_calls(ids)[tool])


def fields(tool: str) -> list[Field]:
    """What a tool takes."""
    tables = {creation(table, {}, "x").tool: table for table in TABLES}
    return arguments_of(tool, tables.get(tool))


async def refused(tools: Tools, tool: str, given: dict[str, Any]) -> str:
    """The text of an error that must come."""
    error = await tools.refused(tool, **given)
    assert is_clear(error.text), error.text
    return error.text


# Of every tool.


@EACH
async def test_it_works_without_mistakes_and_null_is_the_same_as_nothing(
    shared: Swarm, ids: dict[str, str], tool: str
) -> None:
    given = arguments(tool, ids)
    nothing = {field.name: None for field in fields(tool) if not field.required and field.name not in given}
    if tool == "create_user":
        given["email"] = "once@example.org"
    if tool == "unfollow":
        await shared.owner("follow", followeeId=given["followeeId"])
    if tool == "delete":
        again = await shared.owner("react", messageId=ids["conversationMessages"], type="to be deleted")
        given["id"] = again["_id"]
    assert await shared.owner(tool, **given, **nothing) != {}


@EACH
async def test_snake_case_names(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        snake = to_snake(field.name)
        if snake != field.name:
            given = {name: value for name, value in arguments(tool, ids).items() if name != field.name}
            text = await refused(shared.owner, tool, {**given, snake: "x"})
            assert text == f"Unknown argument '{snake}': did you mean '{field.name}'?"


@EACH
async def test_unknown_arguments(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    text = await refused(shared.owner, tool, {**arguments(tool, ids), "zzzzzz": 1})
    assert text == f"Unknown argument 'zzzzzz'. Known: {', '.join(field.name for field in fields(tool))}."


@EACH
async def test_missing_arguments(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        if field.required:
            given = {name: value for name, value in arguments(tool, ids).items() if name != field.name}
            assert await refused(shared.owner, tool, given) == f"Missing argument '{field.name}'."
            text = await refused(shared.owner, tool, {**given, field.name: None})
            assert text.startswith(f"'{field.name}'")


@EACH
async def test_numbers_and_empty_texts_where_a_text_is_needed(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        if field.plain.get("type") == "string" and "enum" not in field.plain and not field.is_time:
            given = arguments(tool, ids)
            text = await refused(shared.owner, tool, {**given, field.name: 5})
            assert text == f"'{field.name}' must be a text, not 5."
            text = await refused(shared.owner, tool, {**given, field.name: ""})
            assert text in (f"'{field.name}' must not be empty.",
                            f"'{field.name}' must be an address like ana@example.org, not ''.")  # fmt: skip


@EACH
async def test_unknown_literals(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        if "enum" in field.plain:
            text = await refused(shared.owner, tool, {**arguments(tool, ids), field.name: "whatever"})
            assert text.startswith(f"'{field.name}' must be ")
            assert all(f"'{one}'" in text for one in field.plain["enum"])


@EACH
async def test_numbers_that_are_texts(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        kind = field.plain.get("type")
        if kind in ("integer", "number"):
            low = field.plain.get("minimum", 1)
            await shared.owner(tool, **{**arguments(tool, ids), field.name: str(low) if tool != "update" else "999999"})
            text = await refused(shared.owner, tool, {**arguments(tool, ids), field.name: "many"})
            assert text == f"'{field.name}' must be a {'whole ' if kind == 'integer' else ''}number, not 'many'."


@EACH
async def test_times_are_iso_or_milliseconds(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    times = [field for field in fields(tool) if field.is_time]
    for value in ("2026-12-01T10:00:00Z", "2026-12-01T11:00:00+01:00", 1_796_119_200_000, "1796119200000"):
        if times:
            row = await shared.owner(tool, **arguments(tool, ids) | {field.name: value for field in times})
            for field in times:
                assert row.get(field.name, 1_796_119_200_000) == 1_796_119_200_000
    for field in times:
        text = await refused(shared.owner, tool, {**arguments(tool, ids), field.name: "tomorrow"})
        assert text == f"'{field.name}': a time is ISO 8601 or epoch milliseconds."


@EACH
async def test_ids_of_another_table(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        if field.refers and field.name != "as":
            wrong = ids["tags"]
            value = [wrong] if field.plain.get("type") == "array" else wrong
            text = await refused(shared.owner, tool, _situation(tool, field, ids) | {field.name: value})
            assert text.startswith(f"'{wrong}' is an id of tags; "), (field.name, text)
            assert _says_what(text, field), (field.name, text)


def _situation(tool: str, field: Field, ids: dict[str, str]) -> dict[str, Any]:
    """Arguments with which a field is looked at."""
    given = arguments(tool, ids)
    if (tool, field.name) == ("add_participant", "userId"):
        return {"conversationId": given["conversationId"], "kind": "user"}
    return given


def _says_what(text: str, field: Field) -> bool:
    words = {"users": "user", "agents": "agent", "conversations": "conversation"}
    return any(table in text or words.get(table, table) in text for table in field.refers)


@EACH
async def test_a_name_in_place_of_an_id(shared: Swarm, ids: dict[str, str], tool: str) -> None:
    for field in fields(tool):
        for table in field.refers:
            label = next((one for one in ("name", "title") if one in by_name(BY_NAME[table])), None)
            if label is None or (tool, field.name, table) in OTHERWISE:
                continue
            row = await shared.owner("get", id=ids[table])
            value = [row[label]] if field.plain.get("type") == "array" else row[label]
            text = await refused(shared.owner, tool, _situation(tool, field, ids) | {field.name: value})
            assert f"Did you mean '{row['_id']}' ({row[label]})?" in text, (field.name, text)


OTHERWISE = {("attach_prompt", "ownerId", "agents")}
"""Its ownerType is a group here."""


# Single cases. $table stands for the id of a row, name:table for what it is called.


CASES: list[tuple[str, dict[str, Any], str | None]] = [
    # tool, arguments, the error (None: accepted)
    ("get", {"id": "name:agents"}, "No row 'Agent typical'. Did you mean '$agents' (Agent typical)?"),
    ("get", {"id": "name:users"}, "No row 'User typical'. Did you mean '$users' (User typical)?"),
    ("get", {"id": "title:conversations"}, "No row 'Plan typical'. Did you mean '$conversations' (Plan typical)?"),
    ("update", {"id": "name:tools", "fields": {"name": "x"}}, "Did you mean '$tools' (Tool typical)?"),
    ("delete", {"id": "title:events"}, "Did you mean '$events' (Event typical)?"),
    ("update", {"id": "$agents", "fields": {"system_prompt": "x"}},
     "agents has no field 'system_prompt'. Did you mean 'systemPrompt'? What can change: "),
    ("update", {"id": "$agents", "fields": {"id": "x"}}, "agents has no field 'id'. What can change: name, "),
    ("update", {"id": "$agents", "fields": "goal"}, "'fields' must be an object, not 'goal'."),
    ("update", {"id": "$agents", "fields": {}}, "fields is empty; name at least one field and its new value."),
    ("update", {"id": "$agents", "goal": "x"}, "Unknown argument 'goal'. Known: id, fields, "),
    ("find", {"table": "agent"}, "There is no table 'agent'. Did you mean 'agents'? Tables: users, agents, "),
    ("find", {"table": "messages"}, "There is no table 'messages'. Did you mean 'conversationMessages'?"),
    ("find", {"table": "agents", "where": {"created_by": "user_1"}},
     "agents has no field 'created_by'. Did you mean 'createdBy'? Its fields: "),
    ("find", {"table": "agents", "where": {"kind": "bot"}}, "kind is one of 'system_agent', 'user_agent', not 'bot'."),
    ("find", {"table": "agents", "order": "created_at"}, "agents has no field 'created_at'. Did you mean 'createdAt'?"),
    ("find", {"table": "agents", "where": {"name": {"like": "x"}}}, "name: unknown operator 'like'. Operators: eq, "),
    ("find", {"table": "agents", "where": {"tags": "x"}}, 'tags is a list; use {"has": ...} for one of its items.'),
    ("find", {"table": "events", "where": {"startTime": {"gte": "2026-01-01"}}}, None),
    ("find", {"table": "events", "where": {"startTime": {"gte": 0}}}, None),
    ("render_prompt", {"promptId": "title:prompts"}, "Did you mean '$prompts' (Prompt typical)?"),
    ("render_prompt", {"promptId": "$prompts"}, "Prompt '$prompts' (Prompt typical) needs values for: topic."),
    ("render_prompt", {"promptId": "$agents"}, "'$agents' is an id of agents; here an id of prompts is needed"),
    ("render_prompt", {"promptId": "$prompts", "values": {"topic": 5}}, None),
    ("hand_over", {"to": "name:agents", "task": "t"}, "Did you mean '$agents' (Agent typical)?"),
    ("hand_over", {"to": "$users", "task": "t"}, "'$users' is an id of users; here an id of agents is needed"),
    ("wait_for_messages", {"after": "$agents", "timeoutSeconds": 0},
     "'$agents' is an id of agents; here an id of conversationMessages is needed"),
    ("wait_for_messages", {"timeoutSeconds": 60}, "'timeoutSeconds' must be at most 25, not 60."),
    ("attach_prompt", {"promptId": "$prompts", "ownerType": "agent", "ownerId": "name:agents"},
     "Did you mean '$agents' (Agent typical)?"),
    ("attach_prompt", {"promptId": "$prompts", "ownerType": "group", "ownerId": "$agents"},
     "'$agents' is an id of agents; a group is a conversation or a groupId."),
    ("add_participant", {"conversationId": "$conversations", "kind": "user", "userId": "$agents"},
     "'$agents' is an agent, kind says user."),
    ("add_participant", {"conversationId": "$conversations", "kind": "agent", "userId": "$users"},
     "With kind 'agent' give agentId and no other id."),
    ("create_conversation", {"title": "t", "participants": "$agents"}, "'participants' must be a list, not '$agents'."),
    ("create_event", {"title": "t", "startTime": "2026-12-02T10:00", "endTime": "2026-12-01T10:00"},
     "endTime is before startTime."),
    ("create_reminder", {"message": "m", "remindAt": "in 5 minutes"},
     "'remindAt': a time is ISO 8601 or epoch milliseconds."),
    ("add_knowledge", {"ownerType": "user", "ownerId": "$agents", "content": "x"}, "'$agents' is an agent, not user."),
    ("add_knowledge", {"ownerType": "agent", "ownerId": "$agents", "content": "x", "sources": ["title:conversations"]},
     "Did you mean '$conversations' (Plan typical)?"),
    ("search", {"query": "x", "in": "conversationMessages"}, "'in' must be 'all', 'messages' or 'knowledge', not "),
    ("search", {"query": "x", "authorId": "name:users"}, "Did you mean '$users' (User typical)?"),
    ("list_messages", {"conversationId": "$conversations", "limit": "10"}, None),
    ("list_messages", {"conversationId": "$conversations", "limit": 1_000}, "'limit' must be at most 200, not 1000."),
    ("list_messages", {"conversationId": "$conversations", "as": "name:agents"},
     "Did you mean '$agents' (Agent typical)?"),
    ("inbox", {"as": "$users"}, "'as' takes an agent of yours; '$users' is a user."),
    ("create_user", {"name": "x", "email": "nobody"}, "'email' must be an address like ana@example.org, not 'nobody'."),
    ("create_prompt", {"title": "t", "template": "t", "step": "hook"}, "'step' must be 'Foundation', 'Hook', "),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "given", "text"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
async def test_single_cases(
    shared: Swarm, ids: dict[str, str], tool: str, given: dict[str, Any], text: str | None
) -> None:
    async def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [await filled(one) for one in value]
        if isinstance(value, str) and value[:1] == "$":
            return ids[value[1:]]
        if isinstance(value, str) and value.partition(":")[2] in BY_NAME:
            label, _, table = value.partition(":")
            return (await shared.owner("get", id=ids[table]))[label]
        return value

    arguments = {name: await filled(value) for name, value in given.items()}
    if text is None:
        await shared.owner(tool, **arguments)
        return
    for table in sorted(BY_NAME, key=len, reverse=True):
        text = text.replace(f"${table}", ids[table])
    assert text in await refused(shared.owner, tool, arguments)


async def test_of_several_with_one_name_all_are_listed(shared: Swarm) -> None:
    twins = [(await shared.owner("create_conversation", title="Twins"))["_id"] for _ in range(2)]
    error = await shared.owner.refused("list_messages", conversationId="Twins")
    assert f"Several are called so: {twins[1]}, {twins[0]}." in error.text
