"""Every pair of a caller and a row that is hidden from them: to them it is as good as missing, whichever way they look.

Somebody has one row of each table, with a marker in each text that is private. Strangers call everything with the ids
of these rows, and with ids that no row has: the answers are the same, and neither marker nor id is in any.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from server.binding import BOUND
from server.resources import FIXED, TEMPLATES
from storage.row import by_name, columns
from storage.store import table_of
from storage.tables import BY_NAME, TABLES
from tests.bad_inputs import arguments_of, changeable
from tests.clients import Swarm
from tests.hashed_words import DIMS, HashedWords
from tests.listening import subscribe
from tests.one_of_each import OPEN_TABLES, creation, working_calls
from tests.strangers import CALLERS, MARKER, World, answer, filled, made, without
from tools_impl.builtin_prompts import BUILT_IN

pytestmark = pytest.mark.slow

CALLER = pytest.mark.parametrize("caller", CALLERS)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.service.open_embedder", lambda *_: HashedWords())
        async with Swarm(tmp_path_factory.mktemp("hidden") / "data") as swarm:
            yield await filled(swarm)


# With the ids of what is hidden.


ARGUMENTS_OF = {"to": "agents", "promptId": "prompts", "after": "conversationMessages"}
"""What the arguments take whose declaration does not say it; those not here take any row."""


def id_calls(own: dict[str, str], row_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every tool with `row_id` for each of its arguments that may be an id of such a row."""
    kind = table_of(row_id)
    assert kind is not None
    working = working_calls(own, dims=DIMS)
    assert set(working) == set(BOUND)
    tables = {creation(table, own, "x").tool: table for table in TABLES}
    for tool, arguments in working.items():
        for field in arguments_of(tool, tables.get(tool)):
            takes = field.refers or (ARGUMENTS_OF.get(field.name, kind.table),)
            if field.is_id and kind.table in takes:
                value: Any = [row_id] if field.plain.get("type") == "array" else row_id
                yield tool, {**arguments, field.name: value}
    for name, table in (("conversation", "conversations"), ("agent", "agents")):
        for prompt, built_in in BUILT_IN.items():
            if name in built_in.arguments and kind.table == table:
                values = dict.fromkeys(built_in.needed, "t") | {name: row_id}
                yield "render_prompt", {"promptId": prompt, "values": values}
    yield "list_messages", {"conversationId": row_id}
    yield "add_participant", {"conversationId": row_id, "kind": "user", "userId": own["me"]}
    for owner in ("agent", "group"):
        yield "attach_prompt", {"promptId": own["prompts"], "ownerType": owner, "ownerId": row_id}
    for change in ({"content": "x"}, {"noSuchField": 1}, {}):
        yield "update", {"id": row_id, "fields": change, "ifSeq": 1}
    # Rows of the stranger's own that would refer to it.
    for mine in TABLES:
        for field in changeable(mine):
            if kind.table in field.refers or field.any_row:
                value = [row_id] if field.plain.get("type") == "array" else row_id
                yield "update", {"id": own[mine.table], "fields": {field.name: value}}


async def test_every_table_that_hides_rows_is_tested(world: World) -> None:
    assert {name for name in world.hidden if name in BY_NAME} == set(BY_NAME) - set(OPEN_TABLES)


