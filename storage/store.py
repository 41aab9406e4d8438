"""The committed state: reads from memory first, then from DuckDB. The writer publishes what it made durable here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TypeVar, cast

from storage.batch import Changes, Receipt
from storage.cache import ByteBudget, Loads
from storage.commit import fold
from storage.database import Database
from storage.listing import Listed
from storage.row import Row, by_name, column_list
from storage.tables import BY_NAME, BY_PREFIX, Conversation, Message, Participant, Tag, User
from storage.timeline import Timeline

R = TypeVar("R", bound=Row)
Lookup = tuple[type[Row], str, str]

HOT_LOOKUPS: frozenset[tuple[type[Row], str]] = frozenset(
    {(Participant, "conversation_id"), (User, "email"), (Tag, "name")}
)
"""Questions by another field than the id that most requests ask: answered from memory."""

RECENT_RECEIPTS_BYTES = 8 << 20


def row_size(row: Row) -> int:
    """Roughly the bytes a row takes in memory: an object, its dict, and its strings."""
    return 900 + sum(len(value) for value in row.__dict__.values() if isinstance(value, str | list | dict))


def rows_size(rows: dict[str, Row]) -> int:
    """Roughly the bytes of a lookup's answer."""
    return 200 + sum(map(row_size, rows.values()))


