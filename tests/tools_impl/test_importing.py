"""What importing means: which rows go in, and what they imply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients import Swarm
from tests.imports import (
    AGENT,
    BASE,
    CONVERSATION,
    MEMBER,
    MESSAGE,
    PROMPT,
    T0,
    TOOL,
    USER,
    Line,
    Outcome,
    Row,
    check,
    load,
)
from tests.invariants import Dump

pytestmark = pytest.mark.anyio


# -- what goes in ----------------------------------------------------------------------------------------------------

IN_2100 = 4_102_444_800_000
EVERY_TABLE: tuple[Row, ...] = (
    {**USER, "image": "https://example.org/ann.png", "phone": "+49", "isAnonymous": False, "createdAt": T0},
    {**TOOL, "config": {"depth": 2, "ratio": 0.5}, "createdBy": "u-ann", "createdAt": T0},
    {
        **PROMPT,
        "requiredContext": ["it"],
        "outputType": "text",
        "status": "active",
        "createdBy": "u-ann",
        "tags": ["x"],
    },
    {**AGENT, "_id": "a-lead", "goal": "Win", "memories": [{"a": None}], "visibility": "private", "createdBy": "u-ann"},
    {**AGENT, "delegatesTo": ["a-lead"], "tools": ["t-web"], "attachedPrompts": ["p-hook"], "updatedAt": T0 + 1},
    {**CONVERSATION, "groupId": "sales", "tags": ["x", "y"], "createdAt": T0},
    {**MEMBER, "lastReadSeq": 3},
    {**MEMBER, "_id": "m-scout", "kind": "agent", "userId": None, "agentId": "a-scout"},
    {
        **MESSAGE,
        "_id": "msg-1",
        "step": "Gift",
        "type": "note",
        "status": "sent",
        "tags": ["y"],
        "attachments": [{"url": "https://example.org"}, 3],
        "vector": [0.5, 1.25],
        "meta": {"nested": [1, "two", None]},
        "createdAt": T0 + 5,
    },
    {"table": "agentTools", "_id": "g-1", "agentId": "a-lead", "toolId": "t-web", "config": "fast"},
    {"table": "attachments", "_id": "att-1", "ownerType": "group", "ownerId": "sales", "promptId": "p-hook"},
    {
        "table": "knowledge",
        "_id": "k-1",
        "ownerType": "agent",
        "ownerId": "a-scout",
        "content": "Water is wet",
        "sources": ["msg-1"],
        "vector": [1.0],
    },
    {
        "table": "knowledge",
        "_id": "k-2",
        "ownerType": "agent",
        "ownerId": "a-scout",
        "content": "!",
        "supersedes": "k-1",
    },
    {"table": "tags", "_id": "tag-z", "name": "z", "color": "#ff0000", "createdBy": "u-ann"},
    {"table": "reactions", "_id": "r-1", "messageId": "msg-1", "agentId": "a-scout", "type": "like"},
    {"table": "comments", "_id": "co-1", "messageId": "msg-1", "authorParticipantId": "m-scout", "content": "Yes"},
    {"table": "follows", "_id": "f-1", "followerId": "u-ann", "followeeId": "a-scout", "kind": "agent"},
    {
        "table": "events",
        "_id": "e-1",
        "title": "Call",
        "startTime": T0,
        "endTime": T0 + 60_000,
        "createdBy": "u-ann",
        "participants": ["u-ann", "a-scout"],
    },
    {
        "table": "reminders",
        "_id": "re-1",
        "userId": "u-ann",
        "message": "Call",
        "remindAt": IN_2100,
        "relatedEntity": "e-1",
    },
)


async def test_every_table_as_it_is_written(swarm: Swarm) -> None:
    assert await load(swarm, *EVERY_TABLE, batch=4) == Outcome(added=len(EVERY_TABLE))
    await check(swarm)
    for line in EVERY_TABLE:
        stored = await swarm.owner("get", id=line["_id"])
        given = {name: value for name, value in line.items() if name != "table" and value is not None}
        assert {name: stored.get(name) for name in given} == given
    assert (await swarm.owner("get", id="a-lead"))["tools"] == ["t-web"]


async def test_the_example_of_the_documentation(swarm: Swarm) -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text()
    lines = page.partition("```json\n")[2].partition("```")[0].splitlines()
    assert await load(swarm, *lines) == Outcome(added=4)
    await check(swarm)


async def test_the_same_file_again_changes_nothing(swarm: Swarm) -> None:
    lines: list[Line] = [*EVERY_TABLE, MESSAGE, MESSAGE, {**MESSAGE, "content": "More", "tags": ["new"]}]
    assert (await load(swarm, *lines)).added == len(lines)
    before = await check(swarm)
    for batch in (1, 3, 500):
        assert await load(swarm, *lines, batch=batch) == Outcome(present=len(lines))
    assert await check(swarm) == before


async def test_a_hub_that_starts_later_knows_what_was_imported(tmp_path: Path) -> None:
    lines = [*BASE, MESSAGE, MESSAGE, {**MESSAGE, "tags": ["new"]}]
    async with Swarm(tmp_path / "data") as swarm:
        assert (await load(swarm, *lines)).added == len(lines)
        before = await check(swarm)
    async with Swarm(tmp_path / "data") as swarm:
        assert await load(swarm, *lines, {**MESSAGE, "content": "New"}) == Outcome(added=1, present=len(lines))
        after = await check(swarm)
        assert {table: set(rows) for table, rows in after.items() if table != "conversationMessages"} == {
            table: set(rows) for table, rows in before.items() if table != "conversationMessages"
        }


async def test_lines_without_an_id_are_told_apart_by_what_they_say(filled: Swarm) -> None:
    one, two = {**MESSAGE, "content": "one"}, {**MESSAGE, "content": "two"}
    assert await load(filled, one, two, one) == Outcome(added=3)
    # Edited before the second run: a line in front, one mended, one more of the same, another order.
    assert await load(filled, "", two, {**MESSAGE, "content": "three"}, one, one, one) == Outcome(added=2, present=3)
    contents = [row["content"] for row in await filled.owner.find("conversationMessages", order="seq")]
    assert contents == ["one", "two", "one", "three", "one"]


async def test_ids_of_any_form_are_kept_and_missing_ones_are_made(filled: Swarm) -> None:
    names = ["7", "k57abc/ü", "msg_000123", "user-1", "MSG_5", "x" * 200]
    assert (await load(filled, *({**MESSAGE, "_id": name, "content": name} for name in names))).refused == {}
    for name in names:
        assert (await filled.owner("get", id=name))["content"] == name
    await load(filled, MESSAGE)
    newest = (await filled.owner.find("conversationMessages"))[0]["_id"]
    assert newest.startswith("msg_")


async def test_numbers_in_ids_of_our_form_are_not_given_out_again(filled: Swarm) -> None:
    assert (await load(filled, {**MESSAGE, "_id": "msg_5000"}, MESSAGE, {**MESSAGE, "_id": "msg_4999"})).added == 3
    ids = [row["_id"] for row in await filled.owner.find("conversationMessages", order="seq")]
    assert ids == ["msg_5000", "msg_5001", "msg_4999"]
    assert (await filled.owner("get", id="msg_4999"))["content"] == "Hello"
    await check(filled)


async def test_times_in_every_form(filled: Swarm) -> None:
    forms = [T0, float(T0), "2023-11-14T22:13:20Z", "2023-11-14T23:13:20.000+01:00", "20231114T221320+0000"]
    lines = [{**MESSAGE, "_id": f"m{number}", "createdAt": form} for number, form in enumerate(forms)]
    assert (await load(filled, *lines)).refused == {}
    assert {row["createdAt"] for row in await filled.owner.find("conversationMessages")} == {T0}


async def test_the_last_message_is_the_newest_by_its_own_time(filled: Swarm) -> None:
    times = [T0 + 50, T0 + 90, T0 + 10]
    lines = [{**MESSAGE, "content": str(time), "createdAt": time} for time in times]
    await load(filled, {**CONVERSATION, "_id": "c-2", "lastMessageTime": T0 - 5}, *lines, batch=1)
    assert (await filled.owner("get", id="c-launch"))["lastMessageTime"] == T0 + 90
    assert "lastMessageTime" not in await filled.owner("get", id="c-2")
    await filled.service.engine.store.fold()
    await load(filled, {**MESSAGE, "content": "older", "createdAt": T0 + 20})
    await check(filled)
    assert await load(filled, *BASE) == Outcome(present=len(BASE))


async def test_new_rows_are_dated_now_whatever_was_imported(filled: Swarm) -> None:
    await load(filled, {**MESSAGE, "createdAt": 5})
    sent = await filled.owner("create_conversation", title="Now")
    assert sent["createdAt"] > T0


# -- what lines imply ------------------------------------------------------------------------------------------------


async def test_tags_of_rows_become_rows_and_their_own_lines_take_their_place(filled: Swarm) -> None:
    lines: list[Line] = [
        {**MESSAGE, "tags": ["red", "red", " blue "]},
        {"table": "tags", "_id": "tag-red", "name": "red", "color": "#f00"},
        {"table": "tags", "name": "blue", "color": "#00f"},
    ]
    assert (await load(filled, *lines)).added == 3
    tags = {row["name"]: row for row in await filled.owner.find("tags")}
    assert set(tags) == {"red", "blue"}
    assert (tags["red"]["_id"], tags["red"]["color"], tags["blue"]["color"]) == ("tag-red", "#f00", "#00f")
    assert (await filled.owner.find("conversationMessages"))[0]["tags"] == ["red", "blue"]
    before = await check(filled)
    assert await load(filled, *lines) == Outcome(present=3)
    assert await check(filled) == before


async def test_grants_and_attachments_follow_the_lists_of_agents_and_the_other_way(filled: Swarm) -> None:
    agent = {**AGENT, "_id": "a-2", "tools": ["t-web"], "attachedPrompts": ["p-hook"]}
    lines: list[Line] = [
        agent,
        {"table": "agentTools", "_id": "g-1", "agentId": "a-2", "toolId": "t-web", "config": {"depth": 1}},
        {
            "table": "attachments",
            "_id": "at-1",
            "ownerType": "agent",
            "ownerId": "a-2",
            "promptId": "p-hook",
            "createdBy": "u-ann",
        },
        {"table": "agentTools", "agentId": "a-scout", "toolId": "t-web", "config": 7},
        {"table": "attachments", "ownerType": "agent", "ownerId": "a-scout", "promptId": "p-hook"},
    ]
    assert (await load(filled, *lines, batch=1)).added == 5
    assert (await filled.owner("get", id="g-1"))["config"] == {"depth": 1}
    assert (await filled.owner("get", id="at-1"))["createdBy"] == "u-ann"
    scout = await filled.owner("get", id="a-scout")
    assert (scout["tools"], scout["attachedPrompts"]) == (["t-web"], ["p-hook"])
    before = await check(filled)
    assert len(before["agentTools"]) == len(before["attachments"]) == 2
    assert await load(filled, *BASE, *lines) == Outcome(present=len(BASE) + 5)
    assert await check(filled) == before


async def test_a_grant_made_by_a_tool_keeps_its_place(filled: Swarm) -> None:
    made = await filled.owner("create_agent", name="B", description="b", kind="user_agent", tools=["t-web"])
    line = {"table": "agentTools", "agentId": made["_id"], "toolId": "t-web"}
    assert await load(filled, line) == Outcome(present=1)
    outcome = await load(filled, {**line, "config": 1}, {**line, "_id": "g-9"})
    assert outcome.added == 0
    assert "already, as 'grant_" in outcome.refused[1]


async def test_the_same_participant_twice_is_the_first(filled: Swarm) -> None:
    again = {**MEMBER, "_id": None, "addedAt": T0 + 9, "status": "blocked"}
    assert await load(filled, again, {**again, "status": "muted"}) == Outcome(present=2)
    outcome = await load(filled, {**MEMBER, "_id": "m-other"})
    assert outcome.refused == {
        1: "'u-ann' takes part in 'c-launch' already, as 'm-ann'. What is stored stays as it is."
    }


async def test_an_email_is_one_users_whatever_its_case(filled: Swarm) -> None:
    assert await load(filled, {"table": "users", "name": "Ann", "email": " ANN@example.org"}) == Outcome(present=1)
    outcome = await load(
        filled,
        {"table": "users", "name": "Bob", "email": "ann@example.org"},
        {"table": "users", "_id": "u-2", "name": "Ann", "email": "ann@example.org"},
        {"table": "users", "_id": "u-3", "name": "Cy", "email": "Cy@Example.org"},
        {"table": "users", "_id": "u-4", "name": "Cy", "email": "cy@example.org"},
    )
    assert (outcome.added, sorted(outcome.refused)) == (1, [1, 2, 4])
    assert "A user has the email ann@example.org already, as 'u-ann'." in outcome.refused[1]
    assert "as 'u-3'" in outcome.refused[4]


# -- any mixture -----------------------------------------------------------------------------------------------------

GOOD: tuple[Row, ...] = (
    MESSAGE,
    {**MESSAGE, "_id": "own-1", "tags": ["a"]},
    {**MESSAGE, "tags": ["b", "c"], "createdAt": T0},
    {"table": "tags", "_id": "tag-b", "name": "b", "color": "blue"},
    {**AGENT, "_id": "a-9", "tools": ["t-web"], "tags": ["d"]},
    {"table": "users", "name": "Bo", "email": "bo@example.org"},
)
BAD: tuple[Row, ...] = (
    {**MESSAGE, "authorParticipantId": "nobody", "tags": ["e"]},
    {**AGENT, "_id": "a-10", "tools": ["t-web"], "attachedPrompts": ["none"], "tags": ["f"]},
    {**MESSAGE, "_id": "own-1", "content": "other", "tags": ["g"]},
    {**USER, "name": "Other"},
)


def _named(dump: Dump) -> dict[str, list[dict[str, Any]]]:
    """Rows without what depends on how many there were before and on the clock."""
    unnamed = ("_id", "seq", "createdAt", "updatedAt", "lastMessageTime")
    rows = {
        t: [{n: v for n, v in row.items() if n not in unnamed} for row in rows.values()] for t, rows in dump.items()
    }
    return {table: sorted(found, key=repr) for table, found in rows.items()}


@settings(max_examples=12)
@given(
    mixture=st.lists(st.one_of(st.sampled_from(GOOD), st.sampled_from(BAD)), max_size=25),
    batch=st.integers(1, 9),
)
@pytest.mark.slow
def test_any_mixture_leaves_exactly_what_was_right(
    tmp_path_factory: pytest.TempPathFactory, mixture: list[Row], batch: int
) -> None:
    async def compare() -> None:
        async with Swarm(tmp_path_factory.mktemp("mixed") / "data") as mixed:
            outcome = await load(mixed, *BASE, GOOD[1], *mixture, batch=batch)
            refused = {number - len(BASE) - 2 for number in outcome.refused}
            assert refused == {place for place, line in enumerate(mixture) if line in BAD}
            stored = await check(mixed)
            again = await load(mixed, *BASE, GOOD[1], *mixture, batch=2)
            assert (again.added, again.refused) == (0, outcome.refused)
            assert await check(mixed) == stored
        async with Swarm(tmp_path_factory.mktemp("clean") / "data") as clean:
            right = [line for line in mixture if line in GOOD]
            assert (await load(clean, *BASE, GOOD[1], *right)).refused == {}
            assert _named(await check(clean)) == _named(stored)

    anyio.run(compare)
