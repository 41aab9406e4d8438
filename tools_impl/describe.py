"""The schema in words, from the declarations: the resource `one://schema` and the reference."""

from __future__ import annotations

import typing
from functools import cache

from storage.row import Column, Row, columns, unwrapped
from storage.tables import TABLES


def kind_of(column: Column) -> str:
    """A field's type in the words of the schema: `id of agents`, `list of string`, `'user' | 'agent'`, `time`."""
    return _kind(column.annotation, column)


def _kind(annotation: object, column: Column) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " | ".join(f"'{value}'" for value in typing.get_args(annotation))
    if origin is list:
        inner, _, _ = unwrapped(typing.get_args(annotation)[0])
        return f"list of {_kind(inner, column)}"
    if column.refers_to is not None:
        return f"id of {' or '.join(column.refers_to.tables)}"
    if column.is_time:
        return "time"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}.get(
        typing.cast("type", annotation), "JSON"
    )


def field_line(column: Column) -> str:
    """One field: name, `?` if optional, type, and what it is for."""
    words = f": {column.description}" if column.description else ""
    ours = " (extension)" if column.extension else ""
    return f"- {column.name}{'?' if column.optional else ''} {kind_of(column)}{ours}{words}"


def table_section(table: type[Row]) -> str:
    """A table with its fields, as Markdown."""
    fields = [field_line(column) for column in columns(table) if column.attribute not in ("seq", "rev")]
    return f"## {table.table}\n\n{table.__doc__}\n\n" + "\n".join(fields)


@cache
def schema_text() -> str:
    """All application tables, as Markdown."""
    intro = (
        "# The ONE schema\n\n"
        "Ids are typed and opaque (`conv_12`). Times are epoch milliseconds in structured results, ISO 8601 in text, "
        "TIMESTAMP (UTC) in SQL. `?` marks optional fields. In SQL every table also has `seq` (commit order of a row's "
        "creation) and `rev` (of its last change)."
    )
    return "\n\n".join([intro, *(table_section(table) for table in TABLES)]) + "\n"
