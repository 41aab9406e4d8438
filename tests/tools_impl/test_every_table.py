"""What holds for each of the 16 tables: create, get, find, update, delete, and bad input for every field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

import pytest

from storage.row import Column, Row, by_name, columns
from storage.tables import BY_NAME, TABLES
from tests.bad_inputs import Bad, Field, arguments_of, bad_values, changeable, is_clear
from tests.clients import Swarm, Tools
from tests.one_of_each import creation, one_of_each, spares
from tools_impl.rows import ALWAYS_IMMUTABLE, IMMUTABLE

EACH = pytest.mark.parametrize("table", TABLES, ids=list(BY_NAME))


@dataclass
class World:
    """Two rows of each table."""

    swarm: Swarm
    first: dict[str, str]
    second: dict[str, str]

    @property
    def tools(self) -> Tools:
        return self.swarm.owner

    @property
    def seq(self) -> int:
        """What grows with each row that is written."""
        return self.swarm.service.engine.writer.next_seq


@pytest.fixture(scope="module")
async def world(shared: Swarm) -> World:
    owner = shared.owner
    first = await one_of_each(shared, owner, shared.service.owner.id, "one")
    ids, second = await spares(owner, first, "two"), {}
    for table in TABLES:
        call = creation(table, ids, "two")
        second[table.table] = (await owner(call.tool, **call.arguments))["_id"]
    return World(shared, first, second)


# What can be done.


@EACH
async def test_a_row_is_made_with_all_that_was_given(world: World, table: type[Row]) -> None:
    call = creation(table, await spares(world.tools, world.first, "three"), "three")
    row = await world.tools(call.tool, **call.arguments)
    assert next(iter(row)) == "_id"
    stored = await world.tools("get", id=row["_id"])
    assert set(row) - {"conflicts"} <= set(stored)
    for name, given in call.arguments.items():
        column = by_name(table).get(name)
        if column is not None and (name, table.table) != ("participants", "conversations"):
            assert column.is_time or stored[name] == row[name] == given, name
    (listed,) = (await world.tools("find", table=table.table, where={"_id": row["_id"]}))[table.table]
    assert {name: value for name, value in row.items() if name in by_name(table) and name != "seq"} == listed


@EACH
async def test_pages_of_what_is_found_repeat_and_leave_out_nothing(world: World, table: type[Row]) -> None:
    both = {world.first[table.table], world.second[table.table]}
    orders = [None, *(f"{sign}{c.name}" for c in columns(table) if not _without_order(c) for sign in ("", "-"))]
    for order in orders:
        asked: dict[str, Any] = {"table": table.table, "where": {"_id": {"in": sorted(both)}}, "limit": 1}
        asked |= {"order": order} if order else {}
        page = await world.tools("find", **asked)
        rest = await world.tools("find", **asked, cursor=page["nextCursor"])
        found = [row["_id"] for row in (*page[table.table], *rest[table.table])]
        assert len(found) == 2
        assert set(found) == both, order
        assert "nextCursor" not in rest


def _without_order(column: Column) -> bool:
    return column.sql == "JSON" or column.sql.endswith("[]")


@EACH
async def test_each_field_filters(world: World, table: type[Row]) -> None:
    row_id = world.second[table.table]
    (row,) = (await world.tools("find", table=table.table, where={"_id": row_id}))[table.table]
    for column in columns(table):
        if column.name in ("seq", "rev"):
            continue
        value = row.get(column.name)
        terms: list[tuple[Any, bool]] = [({"exists": value is not None}, True), ({"exists": value is None}, False)]
        if value is not None and column.sql == "VARCHAR[]":
            terms += [({"has": value[0]}, True), ({"has": "nothing like that"}, False)] if value else []
        elif value is not None and not _without_order(column):
            terms += [(value, True), ({"in": [value]}, True), ({"ne": value}, False)]
        for term, holds in terms:
            asked = {"_id": row_id} | {column.name: term} if column.name != "_id" else {"_id": term}
            found = [one["_id"] for one in await world.tools.find(table.table, where=asked, limit=200)]
            assert (row_id in found) == holds, (column.name, term)


@EACH
async def test_each_changeable_field_changes_and_the_others_do_not(world: World, table: type[Row]) -> None:
    row_id = world.second[table.table]
    for field in changeable(table):
        before = await world.tools("get", id=row_id)
        value = _another(table, field, world)
        after = await world.tools("update", id=row_id, fields={field.name: value})
        stored = await world.tools("get", id=row_id)
        assert after[field.name] == stored[field.name]
        assert field.is_time or stored[field.name] == value
        assert stored["seq"] > before["seq"]
        if field.nullable:
            after = await world.tools("update", id=row_id, fields={field.name: None})
            assert field.name not in after
            assert field.name not in await world.tools("get", id=row_id)
            # So that the other tests still find a whole row.
            await world.tools("update", id=row_id, fields={field.name: value})


def _another(table: type[Row], field: Field, world: World) -> Any:
    """A value that a field can take."""
    ids, schema, column = world.first, field.plain, by_name(table)[field.name]
    if field.name == "email":
        return "another@example.org"
    if field.is_time:
        return "2026-12-01T10:30:00Z"
    if "enum" in schema:
        return get_args(column.annotation)[-1]
    if field.refers or field.any_row:
        target = ids[field.refers[-1]] if field.refers else ids["conversations"]
        if (table.table, field.name) == ("agents", "delegatesTo"):
            target = ids["agents"]
        return [target] if get_origin(column.annotation) is list else target
    if schema.get("type") == "array":
        return [0.5, 0.125] if column.sql == "FLOAT[]" else ["changed"]
    return {"string": "changed", "boolean": True, "integer": 1}.get(schema.get("type", ""), {"any": ["JSON"]})


OUTCOMES = {
    "users": "deleted",
    "agents": "deactivated",
    "tools": "conflict",
    "prompts": "conflict",
    "conversationParticipants": "removed",
    "conversationMessages": "tombstone",
}
"""What becomes of a row that others refer to. The user has no history, and goes; of all other tables rows just go."""
GONE_WITH = {
    "conversations": ("conversationParticipants", "conversationMessages", "comments", "reactions", "attachments"),
}


@EACH
async def test_deleting_has_the_outcome_that_the_reference_says(world: World, table: type[Row]) -> None:
    ids = await one_of_each(world.swarm, world.tools, world.first["me"], f"gone-{table.table.lower()}")
    row_id, expected = ids[table.table], OUTCOMES.get(table.table, "deleted")
    if expected == "conflict":
        error = await world.tools.refused("delete", id=row_id)
        assert error.code == "conflict"
        assert f"'{row_id}' is in use by " in error.text
        assert (await world.tools("get", id=row_id))["_id"] == row_id
        return
    assert await world.tools("delete", id=row_id) == {"_id": row_id, "outcome": expected}
    if expected != "deleted":
        left = await world.tools("get", id=row_id)
        assert {"deactivated": "deactivatedAt" in left, "removed": left.get("isRemoved"),
                "tombstone": (left.get("status"), left.get("content")) == ("deleted", "")}[expected]  # fmt: skip
        return
    for name in (table.table, *GONE_WITH.get(table.table, ())):
        assert (await world.tools.refused("get", id=ids[name])).code == "not_found"
        assert await world.tools.find(name, where={"_id": ids[name]}) == []
    agent = await world.tools("get", id=ids["agents"])
    assert (ids["tools"] in agent["tools"]) == (table.table != "agentTools")
    assert (f"tag gone-{table.table.lower()}" in agent["tags"]) or table.table == "tags"


async def test_a_tag_leaves_every_row(world: World) -> None:
    ids = await one_of_each(world.swarm, world.tools, world.first["me"], "tagged")
    (tag,) = await world.tools.find("tags", where={"name": "tag tagged"})
    assert (await world.tools("delete", id=tag["_id"]))["outcome"] == "deleted"
    for table in TABLES:
        if "tags" in by_name(table):
            assert "tag tagged" not in (await world.tools("get", id=ids[table.table])).get("tags", []), table.table


# What cannot.


@EACH
async def test_bad_input_for_every_argument_of_its_tool(world: World, table: type[Row]) -> None:
    call = creation(table, await spares(world.tools, world.first, "bad"), "bad")
    before, tried = world.seq, 0
    for declared in arguments_of(call.tool, table):
        field, arguments = declared, dict(call.arguments)
        match call.tool, field.name:
            case "add_participant", "userId":
                arguments = {"conversationId": arguments["conversationId"], "kind": "user"}
            case "attach_prompt", "ownerId":  # its ownerType is a group
                field = replace(declared, refers=("conversations",))
        for bad in bad_values(field, world.first):
            error = await world.tools.refused(call.tool, **arguments | {field.name: bad.value})
            _check(error.code, error.text, bad, field)
            tried += 1
        if field.required:
            del arguments[field.name]
            error = await world.tools.refused(call.tool, **arguments)
            assert error.text.startswith(f"Missing argument '{field.name}'"), error.text
    assert tried >= 2 * len(call.arguments)
    assert world.seq == before, "something was written"


@EACH
async def test_bad_input_for_every_field_that_update_changes(world: World, table: type[Row]) -> None:
    row_id, before = world.first[table.table], world.seq
    for field in changeable(table):
        for bad in bad_values(field, world.first):
            error = await world.tools.refused("update", id=row_id, fields={field.name: bad.value})
            _check(error.code, error.text, bad, field)
    assert world.seq == before, "something was written"


def _check(code: str, text: str, bad: Bad, field: Field) -> None:
    where = f"{field.name}={str(bad.value)[:60]!r} says: {text}"
    assert code == bad.code, where
    assert is_clear(text), where
    for words in bad.says:
        assert words in text, f"{words!r} is missing; {where}"


@EACH
async def test_what_never_changes_is_said_with_what_can(world: World, table: type[Row]) -> None:
    row_id, before = world.first[table.table], world.seq
    can = ", ".join(field.name for field in changeable(table))
    fixed = IMMUTABLE[table.table] | ALWAYS_IMMUTABLE
    assert set(by_name(table)) >= fixed
    for name in fixed:
        error = await world.tools.refused("update", id=row_id, fields={name: "x"})
        assert error.text.startswith(f"'{name}' of {table.table} cannot change.")
        assert can in error.text
    error = await world.tools.refused("update", id=row_id, fields={"noSuchField": 1})
    assert error.text.startswith(f"{table.table} has no field 'noSuchField'.")
    assert can in error.text
    assert world.seq == before


@EACH
async def test_ids_that_no_row_has(world: World, table: type[Row]) -> None:
    missing = f"{table.prefix}_999999"
    calls: list[tuple[str, dict[str, Any]]] = [("get", {}), ("update", {"fields": {}}), ("delete", {})]
    for tool, more in calls:
        error = await world.tools.refused(tool, id=missing, **more)
        assert error.code == "not_found"
        assert error.text.startswith(f"No row '{missing}'.")
        assert f'find(table="{table.table}")' in error.text


@EACH
async def test_bad_filters_for_every_field(world: World, table: type[Row]) -> None:
    for column in columns(table):
        wrong: list[Any] = [{}, {"like": "x"}, {"exists": "yes"}, {"in": []}, {"in": "x"}]
        wrong += [{"has": "x"}] if column.sql != "VARCHAR[]" else ["x"]
        wrong += [{"contains": "x"}] if column.sql != "VARCHAR" else [5, {"gt": True}]
        for value in wrong:
            error = await world.tools.refused("find", table=table.table, where={column.name: value})
            assert error.code == "invalid"
            assert column.name in error.text, (value, error.text)
            assert is_clear(error.text), error.text
    error = await world.tools.refused("find", table=table.table, where={"noSuchField": 1})
    assert error.text.startswith(f"{table.table} has no field 'noSuchField'. Its fields: _id, ")
