"""How a batch of changes becomes durable: the writer's thread, one transaction, one fsync."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from storage.audit_log import PENDING, pending
from storage.batch import Changes, Receipt
from storage.fields import to_timestamp
from storage.row import Row, by_name, columns
from storage.tables import TABLES, Attachment, Comment, Conversation, Message, Participant, Reaction


class Committer:
    """Applies changes to the file. Appenders stay open between commits: that saves a third of a lone commit."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._appenders: dict[str, Any] = {}

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
        connection = self._connection
        connection.begin()
        try:
            for conversation in changes.dropped:
                self._drop(conversation)
            for tag in changes.stripped:
                self._strip(tag, next_seq - 1)
            for table in TABLES:
                self._append(table.table, [row.stored() for row in changes.inserted(table)])
                for before, after in changes.updated(table):
                    self._update(before, after)
                self._delete(table, changes.deleted(table))
            self._append("aliases", [[row.id, row.table, row.seq] for row in changes.aliases.values()])
            self._append(
                "requests",
                [[r.key, r.arguments, r.kind, r.result, to_timestamp(r.kept_until)] for r in receipts],
            )
            if changes.audit:
                self._append(PENDING, [[pending(changes.audit)]])
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
        if not rows:
            return
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
