"""Lists of rows as tools return them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic_core import to_json

from storage.row import Result, Row


class Page(Result):
    """Some rows under their plural, and the cursor of the next page (absent on the last one)."""

    table: ClassVar[str] = "page"

    plural: str
    rows: Sequence[Row]
    next_cursor: str | None = None

    @classmethod
    def of(cls, plural: str, rows: Sequence[Row], next_cursor: str | None) -> Self:
        """A page of rows that were validated when they were stored."""
        return cls.model_construct(plural=plural, rows=rows, next_cursor=next_cursor)

    def wire(self) -> dict[str, Any]:
        """See `Result`."""
        data: dict[str, Any] = {self.plural: [row.listed() for row in self.rows]}
        if self.next_cursor is not None:
            data["nextCursor"] = self.next_cursor
        return data

    def text(self) -> str:
        """See `Result`."""
        tail = f',"nextCursor":{to_json(self.next_cursor).decode()}' if self.next_cursor is not None else ""
        return f'{{"{self.plural}":[{",".join([row.listed_text() for row in self.rows])}]{tail}}}'
