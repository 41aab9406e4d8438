"""How a batch of changes becomes durable: the writer's thread, one transaction, one fsync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from storage.audit_log import PENDING, pending
from storage.batch import Changes, Receipt
from storage.database import Database
from storage.fields import to_timestamp
from storage.row import Row, by_name, columns
from storage.tables import TABLES, Attachment, Comment, Conversation, Message, Participant, Reaction

Additions = dict[str, list[list[Any]]]
"""New rows by table, as they are stored."""


class Committer:
    """Applies changes to the file. Appenders and parsed statements are kept between commits, which saves a third."""

    def __init__(self, database: Database) -> None:
        self._connection = database.connection
        self._unoptimized = database.unoptimized
        self._appenders: dict[str, Any] = {}
        self._statements: dict[tuple[str, ...], duckdb.Statement] = {}

    def commit(self, changes: Changes, next_seq: int) -> None:
        """Write everything in one transaction. After an error nothing of it is stored and the file must be reopened.

        Raises:
            duckdb.Error: the disk or the file failed; requests were checked before, so it is never their fault.
        """
        try:
            self._write(changes, list(changes.receipts.values()), next_seq)
        except duckdb.ConstraintException:
            # A key that its client called new was used before. The request counts, the first receipt stays.
            self._write(changes, self._without_receipt(changes), next_seq)

    def _write(self, changes: Changes, receipts: Sequence[Receipt], next_seq: int) -> None:
        additions = _additions(changes, receipts)
        if changes.only_adds and {len(rows) for rows in additions.values()} == {1}:
            self._insert(additions)
        else:
            self._transact(changes, additions, next_seq)

    def _insert(self, additions: Additions) -> None:
        """Store one row in each of some tables with a single statement, which is a transaction by itself.

        It takes 0.6 of the time of a transaction with appenders, which plan a statement for each table. At 8 rows they
        take as long, and need no statement for each number of rows.
        """
        tables = tuple(additions)
        statement = self._statements.get(tables)
        if statement is None:
            (statement,) = self._unoptimized.extract_statements(_insertion(additions))
            self._statements[tables] = statement
        self._unoptimized.execute(statement, [value for (row,) in additions.values() for value in row])

    def _transact(self, changes: Changes, additions: Additions, next_seq: int) -> None:
        connection = self._connection
        connection.begin()
        try:
            for conversation in changes.dropped:
                self._drop(conversation)
            for tag in changes.stripped:
                self._strip(tag, next_seq - 1)
            for table in TABLES:
                for before, after in changes.updated(table):
                    self._update(before, after)
                self._delete(table, changes.deleted(table))
            for name, rows in additions.items():
                self._append(name, rows)
            if changes.deletes:
                # A commit number is never given out again, not even when its row was the last one.
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('seq', ?)", [str(next_seq)])
            connection.commit()
        except BaseException:
            self._appenders.clear()
            connection.rollback()
            raise

    def _without_receipt(self, changes: Changes) -> list[Receipt]:
        used = self._connection.execute(
            "SELECT key FROM requests WHERE key IN (SELECT unnest(?::VARCHAR[]))", [list(changes.receipts)]
        ).fetchall()
        return [receipt for key, receipt in changes.receipts.items() if (key,) not in used]

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the main file. Waits for the queries that are running."""
        # Without FORCE it fails whenever a reader is in the middle of a query.
        self._connection.execute("FORCE CHECKPOINT")

    def _append(self, table: str, rows: Sequence[list[Any]]) -> None:
        appender = self._appenders.get(table)
        if appender is None:
            appender = self._appenders[table] = self._connection.appender(table)
        for row in rows:
            appender.append_row(*row)
        appender.flush()

    def _update(self, before: Row, after: Row) -> None:
        changed = [
            (column, value)
            for column, old, value in zip(columns(type(after)), before.stored(), after.stored(), strict=True)
            if old != value
        ]
        assignments = ", ".join(f'"{column.name}" = ?' for column, _ in changed)
        self._connection.execute(
            f'UPDATE "{after.table}" SET {assignments} WHERE seq = ?',
            [*(value for _, value in changed), after.seq],
        )

    def _delete(self, table: type[Row], rows: Sequence[Row]) -> None:
        if rows:
            self._delete_where(table, "seq IN (SELECT unnest(?::BIGINT[]))", [row.seq for row in rows])

    def _delete_where(self, table: type[Row], condition: str, value: object) -> None:
        self._connection.execute(
            f'DELETE FROM aliases WHERE "table" = ? AND seq IN (SELECT seq FROM "{table.table}" WHERE {condition})',
            [table.table, value],
        )
        self._connection.execute(f'DELETE FROM "{table.table}" WHERE {condition}', [value])

    def _drop(self, conversation: str) -> None:
        messages = f'SELECT _id FROM "{Message.table}" WHERE "conversationId" = ?'
        self._delete_where(Comment, f'"messageId" IN ({messages})', conversation)
        self._delete_where(Reaction, f'"messageId" IN ({messages})', conversation)
        self._delete_where(Message, '"conversationId" = ?', conversation)
        self._delete_where(Participant, '"conversationId" = ?', conversation)
        self._delete_where(Attachment, '"ownerType" = \'group\' AND "ownerId" = ?', conversation)

    def _strip(self, tag: str, rev: int) -> None:
        for table in TABLES:
            if "tags" in by_name(table):
                self._connection.execute(
                    f'UPDATE "{table.table}" SET tags = list_filter(tags, lambda name: name <> ?), rev = ? '
                    "WHERE list_contains(tags, ?)",
                    [tag, rev, tag],
                )


def _additions(changes: Changes, receipts: Sequence[Receipt]) -> Additions:
    additions: Additions = {table.table: [row.stored() for row in changes.inserted(table)] for table in TABLES}
    additions["aliases"] = [[row.id, row.table, row.seq] for row in changes.aliases.values()]
    additions["requests"] = [[r.key, r.arguments, r.kind, r.result, to_timestamp(r.kept_until)] for r in receipts]
    additions[PENDING] = [[pending(changes.audit)]] if changes.audit else []
    return {table: rows for table, rows in additions.items() if rows}


def _insertion(additions: Additions) -> str:
    """The statement that inserts one row into each table: all but the last one in common table expressions."""
    *others, last = (
        f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(row))})' for table, (row,) in additions.items()
    )
    with_ = ", ".join(f"_{number} AS ({insert} RETURNING 1)" for number, insert in enumerate(others))
    return f"WITH {with_} {last}" if others else last


def fold(connection: duckdb.DuckDBPyConnection, message_times: dict[str, int], seq: int) -> None:
    """Write the derived `lastMessageTime` of conversations, which covers all messages below `seq`."""
    connection.execute(
        f'UPDATE "{Conversation.table}" '
        'SET "lastMessageTime" = greatest(coalesce("lastMessageTime", given.moment), given.moment) '
        "FROM (SELECT unnest(?::VARCHAR[]) AS id, make_timestamp_ms(unnest(?::BIGINT[])) AS moment) AS given "
        f'WHERE "{Conversation.table}"._id = given.id',
        [list(message_times), list(message_times.values())],
    )
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('folded', ?)", [str(seq)])