class Store:
    """Committed rows, for reading. Everything here is consistent with what has been acknowledged.

    `rows_bytes` and `messages_bytes` bound the caches; `zone` is that of times without an offset (None: the
    machine's).
    """

    def __init__(
        self, database: Database, *, rows_bytes: int, messages_bytes: int, next_seq: int, zone: tzinfo | None
    ) -> None:
        self.database = database
        self.zone = zone
        self.timeline = Timeline()
        self.receipts: ByteBudget[str, Receipt] = ByteBudget(RECENT_RECEIPTS_BYTES, lambda r: 300 + len(r.result))
        self.message_times: dict[str, int] = {}
        self._published_seq = next_seq
        self._loads = Loads()
        self._rows: ByteBudget[str, Row] = ByteBudget(rows_bytes // 2, row_size)
        self._lookups: ByteBudget[Lookup, dict[str, Row]] = ByteBudget(rows_bytes // 2, rows_size)
        self._listed: ByteBudget[int, Listed] = ByteBudget(messages_bytes, lambda listed: listed.size)

    # -- rows by id ------------------------------------------------------------------------------------------------

    async def row(self, row_id: str, table: type[R]) -> R | None:
        """The committed row of that id in `table`, or None."""
        cached = self._rows.get(row_id)
        if cached is not None:
            return cached if isinstance(cached, table) else None
        return await self._load(row_id, table)

    async def row_anywhere(self, row_id: str) -> Row | None:
        """The committed row of that id in any table, or None."""
        cached = self._rows.get(row_id)
        if cached is not None:
            return cached
        table = table_of(row_id)
        found = await self._load(row_id, table) if table else None
        if found is None:
            named = await self.database.select('SELECT "table" FROM aliases WHERE _id = ?', [row_id])
            found = await self._load(row_id, BY_NAME[named[0][0]]) if named else None
        return found

    async def _load(self, row_id: str, table: type[R]) -> R | None:
        with self._loads.track(row_id) as load:
            found = await self.database.select(
                f'SELECT {column_list(table)} FROM "{table.table}" WHERE seq = ? AND _id = ?',
                [native_seq(row_id, table), row_id],
            ) or await self.database.select(
                f'SELECT {column_list(table)} FROM "{table.table}" WHERE seq = (SELECT seq FROM aliases WHERE _id = ? '
                'AND "table" = ?)',
                [row_id, table.table],
            )
        if not found:
            return None
        row = self.current(table.loaded(found[0]))
        if not load.stale:
            self._rows.put(row_id, row)
        return row

    def current(self, row: R) -> R:
        """The row with the derived fields that are not folded into the file yet."""
        if isinstance(row, Conversation) and row.id in self.message_times:
            return row.model_copy(update={"last_message_time": self.message_times[row.id]})
        return row

    # -- rows by another field ---------------------------------------------------------------------------------------

    async def rows_where(self, table: type[R], field: str, value: str) -> dict[str, R]:
        """The committed rows whose `field` (Python name) is, or contains, `value`; by id, in commit order."""
        hot = (table, field) in HOT_LOOKUPS
        cached = self._lookups.get((table, field, value)) if hot else None
        if cached is not None:
            return cast("dict[str, R]", cached)
        name = table.model_fields[field].alias or field
        condition = f'list_contains("{name}", ?)' if by_name(table)[name].sql.endswith("[]") else f'"{name}" = ?'
        with self._loads.track((table, field, value)) as load:
            found = await self.database.select(
                f'SELECT {column_list(table)} FROM "{table.table}" WHERE {condition} ORDER BY seq', [value]
            )
        rows = {row.id: self.current(row) for row in map(table.loaded, found)}
        if hot and not load.stale:
            self._lookups.put((table, field, value), cast("dict[str, Row]", rows))
        return rows

    # -- messages ----------------------------------------------------------------------------------------------------

    async def messages_before(self, conversation: str, seq: int | None, limit: int) -> tuple[list[Listed], bool]:
        """A page of messages, ascending, all below `seq` (None: the newest), and whether there are earlier ones."""
        await self.timeline.ready()
        seqs, more = self.timeline.before(conversation, seq, limit)
        return await self._listed_rows(seqs), more

    async def _listed_rows(self, seqs: Sequence[int]) -> list[Listed]:
        found = {seq: listed for seq in seqs if (listed := self._listed.get(seq)) is not None}
        missing = [seq for seq in seqs if seq not in found]
        if missing:
            with self._loads.track(Message) as load:
                rows = await self.database.select(
                    f'SELECT {column_list(Message)} FROM "{Message.table}" WHERE seq IN (SELECT unnest(?::BIGINT[]))',
                    [missing],
                )
            for row in map(Message.loaded, rows):
                found[row.seq] = listed = Listed.of(row)
                if not load.stale:
                    self._listed.put(row.seq, listed)
        return [found[seq] for seq in seqs if seq in found]

    # -- publishing --------------------------------------------------------------------------------------------------

    def publish(self, changes: Changes, next_seq: int) -> None:
        """Make a durable batch visible. All messages below `next_seq` are published after it."""
        self._published_seq = next_seq
        if changes.dropped or changes.stripped:
            # SQL changed rows that the batch does not name.
            self._forget_all()
        for table, rows in changes.rows.items():
            for row_id, row in rows.items():
                self._loads.touch(row_id)
                if row is None:
                    self._rows.discard(row_id)
                else:
                    self._rows.put(row_id, self.current(row))
            self._publish_lookups(table, rows, changes.before)
        for row in changes.rows.get(Message, {}).values():
            if isinstance(row, Message):
                self._publish_message(row, new=row.id in changes.fresh)
        for gone in changes.deleted(Conversation):
            self.timeline.forget(gone.id)
            self.message_times.pop(gone.id, None)
        for key, receipt in changes.receipts.items():
            self.receipts.put(key, receipt)

    def _forget_all(self) -> None:
        self._loads.touch_all()
        self._rows.clear()
        self._lookups.clear()
        self._listed.clear()

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
                    self._lookups.put(key, overlaid(cached, rows, field, value))

    def _publish_message(self, message: Message, *, new: bool) -> None:
        self._listed.put(message.seq, Listed.of(message))
        if not new:
            self._loads.touch(Message)
            return
        self.timeline.add(message.conversation_id, message.seq)
        self.message_times[message.conversation_id] = message.created_at
        conversation = self._rows.get(message.conversation_id)
        if conversation is not None:
            self._rows.put(conversation.id, self.current(conversation))

    async def fold(self) -> None:
        """Write the derived fields that are only in memory into the file: before checkpoints and queries of them.

        Raises:
            duckdb.Error: the disk or the file failed.
        """
        times, seq = dict(self.message_times), self._published_seq
        if not times:
            return
        await self.database.write(lambda connection: fold(connection, times, seq))
        for conversation, moment in times.items():
            if self.message_times.get(conversation) == moment:
                del self.message_times[conversation]

    def statistics(self) -> dict[str, int]:
        """Bytes and entries of the caches."""
        return {
            "rows": len(self._rows),
            "rowsBytes": self._rows.used + self._lookups.used,
            "messages": len(self._listed),
            "messagesBytes": self._listed.used,
        }


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
    return (
        int(number) if prefix == table.prefix and number.isdecimal() and number.isascii() and len(number) < 19 else -1
    )
