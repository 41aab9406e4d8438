"""The views of analysts, on a small swarm with known answers, and the comments of the catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.analytics.declaration import AnalyticsView
from storage.analytics_views import BOOKKEEPING_COMMENTS, BY_NAME, VIEWS, describe
from storage.fields import to_timestamp
from storage.migrate import migrate
from storage.migrations import MIGRATIONS
from storage.sql.worker import AUDIT, INTERNAL
from storage.tables import TABLES
from tests.clients import Swarm
from tests.imports import Outcome, load

START = 1_772_323_200_000
"""2026-03-01T00:00Z."""
HOUR = 3_600_000
FAR = 32_503_680_000_000


def participant(row_id: str, place: str, member: str, *, removed: bool = False) -> dict[str, Any]:
    kind = member.partition("_")[0]
    return {
        "table": "conversationParticipants", "_id": row_id, "conversationId": place, "kind": kind,
        f"{kind}Id": member, "status": "active", "isRemoved": removed, "addedAt": START, "createdAt": START,
    }  # fmt: skip


def message(row_id: str, place: str, author: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "table": "conversationMessages", "_id": row_id, "conversationId": place, "authorParticipantId": author,
        "kind": "participant", "status": "sent", "content": f"Said in {row_id}",
        "createdAt": START + round(seconds * 1000), **more,
    }  # fmt: skip


DAY = 24 * 3600
ROWS: list[dict[str, Any]] = [
    {"table": "users", "_id": "user_101", "name": "Ann", "email": "ann@x.example"},
    {"table": "users", "_id": "user_102", "name": "Ben", "email": "ben@x.example"},
    {"table": "users", "_id": "user_103", "name": "Gone", "email": "gone@x.example", "deactivatedAt": START},
    {"table": "agents", "_id": "agent_111", "name": "Scout", "description": "d", "kind": "user_agent"},
    {"table": "agents", "_id": "agent_112", "name": "Sage", "description": "d", "kind": "user_agent"},
    {"table": "agents", "_id": "agent_113", "name": "Old", "description": "d", "kind": "user_agent",
     "deactivatedAt": START},
    {"table": "tags", "_id": "tag_121", "name": "launch", "color": "#123456"},
    {"table": "tags", "_id": "tag_122", "name": "idle"},
    {"table": "conversations", "_id": "conv_131", "title": "Launch", "createdBy": "user_101", "tags": ["launch"],
     "groupId": "shop"},
    {"table": "conversations", "_id": "conv_132", "title": "Support", "createdBy": "user_101"},
    {"table": "conversations", "_id": "conv_133", "title": "Empty", "createdBy": "user_101"},
    participant("part_141", "conv_131", "user_101"),
    participant("part_142", "conv_131", "agent_111"),
    participant("part_143", "conv_131", "user_102", removed=True),
    participant("part_144", "conv_132", "user_102"),
    participant("part_145", "conv_132", "agent_112"),
    # Launch: Ann twice, Scout after 10 s, Ann after 20 s, Scout after 30 s; a deleted one and one of the hub between.
    message("msg_151", "conv_131", "part_141", 0, step="Hook"),
    message("msg_152", "conv_131", "part_141", 10, step="Hook", tags=["launch"]),
    message("msg_153", "conv_131", "part_142", 20, step="Gift"),
    message("msg_154", "conv_131", "part_142", 25, status="deleted", content="", step="Share", tags=["launch"]),
    message("msg_155", "conv_131", "part_141", 30, kind="system"),
    message("msg_156", "conv_131", "part_141", 40),
    message("msg_157", "conv_131", "part_142", 70, step="Sell"),
    # Support, a day later: Sage asks, Ben has the last word after 5 s.
    message("msg_161", "conv_132", "part_145", DAY, step="Hook"),
    message("msg_162", "conv_132", "part_144", DAY + 5),
    {"table": "reactions", "_id": "react_171", "messageId": "msg_153", "userId": "user_101", "type": "like",
     "createdAt": START + 21_000},
    {"table": "reactions", "_id": "react_172", "messageId": "msg_153", "agentId": "agent_111", "type": "own",
     "createdAt": START + 22_000},
    {"table": "reactions", "_id": "react_173", "messageId": "msg_154", "userId": "user_101", "type": "like",
     "createdAt": START + 26_000},
    {"table": "comments", "_id": "comment_174", "messageId": "msg_153", "authorParticipantId": "part_141",
     "content": "Well said", "createdAt": START + 23_000},
    {"table": "comments", "_id": "comment_175", "messageId": "msg_156", "authorParticipantId": "part_142",
     "content": "Noted", "createdAt": START + 41_000},
    {"table": "follows", "_id": "follow_176", "followerId": "user_102", "followeeId": "agent_111", "kind": "agent"},
    {"table": "knowledge", "_id": "know_181", "ownerType": "agent", "ownerId": "agent_111", "content": "Old news",
     "tags": ["launch", "price"]},
    {"table": "knowledge", "_id": "know_182", "ownerType": "agent", "ownerId": "agent_111", "content": "New news",
     "tags": ["launch"], "sources": ["know_181", "msg_151"], "supersedes": "know_181"},
    {"table": "knowledge", "_id": "know_183", "ownerType": "user", "ownerId": "user_101", "content": "Untagged",
     "sources": ["know_181"]},
    {"table": "events", "_id": "event_191", "title": "Past", "createdBy": "user_101", "participants": ["user_102"],
     "startTime": START, "endTime": START + HOUR},
    {"table": "events", "_id": "event_192", "title": "Tasting", "createdBy": "user_101",
     "participants": ["user_101", "user_102"], "startTime": FAR, "endTime": FAR + HOUR},
    {"table": "reminders", "_id": "rem_195", "userId": "user_102", "message": "Call", "remindAt": FAR,
     "status": "pending"},
    {"table": "reminders", "_id": "rem_196", "agentId": "agent_111", "message": "Ask Ben", "remindAt": FAR - HOUR,
     "relatedEntity": "user_102", "status": "pending"},
    {"table": "reminders", "_id": "rem_197", "userId": "user_102", "message": "Done", "remindAt": START,
     "status": "read", "firedAt": START},
    {"table": "reminders", "_id": "rem_198", "userId": "user_1", "message": "Mine", "remindAt": FAR,
     "status": "pending"},
]  # fmt: skip


@pytest.fixture(scope="module")
async def known(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    async with Swarm(tmp_path_factory.mktemp("known") / "data") as swarm:
        assert await load(swarm, *ROWS) == Outcome(added=len(ROWS))
        await swarm.service.engine.store.database.write(describe)
        yield swarm


async def rows(swarm: Swarm, query: str) -> list[tuple[Any, ...]]:
    return await swarm.sql(query)


def at(seconds: float) -> Any:
    return to_timestamp(START + round(seconds * 1000))


async def test_days_have_messages_and_who_was_active(known: Swarm) -> None:
    found = await rows(known, 'SELECT * FROM "dailyActivity" ORDER BY day')
    first = at(0).date()
    assert found == [(first, 5, 2, 1, 1, 1), (at(DAY).date(), 2, 2, 1, 1, 1)]


async def test_response_times_are_from_a_message_to_the_next_one_by_somebody_else(known: Swarm) -> None:
    found = await rows(known, 'SELECT * FROM "responseTimes" ORDER BY "memberId"')
    assert found == [
        ("agent_111", "Scout", "agent", 2, 20.0, 28.0, 30.0),
        ("user_101", "Ann", "user", 1, 20.0, 20.0, 20.0),
        ("user_102", "Ben", "user", 1, 5.0, 5.0, 5.0),
    ]


async def test_agents_are_ranked_by_what_they_did_and_got(known: Swarm) -> None:
    found = await rows(known, 'SELECT * FROM "agentLeaderboard" ORDER BY "agentId"')
    assert found == [
        ("agent_111", "Scout", 2, 1, 1, 1, 1, 2, 20.0, 2, at(70)),
        ("agent_112", "Sage", 1, 1, 0, 0, 0, 0, None, 0, at(DAY)),
    ]


async def test_conversations_tell_how_they_do(known: Swarm) -> None:
    found = await rows(known, 'SELECT * FROM "conversationHealth" ORDER BY "conversationId"')
    assert found == [
        ("conv_131", "Launch", "shop", 2, 2, 5, at(70), "agent_111", "agent", "user_101", 0.6, False),
        ("conv_132", "Support", None, 2, 2, 2, at(DAY + 5), "user_102", "user", "user_102", 0.5, True),
        ("conv_133", "Empty", None, 0, 0, 0, None, None, None, None, None, False),
    ]


async def test_the_funnel_has_all_ten_steps_in_their_phases(known: Swarm) -> None:
    found = await rows(known, 'SELECT * FROM "stepFunnel" ORDER BY position')
    assert found == [
        (1, "FOUNDATION", "Foundation", 0, 0, 0, 2, None),
        (2, "ATTRACT", "Hook", 3, 2, 2, 2, 1.0),
        (3, "ATTRACT", "Gift", 1, 1, 1, 1, 0.5),
        (4, "ATTRACT", "Identify", 0, 0, 0, 1, 1.0),
        (5, "CONVERT", "Engage", 0, 0, 0, 1, 1.0),
        (6, "CONVERT", "Sell", 1, 1, 1, 1, 1.0),
        (7, "CONVERT", "Nurture", 0, 0, 0, 0, 0.0),
        (8, "GROW", "Upsell", 0, 0, 0, 0, None),
        (9, "GROW", "Educate", 0, 0, 0, 0, None),
        (10, "GROW", "Share", 0, 0, 0, 0, None),
    ]


async def test_contacts_have_their_last_touch_what_is_open_and_an_owner(known: Swarm) -> None:
    found = await rows(known, """SELECT * FROM "crmContacts" WHERE "userId" <> 'user_1' ORDER BY "userId" """)
    ann = ("user_101", "Ann", "ann@x.example", 1, 3, at(70), at(40))
    ben = ("user_102", "Ben", "ben@x.example", 1, 1, at(DAY + 5), at(DAY + 5))
    far = to_timestamp(FAR)
    assert found == [
        (*ann, 0, None, far, "Tasting", "Sell", "agent_111", "Scout"),
        (*ben, 2, to_timestamp(FAR - HOUR), far, "Tasting", "Hook", "agent_112", "Sage"),
    ]


async def test_a_timeline_has_everything_around_a_user(known: Swarm) -> None:
    columns = '"rowId", kind, what, "byId", "conversationId", "happenedAt"'
    query = f"""SELECT {columns} FROM "contactTimeline" WHERE "userId" = '%s' ORDER BY "happenedAt", "rowId" """
    assert [row[:3] for row in await rows(known, query % "user_101")] == [
        ("event_191", "event", "Past"),
        ("msg_151", "message", "Said in msg_151"),
        ("msg_152", "message", "Said in msg_152"),
        ("msg_153", "message", "Said in msg_153"),
        ("react_171", "reaction", "like"),
        ("comment_174", "comment", "Well said"),
        ("msg_156", "message", "Said in msg_156"),
        ("comment_175", "comment", "Noted"),
        ("msg_157", "message", "Said in msg_157"),
        ("event_192", "event", "Tasting"),
    ]
    assert await rows(known, query % "user_102") == [
        ("event_191", "event", "Past", "user_101", None, at(0)),
        ("rem_197", "reminder", "Done", None, None, at(0)),
        ("msg_161", "message", "Said in msg_161", "agent_112", "conv_132", at(DAY)),
        ("msg_162", "message", "Said in msg_162", "user_102", "conv_132", at(DAY + 5)),
        ("rem_196", "reminder", "Ask Ben", None, None, to_timestamp(FAR - HOUR)),
        ("event_192", "event", "Tasting", "user_101", None, to_timestamp(FAR)),
        ("rem_195", "reminder", "Call", None, None, to_timestamp(FAR)),
    ]


async def test_knowledge_is_counted_by_owner_and_tag(known: Swarm) -> None:
    found = await rows(
        known, 'SELECT * EXCLUDE ("lastAddedAt") FROM "knowledgeCoverage" ORDER BY "ownerId", tag NULLS LAST'
    )
    assert found == [
        ("agent", "agent_111", "Scout", "launch", 2, 1, 1, 1, 1),
        ("agent", "agent_111", "Scout", "price", 1, 0, 1, 1, 0),
        ("user", "user_101", "Ann", None, 1, 1, 0, 0, 1),
    ]


async def test_knowledge_tells_who_uses_it(known: Swarm) -> None:
    columns = '"knowledgeId", "ownerName", content, sources, cited, "supersededBy"'
    assert await rows(known, f'SELECT {columns} FROM "knowledgeReuse" ORDER BY "knowledgeId"') == [
        ("know_181", "Scout", "Old news", 0, 2, "know_182"),
        ("know_182", "Scout", "New news", 2, 0, None),
        ("know_183", "Ann", "Untagged", 1, 0, None),
    ]


async def test_tags_tell_what_carries_them(known: Swarm) -> None:
    found = await rows(known, 'SELECT * EXCLUDE ("lastUsedAt") FROM "tagUsage" ORDER BY tag')
    assert found == [
        ("idle", None, 0, 0, 0, 0, 0, 0, 0),
        ("launch", "#123456", 4, 0, 0, 1, 1, 2, 0),
        ("price", None, 1, 0, 0, 0, 0, 1, 0),
    ]


async def test_the_graph_has_who_follows_and_who_answers_whom(known: Swarm) -> None:
    columns = '"fromId", "fromKind", "toId", "toName", kind, weight'
    assert await rows(known, f'SELECT {columns} FROM "socialGraph" ORDER BY kind, "fromId"') == [
        ("agent_111", "agent", "user_101", "Ann", "answers", 2),
        ("user_101", "user", "agent_111", "Scout", "answers", 1),
        ("user_102", "user", "agent_112", "Sage", "answers", 1),
        ("user_102", "user", "agent_111", "Scout", "follows", 1),
    ]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_examples_run_and_columns_are_those_declared(known: Swarm, view: AnalyticsView) -> None:
    assert await rows(known, view.example)
    found = await rows(
        known, f"SELECT column_name FROM duckdb_columns() WHERE table_name = '{view.name}' ORDER BY column_index"
    )
    assert [name for (name,) in found] == list(view.columns)


async def test_every_table_view_and_column_has_a_comment(known: Swarm) -> None:
    shown = await rows(
        known,
        "SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal "
        "UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal",
    )
    assert [name for name, comment in shown if not comment] == []
    assert {name for name, _ in shown} > {table.table for table in TABLES} | set(BY_NAME)
    assert (
        await rows(
            known,
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND coalesce(comment, '') = ''",
        )
        == []
    )


def migrated(path: Path, count: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(str(path), config={"storage_compatibility_version": "v1.2.0"})
    migrate(connection, path, MIGRATIONS[:count])
    return connection


def test_it_is_done_once_and_again_for_other_declarations(tmp_path: Path) -> None:
    with closing(migrated(tmp_path / "one.duckdb", len(MIGRATIONS))) as connection:
        connection.execute("CREATE VIEW of_an_older_version AS SELECT 1 AS one")
        assert describe(connection)
        assert not describe(connection)
        connection.execute("UPDATE meta SET value = 'other' WHERE name = 'views'")
        assert describe(connection)
        names = connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert {name for (name,) in names} == set(BY_NAME)


def test_a_failure_changes_nothing(tmp_path: Path) -> None:
    with closing(migrated(tmp_path / "one.duckdb", len(MIGRATIONS))) as connection:
        connection.execute("DROP TABLE tags")
        with pytest.raises(duckdb.Error):
            describe(connection)
        assert connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall() == [(0,)]
        assert connection.execute("SELECT name FROM meta WHERE name = 'views'").fetchall() == []


@pytest.mark.parametrize("count", range(1, len(MIGRATIONS)))
def test_tables_with_views_over_them_are_migrated(tmp_path: Path, count: int) -> None:
    path = tmp_path / "one.duckdb"
    with closing(migrated(path, count)) as connection:
        for table in TABLES:
            connection.execute(f'CREATE VIEW "over {table.table}" AS SELECT * FROM "{table.table}"')
        connection.execute(BY_NAME["conversationHealth"].statement)
        connection.execute("""COMMENT ON COLUMN "conversationHealth".title IS 'older words'""")
        connection.execute("CHECKPOINT")
    with closing(migrated(path, len(MIGRATIONS))) as connection:
        assert describe(connection)
        assert connection.execute('SELECT count(*) FROM "conversationHealth"').fetchall() == [(0,)]


async def test_messages_are_stored_before_and_after_it(swarm: Swarm) -> None:
    room = (await swarm.owner("create_conversation", title="Plan"))["_id"]
    await swarm.owner("send_message", conversationId=room, content="before")
    await swarm.service.engine.store.database.write(describe)
    await swarm.owner("send_message", conversationId=room, content="after")
    found = await swarm.sql('SELECT sum(messages) FROM "dailyActivity"')
    assert found == [(2,)]
    assert swarm.failures == []


async def test_the_first_publication_has_the_views_and_writing_goes_on(swarm: Swarm) -> None:
    owner = await swarm.connect()
    place = (await owner("create_conversation", title="Plan"))["_id"]
    await owner("send_message", conversationId=place, content="before")
    published = await swarm.service.engine.store.snapshots.latest()
    with duckdb.connect(str(published.path), read_only=True) as connection:
        assert set(BY_NAME) <= {
            name for (name,) in connection.execute("SELECT view_name FROM duckdb_views()").fetchall()
        }
    # What was appended to before its comments changed can be appended to after.
    await owner("send_message", conversationId=place, content="after")
    assert len((await owner("list_messages", conversationId=place))["messages"]) == 2


def test_what_the_hub_keeps_for_itself_is_out_of_reach_of_statements() -> None:
    assert set(BOOKKEEPING_COMMENTS) == INTERNAL | {AUDIT}
