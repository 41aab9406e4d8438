"""What the index has yet to do for one table."""

from __future__ import annotations

from collections.abc import Iterable

from storage.batch import Changes
from storage.row import Row
from storage.tables import Agent, Knowledge, Message, User


class Work:
    """Rows of one table that the index has yet to follow, by `seq`."""

    def __init__(self, table: type[Row]) -> None:
        self.table = table
        self.words: dict[int, None] = {}
        """Rows whose words are not indexed as they are now."""
        self.vectors: dict[int, None] = {}
        """Rows whose vectors are missing."""
        self.known: set[int] = set()
        """Rows in `words` that may have chunks in the index already."""
        self.embedding: set[int] = set()
        """Rows whose vectors are being made and that have not changed meanwhile."""
        self.affected: set[str] = set()
        """Renamed members and superseded knowledge: the rows they concern have to be looked up."""
        self.rounds_begun = 0
        self.round_done = 0
        """The number of the last round of indexing that succeeded."""
        self.compare = True
        """Whether the index has to be compared with the store: at the start, and after changes that name no rows."""

    @property
    def is_done(self) -> bool:
        """Whether the words of everything that was stored until now are indexed."""
        return not (self.compare or self.affected or self.words) and self.rounds_begun == self.round_done

    def add(self, seqs: Iterable[int], *, known: bool) -> None:
        """Note changed rows."""
        for seq in seqs:
            self.words[seq] = None
            self.embedding.discard(seq)
            if known:
                self.known.add(seq)

    def begin_anew(self) -> None:
        """Nothing is indexed."""
        self.words.clear()
        self.vectors.clear()
        self.known.clear()
        self.embedding.clear()
        self.compare = True

    def take(self, count: int) -> tuple[list[int], set[int]]:
        """So many rows whose words are to be indexed, and which of them may be indexed already."""
        seqs = [seq for seq, _ in zip(self.words, range(count), strict=False)]
        known = self.known.intersection(seqs)
        for seq in seqs:
            del self.words[seq]
        self.known -= known
        return seqs, known

    def follow(self, changes: Changes) -> None:
        """Note what a published batch changes."""
        if changes.dropped or changes.stripped:
            self.compare = True
        self.add((row.seq for row in changes.inserted(self.table)), known=False)
        self.add((after.seq for _, after in changes.updated(self.table)), known=True)
        self.add((row.seq for row in changes.deleted(self.table)), known=True)
        if self.table is Message:
            self.affected |= _renamed(changes)
        elif self.table is Knowledge:
            self.affected |= _superseded(changes)

    @property
    def behind(self) -> bool:
        """Whether words may be found that are no longer so, or not be found."""
        return bool(self.compare or self.affected or self.words)

    def __len__(self) -> int:
        return len(self.words.keys() | self.vectors.keys())


def _renamed(changes: Changes) -> set[str]:
    pairs = [pair for table in (User, Agent) for pair in changes.updated(table)]
    return {after.id for before, after in pairs if getattr(before, "name", "") != getattr(after, "name", "")}


def _superseded(changes: Changes) -> set[str]:
    rows: list[Row] = [*changes.inserted(Knowledge), *changes.deleted(Knowledge)]
    for pair in changes.updated(Knowledge):
        rows += pair
    return {row.supersedes for row in rows if isinstance(row, Knowledge) and row.supersedes is not None}
