"""Reading rows as the documents that are indexed: with the names of speakers, and what has been superseded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from storage.embedding import Embedder
from storage.index.documents import Document, document_of
from storage.row import Row, column_list
from storage.store import Store
from storage.tables import Agent, Knowledge, Message, Participant, User

Names = dict[str, tuple[str, str]]
"""The member behind a participant, and the name."""


class DocumentReader:
    """Makes documents of rows. Names are remembered until `forget_names`."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._names: Names = {}

    def forget_names(self) -> None:
        """Somebody was renamed. A reading that is under way goes on with the names it has."""
        self._names = {}

    async def read(self, table: type[Row], seqs: Sequence[int]) -> list[Document]:
        """The documents of the rows with those commit numbers; those that are gone are left out."""
        names = self._names
        loaded = await self._rows(table, seqs)
        if table is Message:
            await self._learn_names(names, {row.author_participant_id for row in loaded if isinstance(row, Message)})
            replaced: set[str] = set()
        else:
            ids = [row.id for row in loaded]
            replaced = {
                found
                for (found,) in await self._store.database.select(
                    f'SELECT supersedes FROM "{Knowledge.table}" WHERE supersedes IN (SELECT unnest(?::VARCHAR[]))',
                    [ids],
                )
            }
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._describe, loaded, replaced, names)

    async def _rows(self, table: type[Row], seqs: Sequence[int]) -> list[Row]:
        """The rows as they are now, ascending; what was just said is still on a page in memory."""
        rows: dict[int, Row] = {}
        if table is Message:
            remembered = ((seq, self._store.pages.message(seq)) for seq in seqs)
            rows = {seq: message for seq, message in remembered if message is not None}
        missing = [seq for seq in seqs if seq not in rows]
        if missing:
            found = await self._store.database.select(
                f'SELECT {column_list(table)} FROM "{table.table}" WHERE seq IN (SELECT unnest(?::BIGINT[]))', [missing]
            )
            rows |= {row.seq: row for row in map(table.loaded, found)}
        return [rows[seq] for seq in sorted(rows)]

    def _describe(self, rows: Sequence[Row], replaced: set[str], names: Names) -> list[Document]:
        documents = []
        for row in rows:
            author, speaker = "", ""
            if isinstance(row, Message):
                author, speaker = names.get(row.author_participant_id, ("", ""))
            elif isinstance(row, Knowledge):
                author = row.owner_id
            documents.append(
                document_of(
                    row,
                    author=author,
                    speaker=speaker,
                    superseded=row.id in replaced,
                    chunker=self._spans,
                )
            )
        return documents

    def _spans(self, text: str) -> list[tuple[int, int]]:
        return [(chunk.start, chunk.end) for chunk in self._embedder.chunk(text)]

    async def _learn_names(self, names: Names, participants: set[str]) -> None:
        unknown = [participant for participant in participants if participant not in names]
        if not unknown:
            return
        rows = await self._store.database.select(
            'SELECT p._id, coalesce(p."userId", p."agentId"), coalesce(u.name, a.name, \'\') '
            f'FROM "{Participant.table}" p '
            f'LEFT JOIN "{User.table}" u ON p."userId" = u._id LEFT JOIN "{Agent.table}" a ON p."agentId" = a._id '
            "WHERE p._id IN (SELECT unnest(?::VARCHAR[]))",
            [unknown],
        )
        names.update({participant: (member, name) for participant, member, name in rows})
