"""What a request, and a batch of requests, changes: staged in memory, visible to later requests of the same batch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar, cast

from typing_extensions import override

from storage.audit_log import MOST_IDS, STORED, Act, Entry
from storage.row import Row

R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was answered to an idempotency key. `kind` names the table of the row `result`."""

    key: str
    arguments: str
    kind: str
    result: str
    kept_until: int


@dataclass(slots=True)
class Changes:
    """Rows by table and id as they will be (None: gone), with what the database needs to get there.

    `quiet` are new rows that need not stay in memory: nobody waits for what is loaded in bulk. `gone` are the stored
    rows that go, by `seq`; `deletes` is true as well when a row goes that was never stored.
    `dropped` are conversations that go with all they hold, each with the users and agents that took part, `bereft`
    those of their messages on which other rows hang; `stripped` are tags that go from every row: SQL does both, so such
    changes are committed `alone`. `audit` says who asked for it.
    """

    rows: dict[type[Row], dict[str, Row | None]] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)
    quiet: set[str] = field(default_factory=set)
    before: dict[str, Row] = field(default_factory=dict)
    gone: dict[int, Row] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    aliases: dict[str, Row] = field(default_factory=dict)
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bereft: list[str] = field(default_factory=list)
    stripped: list[str] = field(default_factory=list)
    audit: list[Entry] = field(default_factory=list)
    alone: bool = False
    deletes: bool = False

    def insert(self, row: Row) -> None:
        """Stage a new row."""
        self.rows.setdefault(type(row), {})[row.id] = row
        self.fresh.add(row.id)

    def update(self, before: Row, after: Row) -> None:
        """Stage another state of a row."""
        self.rows.setdefault(type(after), {})[after.id] = after
        if after.id not in self.fresh:
            self.before.setdefault(after.id, before)

    def delete(self, row: Row) -> None:
        """Stage the end of a row."""
        self.rows.setdefault(type(row), {})[row.id] = None
        self.deletes = True
        self.aliases.pop(row.id, None)
        if row.id in self.fresh:
            self.fresh.discard(row.id)
        else:
            self.gone[row.seq] = self.before.setdefault(row.id, row)

    def merge(self, later: Changes) -> None:
        """Take over what a request staged on top of this."""
        for gone in later.gone.values():
            self.delete(gone)
        for rows in later.rows.values():
            for row_id, row in rows.items():
                if row is not None and row_id in later.fresh:
                    self.insert(row)
                elif row is not None:
                    self.update(later.before[row_id], row)
        self.deletes |= later.deletes
        self.quiet |= later.quiet
        self.alone |= later.alone
        self.receipts.update(later.receipts)
        self.aliases.update(later.aliases)
        self.dropped.update(later.dropped)
        self.bereft += later.bereft
        self.stripped += later.stripped
        self.audit += later.audit

    def inserted(self, table: type[R]) -> list[R]:
        """The new rows of a table, in commit order."""
        staged = cast("dict[str, R | None]", self.rows.get(table, {}))
        return [row for row_id, row in staged.items() if row is not None and row_id in self.fresh]

    def updated(self, table: type[R]) -> Iterator[tuple[R, R]]:
        """The changed rows of a table as (before, after)."""
        for row_id, row in cast("dict[str, R | None]", self.rows.get(table, {})).items():
            if row is not None and row_id in self.before and row_id not in self.fresh:
                yield cast("R", self.before[row_id]), row

    def deleted(self, table: type[Row]) -> list[Row]:
        """The stored rows of a table that go."""
        return [row for row in self.gone.values() if type(row) is table]

    @property
    def only_adds(self) -> bool:
        """Whether no stored row is changed or goes."""
        return not (self.before or self.deletes or self.dropped or self.stripped)

    def __bool__(self) -> bool:
        return bool(self.rows or self.receipts)

    def entry(self, at: int, act: Act) -> Entry:
        """What the audit log says of it."""
        ids = [row_id for rows in self.rows.values() for row_id in islice(rows, MOST_IDS)]
        return Entry(at, act, STORED, ids[:MOST_IDS], sum(map(len, self.rows.values())))


class Batch(Changes):
    """The changes of several requests that become durable together."""

    __slots__ = ("done", "error", "requests")

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.done = asyncio.Event()
        self.error: str | None = None

    def add(self, changes: Changes) -> None:
        """Let a request join."""
        self.merge(changes)
        self.requests += 1

    def note(self, entry: Entry) -> None:
        """Let an entry of the audit log join that goes with no change of a row."""
        self.audit.append(entry)
        self.requests += 1

    @override
    def __bool__(self) -> bool:
        return self.requests > 0
