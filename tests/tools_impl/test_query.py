"""The tool `query`: who may use it, how values look, how much comes, and what errors say."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from server.session import Session
from tests.bad_inputs import is_clear
from tests.clients import Refusal, Swarm, Tools, said, transport
from tools_impl.query import table_lines

LIMITS = {"query_seconds": 2.0, "query_memory": "256MB", "query_rows": 50, "query_bytes": 20_000}


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    async with Swarm(tmp_path_factory.mktemp("query") / "data", analytics=LIMITS) as opened:
        yield opened


@pytest.fixture
def owner(shared: Swarm) -> Tools:
    return shared.owner


async def value(tools: Tools, expression: str) -> Any:
    """The only value of a query."""
    ((found,),) = (await tools("query", sql=f"SELECT {expression}"))["rows"]
    return found


# Answers.


async def test_what_is_stored_is_found_with_columns_types_and_a_time(owner: Tools, era: str) -> None:
    place = await owner("create_conversation", title="Launch | plan\n2 rows", tags=["a", "b"])
    sql = f"SELECT _id, title, tags, \"lastMessageTime\", seq FROM conversations WHERE _id = '{place['_id']}'"
    found = await owner("query", sql=sql, fresh=True)
    assert found["columns"] == [
        {"name": "_id", "type": "VARCHAR"},
        {"name": "title", "type": "VARCHAR"},
        {"name": "tags", "type": "VARCHAR[]"},
        {"name": "lastMessageTime", "type": "TIMESTAMP"},
        {"name": "seq", "type": "BIGINT"},
    ]
    assert found["rows"] == [[place["_id"], "Launch | plan\n2 rows", ["a", "b"], None, place["seq"]]]
    assert found["truncated"] is False
    assert found["asOf"] >= place["createdAt"]


async def test_fresh_shows_what_was_just_acknowledged(owner: Tools) -> None:
    for number in range(3):
        await owner("create_tag", name=f"fresh {number}")
        found = await owner("query", sql="SELECT count(*) FROM tags WHERE name LIKE 'fresh%'", fresh=True)
        assert found["rows"] == [[number + 1]]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NULL", None),
        ("true", True),
        ("42", 42),
        ("9007199254740992::BIGINT", 2**53),
        ("9007199254740993::BIGINT", "9007199254740993"),
        ("-170141183460469231731687303715884105727::HUGEINT", "-170141183460469231731687303715884105727"),
        ("1.5::DOUBLE", 1.5),
        ("'nan'::DOUBLE", "NaN"),
        ("'inf'::DOUBLE", "Infinity"),
        ("'-inf'::FLOAT", "-Infinity"),
        ("1.50::DECIMAL(9, 2)", 1.5),
        ("2.00::DECIMAL(9, 2)", 2),
        ("1234567890123456789.25::DECIMAL(30, 2)", "1234567890123456789.25"),
        ("TIMESTAMP '2026-03-01 10:00:00'", "2026-03-01T10:00:00.000Z"),
        ("TIMESTAMP '2026-03-01 10:00:00.123456'", "2026-03-01T10:00:00.123456Z"),
        ("TIMESTAMPTZ '2026-03-01 10:00:00+02'", "2026-03-01 08:00:00+00"),
        ("'infinity'::TIMESTAMP", "infinity"),
        ("'-infinity'::DATE", "-infinity"),
        ("DATE '2026-03-01'", "2026-03-01"),
        ("TIME '10:00:00'", "10:00:00"),
        ("INTERVAL 3 MONTH", "3 months"),
        ("'\\x00\\xff'::BLOB", "00ff"),
        ("'6d3d1c0e-9b5a-4f36-8e0c-3c4d5e6f7a8b'::UUID", "6d3d1c0e-9b5a-4f36-8e0c-3c4d5e6f7a8b"),
        ("[1, NULL, 3]", [1, None, 3]),
        ("{'a': 1, 'b': [DATE '2026-03-01']}", {"a": 1, "b": ["2026-03-01"]}),
        ("MAP {1: 'x'}", {"1": "x"}),
        ("[0.5, 1]::FLOAT[2]", [0.5, 1.0]),
        ('\'{"a": 1}\'::JSON', '{"a": 1}'),
        ("'x'::ENUM('x', 'y')", "x"),
        ("'101'::BIT", "101"),
        ("union_value(n := 1)", 1),
    ],
)  # fmt: skip
async def test_values(owner: Tools, expression: str, expected: Any) -> None:
    found = await value(owner, expression)
    assert found == expected
    assert type(found) is type(expected)
    assert not (isinstance(found, float) and math.isnan(found))


async def test_order_and_equal_names_are_kept_where_values_become_text(owner: Tools) -> None:
    sql = "SELECT now() AS t, range AS n, range AS n FROM range(5) ORDER BY range DESC"
    found = await owner("query", sql=sql)
    assert [row[1:] for row in found["rows"]] == [[n, n] for n in (4, 3, 2, 1, 0)]
    assert [column["name"] for column in found["columns"]] == ["t", "n", "n"]


@pytest.mark.parametrize(
    "sql",
    ["SHOW TABLES", "DESCRIBE users", "DESCRIBE SELECT 1", "SUMMARIZE users", "EXPLAIN SELECT 1", "FROM users",
     "EXPLAIN ANALYZE SELECT count(*) FROM users", "VALUES (1)", "TABLE users", "SELECT 1;", "SHOW ALL TABLES",
     "WITH x AS (SELECT 1 AS n) SELECT * FROM x", "SELECT * FROM analytics.main.users", "DESCRIBE",
     "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
     "PIVOT conversationMessages ON kind IN ('participant', 'system') USING count(*)", "SELECT * FROM DuckDB_Views()",
     "SELECT * FROM USERS u, LATERAL (SELECT u.name), unnest([1, 2])", "SELECT comment FROM duckdb_columns() LIMIT 1"],
)  # fmt: skip
async def test_all_that_reads_is_possible(owner: Tools, sql: str) -> None:
    found = await owner("query", sql=sql)
    assert found["columns"]
    assert all(len(row) == len(found["columns"]) for row in found["rows"])


async def test_the_text_is_a_table_that_no_cell_can_forge(owner: Tools) -> None:
    sql = "SELECT 'a | b' AS \"x|y\", 'one\n2 | rows' AS n, NULL AS z, chr(8238) || '\\' AS w, [1.5, 2] AS l"
    lines = said(await owner.raw("query", sql=sql)).split("\n")
    assert lines[0].startswith("1 row, as of 2")
    assert lines[1:] == [r"x\|y | n | z | w | l", r"a \| b | one\n2 \| rows | NULL | \u202e\\ | [1.5,2]"]


def test_every_character_that_ends_a_line_is_escaped() -> None:
    for code in range(0x3000):
        (_, line) = table_lines(["c"], [[f"a{chr(code)}b"]])
        assert len(line.splitlines()) == 1


# How much.


async def test_rows_are_capped_with_a_note(owner: Tools) -> None:
    for given, count in (({}, 50), ({"maxRows": 7}, 7), ({"maxRows": 1_000_000}, 50), ({"maxRows": 0}, 0)):
        result = await owner.raw("query", sql="SELECT * FROM range(100)", **given)
        assert result.structured_content is not None
        assert (len(result.structured_content["rows"]), result.structured_content["truncated"]) == (count, True)
        assert "there are more" in said(result)
    exact = await owner("query", sql="SELECT * FROM range(50)")
    assert (len(exact["rows"]), exact["truncated"]) == (50, False)


async def test_bytes_are_capped_with_a_note(owner: Tools) -> None:
    found = await owner("query", sql="SELECT repeat('ä', 1000) FROM range(20)")
    assert (len(found["rows"]), found["truncated"]) == (9, True)
    error = await owner.refused("query", sql="SELECT repeat('x', 30000)")
    assert error.text == (
        "One row is larger than the 20,000 bytes of an answer. Select fewer columns, or left(column, 1000)."
    )


async def test_a_query_that_takes_too_long_is_ended_and_the_next_one_works(owner: Tools) -> None:
    error = await owner.refused("query", sql="SELECT count(*) FROM range(10000000) a, range(10000000) b")
    assert error.text.startswith("The query was ended after 2 s, which is all that it may take. Ask for less:")
    assert error.data == {"reason": "time"}
    assert await value(owner, "1") == 1


async def test_a_query_that_takes_too_much_memory_is_ended_and_the_next_one_works(owner: Tools) -> None:
    error = await owner.refused("query", sql="SELECT list(range) FROM range(1000000000)")
    assert error.text.startswith("The query needs more than the 256MB of memory that it may take.")
    assert await value(owner, "1") == 1


async def test_others_are_served_while_a_query_runs(shared: Swarm, owner: Tools) -> None:
    slow = "SELECT count(*) FROM range(10000000) a, range(10000000) b"
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(lambda: owner.refused("query", sql=slow))
        await anyio.wait_all_tasks_blocked()
        for number in range(20):
            await owner("create_tag", name=f"meanwhile {number}")
        # The third waits for its turn, and its time does not run meanwhile.
        assert await value(owner, "3") == 3


async def test_a_worker_that_died_is_replaced(shared: Swarm, owner: Tools) -> None:
    assert await value(owner, "1") == 1
    for pid in shared.service.engine.store.sql.pids:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert await value(owner, "1") == 1


async def test_a_query_that_nobody_waits_for_ends(owner: Tools, shared: Swarm) -> None:
    runner = shared.service.engine.store.sql
    running = asyncio.create_task(runner.run("SELECT count(*) FROM range(10000000) a, range(10000000) b", max_rows=1))
    await value(owner, "1")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await value(owner, "1") == 1


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "snapshots" / "hub-of-a-killed-one").mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    async with Swarm(data) as swarm:
        for _ in range(3):
            await swarm.owner("create_tag", name="x")
            await swarm.owner("query", sql="SELECT 1", fresh=True)
        workers = swarm.service.engine.store.sql.pids
        assert len(workers) == 1
        assert len(list((data / "snapshots").glob("hub-*"))) == 1
    assert not list((data / "snapshots").glob("hub-*"))
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_the_next_worker_is_ready_after_a_publication(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        await swarm.owner("query", sql="SELECT 1")
        store = swarm.service.engine.store
        (first,) = store.sql.pids
        await swarm.owner("create_tag", name="x")
        published = await store.snapshots.latest(fresh=True)
        with anyio.fail_after(30):
            while first in store.sql.pids or not store.sql.pids:
                await anyio.sleep(0.01)
        found = await swarm.owner("query", sql="SELECT count(*) FROM tags")
        assert found["rows"] == [[1]]
        assert found["asOf"] >= published.as_of


# Errors.


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT * FROM message", "There is no table 'message' in the snapshot. Did you mean 'conversationMessages'? "
                                  "Tables and views: "),
        ("SELECT * FROM zzz", "There is no table 'zzz' in the snapshot. Tables and views: agentLeaderboard, "),
        ("SELECT titel FROM conversations", "'title' is a column of conversationHealth, conversations, "),
        ("SELECT created_at FROM users", "'createdAt' is a column of "),
        ("SELECT u.nam FROM users u", "'name' is a column of "),
        ("SELECT qqqqqq FROM users", "DESCRIBE table lists its columns."),
        ("SELECT * FROM requests", "There is no table 'requests' in the snapshot."),
        ("SELEC 1", 'Parser Error: syntax error at or near "SELEC"'),
        ("SELECT strlenn('x')", "Did you mean"),
        ("SELECT 'x'::INTEGER", "Could not convert string 'x' to INT32"),
        ("DELETE FROM users", "DELETE is not possible: the snapshot is only read. Allowed is one statement that reads"),
    ],
)  # fmt: skip
async def test_errors_say_what_was_probably_meant(owner: Tools, sql: str, says: str) -> None:
    error = await owner.refused("query", sql=sql)
    assert error.code == "invalid"
    assert says in error.text
    assert is_clear(error.text), error.text


# Who may.


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (("read", "write"), False),
        (("read",), False),
        (("write",), False),
        (("read", "analyst"), True),
        (("read", "write", "admin"), True),
    ],
)
async def test_only_analysts_and_admins_may(shared: Swarm, era: str, scopes: tuple[str, ...], may: bool) -> None:
    from mcp import Client

    user = (await shared.owner("create_user", name="U", email=f"{era}{'-'.join(scopes)}@example.org"))["_id"]
    async with Client(transport(shared.service, Session(user, frozenset(scopes))), mode=era) as client:
        tools = Tools(client)
        assert ("query" in {tool.name for tool in (await client.list_tools()).tools}) is may
        if may:
            assert await value(tools, "1") == 1
        else:
            assert (await tools.refused("query", sql="SELECT 1")) == Refusal(
                "forbidden",
                "SQL sees everything, so only the owner of this machine and analysts may use it. A token for one: "
                "`one-mcp token create --user ID --scopes read,analyst`. find and search show what you may see.",
            )


async def test_agents_may_not_and_nobody_may_as_an_agent(shared: Swarm, owner: Tools) -> None:
    agent = (await owner("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    tools = await shared.connect(agent)
    assert (await tools.refused("query", sql="SELECT 1")).code == "forbidden"
    error = await owner.refused("query", sql="SELECT 1", as_=agent)
    assert error.text == "Unknown argument 'as'. Known: sql, maxRows, fresh."


async def test_who_only_reads_may_and_toolsets_hold(shared: Swarm) -> None:
    tools = await shared.connect(read_only=True)
    assert await value(tools, "1") == 1
    narrow = await shared.connect(toolsets=frozenset({"core"}))
    assert "query" not in {tool.name for tool in (await narrow.client.list_tools()).tools}


async def test_no_account_token_or_vector_of_the_index_is_in_it(owner: Tools) -> None:
    names = {name for (name,) in (await owner("query", sql="SHOW TABLES"))["rows"]}
    assert not {name for name in names if "oken" in name or "ccount" in name or "ession" in name or "mbedding" in name}
