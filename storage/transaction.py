"""One request's view of the store while it runs as the writer, and where it stages what it changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic_core import to_json

from storage.batch import Changes, Receipt
from storage.errors import Invalid
from storage.row import Result, Row
from storage.store import Store, native_seq
from storage.tables import Conversation, Tag
from storage.view import View

R = TypeVar("R", bound=Row)

HIGHEST_IMPORTED_NUMBER = 10**15


class Transaction(View):
    """Stages rows for one request. Nothing is kept unless the request ends without an error.

    Reads see the committed rows, the batches on their way, and the request's own rows. `now` is the time of every row
    it makes (epoch ms), `seq` the next commit number.
    """

    def __init__(
        self,
        store: Store,
        below: tuple[Changes, ...],
        *,
        seq: int,
        now: int,
        drained: Callable[[], Awaitable[None]],
    ) -> None:
        self.changes = Changes()
        super().__init__(store, (self.changes, *below))
        self.seq = seq
        self.now = now
        self._drained = drained

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
        self.changes.dropped.append(conversation.id)
        self.changes.delete(conversation)

    async def drop_tag(self, tag: Tag) -> None:
        """Stage the end of a tag, and of its name in the `tags` of every row."""
        await self.settle()
        self.changes.stripped.append(tag.name)
        self.changes.delete(tag)

    def insert(self, table: type[R], row_id: str | None = None, created_at: int | None = None, **fields: object) -> R:
        """Stage a new row and return it. Its id is made from its commit number unless an import brings one.

        Raises:
            Invalid: the number in `row_id` is too large to be followed.
            pydantic.ValidationError: a field is not of its type.
        """
        native = native_seq(row_id, table) if row_id else -1
        if native > HIGHEST_IMPORTED_NUMBER:
            raise Invalid(f"The number in '{row_id}' is too large.")
        # Ids that look like ours push the counter ahead of them, so that none is given out twice.
        seq = max(self.seq, native)
        row = table.model_validate(
            {
                "id": row_id or f"{table.prefix}_{seq}",
                "seq": seq,
                "rev": seq,
                "created_at": self.now if created_at is None else created_at,
                **fields,
            }
        )
        self.seq = seq + 1
        self.changes.insert(row)
        if native_seq(row.id, table) != seq:
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
