"""One request's view of the store while it runs as the writer, and where it stages what it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TypeVar

from pydantic_core import to_json
from typing_extensions import override

from storage.batch import Changes, Receipt
from storage.digests import knowledge_digest
from storage.errors import Invalid
from storage.row import Result, Row
from storage.store import HOT_LOOKUPS, Store, native_seq
from storage.tables import Comment, Conversation, Knowledge, Message, Participant, Reaction, Tag
from storage.view import View

R = TypeVar("R", bound=Row)
Question = tuple[str, type[Row] | None]
"""An id, and the table that it is looked up in (None: any)."""

HIGHEST_IMPORTED_NUMBER = 10**15


class Miss(Exception):
    """A request needs what memory does not have. It is given up, the row is loaded, and it runs again.

    So nobody waits for the file while they hold the writer's turn.
    """

    def __init__(self, load: Callable[[], Awaitable[object]], question: Question) -> None:
        super().__init__(question)
        self.load = load
        self.question = question


class Transaction(View):
    """Stages rows for one request. Nothing is kept unless the request ends without an error.

    Reads see the committed rows, the batches on their way, and the request's own rows. `now` is the time of every row
    it makes (epoch ms), `seq` the next commit number. Unless it `may_wait`, a read of the file raises `Miss`; `absent`
    are the questions that earlier runs of the request asked in vain.
    """

    def __init__(
        self,
        store: Store,
        below: tuple[Changes, ...],
        *,
        seq: int,
        now: int,
        drained: Callable[[], Awaitable[None]],
        absent: frozenset[Question] = frozenset(),
        may_wait: bool = True,
    ) -> None:
        self.changes = Changes()
        super().__init__(store, (self.changes, *below))
        self.seq = seq
        self.now = now
        self._drained = drained
        self._absent = absent
        self._may_wait = may_wait

    @override
    async def _committed(self, row_id: str, table: type[R]) -> R | None:
        row = self.store.remembered(row_id)
        if row is not None:
            return row if isinstance(row, table) else None
        return await self._looked_up((row_id, table), partial(self.store.row, row_id, table))

    @override
    async def _committed_anywhere(self, row_id: str) -> Row | None:
        row = self.store.remembered(row_id)
        if row is not None:
            return row
        return await self._looked_up((row_id, None), partial(self.store.row_anywhere, row_id))

    async def _looked_up(self, question: Question, load: Callable[[], Awaitable[R | None]]) -> R | None:
        if question in self._absent:
            return None
        if self._may_wait:
            return await load()
        raise Miss(load, question)

    @override
    async def _committed_where(self, table: type[R], field: str, value: str) -> dict[str, R]:
        rows = self.store.remembered_where(table, field, value)
        if rows is not None:
            return rows
        load = partial(self.store.rows_where, table, field, value)
        if self._may_wait or (table, field) not in HOT_LOOKUPS:
            return await load()
        raise Miss(load, (value, None))

    async def bring_participants(self, conversations: Collection[str]) -> None:
        """Have the participants of these conversations in memory, where `where` finds them."""
        field = "conversation_id"
        missing = [one for one in conversations if self.store.remembered_where(Participant, field, one) is None]

        async def load() -> bool:
            await asyncio.gather(*(self.store.rows_where(Participant, field, one) for one in missing))
            return True

        if missing and self._may_wait:
            await load()
        elif missing:
            raise Miss(load, (missing[0], None))

    def may_be_known(self, owner_id: str, content: str) -> bool:
        """Whether that owner may have knowledge of that text; if not, nobody needs to look."""
        known = self.store.known_texts
        if not known.loaded or knowledge_digest(owner_id, content) in known:
            return True
        staged = (row for changes in self.overlays for row in changes.rows.get(Knowledge, {}).values())
        return any(isinstance(row, Knowledge) and row.content == content for row in staged)

    async def settle(self) -> None:
        """Wait until everything before this request is durable, and have this one committed on its own.

        For changes that SQL makes to rows that are not in memory. Call it before anything is staged.
        """
        await self._drained()
        self.overlays = (self.changes,)
        self.changes.alone = True

    async def drop_conversation(self, conversation: Conversation) -> None:
        """Stage the end of a conversation with its messages, participants, comments and reactions."""
        await self.settle()
        participants = await self.where(Participant, "conversation_id", conversation.id)
        self.changes.dropped[conversation.id] = tuple(p.member_id for p in participants if not p.is_removed)
        self.changes.bereft += await self._talked_about(conversation.id)
        self.changes.delete(conversation)

    async def _talked_about(self, conversation: str) -> list[str]:
        """The ids of the stored messages of a conversation that have reactions or comments."""
        found = await self.store.database.select(
            f'SELECT _id FROM "{Message.table}" WHERE "conversationId" = ? AND _id IN '
            f'(SELECT "messageId" FROM "{Reaction.table}" UNION ALL SELECT "messageId" FROM "{Comment.table}")',
            [conversation],
        )
        return [row_id for (row_id,) in found]

    async def drop_tag(self, tag: Tag) -> None:
        """Stage the end of a tag, and of its name in the `tags` of every row."""
        await self.settle()
        self.changes.stripped.append(tag.name)
        self.changes.delete(tag)
        self.seq += 1  # the `rev` of the rows that lose it

    def insert(self, table: type[R], row_id: str | None = None, created_at: int | None = None, **fields: object) -> R:
        """Stage a new row and return it. Its id is made from its commit number unless an import brings one.

        Raises:
            Invalid: the number in `row_id` is too large to be followed.
            pydantic.ValidationError: a field is not of its type.
        """
        seq = self._next_seq(table, row_id)
        row = table.model_validate(
            {
                "id": row_id or f"{table.prefix}_{seq}",
                "seq": seq,
                "rev": seq,
                "created_at": self.now if created_at is None else created_at,
                **fields,
            }
        )
        return self._stage(row)

    def place(self, row: R, row_id: str | None, created_at: int) -> R:
        """Stage a new row that was validated before; it gets its id, its commit number and its time here.

        Raises:
            Invalid: the number in `row_id` is too large to be followed.
        """
        seq = self._next_seq(type(row), row_id)
        # Nobody else has seen the row, so it need not be copied: that would cost as much as validating it again.
        row.__dict__.update(id=row_id or f"{row.prefix}_{seq}", seq=seq, rev=seq, created_at=created_at)
        return self._stage(row)

    def _next_seq(self, table: type[Row], row_id: str | None) -> int:
        native = native_seq(row_id, table) if row_id else -1
        if native > HIGHEST_IMPORTED_NUMBER:
            raise Invalid(f"The number in '{row_id}' is too large.")
        # Ids that look like ours push the counter ahead of them, so that none is given out twice.
        return max(self.seq, native)

    def _stage(self, row: R) -> R:
        self.seq = row.seq + 1
        self.changes.insert(row.slimmed())
        if native_seq(row.id, type(row)) != row.seq:
            self.changes.aliases[row.id] = row
        return row

    def update(self, row: R, **fields: object) -> R:
        """Stage other values of a row (Python names) and return the new state.

        Raises:
            pydantic.ValidationError: a field is not of its type.
        """
        after = row.changed(**fields, rev=self.seq)
        self.seq += 1
        self.changes.update(row, after)
        return after

    def delete(self, row: Row) -> None:
        """Stage the end of a row."""
        self.changes.delete(row)

    def keep_receipt(self, key: str, arguments: str, result: Result, kept_until: int) -> None:
        """Remember what is answered to an idempotency key. `kept_until` is in epoch ms."""
        text = to_json(result.model_dump(by_alias=True)).decode()
        self.changes.receipts[key] = Receipt(key, arguments, result.table, text, kept_until)
