"""Reading rows by key, many askers at a time: one query for all that came while the last one ran.

70% of a small query is its parsing and planning, so sixty rows at once cost a tenth of sixty queries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from storage.database import Database
from storage.row import Row, column_list

R = TypeVar("R", bound=Row)

KEYS_A_QUERY = 128
"""Keys named one by one are looked up in the index of the key: 3.3 ms for 50 at a million rows. Two readers that share
them take 2.6, but 1.5 times the processor, which others need. Joining 500 with a scan takes 28 instead of 40, but 700
where rows carry vectors, and whoever asks for one row waits for all of it."""


@dataclass(slots=True, eq=False)
class _Query(Generic[R]):
    """Keys that are asked for together, and what is found of them."""

    seqs: set[int] = field(default_factory=set)
    rows: asyncio.Future[dict[int, R]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Loader(Generic[R]):
    """Reads rows of one table by `seq`; `instead`: see `column_list`."""

    def __init__(self, database: Database, table: type[R], instead: Mapping[str, str]) -> None:
        self._database = database
        self._table = table
        self._select = f'SELECT {column_list(table, instead=instead)} FROM "{table.table}" WHERE seq IN '
        self._waiting: deque[_Query[R]] = deque()
        self._last: _Query[R] | None = None
        """What reads or has read, as long as no commit became visible since it began."""
        self._task: asyncio.Task[None] | None = None

    async def rows(self, seqs: Collection[int]) -> dict[int, R]:
        """The stored rows of these keys; what is not there is left out.

        Raises:
            duckdb.Error: the file failed.
        """
        queries = dict.fromkeys(map(self._query_of, seqs))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        found: dict[int, R] = {}
        for query in queries:
            found |= await asyncio.shield(query.rows)  # who is cancelled leaves the others their answers
        return {seq: found[seq] for seq in seqs if seq in found}

    def publish(self) -> None:
        """A commit became visible: what is read just now may be older, so who asks from now on reads again."""
        self._last = None

    def _query_of(self, seq: int) -> _Query[R]:
        if self._last is not None and seq in self._last.seqs:
            return self._last
        for query in self._waiting:
            if seq in query.seqs:
                return query
        if not self._waiting or len(self._waiting[-1].seqs) == KEYS_A_QUERY:
            self._waiting.append(_Query())
        self._waiting[-1].seqs.add(seq)
        return self._waiting[-1]

    async def _run(self) -> None:
        while self._waiting:
            self._last = query = self._waiting.popleft()
            try:
                seqs = sorted(query.seqs)
                found = await self._database.select(f"{self._select}({', '.join('?' * len(seqs))})", seqs)
                query.rows.set_result({row.seq: row for row in map(self._table.loaded, found)})
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                self._last = None
                query.rows.set_exception(error)
                query.rows.exception()  # seen, even if nobody waits any more
        self._task = None
