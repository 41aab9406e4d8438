"""`where`, `order` and cursors: what they find, what they refuse, and that no input whatever breaks them."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import Invalid
from storage.find import ALL_OPERATORS, conditions, find, parse_order
from storage.predicate import Everything
from storage.row import columns
from storage.tables import BY_NAME, TABLES, Agent, Event, Participant
from tests.clients import Swarm, Tools

ZONE = None
NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
async def read(shared: Swarm) -> Swarm:
    """Events that tests only read."""
    return await fill(shared)


@pytest.fixture
async def filled(swarm: Swarm) -> Swarm:
    """Events that a test may change."""
    return await fill(swarm)


async def fill(swarm: Swarm) -> Swarm:
    """Make events with ties, absent values, lists and times; the title says which is which."""
    for number in range(12):
        await swarm.insert(
            Event,
            title=f"e{number:02}",
            description=["", "Überall", None, "x" * 300 + f"{number}"][number % 4],
            start_time=NOW + (number % 3) * 1000,
            end_time=NOW + 10_000,
            created_by="user_1",
            participants=[["user_1"], ["user_1", "agent_7"], None][number % 3],
            tags=[[], ["a"], ["a", "b"]][number % 3],
        )
    return swarm


async def titles(tools: Tools, **arguments: Any) -> list[str]:
    return [row["title"][1:] for row in await tools.find("events", **arguments)]


FOUND: list[tuple[dict[str, Any], str]] = [
    ({"title": "e03"}, "03"),
    ({"title": {"eq": "e03"}}, "03"),
    ({"title": {"gt": "e09"}}, "10 11"),
    ({"title": {"gte": "e09", "lt": "e11"}}, "09 10"),
    ({"title": {"lte": "e00"}}, "00"),
    ({"title": {"in": ["e01", "e02", "none"]}}, "01 02"),
    ({"title": {"contains": "E1"}}, "10 11"),
    ({"description": {"contains": "ÜBER"}}, "01 05 09"),
    ({"description": ""}, "00 04 08"),
    ({"description": None}, "02 06 10"),
    ({"description": {"eq": None}}, "02 06 10"),
    ({"description": {"exists": False}}, "02 06 10"),
    ({"description": {"ne": None}, "title": {"lt": "e03"}}, "00 01"),
    ({"description": {"exists": True}, "title": {"lt": "e03"}}, "00 01"),
    # What is absent is not equal, either.
    ({"description": {"ne": ""}, "title": {"lt": "e04"}}, "01 02 03"),
    ({"participants": {"has": "agent_7"}}, "01 04 07 10"),
    ({"tags": ["a", "b"]}, "02 05 08 11"),
    ({"tags": []}, "00 03 06 09"),
    ({"tags": {"in": [["a"], []]}, "title": {"lt": "e03"}}, "00 01"),
    ({"startTime": NOW}, "00 03 06 09"),
    ({"startTime": {"gt": NOW + 1000}}, "02 05 08 11"),
    ({"startTime": {"gt": "2023-11-14T22:13:21Z"}}, "02 05 08 11"),
    ({"startTime": {"gt": "2023-11-14T23:13:21.000+01:00"}}, "02 05 08 11"),
    ({"startTime": {"lt": 0}}, ""),
    ({"_id": {"exists": True}, "title": "e07"}, "07"),
    ({}, "00 01 02 03 04 05 06 07 08 09 10 11"),
]


@pytest.mark.parametrize(("where", "expected"), FOUND, ids=[json.dumps(where) for where, _ in FOUND])
async def test_where(read: Swarm, where: dict[str, Any], expected: str) -> None:
    assert await titles(read.owner, where=where, order="title") == expected.split()


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"titel": "x"},
        "events has no field 'titel'. Did you mean 'title'? Its fields: _id, seq, rev, title, description, startTime, "
        "endTime, createdBy, participants, tags, createdAt.",
    ),
    ({"title": {}}, f"title: the condition is empty. Operators: {', '.join(ALL_OPERATORS)}."),
    ({"title": {"like": "x"}}, f"title: unknown operator 'like'. Operators: {', '.join(ALL_OPERATORS)}."),
    ({"title": 5}, "title is compared with a text, not with 5."),
    ({"title": ["x"]}, 'title is compared with a text, not with ["x"].'),
    ({"title": {"in": []}}, "title: in takes a list of 1 to 1000 values."),
    ({"title": {"in": "x"}}, "title: in takes a list of 1 to 1000 values."),
    ({"title": {"in": ["x"] * 1001}}, "title: in takes a list of 1 to 1000 values."),
    ({"title": {"has": "x"}}, "title is not a list of texts; use eq, or contains for a part of a text."),
    ({"title": {"exists": "yes"}}, "title: exists takes true or false."),
    ({"tags": "a"}, 'tags is a list; use {"has": ...} for one of its items.'),
    ({"tags": [1]}, "tags is compared with a text, not with 1."),
    ({"tags": {"contains": "a"}}, "tags is not a text; use has."),
    ({"startTime": {"contains": "2"}}, "startTime is not a text; use eq."),
    ({"startTime": "tomorrow"}, "startTime: a time is ISO 8601 or epoch milliseconds."),
    ({"startTime": True}, "startTime: a time is ISO 8601 or epoch milliseconds."),
    ({"startTime": 10**30}, "startTime: a time is in epoch milliseconds, between the years 1 and 9999."),
    ({"startTime": "0001-01-01T00:00:00+14:00"}, "startTime: a time is ISO 8601 or epoch milliseconds."),
    ({f"{name}": {"exists": True} for name in ("title", "tags")} | {"seq": {"gt": 1} | dict.fromkeys(("gte", "ne"), 1)}
     | {"rev": dict.fromkeys(("gt", "gte", "lt", "lte", "ne", "eq"), 1)},
     "where has 11 terms; at most 10 are possible."),
]  # fmt: skip


@pytest.mark.parametrize(("where", "message"), REFUSED, ids=[json.dumps(where)[:40] for where, _ in REFUSED])
async def test_where_refuses(read: Swarm, where: dict[str, Any], message: str) -> None:
    error = await read.owner.refused("find", table="events", where=where)
    assert (error.code, error.text) == ("invalid", message)


@pytest.mark.parametrize(
    ("table", "where", "message"),
    [
        ("agents", {"kind": "robot"}, "kind is one of 'system_agent', 'user_agent', not 'robot'."),
        ("agents", {"knowledge": 1}, "Of knowledge only exists can be asked."),
        ("knowledge", {"vector": [1]}, "Of vector only exists can be asked."),
        (
            "conversationMessages",
            {"conversationId": "agent_3"},
            "conversationId is an id of conversations; 'agent_3' is one of agents.",
        ),
        ("conversationParticipants", {"isRemoved": "no"}, 'isRemoved cannot be compared with "no".'),
        ("conversationParticipants", {"lastReadSeq": "1"}, 'lastReadSeq cannot be compared with "1".'),
    ],
)
async def test_where_knows_the_fields(read: Swarm, table: str, where: dict[str, Any], message: str) -> None:
    assert (await read.owner.refused("find", table=table, where=where)).text == message


def test_a_number_that_json_has_not_is_refused() -> None:
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(Invalid):
            conditions(Participant, {"lastReadSeq": number}, ZONE)
        with pytest.raises(Invalid):
            conditions(Event, {"startTime": number}, ZONE)


@pytest.mark.parametrize("offset", [2, -7])
def test_a_time_without_an_offset_is_of_the_configured_zone(offset: int) -> None:
    zone = timezone(timedelta(hours=offset))
    ((moment,),) = [conditions(Event, {"startTime": "2026-01-01T12:00"}, zone)[1]]
    assert moment == datetime(2026, 1, 1, 12, tzinfo=zone).astimezone(UTC).replace(tzinfo=None)


async def test_tables_and_orders_are_named_when_unknown(owner: Tools) -> None:
    error = await owner.refused("find", table="agent")
    assert error.text == f"There is no table 'agent'. Did you mean 'agents'? Tables: {', '.join(BY_NAME)}."
    assert (await owner.refused("find", table="authSessions")).text.startswith("There is no table 'authSessions'.")
    assert (await owner.refused("find", table="tools", order="size")).text == (
        "tools has no field 'size'. Its fields: _id, seq, rev, name, description, config, createdBy, createdAt."
    )
    for order in ("tags", "-knowledge"):
        error = await owner.refused("find", table="agents", order=order)
        assert error.text == f"{order.removeprefix('-')} has no order."


# Pages.

ORDERS = ["title", "-title", "description", "-description", "startTime", "-startTime", "seq", "-_id", "endTime", None]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 2, 5, 12])
async def test_pages_neither_repeat_nor_skip(read: Swarm, order: str | None, limit: int) -> None:
    arguments = {"order": order} if order else {}
    rows = await read.owner.find("events", limit=limit, **arguments)
    everything = (await read.owner("find", table="events", limit=200, **arguments))["events"]
    assert rows == everything
    assert len({row["_id"] for row in rows}) == 12
    by = (order or "-seq").removeprefix("-")
    values = [row[by][:200] if isinstance(row[by], str) else row[by] for row in rows if by in row]
    assert values == sorted(values, reverse=(order or "-").startswith("-"))
    if by == "description":  # absent values come last, whichever way
        assert [by in row for row in rows] == [True] * 9 + [False] * 3


@pytest.mark.parametrize("order", ["title", "-title", "description", "-startTime", "-seq"])
async def test_pages_hold_while_others_write(filled: Swarm, order: str) -> None:
    """Every row that stays as it is comes exactly once, whatever comes, goes and changes meanwhile."""
    rng = random.Random(1)
    stable = {f"e{number:02}" for number in range(12)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    extra: list[str] = []
    for _ in range(100):
        page = await filled.owner("find", table="events", order=order, limit=2, **cursor)
        found += [row["title"] for row in page["events"]]
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
        event = await filled.insert(
            Event, title=rng.choice(["a", "e05", "z"]) + "+", start_time=NOW, end_time=NOW, created_by="user_1"
        )
        extra.append(event.id)
        if rng.random() < 0.5:
            await filled.owner("delete", id=extra.pop(rng.randrange(len(extra))))
    assert sorted(title for title in found if title in stable) == sorted(stable)


async def test_long_texts_make_short_cursors(swarm: Swarm, owner: Tools) -> None:
    place = (await owner("create_conversation", title="C"))["_id"]
    for text in ("\U0001f600" * 250, "\U0001f600" * 250 + "b", "\U0001f600" * 250 + "a", "\0" * 300, '"\\' * 150):
        await owner("send_message", conversationId=place, content=text)
    page = await owner("find", table="conversationMessages", order="content", limit=1)
    assert len(page["nextCursor"]) < 2_000
    rows = await owner.find("conversationMessages", order="content", limit=1)
    assert len({row["_id"] for row in rows}) == 5


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


FORGED = [
    "x", "AAAA", "§", "%%%", "=", "a" * 2_000,
    encoded([]), encoded({}), encoded(None), encoded(5), encoded("title"),
    encoded({"a": 1, "b": 2, "c": 3, "d": 4}),
    encoded(["title", False, 5, 3]), encoded(["title", False, ["x"], 3]), encoded(["title", False, "x", "3"]),
    encoded(["title", False, "x", True]), encoded(["title", False, "x", -1]), encoded(["title", False, "x", 10**30]),
    encoded(["title", False, "x", 1.5]), encoded(["title", False, "x", None]), encoded(["title", False, "x", 3, 4]),
    base64.urlsafe_b64encode(b"[" * 1_400).decode(),
]  # fmt: skip


@pytest.mark.parametrize("cursor", FORGED, ids=range(len(FORGED)))
async def test_forged_cursors_are_refused(read: Swarm, cursor: str) -> None:
    error = await read.owner.refused("find", table="events", order="title", cursor=cursor)
    assert error.code == "invalid"
    assert error.text in (
        "That cursor is not one of ours; pass nextCursor as it came.",
        "That cursor belongs to another order; start again without it.",
    )


async def test_a_cursor_of_another_order_is_refused(read: Swarm) -> None:
    cursor = (await read.owner("find", table="events", order="title", limit=1))["nextCursor"]
    for order in ("-title", "startTime", "seq"):
        error = await read.owner.refused("find", table="events", order=order, cursor=cursor)
        assert error.text == "That cursor belongs to another order; start again without it."
    assert (await read.owner("find", table="events", order="title", cursor=cursor, limit=1))["events"]


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**40), 10**40),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-31", "0001-01-01T00:00+14:00", "agent_1", "user"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
FIELDS = [(table, column.name) for table in TABLES for column in columns(table)]


@settings(max_examples=300)
@given(
    field=st.sampled_from(FIELDS),
    condition=st.one_of(json_values, st.dictionaries(st.sampled_from(ALL_OPERATORS), json_values, max_size=3)),
)
async def test_no_condition_breaks_it(read: Swarm, field: tuple[Any, str], condition: Any) -> None:
    table, name = field
    store = read.service.engine.store
    try:
        rows, _ = await find(store, table, Everything(), where={name: condition}, limit=3)
    except Invalid:  # the one error that a caller can mend
        return
    assert all(isinstance(row, table) for row in rows)


@settings(max_examples=150)
@given(field=st.sampled_from(FIELDS), descending=st.booleans(), value=json_values, seq=json_values)
async def test_no_cursor_breaks_it(read: Swarm, field: tuple[Any, str], descending: bool, value: Any, seq: Any) -> None:
    table, name = field
    order = f"{'-' if descending else ''}{name}"
    try:
        parse_order(table, order)
    except Invalid:
        return
    cursor = encoded([name, descending, value, seq])
    try:
        rows, _ = await find(read.service.engine.store, table, Everything(), order=order, limit=3, cursor=cursor)
    except Invalid:  # the one error that a caller can mend
        return
    assert all(isinstance(row, table) for row in rows)


async def test_derived_times_can_be_asked_for_and_ordered_by(swarm: Swarm, owner: Tools) -> None:
    places = [(await owner("create_conversation", title=f"{number}"))["_id"] for number in range(4)]
    for place in (places[2], places[0]):
        await owner("send_message", conversationId=place, content="x")
        await asyncio.sleep(0.002)
    by_time = [row["title"] for row in await owner.find("conversations", order="-lastMessageTime", limit=1)]
    assert by_time == ["0", "2", "3", "1"]
    told = (await owner("get", id=places[2]))["lastMessageTime"]
    assert [row["_id"] for row in await owner.find("conversations", where={"lastMessageTime": told})] == [places[2]]
    assert len(await owner.find("conversations", where={"lastMessageTime": {"exists": False}})) == 2


async def test_the_page_after_a_conversation_moved_up_repeats_nothing(swarm: Swarm, owner: Tools) -> None:
    places = [(await owner("create_conversation", title=f"{number}"))["_id"] for number in range(6)]
    for place in places:
        await owner("send_message", conversationId=place, content="x")
        await asyncio.sleep(0.002)
    first = await owner("find", table="conversations", order="-lastMessageTime", limit=3)
    await owner("send_message", conversationId=first["conversations"][-1]["_id"], content="moves up")
    second = await owner("find", table="conversations", order="-lastMessageTime", limit=3, cursor=first["nextCursor"])
    assert [row["title"] for row in first["conversations"] + second["conversations"]] == ["5", "4", "3", "2", "1", "0"]


def test_agents_have_an_order_by_name() -> None:
    assert parse_order(Agent, "-name").key == 'left(t."name", 200)'
