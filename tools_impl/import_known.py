"""What the lines of an import ask about other rows: looked up for a batch at once, remembered between batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from storage.errors import Invalid, NotFound
from storage.imported import Imported
from storage.keys import NATURAL_KEYS, Key, rows_with_keys
from storage.row import Row
from storage.store import Store, table_of
from storage.tables import (
    Agent,
    AgentTool,
    Attachment,
    Conversation,
    Knowledge,
    Message,
    Participant,
    Prompt,
    Tag,
    Tool,
    User,
)
from storage.transaction import Transaction
from tools_impl.import_lines import Line, Reference

REMEMBERED = 200_000
"""References that are kept in memory, at about 150 bytes each."""
_OFTEN_REFERRED_TO = (User, Agent, Tool, Prompt, Conversation, Participant)


class Ref(NamedTuple):
    """What is asked about a row that another one names: its table, and the conversation or owner that it belongs to."""

    table: type[Row]
    within: str | None = None

    @classmethod
    def to(cls, row: Row) -> Ref:
        """The reference to a row."""
        match row:
            case Participant() | Message():
                return cls(type(row), row.conversation_id)
            case Knowledge():
                return cls(Knowledge, row.owner_id)
        return cls(type(row))


class Memory:
    """What stays between the batches of imports into one store. Always right: only deletions could make it wrong."""

    def __init__(self) -> None:
        self.imported = Imported()
        self._references: dict[str, Ref] = {}
        self._deletions = 0

    def references(self, store: Store) -> dict[str, Ref]:
        """Rows that exist, by id."""
        if store.deletions != self._deletions or len(self._references) > REMEMBERED:
            self._deletions = store.deletions
            self._references = {}
        return self._references


class Known:
    """The rows that the lines of a batch ask about, stored or staged, and where the batch stages its own."""

    def __init__(self, tx: Transaction, memory: Memory) -> None:
        self.tx = tx
        self.implied: list[str] = []
        self._imported = memory.imported
        self._remembered = memory.references(tx.store)
        self._deleting = any(changes.deletes for changes in tx.overlays)
        self._loaded: dict[str, Row] = {}
        self._by_key: dict[tuple[type[Row], Key], Row] = {}

    @classmethod
    async def of(cls, tx: Transaction, lines: Sequence[Line], memory: Memory) -> Known:
        """Look up everything in a few queries."""
        known = cls(tx, memory)
        own = {line.row_id for line in lines if line.row_id is not None}
        named = {row_id for line in lines for _, row_id in line.references}
        named = {row_id for row_id in named if known.find(row_id) is None}
        for line in lines:
            match line.row:
                case Knowledge():
                    named.update(line.row.sources or ())
                case AgentTool() | Attachment():  # the agent itself is needed, to list it there
                    named.update([row_id for field, row_id in line.references if Agent in field.tables])
        unknown = [row_id for row_id in own | named if known.stored(row_id) is None]
        known._loaded = await tx.store.rows(unknown, keep=False)
        known._remember(known._loaded)
        await known._look_up_keys(lines)
        return known

    async def _look_up_keys(self, lines: Sequence[Line]) -> None:
        wanted: dict[type[Row], set[Key]] = {}
        for line in lines:
            table = type(line.row)
            if table in NATURAL_KEYS:
                wanted.setdefault(table, set()).add(NATURAL_KEYS[table].of(line.row))
            if tags := line.row.__dict__.get("tags"):
                wanted.setdefault(Tag, set()).update([(name,) for name in tags])
        for table, keys in wanted.items():
            rows = {row.id: row for row in await rows_with_keys(self.tx.store, table, keys)}
            for changes in reversed(self.tx.overlays):
                for row_id, row in changes.rows.get(table, {}).items():
                    rows.pop(row_id, None)
                    if row is not None:
                        rows[row_id] = row
            for row in rows.values():
                self._note(row)

    # -- asking ------------------------------------------------------------------------------------------------------

    def stored(self, row_id: str) -> Row | None:
        """The row of that id, of whatever table, if it was staged or looked up for this batch."""
        for changes in self.tx.overlays:
            for staged in changes.rows.values():
                if row_id in staged:
                    return staged[row_id]
        return self._loaded.get(row_id)

    def find(self, row_id: str) -> Ref | None:
        """What a reference leads to."""
        remembered = self._remembered.get(row_id)
        if remembered is not None and not self._deleting:
            return remembered
        row = self.stored(row_id)
        return Ref.to(row) if row is not None else None

    def with_key(self, table: type[Row], key: Key) -> Row | None:
        """The row of a natural key."""
        return self._by_key.get((table, key))

    def same_thing(self, row: Row) -> Row | None:
        """The row that has the natural key of `row`."""
        key = NATURAL_KEYS.get(type(row))
        return None if key is None else self.with_key(type(row), key.of(row))

    def was_implied(self, row: Row) -> bool:
        """Whether a row exists only because a line named it."""
        return row.id in self.implied or row.id in self._imported.made

    def require(self, reference: Reference, row_id: str) -> None:
        """Check that a row refers to one that exists.

        Raises:
            NotFound, Invalid: there is none, or it is of another table.
        """
        found = self.find(row_id)
        if found is not None and found.table in reference.tables:
            return
        names = " or ".join(table.table for table in reference.tables)
        other = found.table if found is not None else table_of(row_id)
        if other is not None and other not in reference.tables:
            raise Invalid(f"'{reference.name}': '{row_id}' is an id of {other.table}; one of {names} is needed.")
        raise NotFound(f"'{reference.name}': no row '{row_id}' in {names}. What a row refers to must come before it.")

    # -- staging -----------------------------------------------------------------------------------------------------

    def place(self, row: Row, row_id: str | None, created_at: int) -> Row:
        """Stage a new row."""
        placed = self.tx.place(row, row_id, created_at)
        if not isinstance(placed, _OFTEN_REFERRED_TO):
            self.tx.changes.quiet.add(placed.id)
        self._note(placed)
        return placed

    def imply(self, table: type[Row], **fields: Any) -> None:
        """Stage a row that follows from another one."""
        row = self.tx.insert(table, **fields)
        self.implied.append(row.id)
        self._note(row)

    def complete(self, implied: Row, row: Row) -> None:
        """Give a row that followed from another one what its own line says."""
        own = {name: value for name, value in row.__dict__.items() if name not in ("id", "seq", "rev", "created_at")}
        self._note(self.tx.update(implied, **own))

    def list_in_agent(self, agent_id: str, field: str, row_id: str) -> None:
        """Have the list of an agent (`tools`, `attached_prompts`) contain an id."""
        agent = self.stored(agent_id)
        assert isinstance(agent, Agent)
        listed = getattr(agent, field) or []
        if row_id not in listed:
            self.tx.update(agent, **{field: [*listed, row_id]})

    def keep(self, digests: Sequence[int]) -> None:
        """Remember what was staged. The last step of a request: nothing can fail any more."""
        self._imported.keep(self.tx, digests, self.implied)
        for table in _OFTEN_REFERRED_TO:
            self._remember({row.id: row for row in self.tx.changes.inserted(table)})

    def _remember(self, rows: dict[str, Row]) -> None:
        for row_id, row in rows.items():
            if isinstance(row, _OFTEN_REFERRED_TO):
                self._remembered[row_id] = Ref.to(row)

    def _note(self, row: Row) -> None:
        key = NATURAL_KEYS.get(type(row))
        if key is not None:
            self._by_key[type(row), key.of(row)] = row
