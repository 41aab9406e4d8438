"""The views of analysts and the comments of the catalog, and how they come into the file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import duckdb

from storage.analytics import conversations, knowledge, people
from storage.analytics.declaration import AnalyticsView
from storage.audit_log import COLUMNS, LOG, LOG_COMMENT, PENDING
from storage.row import columns
from storage.tables import TABLES

VIEWS: tuple[AnalyticsView, ...] = (*conversations.VIEWS, *people.VIEWS, *knowledge.VIEWS)

BY_NAME: dict[str, AnalyticsView] = {view.name: view for view in VIEWS}

BOOKKEEPING_COMMENTS = {
    "meta": ("Versions and watermarks of the file.", {"name": "what it is about", "value": "as text"}),
    "aliases": (
        "Ids that imports brought along.",
        {"_id": "the id as it was imported", "table": "table of its row", "seq": "key of its row"},
    ),
    "requests": (
        "What was answered to idempotency keys, so that a retry happens once.",
        {
            "key": "caller and key",
            "arguments": "hash of the arguments",
            "kind": "kind of the result",
            "result": "what was answered",
            "keptUntil": "when it may be forgotten, UTC",
        },
    ),
    LOG: (LOG_COMMENT, {name: words for name, (_, words) in COLUMNS.items()}),
    PENDING: ("Entries of the audit log until the next checkpoint; empty in a snapshot.", {"entries": "as JSON"}),
}
"""The tables that are not declared as rows, and their columns."""

_HASH = "views"
"""The row of `meta` that tells which declarations the file has."""


def describe(connection: duckdb.DuckDBPyConnection) -> bool:
    """Bring views and comments into the file, in one transaction, if they are not those of today; whether it did.

    Views that are not declared any more go. Run it on the writer's connection.

    Raises:
        duckdb.Error: the file failed; nothing was changed.
    """
    statements = list(_statements())
    version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchall()
    digest = hashlib.blake2b(f"{version}{statements}".encode(), digest_size=16).hexdigest()
    if connection.execute("SELECT value FROM meta WHERE name = ?", [_HASH]).fetchall() == [(digest,)]:
        return False
    connection.begin()
    try:
        for name in _stored(connection) - set(BY_NAME):
            connection.execute(f"DROP VIEW {_quoted(name)}")
        for statement in statements:
            connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [_HASH, digest])
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return True


def _stored(connection: duckdb.DuckDBPyConnection) -> set[str]:
    rows = connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary "
        "AND database_name = current_database() AND schema_name = 'main'"
    ).fetchall()
    return {name for (name,) in rows}


def _statements() -> Iterator[str]:
    for view in VIEWS:
        yield view.statement
        yield from _comments("VIEW", view.name, view.comment, view.columns)
    for table in TABLES:
        described = {column.name: column.description for column in columns(table)}
        yield from _comments("TABLE", table.table, (table.__doc__ or "").strip(), described)
    for name, (comment, described) in BOOKKEEPING_COMMENTS.items():
        yield from _comments("TABLE", name, comment, described)


def _comments(kind: str, name: str, comment: str, described: dict[str, str]) -> Iterator[str]:
    yield f"COMMENT ON {kind} {_quoted(name)} IS {_text(comment)}"
    for column, words in described.items():
        yield f"COMMENT ON COLUMN {_quoted(name)}.{_quoted(column)} IS {_text(words)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
