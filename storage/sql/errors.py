"""Why a statement has no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from storage.errors import DomainError
from storage.sql.limits import Limits


class SqlError(DomainError):
    """A statement was refused, by DuckDB or before, or took too much.

    `kind` is "refused", "time", "memory", "temp" or DuckDB's name of the error; `tables` are the columns by table
    and view of the snapshot; `unknown` is a table that it does not have.
    """

    code: ClassVar[str] = "invalid"

    def __init__(
        self, kind: str, message: str, tables: Mapping[str, Sequence[str]], *, unknown: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.tables = tables
        self.unknown = unknown


class TimedOut(SqlError):
    """A statement was ended because its time was up."""

    def __init__(self, seconds: float) -> None:
        text = (
            f"The query was ended after {seconds:g} s, which is all that it may take. Ask for less: filter by "
            "createdAt, aggregate before joining, avoid joins without a condition."
        )
        super().__init__("time", text, {})


class TooMuch(SqlError):
    """A statement took all the memory, or all the room for temporary files, that it may take."""

    def __init__(self, limits: Limits, what: Literal["memory", "temp"]) -> None:
        bound = f"{limits.memory} of memory" if what == "memory" else f"{limits.temp} of temporary files"
        text = (
            f"The query needs more than the {bound} that it may take. Ask for less: filter by createdAt, aggregate "
            "before joining, sort with LIMIT, avoid joins without a condition and texts of millions of characters."
        )
        super().__init__(what, text, {})
