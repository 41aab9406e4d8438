"""What an operation reads: the committed rows, and for a writing one what is staged on top of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from storage.batch import Changes
from storage.row import Row
from storage.store import Store, overlaid

R = TypeVar("R", bound=Row)


class View:
    """The committed state. `overlays`, newest first, are staged changes that count as done for this view."""

    def __init__(self, store: Store, overlays: tuple[Changes, ...] = ()) -> None:
        self.store = store
        self.overlays = overlays

    async def fold(self) -> None:
        """Bring derived fields into the file, for a query that asks for them."""
        await self.store.fold()

    async def find_row(self, row_id: str, table: type[R]) -> R | None:
        """The row of that id in `table`, or None."""
        for changes in self.overlays:
            staged = changes.rows.get(table)
            if staged is not None and row_id in staged:
                return cast("R | None", staged[row_id])
        return await self._committed(row_id, table)

    async def row_anywhere(self, row_id: str) -> Row | None:
        """The row of that id in any table, or None."""
        for changes in self.overlays:
            for staged in changes.rows.values():
                if row_id in staged:
                    return staged[row_id]
        return await self._committed_anywhere(row_id)

    async def where(self, table: type[R], field: str, value: str) -> Sequence[R]:
        """The rows of `table` whose `field` (Python name) is, or contains, `value`; in commit order."""
        rows = cast("dict[str, Row]", await self._committed_where(table, field, value))
        for changes in reversed(self.overlays):
            staged = changes.rows.get(table)
            if staged:
                rows = overlaid(rows, staged, field, value)
        return cast("Sequence[R]", list(rows.values()))

    async def _committed(self, row_id: str, table: type[R]) -> R | None:
        return await self.store.row(row_id, table)

    async def _committed_anywhere(self, row_id: str) -> Row | None:
        return await self.store.row_anywhere(row_id)

    async def _committed_where(self, table: type[R], field: str, value: str) -> dict[str, R]:
        return await self.store.rows_where(table, field, value)
