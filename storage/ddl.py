"""DDL from the declarations."""

from __future__ import annotations

from collections.abc import Iterable

from storage.row import Row, columns

BOOKKEEPING = (
    "CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL)",
    'CREATE TABLE aliases (_id VARCHAR PRIMARY KEY, "table" VARCHAR NOT NULL, seq BIGINT NOT NULL)',
    "CREATE TABLE requests (key VARCHAR PRIMARY KEY, arguments VARCHAR NOT NULL, kind VARCHAR NOT NULL, "
    "result JSON NOT NULL, keptUntil TIMESTAMP NOT NULL)",
)
"""`meta`: versions and watermarks. `aliases`: ids that imports brought along. `requests`: what was answered to an
idempotency key, with a hash of its arguments."""


def create_table(table: type[Row]) -> str:
    """CREATE TABLE for one declaration. The key is `seq`: ids are strings, 20% more bytes and slower to fetch by."""
    lines = []
    for column in columns(table):
        nullable = "" if column.optional else " NOT NULL"
        key = " PRIMARY KEY" if column.attribute == "seq" else nullable
        lines.append(f'"{column.name}" {column.sql}{key}')
    return f'CREATE TABLE "{table.table}" ({", ".join(lines)})'


def create_indexes(table: type[Row]) -> list[str]:
    """CREATE INDEX for each named index of a declaration."""
    return [
        f'CREATE INDEX "{table.table}.{name}" ON "{table.table}" '
        f"({', '.join(chr(34) + table.model_fields[field].alias + chr(34) for field in fields)})"  # type: ignore[operator]
        for name, fields in table.indexes.items()
    ]


def create_all(tables: Iterable[type[Row]]) -> list[str]:
    """The statements for an empty database file of these tables."""
    return [create_table(table) for table in tables]
