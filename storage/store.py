"""The committed state: reads from memory first, then from DuckDB. The writer publishes what it made durable here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from datetime import tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from storage.arrivals import Arrivals
from storage.batch import Changes, Receipt
from storage.cache import ByteBudget, Loads, row_size, rows_size
from storage.commit import fold
from storage.database import Database
from storage.digests import Digests, knowledge_digest
from storage.due import Due
from storage.index.opening import Index
from storage.loader import Loader
from storage.members import Members
from storage.mentions import Mentions
from storage.pages import MessagePages
from storage.row import Row, by_name, column_list
from storage.tables import (
    BY_NAME,
    BY_PREFIX,
    Comment,
    Conversation,
    Follow,
    Knowledge,
    Message,
    Participant,
    Reaction,
    Tag,
    User,
)
from storage.timeline import Timeline

if TYPE_CHECKING:
    from storage.snapshots import Snapshots
    from storage.sql import SqlRunner

R = TypeVar("R", bound=Row)
Lookup = tuple[type[Row], str, str]

HOT_LOOKUPS: frozenset[tuple[type[Row], str]] = frozenset(
    [
        (Participant, "conversation_id"),
        (User, "email"),
        (Tag, "name"),
        (Reaction, "message_id"),
        (Follow, "follower_id"),
    ]
)
"""Questions by another field than the id that most requests ask: answered from memory."""

ON_MESSAGES: tuple[type[Reaction], type[Comment]] = (Reaction, Comment)
"""What hangs on messages. Who shows it reads the newest by their places; it is seldom asked for by id."""

RECENT_RECEIPTS_BYTES = 8 << 20

_TEXTS = {"vector": 'CASE WHEN "vector" IS NOT NULL THEN [] END'}
_LINES = {**_TEXTS, "conversationId": "''"}
_NATIVE_LINES = {**_LINES, "_id": f"'{Message.prefix}_' || seq"}
"""What need not be read: of the 4.7 ms that 50 scattered messages take, ids are one and conversations a half."""


class Store:
    """Committed rows, for reading. Everything here is consistent with what has been acknowledged.

    `rows_bytes` and `messages_bytes` bound the caches; `message_times` are the derived times of conversations that the
    file does not have yet; `aliased` are the tables with rows whose ids an import brought; `zone` is that of times
    without an offset (None: the machine's). The engine adds what reads beside it.
    """

    snapshots: Snapshots
    sql: SqlRunner

    def __init__(
        self,
        database: Database,
        *,
        rows_bytes: int,
        messages_bytes: int,
        next_seq: int,
        message_times: Mapping[str, int],
        aliased: Collection[str],
        index: Index,
        zone: tzinfo | None,
    ) -> None:
        self.database = database
        self.index = index
        self.listeners: list[Callable[[Changes], None]] = [index.follow]
        """Who hears of every batch that was made durable, when it can be read already; must not block."""
        self.zone = zone
        self.roster = Timeline()
        self.timelines: dict[tuple[type[Row], str], Timeline] = {
            (Participant, "conversation_id"): self.roster,
            **{(table, "message_id"): Timeline() for table in ON_MESSAGES},
        }
        """Where the rows of a parent are, by the table and the field that names the parent."""
        self.known_texts = Digests()
        self.receipts: ByteBudget[str, Receipt] = ByteBudget(RECENT_RECEIPTS_BYTES, lambda r: 300 + len(r.result))
        self.deletions = 0
        self.message_times = dict(message_times)
        self._unfolded = set(message_times)
        self._folding = asyncio.Lock()
        self._published_seq = next_seq
        self._loads = Loads()
        # A conversation has several participants, so the answers to lookups take most of the room.
        self._rows: ByteBudget[str, Row] = ByteBudget(rows_bytes // 3, row_size)
        self._lookups: ByteBudget[Lookup, dict[str, Row]] = ByteBudget(rows_bytes - rows_bytes // 3, rows_size)
        self.pages = MessagePages(messages_bytes, self._lines_at, self._message_seqs)
        self.members = Members(database)
        self.mentions = Mentions(database)
        self.due = Due(database)
        self.arrivals = Arrivals(partial(self.remembered_where, Participant, "conversation_id"))
        # Who is woken by an arrival finds the others current.
        self.listeners += [self.members.follow, self.mentions.follow, self.due.follow, self.arrivals.follow]
        self._aliased = set(aliased)
        self._loaders: dict[tuple[object, ...], Loader[Row]] = {}

    # -- rows by id ------------------------------------------------------------------------------------------------

    async def row(self, row_id: str, table: type[R]) -> R | None:
        """The committed row of that id in `table`, or None."""
        cached = self.remembered(row_id)
        if cached is not None:
            return cached if isinstance(cached, table) else None
        return await self._load(row_id, table)

    def remembered(self, row_id: str) -> Row | None:
        """The committed row of that id if it is in memory."""
        row = self._rows.get(row_id)
        if row is not None:
            return self.current(row)
        message = self.pages.message(native_seq(row_id, Message))
        return message if message is not None and message.id == row_id else None

    @property
    def last_seq(self) -> int:
        """The newest commit number that is visible."""
        return self._published_seq - 1

    async def rows_at(self, table: type[R], seqs: Collection[int]) -> dict[int, R]:
        """The stored rows of `table` by commit number; those that ask at the same time share a query."""
        return await self._loader(table, {}).rows(seqs)

    async def texts_at(self, table: type[R], seqs: Collection[int]) -> dict[int, R]:
        """The same for who shows them: an empty list stands for a vector, which takes longer than all the rest."""
        return await self._loader(table, _TEXTS).rows(seqs)

    async def _lines_at(self, seqs: Collection[int]) -> dict[int, Message]:
        """The same for a page, which knows the conversation."""
        aliased = Message.table in self._aliased
        return await self._loader(Message, _LINES if aliased else _NATIVE_LINES).rows(seqs)

    def _loader(self, table: type[R], instead: Mapping[str, str]) -> Loader[R]:
        key = (table, *instead)
        if key not in self._loaders:
            self._loaders[key] = cast("Loader[Row]", Loader(self.database, table, instead))
        return cast("Loader[R]", self._loaders[key])

    async def _message_seqs(self, conversation: str, before: int | None, limit: int) -> list[int]:
        """The newest messages of a conversation below a commit number, descending: a scan of 10 ms at a million."""
        found = await self.database.select(
            f'SELECT seq FROM "{Message.table}" WHERE "conversationId" = ? AND seq < ? ORDER BY seq DESC LIMIT ?',
            [conversation, self._published_seq if before is None else before, limit],
        )
        return [seq for (seq,) in found]

    async def row_anywhere(self, row_id: str) -> Row | None:
        """The committed row of that id in any table, or None."""
        cached = self.remembered(row_id)
        if cached is not None:
            return cached
        table = table_of(row_id)
        found = await self._load(row_id, table) if table else None
        if found is None and self._aliased:
            named = await self.database.select('SELECT "table" FROM aliases WHERE _id = ?', [row_id])
            found = await self._load(row_id, BY_NAME[named[0][0]]) if named else None
        return found

    async def _load(self, row_id: str, table: type[R]) -> R | None:
        with self._loads.track(row_id) as load:
            seq = native_seq(row_id, table)
            found = await self.rows_at(table, [seq]) if seq >= 0 else {}
            row = found.get(seq)
            if (row is None or row.id != row_id) and table.table in self._aliased:
                brought = await self.database.select(
                    'SELECT seq FROM aliases WHERE _id = ? AND "table" = ?', [row_id, table.table]
                )
                row = next(iter((await self.rows_at(table, [brought[0][0]])).values()), None) if brought else None
        if row is None:
            return None
        if not load.stale:
            self._rows.put(row_id, row)
            if isinstance(row, Message):
                self.pages.expect_neighbours(row)
        return self.current(row)

    async def rows(self, ids: Collection[str], *, keep: bool) -> dict[str, Row]:
        """The committed rows of those ids, of whatever table: one query a table for all that memory lacks.

        `keep` says whether they are worth remembering.
        """
        found = {row_id: row for row_id in ids if (row := self.remembered(row_id)) is not None}
        missing = [row_id for row_id in ids if row_id not in found]
        with ExitStack() as stack:
            loads = {row_id: stack.enter_context(self._loads.track(row_id)) for row_id in missing} if keep else {}
            for table, seqs in (await self._places(missing)).items():
                loaded = await self.rows_at(table, seqs)
                found |= {row.id: row for row in loaded.values() if seqs[row.seq] == row.id}
        for row_id, load in loads.items():
            if row_id in found and not load.stale:
                self._rows.put(row_id, found[row_id])
        return {row_id: self.current(row) for row_id, row in found.items()}

    async def _places(self, ids: Sequence[str]) -> dict[type[Row], dict[int, str]]:
        """Which id may be at which `seq` of which table."""
        places: dict[type[Row], dict[int, str]] = {}
        if not ids:
            return places
        for row_id in ids:
            table = table_of(row_id)
            if table is not None and 0 <= native_seq(row_id, table) < self._published_seq:
                places.setdefault(table, {})[native_seq(row_id, table)] = row_id
        if not self._aliased:
            return places
        brought = await self.database.select(
            'SELECT _id, "table", seq FROM aliases WHERE _id IN (SELECT unnest(?::VARCHAR[]))', [list(ids)]
        )
        for row_id, name, seq in brought:
            places.setdefault(BY_NAME[name], {})[seq] = row_id
        return places

    def current(self, row: R) -> R:
        """The row with its derived fields as they are now."""
        if isinstance(row, Conversation):
            moment = self.message_times.get(row.id)
            if moment is not None and (row.last_message_time is None or moment > row.last_message_time):
                return row.model_copy(update={"last_message_time": moment})
        return row

    # -- rows by another field ---------------------------------------------------------------------------------------

    async def rows_where(self, table: type[R], field: str, value: str) -> dict[str, R]:
        """The committed rows whose `field` (Python name) is, or contains, `value`; by id, in commit order."""
        cached = self.remembered_where(table, field, value)
        if cached is not None:
            return cached
        with self._loads.track((table, field, value)) as load:
            found = await self._select_where(table, field, value)
        rows = {row.id: self.current(row) for row in found}
        if (table, field) in HOT_LOOKUPS and not load.stale:
            self._lookups.put((table, field, value), cast("dict[str, Row]", rows))
        return rows

    async def warm(self, conversations: Sequence[str]) -> bool:
        """Bring conversations and who takes part in them into memory, while there is room; whether there was.

        A part of what each cache may take is left to those who ask.
        """
        if self._rows.used > 0.8 * self._rows.budget or self._lookups.used > 0.8 * self._lookups.budget:
            return False
        await self.rows(conversations, keep=True)
        await self.roster.ready()
        seqs = [seq for conversation in conversations for seq in self.roster.after(conversation, 0)]
        keys: dict[str, Lookup] = {name: (Participant, "conversation_id", name) for name in conversations}
        with ExitStack() as stack:
            loads = {name: stack.enter_context(self._loads.track(key)) for name, key in keys.items()}
            found = await self.rows_at(Participant, seqs)
        answers: dict[str, dict[str, Row]] = {name: {} for name in conversations}
        for _, participant in sorted(found.items()):
            answers[participant.conversation_id][participant.id] = participant
        for name, rows in answers.items():
            if not loads[name].stale:
                self._lookups.put(keys[name], rows)
        return True

    def remembered_where(self, table: type[R], field: str, value: str) -> dict[str, R] | None:
        """The answer of `rows_where` if it is in memory. That there are none is known without keeping an answer."""
        timeline = self.timelines.get((table, field))
        if timeline is not None and timeline.loaded and not timeline.of(value):
            return {}
        return cast("dict[str, R] | None", self._lookups.get((table, field, value)))

    async def _select_where(self, table: type[R], field: str, value: str) -> Sequence[R]:
        timeline = self.timelines.get((table, field))
        if timeline is not None and timeline.loaded:
            rows = await self.rows_at(table, timeline.after(value, 0))
            return [rows[seq] for seq in sorted(rows)]
        name = table.model_fields[field].alias or field
        condition = f'list_contains("{name}", ?)' if by_name(table)[name].sql.endswith("[]") else f'"{name}" = ?'
        found = await self.database.select(
            f'SELECT {column_list(table)} FROM "{table.table}" WHERE {condition} ORDER BY seq', [value]
        )
        return [table.loaded(row) for row in found]

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(self, changes: Changes, next_seq: int) -> None:
        """Make a durable batch visible. All messages below `next_seq` are published after it."""
        self._published_seq = next_seq
        self.deletions += changes.deletes
        self._aliased |= {row.table for row in changes.aliases.values()}
        for loader in self._loaders.values():
            loader.publish()
        if changes.dropped or changes.stripped:
            # SQL changed rows that the batch does not name.
            self._forget_all()
        for table, rows in changes.rows.items():
            for row_id, row in rows.items():
                self._loads.touch(row_id)
                in_pages = isinstance(row, Message) and row.conversation_id in self.pages
                if row is None or in_pages or table in ON_MESSAGES or row_id in changes.quiet:
                    self._rows.discard(row_id)
                else:
                    self._rows.put(row_id, row)
            self._publish_lookups(table, rows, changes.before)
        for row in changes.rows.get(Message, {}).values():
            if isinstance(row, Message):
                self._publish_message(row, new=row.id in changes.fresh)
        for knowledge in changes.inserted(Knowledge):
            self.known_texts.add(knowledge_digest(knowledge.owner_id, knowledge.content))
        for _, edited in changes.updated(Knowledge):
            self.known_texts.add(knowledge_digest(edited.owner_id, edited.content))
        self._publish_places(changes)
        for key, receipt in changes.receipts.items():
            self.receipts.put(key, receipt)
        for listener in self.listeners:
            listener(changes)

    def _publish_places(self, changes: Changes) -> None:
        for (table, field), timeline in self.timelines.items():
            for new in changes.inserted(table):
                timeline.add(getattr(new, field), new.seq)
            for old in changes.deleted(table):
                timeline.remove(getattr(old, field), old.seq)
        for message_id in changes.bereft:
            for table in ON_MESSAGES:
                self.timelines[table, "message_id"].forget(message_id)
        for gone in changes.deleted(Conversation):
            self.pages.forget(gone.id)
            self.roster.forget(gone.id)
            self.message_times.pop(gone.id, None)
            self._unfolded.discard(gone.id)

    def _forget_all(self) -> None:
        self._loads.touch_all()
        self._rows.clear()
        self._lookups.clear()
        self.pages.forget_rendered()

    def _publish_lookups(self, table: type[Row], rows: dict[str, Row | None], before: dict[str, Row]) -> None:
        for hot_table, field in HOT_LOOKUPS:
            if hot_table is not table:
                continue
            touched = {getattr(row, field) for row in rows.values() if row is not None}
            touched |= {getattr(before[row_id], field) for row_id in rows if row_id in before}
            for value in touched:
                key = (table, field, value)
                self._loads.touch(key)
                cached = self._lookups.get(key)
                if cached is not None:
                    merged = overlaid(cached, rows, field, value)
                    self._lookups.replace(key, merged, _size_at(rows, merged) - _size_at(rows, cached))

    def _publish_message(self, message: Message, *, new: bool) -> None:
        self.pages.publish(message, new=new)
        if not new:
            return
        # The newest by its own time: an import may bring older ones later.
        newest = self.message_times.get(message.conversation_id, message.created_at)
        self.message_times[message.conversation_id] = max(newest, message.created_at)
        self._unfolded.add(message.conversation_id)

    async def fold(self) -> None:
        """Write the derived fields that are only in memory into the file: before checkpoints and queries of them.

        Raises:
            duckdb.Error: the disk or the file failed.
        """
        async with self._folding:  # who comes second finds it done
            times = {conversation: self.message_times[conversation] for conversation in self._unfolded}
            seq = self._published_seq
            if not times:
                return
            self._unfolded.clear()
            await self.database.write(lambda connection: fold(connection, times, seq))

    def caches(self) -> dict[str, ByteBudget[Any, Any]]:
        """The caches, by name."""
        return {"rows": self._rows, "lookups": self._lookups, "receipts": self.receipts, **self.pages.caches()}

    def statistics(self) -> dict[str, int]:
        """Bytes and entries of the caches."""
        return {
            "rows": len(self._rows),
            "rowsBytes": self._rows.used + self._lookups.used,
            **self.pages.statistics(),
        }


def _size_at(ids: Collection[str], rows: dict[str, Row]) -> int:
    return sum([row_size(rows[row_id]) for row_id in ids if row_id in rows])


def overlaid(rows: dict[str, Row], staged: dict[str, Row | None], field: str, value: str) -> dict[str, Row]:
    """`rows`, the answer to `field = value`, after `staged` (None: gone) has happened."""
    merged = dict(rows)
    for row_id, row in staged.items():
        if row is not None and _matches(getattr(row, field), value):
            merged[row_id] = row
        else:
            merged.pop(row_id, None)
    return merged


def _matches(stored: object, value: str) -> bool:
    return value in stored if isinstance(stored, list) else stored == value


def table_of(row_id: str) -> type[Row] | None:
    """The table that an id of our own form belongs to."""
    prefix, _, number = row_id.rpartition("_")
    return BY_PREFIX.get(prefix) if number.isdecimal() and number.isascii() else None


def native_seq(row_id: str, table: type[Row]) -> int:
    """The `seq` in an id of our own form, or -1."""
    prefix, _, number = row_id.rpartition("_")
    if prefix != table.prefix or not (number.isdecimal() and number.isascii()) or len(number) > 18 or number[0] == "0":
        return -1
    return int(number)
