"""What a view is declared as, and the parts that several views are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnalyticsView:
    """A view on the application tables.

    `comment` is one line, `columns` maps every column in its order to what it holds, `sql` is the body and `example` a
    query to begin with. All of it is SQL that DuckDB 1.2 and later understand.
    """

    name: str
    comment: str
    columns: dict[str, str]
    sql: str
    example: str

    @property
    def statement(self) -> str:
        """Its CREATE statement.

        The columns are named around the query and not in the head of the view: DuckDB 1.2 holds the names that it makes
        up for unnamed expressions against those that 2.0 made up, and refuses the view where they differ.
        """
        names = ", ".join(f'"{column}"' for column in self.columns)
        return f'CREATE OR REPLACE VIEW "{self.name}" AS SELECT * FROM ({self.sql}) AS shown ({names})'


MEMBERS = """SELECT _id, name, 'user' AS kind, "deactivatedAt" FROM users
    UNION ALL SELECT _id, name, 'agent' AS kind, "deactivatedAt" FROM agents"""
"""Users and agents."""

SAID = """SELECT m._id, m.seq, m."conversationId", m."createdAt", m.step,
    p.kind AS "authorKind", coalesce(p."userId", p."agentId") AS "authorId"
    FROM "conversationMessages" m JOIN "conversationParticipants" p ON p._id = m."authorParticipantId"
    WHERE m.kind = 'participant' AND m.status IS DISTINCT FROM 'deleted'"""
"""What people and agents said: no tombstones, no system messages."""

WAITS = f"""SELECT *, CASE WHEN "answeredId" <> "authorId"
    THEN greatest(epoch_ms("createdAt") - epoch_ms("previousAt"), 0) END AS ms FROM (
        SELECT *, lag("authorId") OVER following AS "answeredId", lag("createdAt") OVER following AS "previousAt"
        FROM ({SAID}) WINDOW following AS (PARTITION BY "conversationId" ORDER BY seq))"""
"""What was said, with the milliseconds since the message before it where that is by somebody else.

The order is that of reading, which is by `seq`; what an import brought later may be of an earlier time.
"""

ANSWERS = f"SELECT * FROM ({WAITS}) WHERE ms IS NOT NULL"
"""Messages that come directly after one by somebody else."""

NOW = "make_timestamp(epoch_us(now()))"
"""The time of the query in UTC, whatever the time zone of whoever asks."""

TEXT_CHARS = 200
"""So much of a text is shown where the view is not about the text."""
