"""SQL on everything, for those who may see everything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic_core import to_json

from storage.errors import Forbidden, Invalid
from storage.fields import iso
from storage.row import Result
from storage.sql import Answer, SqlError
from storage.view import View
from tools_impl.arguments import Text
from tools_impl.caller import Caller
from tools_impl.mistakes import closest

NAMED = 40
"""So many tables and views are listed for who asks for another."""
PLACES = 4
_MISSING_COLUMN = re.compile(r'column "([^"]+)" not found|does not have a column named "([^"]+)"')
_BREAKS = re.compile(r"[\\|\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What could end a cell or a line, or change the direction of writing: what somebody wrote cannot pass for a row."""
_ESCAPES = {"\\": "\\\\", "|": "\\|", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class QueryResult(Result):
    """The answer to a query, and the state that it shows."""

    table: ClassVar[str] = "query"

    columns: Sequence[dict[str, str]]
    rows: Sequence[Sequence[Any]]
    truncated: bool
    as_of: int

    @classmethod
    def of(cls, answer: Answer) -> QueryResult:
        """The result for a client."""
        return cls(
            columns=[{"name": name, "type": kind} for name, kind in answer.columns],
            rows=answer.rows,
            truncated=answer.truncated,
            as_of=answer.as_of,
        )

    def wire(self) -> dict[str, Any]:
        """See `Result`; a null is a value here."""
        return self.model_dump(by_alias=True)

    def text(self) -> str:
        """See `Result`: a line with what it is, one with the columns, and one a row."""
        return "\n".join([self._summary(), *table_lines([c["name"] for c in self.columns], self.rows)])

    def _summary(self) -> str:
        count = f"{len(self.rows):,} row{'' if len(self.rows) == 1 else 's'}"
        if self.truncated:
            count = f"The first {count}, there are more (filter, aggregate or LIMIT)"
        return f"{count}, as of {iso(self.as_of)}"


def table_lines(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    r"""A table for models: cells between ` | `, in which a line break is `\n` and a bar `\|`; null is `NULL`."""
    return [" | ".join(map(_cell, names)), *(" | ".join(map(_cell, row)) for row in rows)]


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else to_json(value).decode()
    return _BREAKS.sub(lambda found: _ESCAPES.get(found[0], f"\\u{ord(found[0]):04x}"), text)


def check_analyst(me: Caller) -> None:
    """That the caller may see everything.

    Raises:
        Forbidden: they may not.
    """
    if not me.analyst:
        raise Forbidden(
            "SQL sees everything, so only the owner of this machine and analysts may use it. A token for one: "
            "`one-mcp token create --user ID --scopes read,analyst`. find and search show what you may see."
        )


async def query(
    view: View,
    me: Caller,
    sql: Text,
    max_rows: Annotated[int | None, Field(ge=0)] = None,
    fresh: Annotated[bool, Field(description="as of now, not of the last minute")] = False,
) -> QueryResult:
    """Run one SELECT (DuckDB's SQL) on a read-only snapshot of all tables. Tables and columns are named as elsewhere
    (conversationMessages, "createdAt"); there are views, too: SHOW TABLES, DESCRIBE name. Times are UTC.

    Raises:
        Forbidden: the caller is no analyst.
        Invalid: the statement is wrong or takes too much; the text says what to do.
    """
    answer = await answered(view, me, sql, view.store.sql.max_rows if max_rows is None else max_rows, fresh=fresh)
    return QueryResult.of(answer)


async def answered(view: View, me: Caller, sql: str, max_rows: int, *, fresh: bool) -> Answer:
    """What a statement of the caller finds; see `query` for the errors."""
    check_analyst(me)
    try:
        return await view.store.sql.run(sql, max_rows=max_rows, fresh=fresh, audit=me.admin)
    except SqlError as error:
        raise Invalid(explained(error), reason=error.kind) from None


def explained(error: SqlError) -> str:
    """What is wrong with a statement, in DuckDB's words, and which names were probably meant."""
    if error.unknown is not None:
        return f"{error.message} {_meant_table(error.unknown, error.tables)}"
    # The statement itself, which follows, is known to who wrote it.
    text = " ".join(re.split(r"\n\s*LINE \d+:", error.message)[0].split())
    text = text if text.endswith((".", "?", "!")) else f"{text}."
    missing = _MISSING_COLUMN.search(error.message)
    return f"{text} {_meant_column(missing[1] or missing[2], error.tables)}".rstrip() if missing else text


def _meant_table(name: str, tables: Mapping[str, Sequence[str]]) -> str:
    meant = closest(name, tables)
    names = ", ".join(list(tables)[:NAMED])
    return (f"Did you mean '{meant}'? " if meant else "") + f"Tables and views: {names}."


def _meant_column(name: str, tables: Mapping[str, Sequence[str]]) -> str:
    columns = {column: None for names in tables.values() for column in names}
    meant = name if name in columns else closest(name, columns)
    if meant is None:
        return "DESCRIBE table lists its columns."
    places = [table for table, names in tables.items() if meant in names]
    more = " and others" if len(places) > PLACES else ""
    return f"'{meant}' is a column of {', '.join(places[:PLACES])}{more}."
