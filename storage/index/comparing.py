"""What the index lacks, told by comparing it with the store."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from storage.index.documents import digest
from storage.row import Row
from storage.store import Store
from storage.tables import Agent, Knowledge, Message, Participant, User

if TYPE_CHECKING:
    import pyarrow as pa

# Most texts begin with a letter of ASCII; trimming a million of them takes 1.2 s, this comparison next to nothing.
_SAYS_SOMETHING = "(content BETWEEN '!' AND '~' OR trim(content) <> '')"
_WANTED: dict[type[Row], str] = {
    Message: "SELECT m.seq, m.rev, FALSE AS hidden, coalesce(n.speaker, 0) AS speaker "
    f'FROM "{Message.table}" m LEFT JOIN "{Participant.table}" p ON m."authorParticipantId" = p._id '
    f'LEFT JOIN names n ON n.member = coalesce(p."userId", p."agentId") WHERE {_SAYS_SOMETHING}',
    Knowledge: "SELECT seq, rev, 0 AS speaker, "
    f'_id IN (SELECT supersedes FROM "{Knowledge.table}" WHERE supersedes IS NOT NULL) AS hidden '
    f'FROM "{Knowledge.table}" WHERE {_SAYS_SOMETHING}',
}
_INDEXED = "SELECT seq, min(rev) AS rev, bool_or(hidden) AS hidden, min(speaker) AS speaker FROM indexed GROUP BY seq"
_AFFECTED: dict[type[Row], str] = {
    # The speaker's name is indexed with the message.
    Message: f'SELECT m.seq FROM "{Message.table}" m JOIN "{Participant.table}" p ON m."authorParticipantId" = p._id '
    'WHERE coalesce(p."userId", p."agentId") IN (SELECT unnest(?::VARCHAR[]))',
    Knowledge: f'SELECT seq FROM "{Knowledge.table}" WHERE _id IN (SELECT unnest(?::VARCHAR[]))',
}


class Difference(NamedTuple):
    """Rows by `seq`: to be indexed for the first time, to be indexed anew, and to be removed."""

    missing: list[int]
    changed: list[int]
    gone: list[int]


async def difference(store: Store, table: type[Row], stored: pa.Table) -> Difference:
    """How the index of a table, `stored`, differs from the store."""
    return await store.database.read(lambda cursor: _difference(cursor, table, stored))


def _difference(cursor: Any, table: type[Row], stored: pa.Table) -> Difference:
    import pyarrow as pa

    found = cursor.execute(f'SELECT _id, name FROM "{User.table}" UNION ALL SELECT _id, name FROM "{Agent.table}"')
    names = [(member, digest(name) if name else 0) for member, name in found.fetchall()]
    cursor.register(
        "names",
        pa.table(
            {
                "member": pa.array([member for member, _ in names], pa.string()),
                "speaker": pa.array([speaker for _, speaker in names], pa.int64()),
            }
        ),
    )
    cursor.register("indexed", stored)
    try:
        pairs = cursor.execute(
            f"SELECT w.seq, i.seq FROM ({_WANTED[table]}) w FULL JOIN ({_INDEXED}) i ON w.seq = i.seq "
            "WHERE (i.rev, i.hidden, i.speaker) IS DISTINCT FROM (w.rev, w.hidden, w.speaker) ORDER BY w.seq"
        ).fetchall()
    finally:
        cursor.unregister("indexed")
        cursor.unregister("names")
    return Difference(
        missing=[wanted for wanted, indexed in pairs if indexed is None],
        changed=[wanted for wanted, indexed in pairs if wanted is not None and indexed is not None],
        gone=[indexed for wanted, indexed in pairs if wanted is None],
    )


async def affected(store: Store, table: type[Row], ids: Collection[str]) -> list[int]:
    """The rows that others change in the index: messages of renamed members, superseded knowledge."""
    return [seq for (seq,) in await store.database.select(_AFFECTED[table], [list(ids)])]
