"""What must hold in the data, as queries that find what breaks it. Only reads.

The writer checks all this before it stores anything; the audit is for files that something else changed, and for
mistakes of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import duckdb

from storage.keys import NATURAL_KEYS
from storage.row import Column, Row, by_name, columns
from storage.tables import TABLES, Attachment, Conversation

SHOWN = 3
"""Examples of what a check finds."""

Group = Literal["references", "twins", "unique", "derived", "numbers"]


class Check(NamedTuple):
    """A query whose rows (one text each, `what`) break the rule `name`."""

    group: Group
    name: str
    sql: str


class Finding(NamedTuple):
    """A rule that is broken: how often, and where for example."""

    group: Group
    name: str
    broken: int
    examples: list[str]


def run(connection: duckdb.DuckDBPyConnection, check: Check) -> Finding | None:
    """What a check finds; None when its rule holds.

    Raises:
        duckdb.Error: the file cannot be read.
    """
    # All of the result: one that is not read to its end holds up checkpoints.
    ((broken, examples),) = connection.execute(f"SELECT count(*), min(what, {SHOWN}) FROM ({check.sql})").fetchall()
    return Finding(check.group, check.name, broken, examples) if broken else None


def checks() -> Iterator[Check]:
    """Every check."""
    yield from _references()
    yield from _kinds()
    yield from _twins()
    yield from _unique()
    yield from _numbers()
    yield _last_message_times()


# -- references ------------------------------------------------------------------------------------------------------


def _references() -> Iterator[Check]:
    for table in TABLES:
        for column in columns(table):
            if column.refers_to is not None:
                name = f"{table.table}.{column.name} names a row that exists"
                yield Check("references", name, _orphans(table, column))
    yield Check(
        "references",
        "the author of a message takes part in its conversation",
        """SELECT m._id AS what FROM "conversationMessages" m
        JOIN "conversationParticipants" p ON p._id = m."authorParticipantId"
        WHERE p."conversationId" <> m."conversationId" """,
    )


def _orphans(table: type[Row], column: Column) -> str:
    assert column.refers_to is not None
    targets = " UNION ALL ".join(f'SELECT _id FROM "{name}"' for name in column.refers_to.tables)
    named = f'unnest("{column.name}")' if column.sql.endswith("[]") else f'"{column.name}"'
    condition = "TRUE"
    if table is Attachment and column.name == "ownerId":
        # A group may be any name; only what looks like a conversation of ours must be one.
        condition = f""" "ownerType" = 'agent' OR regexp_full_match("ownerId", '{Conversation.prefix}_[0-9]+')"""
    return f"""SELECT t._id || ' (' || t.named || ')' AS what
        FROM (SELECT _id, {named} AS named FROM "{table.table}" WHERE {condition}) t
        ANTI JOIN ({targets}) r ON r._id = t.named WHERE t.named IS NOT NULL"""


def _kinds() -> Iterator[Check]:
    """What is written beside an id about the row that it names."""
    for table, kind, named in (("knowledge", "ownerType", "ownerId"), ("follows", "kind", "followeeId")):
        yield Check(
            "references",
            f"{table}.{kind} is the kind of {named}",
            f"""SELECT t._id AS what FROM {table} t LEFT JOIN agents a ON a._id = t."{named}"
            WHERE (t."{kind}" = 'agent') <> (a._id IS NOT NULL)""",
        )
    yield Check(
        "references",
        "a participant is one user or one agent, as its kind says",
        """SELECT _id AS what FROM "conversationParticipants"
        WHERE (kind = 'user') <> ("userId" IS NOT NULL) OR (kind = 'agent') <> ("agentId" IS NOT NULL)""",
    )
    for table in ("reactions", "reminders"):
        yield Check(
            "references",
            f"a row of {table} has either a user or an agent",
            f"""SELECT _id AS what FROM {table} WHERE ("userId" IS NULL) = ("agentId" IS NULL)""",
        )


# -- what is stored twice, and what must be unique -------------------------------------------------------------------


def _twins() -> Iterator[Check]:
    for field, table, agent, named, condition in (
        ("tools", "agentTools", "agentId", "toolId", "TRUE"),
        ("attachedPrompts", "attachments", "ownerId", "promptId", "\"ownerType\" = 'agent'"),
    ):
        yield Check(
            "twins",
            f"agents.{field} says the same as {table}",
            f"""SELECT a._id AS what FROM agents a
            LEFT JOIN (SELECT "{agent}" AS agent, list("{named}") AS named FROM "{table}" WHERE {condition}
                GROUP BY ALL) j ON j.agent = a._id
            WHERE list_sort(coalesce(a."{field}", [])) <> list_sort(coalesce(j.named, []))""",
        )
    tagged = " UNION ALL ".join(
        f'SELECT _id, unnest(tags) AS tag FROM "{table.table}"' for table in TABLES if "tags" in by_name(table)
    )
    yield Check(
        "twins",
        "every tag in use is a row of tags",
        f"SELECT t._id || ' (' || t.tag || ')' AS what FROM ({tagged}) t ANTI JOIN tags g ON g.name = t.tag",
    )


def _unique() -> Iterator[Check]:
    for table, key in NATURAL_KEYS.items():
        names = " and ".join("/".join(str(table.model_fields[field].alias) for field in part) for part in key.fields)
        text = " || ', ' || ".join(key.sql(table, "t"))
        yield Check(
            "unique",
            f"no two rows of {table.table} have the same {names}",
            f'SELECT {text} AS what FROM "{table.table}" t GROUP BY ALL HAVING count(*) > 1',
        )


# -- what the store keeps about rows ---------------------------------------------------------------------------------


def _numbers() -> Iterator[Check]:
    every = " UNION ALL ".join(f"SELECT '{t.table}' AS name, _id, seq FROM \"{t.table}\"" for t in TABLES)
    foreign = " UNION ALL ".join(
        f"""SELECT _id FROM "{t.table}"
        WHERE try_cast(regexp_extract(_id, '^{t.prefix}_([1-9][0-9]*)$', 1) AS BIGINT) IS DISTINCT FROM seq"""
        for t in TABLES
    )
    for name, sql in (
        (
            "a commit number belongs to one row",
            f"SELECT seq::VARCHAR AS what FROM ({every}) GROUP BY seq HAVING count(*) > 1",
        ),
        (
            "an id belongs to one row",
            f"SELECT _id AS what FROM ({every}) GROUP BY _id HAVING count(*) > 1",
        ),
        (
            "an id in the map leads to its row",
            f"""SELECT a._id AS what FROM aliases a
            ANTI JOIN ({every}) t ON t._id = a._id AND t.seq = a.seq AND t.name = a."table" """,
        ),
        (
            "an id of another form is in the map",
            f"SELECT t._id AS what FROM ({foreign}) t ANTI JOIN aliases a ON a._id = t._id",
        ),
    ):
        yield Check("numbers", name, sql)


def _last_message_times() -> Check:
    """Conversations with messages above the watermark have a newer time in the hub's memory."""
    return Check(
        "derived",
        "conversations.lastMessageTime is that of the newest message",
        """SELECT c._id AS what FROM conversations c
        LEFT JOIN (SELECT "conversationId" AS id, max("createdAt") AS newest, max(seq) AS last
            FROM "conversationMessages" GROUP BY ALL) m ON m.id = c._id
        WHERE coalesce(m.last, 0) < coalesce((SELECT value::BIGINT FROM meta WHERE name = 'folded'), 0)
        AND c."lastMessageTime" IS DISTINCT FROM m.newest""",
    )