@CALLER
async def test_no_tool_tells_a_hidden_row_from_a_missing_one(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for name, hidden in world.hidden.items():
        missing = world.missing[name]
        pairs = zip(id_calls(stranger.own, hidden), id_calls(stranger.own, missing), strict=True)
        for (tool, given), (_, invented) in pairs:
            before = world.swarm.service.engine.writer.next_seq
            of_hidden = without(await answer(stranger, tool, **given), hidden)
            of_missing = without(await answer(stranger, tool, **invented), missing)
            if tool == "inbox":
                of_hidden, of_missing = (re.sub(r"now\D+\d+", "", text) for text in (of_hidden, of_missing))
            assert of_hidden == of_missing, (tool, given)
            world.check(of_hidden)
            assert world.swarm.service.engine.writer.next_seq == before, (tool, given)
    # Nothing of it has changed.
    for row_id in world.hidden.values():
        assert (await world.swarm.owner("get", id=row_id))["_id"] == row_id


@CALLER
async def test_no_resource_tells_a_hidden_row_from_a_missing_one(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for template in TEMPLATES:
        for name, hidden in world.hidden.items():
            missing = world.missing[name]
            texts = []
            for row_id in (hidden, missing):
                uri = template.uri.replace("{id}", row_id)
                told = [await _error(stranger.tools.read(uri)), await _error(stranger.later.read(uri))]
                told.append(await _error(subscribe(stranger.tools.client, uri)))
                texts.append(without(json.dumps(told), row_id))
            assert texts[0] == texts[1]
            world.check(texts[0])
            await _listens_to_nothing(stranger.later.client, template.uri.replace("{id}", hidden))


async def _error(reading: Any) -> list[Any]:
    try:
        said = await reading
    except MCPError as error:
        return [error.error.code, error.message, error.error.data]
    raise AssertionError(f"answered: {said}")


async def _listens_to_nothing(client: Client, uri: str) -> None:
    async with client.listen(resource_subscriptions=[uri]) as stream:
        assert not stream.honored.resource_subscriptions


@CALLER
async def test_no_prompt_tells_a_hidden_row_from_a_missing_one(world: World, caller: str) -> None:
    client = world.strangers[caller].tools.client
    for prompt, built_in in BUILT_IN.items():
        for argument in ("conversation", "agent"):
            if argument not in built_in.arguments:
                continue
            for name, hidden in world.hidden.items():
                missing, texts = world.missing[name], []
                for row_id in (hidden, missing):
                    values = dict.fromkeys(built_in.needed, "t") | {argument: row_id}
                    told = await _error(client.get_prompt(prompt, values))
                    texts.append(without(json.dumps(told), row_id))
                assert texts[0] == texts[1]
                world.check(texts[0])


# Without naming it.


@CALLER
@pytest.mark.parametrize("table", TABLES, ids=list(BY_NAME))
async def test_nothing_hidden_is_found(world: World, caller: str, table: Any) -> None:
    stranger = world.strangers[caller]
    for column in columns(table):
        ordered = column.sql != "JSON" and not column.sql.endswith("[]")
        # How what is found is ordered is the same for all; who asks changes what is found.
        if ordered and (table.table, column.name) not in PRIVATE and (caller == CALLERS[0] or column.name == "seq"):
            world.check(await answer(stranger, "find", table=table.table, order=column.name, limit=200))
    for name, row_id in world.hidden.items():
        row = await world.swarm.owner("get", id=row_id)
        if not row_id.startswith(f"{table.prefix}_"):
            continue
        seen = {"table": table.table, "where": {"_id": row_id}}
        assert (await stranger.tools("find", **seen))[table.table] == [], name
        for field, value in row.items():
            named = by_name(table).get(field)
            if named is None or named.sql in ("JSON", "FLOAT[]") or not value:
                continue
            conditions = [{"has": value[0]}] if named.sql == "VARCHAR[]" else [value, {"gte": value}]
            if named.sql == "BOOLEAN":
                conditions = [value]
            for condition in conditions:
                text = await answer(stranger, "find", table=table.table, where={field: condition}, limit=200)
                assert '"error"' not in text
                world.check(text)


PRIVATE = {("users", name) for name in ("email", "emailVerificationTime", "phone", "phoneVerificationTime")}


@CALLER
async def test_pages_end_where_what_is_seen_ends(world: World, caller: str) -> None:
    """A cursor at a hidden row, or a page filled with hidden ones, would tell of them."""
    stranger = world.strangers[caller]
    for table in TABLES:
        every = (await stranger.tools("find", table=table.table, limit=200))[table.table]
        single: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await stranger.tools("find", table=table.table, limit=1, **cursor)
            single += page[table.table]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
            assert len(page[table.table]) == 1
        assert single == every


@CALLER
async def test_search_finds_nothing_hidden(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    texts = (MARKER, f"Said Known {MARKER}", "Mine")
    for mode in ("hybrid", "text", "vector"):
        for where in ("all", "messages", "knowledge"):
            for text in texts:
                asked = {"query": text, "mode": mode, "in": where, "limit": 200}
                found = await answer(stranger, "search", **asked)
                assert json.loads(found)[1]["mode"] == mode
                world.check(found)
        for more in ({"tags": ["tag open"]}, {"step": "Gift"}, {"after": 0}, {"recencyDays": 1.0}):
            world.check(await answer(stranger, "search", query=MARKER, mode=mode, **more))
    # It is there for who may see it.
    assert (await world.insider("search", query=MARKER, mode="text"))["results"]


@CALLER
async def test_nothing_hidden_arrives(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for tool, arguments in (
        ("inbox", {"limit": 200}),
        ("feed", {"limit": 200}),
        ("wait_for_messages", {"timeoutSeconds": 0}),
        ("wait_for_messages", {"timeoutSeconds": 0, "after": "0"}),
        ("search_knowledge_by_tag", {"tag": "tag open", "limit": 200}),
        ("render_prompt", {"promptId": "infer_insights", "values": {"topic": "Said Known"}}),
        ("render_prompt", {"promptId": "infer_insights", "values": {"tag": "tag open"}}),
    ):
        text = await answer(stranger, tool, **arguments)
        assert json.loads(text)[0] is False, text
        world.check(text)


@CALLER
async def test_followers_hear_of_public_deeds_only(world: World, caller: str) -> None:
    """Following the insider shows nothing of what they do where one may not look."""
    stranger, insider = world.strangers[caller], world.insider
    me = (await insider.find("users", where={"name": "Insider"}))[0]["_id"]
    await stranger.tools("follow", followeeId=me)
    text = await answer(stranger, "feed", limit=200)
    assert json.loads(text)[0] is False, text
    world.check(text)
    await stranger.tools("unfollow", followeeId=me)


@CALLER
async def test_what_is_open_does_not_show_what_uses_it(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for table in OPEN_TABLES:
        rows = (await stranger.tools("find", table=table, limit=200))[table]
        for row in rows:
            world.check(await answer(stranger, "get", id=row["_id"]))
            world.check(await answer(stranger, "update", id=row["_id"], fields={"noSuchField": 1}))
    for user in await stranger.tools.find("users", limit=200):
        assert "email" not in user or user["_id"] == stranger.own["me"]


@CALLER
async def test_a_tool_or_prompt_in_hidden_use_says_no_more_than_that(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    tool = await made(stranger.tools, "create_tool", name="Lent", description="d")
    prompt = await made(stranger.tools, "create_prompt", title="Lent", template="t", step="Hook")
    await world.insider("grant_tool", agentId=world.hidden["agents"], toolId=tool)
    await world.insider("attach_prompt", ownerType="agent", ownerId=world.hidden["agents"], promptId=prompt)
    for row_id in (tool, prompt):
        text = await answer(stranger, "delete", id=row_id)
        assert "is in use by others" in text
        world.check(text)
        world.check(await answer(stranger, "get", id=row_id))
    await world.insider("update", id=world.hidden["agents"], fields={"tools": [], "attachedPrompts": []})


@CALLER
async def test_lists_and_completions_offer_nothing_hidden(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for tools in (stranger.tools, stranger.later):
        for declared in FIXED:
            world.check(await tools.read(declared.uri))
        cursor = None
        while True:
            page = await tools.client.list_resources(cursor=cursor)
            world.check(str(page.resources))
            cursor = page.next_cursor
            if cursor is None:
                break
        world.check(str(await tools.client.list_prompts()))
    typed = {"", MARKER, *(row_id.rpartition("_")[0] for row_id in world.hidden.values())}
    references: list[tuple[Any, str]] = [
        *((types.ResourceTemplateReference(type="ref/resource", uri=one.uri), "id") for one in TEMPLATES),
        *(
            (types.PromptReference(type="ref/prompt", name=name), argument)
            for name, built_in in BUILT_IN.items()
            for argument in built_in.arguments
        ),
    ]
    for reference, argument in references:
        for text in typed:
            result = await stranger.tools.client.complete(reference, {"name": argument, "value": text})
            world.check(str(result.completion.values))
            assert result.completion.total == len(result.completion.values)


@CALLER
@pytest.mark.parametrize("word", ["Plan {}", "Agent {}", "{}", "{}@example.org", "group {}"])
async def test_no_suggestion_names_what_is_hidden(world: World, caller: str, word: str) -> None:
    stranger, word = world.strangers[caller], word.format(MARKER)
    asked: list[tuple[str, dict[str, Any]]] = [
        ("get", {"id": word}),
        ("delete", {"id": word}),
        ("list_messages", {"conversationId": word}),
        ("list_messages", {"conversationId": stranger.own["conversations"], "as": word}),
        ("react", {"messageId": word}),
        ("follow", {"followeeId": word}),
        ("unfollow", {"followeeId": word}),
        ("hand_over", {"to": word, "task": "t"}),
        ("create_conversation", {"title": "t", "participants": [word]}),
        ("attach_prompt", {"promptId": stranger.own["prompts"], "ownerType": "group", "ownerId": word}),
        ("search", {"query": "x", "authorId": word}),
        ("search", {"query": "x", "ownerId": word}),
        ("add_knowledge", {**working_calls(stranger.own, dims=DIMS)["add_knowledge"], "supersedes": word}),
        ("render_prompt", {"promptId": "catch_up", "values": {"conversation": word}}),
        ("render_prompt", {"promptId": "act_as_agent", "values": {"agent": word}}),
    ]
    for tool, given in asked:
        world.check((await answer(stranger, tool, **given)).replace(word, ""))
    told = (await world.insider.refused("list_messages", conversationId=f"Plan {MARKER}")).text
    assert f"Did you mean '{world.hidden['conversations']}'" in told


@CALLER
async def test_emails_are_not_told(world: World, caller: str) -> None:
    stranger = world.strangers[caller]
    for where in ({"email": world.emails[0]}, {"email": {"contains": MARKER[:4]}}, {"email": {"exists": True}}):
        text = await answer(stranger, "find", table="users", where=where)
        assert '"forbidden"' in text
        world.check(text.replace(world.emails[0], ""))
    for order in ("email", "-email"):
        assert '"forbidden"' in await answer(stranger, "find", table="users", order=order)
    forbidden = await answer(stranger, "create_user", name="x", email=world.emails[0])
    free = await answer(stranger, "create_user", name="x", email="nobody@example.org")
    assert forbidden == free
