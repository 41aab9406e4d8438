"""`python -m benchmarks.views`: each view of analysts at a million messages, on two threads.

The dataset has only messages; steps, tags, reactions, knowledge and the rest are made in a copy of its file.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import duckdb

from benchmarks.data import CACHE, loaded
from benchmarks.dataset import Dataset
from benchmarks.machine import machine, others
from benchmarks.report import table
from storage.analytics_views import VIEWS, describe

MESSAGES = 1_000_000
THREADS = 2
ROUNDS = 5
RESULTS = CACHE.parents[1] / "benchmarks" / "results" / "views.md"
_STEPS = "['Foundation','Hook','Gift','Identify','Engage','Sell','Nurture','Upsell','Educate','Share']"
_AGENT = "'agent_' || (22 + {n} % 40)"
_USER = "'user_' || (2 + {n} % 20)"
_MADE = "TIMESTAMP '2026-01-01' + to_seconds({n} * 60) AS \"createdAt\""
FILLING = (
    f"""UPDATE "conversationMessages" SET step = {_STEPS}[1 + least(9, floor(-ln(1 - random()) * 3))::INTEGER]
    WHERE seq % 3 = 0""",
    """UPDATE "conversationMessages" SET tags = ['tag ' || (seq % 97), 'tag ' || (seq % 31)] WHERE seq % 4 = 0""",
    """UPDATE "conversationMessages" SET status = 'deleted', content = '' WHERE seq % 200 = 0""",
    f"""INSERT INTO reactions BY NAME SELECT 'react_' || seq AS _id, 2000000 + seq AS seq, 2000000 + seq AS rev,
    _id AS "messageId", {_USER.format(n="seq")} AS "userId", 'like' AS type, "createdAt"
    FROM "conversationMessages" WHERE seq % 5 = 0""",
    """INSERT INTO comments BY NAME SELECT 'comment_' || seq AS _id, 4000000 + seq AS seq, 4000000 + seq AS rev,
    _id AS "messageId", "authorParticipantId", 'Well said' AS content, "createdAt"
    FROM "conversationMessages" WHERE seq % 10 = 0""",
    f"""INSERT INTO knowledge BY NAME SELECT 'know_' || i AS _id, 6000000 + i AS seq, 6000000 + i AS rev,
    'agent' AS "ownerType", {_AGENT.format(n="i")} AS "ownerId", 'Known ' || i AS content,
    ['tag ' || (i % 97), 'tag ' || (i % 31)] AS tags, ['know_' || (i // 2), 'know_' || (i // 3)] AS sources,
    CASE WHEN i % 7 = 0 THEN 'know_' || (i - 1) END AS supersedes, {_MADE.format(n="i")} FROM range(100000) r(i)""",
    f"""INSERT INTO follows BY NAME SELECT 'follow_' || i AS _id, 7000000 + i AS seq, 7000000 + i AS rev,
    {_USER.format(n="i")} AS "followerId", {_AGENT.format(n="i // 20")} AS "followeeId", 'agent' AS kind,
    {_MADE.format(n="i")} FROM range(800) r(i)""",
    f"""INSERT INTO events BY NAME SELECT 'event_' || i AS _id, 8000000 + i AS seq, 8000000 + i AS rev,
    'Event ' || i AS title, TIMESTAMP '2026-01-01' + to_hours(i) AS "startTime",
    TIMESTAMP '2026-01-01' + to_hours(i + 1) AS "endTime", {_USER.format(n="i")} AS "createdBy",
    [{_USER.format(n="i * 7")}, {_AGENT.format(n="i")}] AS participants, {_MADE.format(n="i")}
    FROM range(20000) r(i)""",
    f"""INSERT INTO reminders BY NAME SELECT 'rem_' || i AS _id, 9000000 + i AS seq, 9000000 + i AS rev,
    {_USER.format(n="i")} AS "userId", 'Remember' AS message, TIMESTAMP '2026-01-01' + to_hours(i) AS "remindAt",
    {_USER.format(n="i * 3")} AS "relatedEntity", CASE WHEN i % 3 = 0 THEN 'pending' ELSE 'read' END AS status,
    {_MADE.format(n="i")} FROM range(20000) r(i)""",
)


def main() -> None:
    path = CACHE / "views.duckdb"
    shutil.copyfile(loaded(Dataset(MESSAGES)) / "one.duckdb", path)
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.2.0"}) as connection:
        for statement in FILLING:
            connection.execute(statement)
        describe(connection)
    busy = others()
    with duckdb.connect(str(path), read_only=True, config={"threads": THREADS}) as connection:
        # The local owner of the example takes no part in these conversations.
        rows = [_measured(connection, view.name, view.example.replace("user_1", "user_2")) for view in VIEWS]
    path.unlink()
    figures = table(["view", "rows", "all of it, s", "example, s"], rows)
    text = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with DuckDB {duckdb.__version__} on {THREADS} threads at "
        f"{MESSAGES:,} messages, 200,000 reactions, 100,000 comments and as many rows of knowledge; median of {ROUNDS} "
        f"runs, {machine()}, other programs using {busy:.1f} cores:\n\n{figures}\n"
    )
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


def _measured(connection: duckdb.DuckDBPyConnection, name: str, example: str) -> list[str]:
    whole = _seconds(lambda: connection.execute(f'CREATE OR REPLACE TEMP TABLE whole AS SELECT * FROM "{name}"'))
    shown = _seconds(lambda: connection.execute(example).fetchall())
    ((count,),) = connection.execute("SELECT count(*) FROM whole").fetchall()
    return [f"`{name}`", f"{count:,}", f"{whole:.2f}", f"{shown:.2f}"]


def _seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return median(times)


if __name__ == "__main__":
    main()
