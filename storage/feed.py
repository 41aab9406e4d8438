"""What some users and agents did lately, over several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from storage.database import Database
from storage.predicate import Predicate
from storage.row import Row
from storage.tables import Comment, Event, Knowledge, Message, Participant

_AUTHORS = (
    't."authorParticipantId" IN (SELECT _id FROM '
    f'"{Participant.table}" WHERE coalesce("userId", "agentId") IN (SELECT unnest(?::VARCHAR[])))'
)
DEEDS: dict[type[Row], str] = {
    Message: f"{_AUTHORS} AND t.kind = 'participant' AND t.status IS DISTINCT FROM 'deleted'",
    Comment: _AUTHORS,
    Knowledge: 't."ownerType" = \'agent\' AND t."ownerId" IN (SELECT unnest(?::VARCHAR[]))',
    Event: 't."createdBy" IN (SELECT unnest(?::VARCHAR[]))',
}
"""By table: the rows that some members made. What a user knows is nobody else's."""


async def deeds(
    database: Database, members: Sequence[str], seen: Mapping[type[Row], Predicate], before: int, limit: int
) -> list[tuple[str, int]]:
    """The newest rows that `members` made, below the commit number `before`, as (table, `seq`).

    `seen` says for each table in `DEEDS` which rows may be told.
    """
    parts: list[str] = []
    values: list[Any] = []
    for table, made in DEEDS.items():
        text, more = seen[table].sql("t")
        parts.append(
            f"(SELECT '{table.table}' AS name, t.seq AS seq FROM \"{table.table}\" t "
            f"WHERE t.seq < ? AND {made} AND {text} ORDER BY t.seq DESC LIMIT {limit})"
        )
        values += [before, list(members), *more]
    return await database.select(f"{' UNION ALL '.join(parts)} ORDER BY seq DESC LIMIT {limit}", values)
