"""The audit log: what leaves a row, what does not, and who may read it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server import audit_log
from server.connections import Progress
from server.import_command import ImportCommand
from server.token_commands import TokenCommands
from storage.audit_log import prune_audit
from storage.errors import Invalid
from tests.clients import Swarm
from tests.remote import bearer, client, raw_post, served
from tests.signing_in import door
from tools_impl.caller import Caller
from tools_impl.query import query

Row = dict[str, Any]


async def _nobody(_: dict[str, Any]) -> None:
    pass


QUIET: Progress = _nobody


async def entries(swarm: Swarm, **where: Any) -> list[Row]:
    """The rows of the log, oldest first, without those that other calls left."""
    await swarm.service.audit.flush()
    async with swarm.service.engine.writer.checkpointed():
        pass
    found = await swarm.sql(
        'SELECT action, outcome, "memberId", "actingAs", "grantId", origin, ids, changed, about, requests '
        'FROM "auditLog" ORDER BY "createdAt", rowid'
    )
    names = ("action", "outcome", "memberId", "actingAs", "grantId", "origin", "ids", "changed", "about", "requests")
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


async def test_each_request_that_writes_leaves_one_row(swarm: Swarm) -> None:
    owner = swarm.service.owner.id
    agent = await swarm.owner("create_agent", name="Bot", description="one", kind="user_agent")
    plan = await swarm.owner("create_conversation", title="Plan", participants=[agent["_id"]])
    sent = await swarm.owner("send_message", conversationId=plan["_id"], content="a secret", as_=agent["_id"])
    await swarm.owner("list_messages", conversationId=plan["_id"])
    rows = await entries(swarm)
    assert [(row["action"], row["outcome"], row["origin"]) for row in rows] == [
        ("create_agent", "stored", "local"),
        ("create_conversation", "stored", "local"),
        ("send_message", "stored", "local"),
    ]
    assert rows[1]["ids"][0] == plan["_id"]
    assert rows[1]["changed"] == 3  # the conversation and who takes part
    assert rows[2] | {"about": None} == rows[2]
    assert (rows[2]["memberId"], rows[2]["actingAs"], rows[2]["ids"]) == (owner, agent["_id"], [sent["_id"]])
    assert "secret" not in str(rows)
    assert await swarm.sql('SELECT count(*) FROM "auditPending"') == [(0,)]


async def test_acknowledging_deleting_and_importing_leave_rows(swarm: Swarm) -> None:
    ann, of_ann = await swarm.user("Ann")
    plan = await swarm.owner("create_conversation", title="Plan", participants=[ann])
    await swarm.owner("send_message", conversationId=plan["_id"], content="one")
    unread = await of_ann("inbox")
    await of_ann("inbox", ack=unread["ack"])
    await swarm.owner("delete", id=plan["_id"])
    lines = [json.dumps({"table": "tags", "_id": f"tag-{number}", "name": f"t{number}"}) for number in range(40)]
    await ImportCommand(swarm.service)({"first": 1, "lines": lines, "batch": 100, "repeats": {}}, QUIET)
    rows = await entries(swarm)
    assert [row["action"] for row in rows if row["memberId"] == ann] == ["inbox"]
    assert [row["ids"][0] for row in rows if row["action"] == "delete"] == [plan["_id"]]
    (imported,) = (row for row in rows if row["action"] == "import")
    assert (imported["changed"], len(imported["ids"])) == (40, 20)


async def test_a_replay_leaves_no_second_row(swarm: Swarm) -> None:
    plan = await swarm.owner("create_conversation", title="Plan")
    for _ in range(3):
        await swarm.owner("send_message", conversationId=plan["_id"], content="once", idempotencyKey="k")
    rows = await entries(swarm, action="send_message")
    assert [(row["outcome"], row["requests"]) for row in rows] == [("stored", 1)]


async def test_refused_writes_and_those_that_change_nothing_are_counted(swarm: Swarm) -> None:
    plan = await swarm.owner("create_conversation", title="Plan")
    ann, of_ann = await swarm.user("Ann")
    for _ in range(50):
        await of_ann.refused("send_message", conversationId=plan["_id"], content="let me in")
    await of_ann.refused("list_messages", conversationId=plan["_id"])
    await swarm.owner("create_tag", name="green")
    await swarm.owner("create_tag", name="green")
    rows = await entries(swarm, memberId=ann)
    assert [(row["action"], row["outcome"], row["requests"], row["changed"]) for row in rows] == [
        ("send_message", "not_found", 1, 0),
        ("send_message", "not_found", 49, 0),
    ]
    assert [row["outcome"] for row in await entries(swarm, action="create_tag")] == ["stored", "unchanged"]


async def test_tokens_and_who_brings_them(swarm: Swarm) -> None:
    owner = swarm.service.owner.id
    commands = TokenCommands(swarm.service)
    made = await commands.create({"scopes": ["read", "write"], "name": "laptop"}, QUIET)
    await commands.revoke({"id": made["_id"]}, QUIET)
    other = await commands.create({"scopes": ["read", "write"]}, QUIET)
    async with served(swarm) as (url, _):
        for _ in range(2):
            async with client(url, "legacy", bearer(other["token"])) as remote:
                await remote("create_tag", name="green")
        async with httpx2.AsyncClient(headers=bearer("one_guessed")) as http:
            for _ in range(20):
                answer = await raw_post(http, url, "tools/list")
                assert answer.status_code == 401
    rows = await entries(swarm)
    assert [(row["action"], row["grantId"], row["about"]) for row in rows if row["action"].startswith("token")] == [
        ("token_created", made["_id"], f"for {owner}"),
        ("token_revoked", made["_id"], f"for {owner}"),
        ("token_created", other["_id"], f"for {owner}"),
    ]
    (connected,) = (row for row in rows if row["action"] == "connected")
    assert (connected["memberId"], connected["grantId"], connected["origin"]) == (owner, other["_id"], "127.0.0.1")
    written = [row for row in rows if row["action"] == "create_tag"]
    assert [(row["grantId"], row["origin"]) for row in written] == [(other["_id"], "127.0.0.1")] * 2
    refused = [row for row in rows if row["action"] == "sign_in_refused"]
    assert [(row["origin"], row["requests"]) for row in refused] == [("127.0.0.1", 1), ("127.0.0.1", 19)]
    assert "one_" not in str(rows)


async def test_refusals_from_everywhere_do_not_fill_the_disk(swarm: Swarm) -> None:
    for number in range(1_000):
        origin = f"10.0.{number // 250}.{number % 250}"
        await swarm.service.audit.note("sign_in_refused", member_id=None, grant_id=None, origin=origin)
    rows = await entries(swarm, action="sign_in_refused")
    assert len(rows) == audit_log.MOST_KINDS + 1
    assert sum(row["requests"] for row in rows) == 1_000
    assert [row["requests"] for row in rows if row["origin"] == audit_log.MANY] == [1_000 - audit_log.MOST_KINDS]


async def test_sign_ins_are_durable_when_they_are_noted(swarm: Swarm) -> None:
    commits = swarm.service.engine.writer.commits
    await swarm.service.audit.note("sign_in", member_id="user_1", grant_id="session_1", origin="::1", about="x" * 1_000)
    assert swarm.service.engine.writer.commits == commits + 1
    (row,) = await entries(swarm, action="sign_in")
    assert (row["outcome"], row["grantId"], len(row["about"])) == ("done", "session_1", 200)


async def test_old_rows_go(swarm: Swarm) -> None:
    await swarm.owner("create_tag", name="green")
    assert len(await entries(swarm)) == 1
    now = time.time_ns() // 1_000_000
    for before, left in ((now - 60_000, 1), (now + 60_000, 0)):
        await swarm.service.engine.store.database.write(partial(prune_audit, before=before))
        assert len(await entries(swarm)) == left


async def test_switched_off_there_are_no_rows(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data", audit={"enabled": False}) as swarm:
        await swarm.owner("create_tag", name="green")
        await swarm.owner.refused("send_message", conversationId="conv_9", content="x")
        await swarm.service.audit.note("sign_in", member_id="user_1", grant_id=None, origin="::1")
        assert await entries(swarm) == []


@pytest.fixture(scope="module")
async def read(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    async with Swarm(tmp_path_factory.mktemp("audit") / "data") as swarm:
        await swarm.owner("create_tag", name="green")
        await swarm.service.engine.store.snapshots.latest(fresh=True)
        yield swarm


REACHES = (
    'SELECT action FROM "auditLog"',
    "SELECT * FROM AUDITLOG",
    "FROM main.auditlog",
    "WITH auditlog AS (SELECT * FROM auditlog) SELECT * FROM auditlog",
    "SELECT * FROM (WITH auditlog AS (SELECT 1) FROM auditlog) t, main.auditlog",
    "WITH RECURSIVE auditlog(n) AS (SELECT 1 UNION ALL SELECT n FROM auditlog) FROM auditlog",
    "SELECT * FROM histogram(auditlog, action)",
    "SELECT * FROM histogram_values('auditLog', action)",
    "SELECT * FROM histogram(col_name := action, source := 'auditLog')",
    'SUMMARIZE "auditLog"',
    'EXPLAIN ANALYZE SELECT * FROM "auditLog"',
    'SELECT (SELECT count(*) FROM "auditLog")',
)


@pytest.mark.parametrize("sql", REACHES)
async def test_analysts_do_not_read_it(read: Swarm, sql: str) -> None:
    owner = read.service.owner.id
    with pytest.raises(Invalid, match=r"for admins only|takes the name of a table|a table has that name"):
        await query(read.service.engine.view(), Caller("user", owner, owner, analyst=True), sql)


async def test_admins_read_it(read: Swarm) -> None:
    found = await read.owner("query", sql='SELECT action, ids FROM "auditLog"')
    assert [row[0] for row in found["rows"]] == ["create_tag"]
    assert (await read.owner("query", sql='SUMMARIZE "auditLog"'))["rows"]
    refused = await read.owner.refused("query", sql='SELECT * FROM "auditPending"')
    assert "no table 'auditPending'" in refused.text


async def test_the_built_in_sign_in_is_told_of(swarm: Swarm) -> None:
    async with door(swarm) as hall:
        ann = await hall.person("Ann")
        await hall.browser().sign_in(ann.email, "a wrong one, as it happens")
        program = hall.program()
        await program.register()
        await program.connect(ann)
        person = hall.account(ann).user_id
        rows = await entries(swarm)
    told = {(row["action"], row["outcome"], row["memberId"]) for row in rows}
    assert {("sign_in_refused", "refused", person), ("access_allowed", "done", person)} <= told
