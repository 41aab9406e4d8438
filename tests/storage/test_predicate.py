"""Who sees what is decided in memory for a row at hand and in SQL for many: both must agree."""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.predicate import Both, Contains, Either, Everything, Has, Is, Not, Predicate, Refers
from storage.row import Column, Row, columns
from storage.tables import (
    TABLES,
    Agent,
    Attachment,
    Conversation,
    Event,
    Knowledge,
    Message,
    Participant,
    Reaction,
    User,
)
from storage.transaction import Transaction
from tests.clients import Swarm
from tools_impl.access import visible
from tools_impl.caller import Caller

MADE_BY_US = {"id", "seq", "rev", "created_at"}
DANGLING = "gone_1"
SHARED = "group"
"""A groupId, an owner and a tag at once: rules must not be fooled by equal texts."""


class Rows:
    """Random rows of every table, which refer to each other, to nothing, or to what never was."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._ids: dict[str, list[str]] = {table.table: [] for table in TABLES}

    def insert(self, tx: Transaction, count: int) -> None:
        for table in (*(t for t in TABLES for _ in range(count)),):
            row = tx.insert(table, **self._fields(table))
            self._ids[table.table].append(row.id)

    def _fields(self, table: type[Row]) -> dict[str, Any]:
        fields = {c.attribute: self._value(c) for c in columns(table) if c.attribute not in MADE_BY_US}
        if table is Participant:
            fields["user_id" if fields["kind"] == "agent" else "agent_id"] = None
            own = f"{fields['kind']}_id"
            fields[own] = fields[own] or self._one(("users",) if fields["kind"] == "user" else ("agents",))
        return fields

    def _value(self, column: Column) -> Any:
        if column.optional and self._rng.random() < 0.4:
            return None
        if column.attribute == "group_id":
            return SHARED
        if column.sql.endswith("[]") and column.sql != "FLOAT[]":
            return [self._text(column) for _ in range(self._rng.randrange(3))]
        if typing.get_origin(column.annotation) is typing.Literal:
            return self._rng.choice(typing.get_args(column.annotation))
        return {
            "VARCHAR": self._text(column),
            "BOOLEAN": self._rng.random() < 0.3,
            "FLOAT[]": [0.5],
            "JSON": ["x"],
        }.get(column.sql, self._rng.randrange(10**12))

    def _text(self, column: Column) -> str:
        if column.refers_to is not None:
            return self._one(column.refers_to.tables)
        return self._one(("users", "agents")) if column.attribute == "participants" else self._rng.choice("abc")

    def _one(self, tables: tuple[str, ...]) -> str:
        known = [row_id for table in tables for row_id in self._ids[table]]
        return self._rng.choice([*known, DANGLING, SHARED] if self._rng.random() < 0.8 else [DANGLING, SHARED])

    def callers(self) -> Iterator[Caller]:
        for user in self._rng.sample(self._ids["users"], 2):
            yield Caller("user", user, user)
        for agent in self._rng.sample(self._ids["agents"], 2):
            yield Caller("agent", agent, self._rng.choice([*self._ids["users"], None]))
        yield Caller("user", self._ids["users"][0], self._ids["users"][0], admin=True)
        yield Caller("agent", DANGLING, None)


async def agree(swarm: Swarm, table: type[Row], predicate: Predicate) -> set[str]:
    """The ids for which it holds, when memory and SQL say the same."""
    view = swarm.service.engine.view()
    condition, values = predicate.sql("t")
    by_sql = {row[0] for row in await swarm.sql(f'SELECT _id FROM "{table.table}" t WHERE {condition}', *values)}
    every = [row[0] for row in await swarm.sql(f'SELECT _id FROM "{table.table}"')]
    by_hand = set()
    for row_id in every:
        row = await view.find_row(row_id, table)
        assert row is not None
        if await predicate.holds(row, view):
            by_hand.add(row_id)
    assert by_hand == by_sql, f"{table.table}: {predicate}"
    query, values = predicate.ids(table)
    named = {row[0] for row in await swarm.sql(query, *values)}
    assert by_hand == named.intersection(every), f"{table.table}: {predicate}"
    return by_hand


async def agree_when_known(swarm: Swarm, table: type[Row], predicate: Predicate, fulfil: set[str]) -> None:
    """`fulfil` it, and also what is left of it when a field is known, whichever it is."""
    view = swarm.service.engine.view()
    for column in columns(table):
        if column.sql != "VARCHAR" or column.attribute == "id":
            continue
        rows = await swarm.sql(f'SELECT "{column.name}", list(_id) FROM "{table.table}" GROUP BY ALL LIMIT 4')
        for value, ids in rows:
            left = predicate if value is None else await predicate.given(column.attribute, value, view)
            if left == predicate:
                continue
            text, values = left.sql("t")
            named = f't."{column.name}" = ? AND {text}'
            found = await swarm.sql(f'SELECT _id FROM "{table.table}" t WHERE {named}', value, *values)
            assert {row_id for (row_id,) in found} == fulfil & set(ids), f"{column.name}: {predicate}"


async def fill(swarm: Swarm, rng: random.Random, count: int) -> Rows:
    rows = Rows(rng)

    async def insert(tx: Transaction) -> User:
        rows.insert(tx, count)
        return tx.insert(User, name="last", email=f"{tx.seq}@example.org")

    await swarm.service.engine.writer.run(insert)
    return rows


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32))
async def test_memory_and_sql_agree_on_who_sees_a_row(swarm: Swarm, seed: int) -> None:
    rows = await fill(swarm, random.Random(seed), 3)
    for caller in rows.callers():
        for table in TABLES:
            seen = visible(caller, table)
            await agree_when_known(swarm, table, seen, await agree(swarm, table, seen))


LEAVES: list[tuple[type[Row], list[Predicate]]] = [
    (Agent, [Is(Agent, "visibility", None), Is(Agent, "visibility", "public"), Contains(Agent, "tags", "a")]),
    (Participant, [Is(Participant, "is_removed", True), Refers(Participant, "agent_id", Agent, Everything())]),
    (Message, [Is(Message, "type", "b"), Contains(Message, "tags", "b")]),
    (Reaction, [Refers(Reaction, "user_id", User, Is(User, "image", None)), Is(Reaction, "agent_id", None)]),
    (Knowledge, [Has("id", Knowledge, Knowledge, "supersedes", Everything()), Is(Knowledge, "owner_type", "user")]),
    (Attachment, [Has("owner_id", Attachment, Conversation, "group_id", Everything())]),
    (Event, [Contains(Event, "participants", DANGLING), Is(Event, "description", None)]),
]


def compound(leaf: tuple[type[Row], list[Predicate]]) -> st.SearchStrategy[tuple[type[Row], Predicate]]:
    table, parts = leaf
    conditions: st.SearchStrategy[Predicate] = st.recursive(
        st.sampled_from(parts),
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=1, max_size=3).map(tuple).map(Both),
            st.lists(inner, min_size=1, max_size=3).map(tuple).map(Either),
        ),
        max_leaves=6,
    )
    return st.tuples(st.just(table), conditions)


@settings(max_examples=60)
@given(condition=st.sampled_from(LEAVES).flatmap(compound))
async def test_memory_and_sql_agree_on_any_condition(swarm: Swarm, condition: tuple[type[Row], Predicate]) -> None:
    if not await swarm.sql("SELECT 1 FROM agents LIMIT 1"):
        await fill(swarm, random.Random(7), 24)
    await agree_when_known(swarm, *condition, await agree(swarm, *condition))


@pytest.mark.parametrize(("table", "parts"), LEAVES, ids=lambda value: getattr(value, "table", ""))
async def test_the_conditions_of_these_tests_tell_rows_apart(
    swarm: Swarm, table: type[Row], parts: list[Predicate]
) -> None:
    await fill(swarm, random.Random(7), 24)
    for part in parts:
        assert 0 < len(await agree(swarm, table, part)) < len(await agree(swarm, table, Everything()))
