"""The audit log: who wrote what, when and from where. One row a request, durable with what the request wrote.

A second table in a commit costs as much as a third of it, and each column more. So the entries of a batch go in as one
text (`auditPending`), and become rows of `auditLog` before the next checkpoint, where they cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
from pydantic_core import to_json

LOG = "auditLog"
LOG_COMMENT = "Who wrote what, when and from where: one row a request, and one a sign-in."
PENDING = "auditPending"
STORED = "stored"
"""The outcome of a request that wrote something."""
MOST_IDS = 20
"""So many ids of what a request wrote are kept; `changed` says how many there were."""
MOST_CHARS = 200
"""Of any text in an entry: much of it is chosen by who calls."""

COLUMNS: dict[str, tuple[str, str]] = {
    "createdAt": ("TIMESTAMP NOT NULL", "when it was asked for, UTC"),
    "action": ("VARCHAR NOT NULL", "the tool or command, or what else was done: sign_in, sign_in_refused, ..."),
    "outcome": ("VARCHAR NOT NULL", "stored, done, unchanged, or the code of the error that refused it"),
    "memberId": ("VARCHAR", "the user or agent who asked; empty where nobody is known"),
    "actingAs": ("VARCHAR", "the agent that they acted as"),
    "grantId": ("VARCHAR", "the token by which they were known, never its text"),
    "origin": ("VARCHAR NOT NULL", "the address from which it came; local: a client of this machine's user"),
    "ids": ("VARCHAR[] NOT NULL", f"what was written, the first {MOST_IDS}"),
    "changed": ("BIGINT NOT NULL", "how many rows were written"),
    "about": ("VARCHAR", "what else there is to say"),
    "requests": ("BIGINT NOT NULL", "how many requests this row stands for: refusals of a minute are one row"),
}
"""Column -> type and what it holds."""

_FIELDS: dict[str, object] = {
    "at": "BIGINT",
    **dict.fromkeys(("action", "outcome", "member", "acting", "grant", "origin", "about"), "VARCHAR"),
    "ids": ["VARCHAR"],
    "changed": "BIGINT",
    "requests": "BIGINT",
}
_SHAPE = to_json([_FIELDS]).decode()
_FOLD = f"""INSERT INTO "{LOG}" SELECT make_timestamp_ms(e.at), e.action, e.outcome, e.member, e.acting, e."grant",
    e.origin, coalesce(e.ids, []), coalesce(e.changed, 0), e.about, coalesce(e.requests, 1)
    FROM (SELECT unnest(from_json(entries, '{_SHAPE}')) AS e FROM "{PENDING}" ORDER BY rowid)"""


@dataclass(frozen=True, slots=True)
class Act:
    """What is asked for, by whom and from where. `grant_id` names a token, `origin` is an address or "local"."""

    action: str
    member_id: str | None
    grant_id: str | None = None
    origin: str = "local"
    acting_as: str | None = None


class Entry(NamedTuple):
    """A row of the log. `at` is in epoch ms."""

    at: int
    act: Act
    outcome: str
    ids: Sequence[str] = ()
    changed: int = 0
    about: str | None = None
    requests: int = 1

    def plain(self) -> dict[str, object]:
        """As it waits in the file; what is not there is left out."""
        act = self.act
        given = {
            "at": self.at,
            "action": act.action[:MOST_CHARS],
            "outcome": self.outcome,
            "member": act.member_id,
            "acting": act.acting_as,
            "grant": act.grant_id,
            "origin": act.origin[:MOST_CHARS],
            "ids": [row_id[:MOST_CHARS] for row_id in self.ids],
            "changed": self.changed,
            "about": None if self.about is None else self.about[:MOST_CHARS],
            "requests": None if self.requests == 1 else self.requests,
        }
        return {name: value for name, value in given.items() if value is not None}


def pending(entries: Collection[Entry]) -> str:
    """The text that stands for entries until they are folded in."""
    return to_json([entry.plain() for entry in entries]).decode()


def fold_audit(connection: duckdb.DuckDBPyConnection) -> None:
    """Make rows of what waits, in one transaction. Run it on the writer's connection.

    Raises:
        duckdb.Error: the disk or the file failed; nothing was changed.
    """
    if not connection.execute(f'SELECT 1 FROM "{PENDING}" LIMIT 1').fetchall():
        return
    connection.begin()
    try:
        connection.execute(_FOLD)
        connection.execute(f'DELETE FROM "{PENDING}"')
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def prune_audit(connection: duckdb.DuckDBPyConnection, before: int) -> None:
    """Remove the rows of before a time (epoch ms): the zone maps of the column tell where they are.

    Raises:
        duckdb.Error: the disk or the file failed.
    """
    connection.execute(f'DELETE FROM "{LOG}" WHERE "createdAt" < make_timestamp_ms(?)', [before])
