"""The declarations against what the seed's own compiler made of its schema."""

from __future__ import annotations

import json
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.auth_tables import AUTH_TABLES, OWN_AUTH_TABLES
from storage.ddl import BOOKKEEPING, create_all, create_indexes
from storage.migrations import AUTH_MIGRATIONS, MIGRATIONS, m003_audit_log
from storage.row import Column, Row, columns, unwrapped
from storage.tables import BY_PREFIX, RESULTS, TABLES

COMPILED = {
    table["tableName"]: table
    for table in json.loads((Path(__file__).parents[1] / "data" / "schema.compiled.json").read_text())["tables"]
}
DECLARED: dict[str, type[Row]] = {table.table: table for table in (*TABLES, *AUTH_TABLES)}
BASE = {"_id", "seq", "rev", "createdAt"}
"""What every table has, also where the seed says nothing of it."""


def test_every_table_of_the_seed_is_declared_and_no_other() -> None:
    assert set(DECLARED) == set(COMPILED)
    assert len(DECLARED) == 22
    assert len(TABLES) == 16


def variants(name: str) -> list[dict[str, Any]]:
    """The objects that a row of the table may be: one, or the variants of a union."""
    document = COMPILED[name]["documentType"]
    return [part["value"] for part in (document["value"] if document["type"] == "union" else [document])]


def seed_fields(name: str) -> dict[str, dict[str, Any]]:
    """The fields of a table; what only some variants have is optional, literals of variants are a union."""
    merged: dict[str, dict[str, Any]] = {}
    for variant in variants(name):
        for field, declared in variant.items():
            known = merged.setdefault(field, {"types": [], "optional": False, "in": 0})
            known["in"] += 1
            known["optional"] |= declared["optional"]
            if declared["fieldType"] not in known["types"]:
                known["types"].append(declared["fieldType"])
    return {
        field: {
            "type": known["types"][0] if len(known["types"]) == 1 else {"type": "union", "value": known["types"]},
            "optional": known["optional"] or known["in"] < len(variants(name)),
        }
        for field, known in merged.items()
    }


def as_seed(column: Column) -> dict[str, Any]:
    """A column's type in the words of the seed's compiler."""
    return _as_seed(column.annotation, column)


def _as_seed(annotation: Any, column: Column) -> dict[str, Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        literals = [{"type": "literal", "value": value} for value in typing.get_args(annotation)]
        return literals[0] if len(literals) == 1 else {"type": "union", "value": literals}
    if origin is list:
        inner, _, _ = unwrapped(typing.get_args(annotation)[0])
        return {"type": "array", "value": _as_seed(inner, column)}
    if column.refers_to is not None and column.refers_to.typed:
        (table,) = column.refers_to.tables
        return {"type": "id", "tableName": table}
    return {"type": {str: "string", int: "number", float: "number", bool: "boolean"}.get(annotation, "any")}


FIELDS = [(name, field) for name in COMPILED for field in seed_fields(name)]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_has_the_type_and_optionality_of_the_seed(name: str, field: str) -> None:
    column = {column.name: column for column in columns(DECLARED[name])}[field]
    expected = seed_fields(name)[field]
    assert as_seed(column) == expected["type"]
    assert column.optional == expected["optional"]
    assert not column.extension


@pytest.mark.parametrize("name", COMPILED)
def test_every_other_field_is_an_extension_and_optional(name: str) -> None:
    extra = [column for column in columns(DECLARED[name]) if column.name not in {*seed_fields(name), *BASE}]
    assert [column.name for column in extra if not (column.extension and column.optional)] == []


@pytest.mark.parametrize("name", [name for name in COMPILED if len(variants(name)) > 1])
def test_unions_tell_their_variants_apart_as_the_seed_does(name: str) -> None:
    union = DECLARED[name].union
    assert union is not None
    attributes = {column.attribute: column.name for column in columns(DECLARED[name])}
    common = set.intersection(*(set(variant) for variant in variants(name)))
    by_literal = {variant[union.by]["fieldType"]["value"]: set(variant) - common for variant in variants(name)}
    assert {value: {attributes[own]} for value, own in union.variants.items()} == by_literal


def test_no_other_table_is_declared_as_a_union() -> None:
    assert {name for name, table in DECLARED.items() if table.union} == {
        name for name in COMPILED if len(variants(name)) > 1
    }


@pytest.mark.parametrize("name", COMPILED)
def test_every_index_of_the_seed_is_declared(name: str) -> None:
    table = DECLARED[name]
    names = {column.attribute: column.name for column in columns(table)}
    declared = {index: [names[field] for field in fields] for index, fields in table.indexes.items()}
    for index in COMPILED[name]["indexes"]:
        assert declared[index["indexDescriptor"]] == index["fields"]


def test_messages_have_the_index_that_the_seed_uses_without_naming_it() -> None:
    assert DECLARED["conversationMessages"].indexes == {"by_conversationId": ("conversation_id",)}


def test_ids_tell_their_table() -> None:
    assert len(BY_PREFIX) == len(TABLES)
    assert all(prefix.isalpha() and prefix.islower() for prefix in BY_PREFIX)


def test_every_row_can_be_a_receipt() -> None:
    assert {table.table for table in TABLES} < set(RESULTS)


# What is frozen in the migrations against what is declared today.

Layout = list[tuple[Any, ...]]


def layout(statements: Sequence[str]) -> tuple[Layout, Layout, Layout]:
    """The columns, keys and indexes that statements make."""
    with duckdb.connect() as connection:
        for statement in statements:
            connection.execute(statement)
        return (
            connection.execute(
                "SELECT table_name, column_index, column_name, data_type, is_nullable FROM duckdb_columns() "
                "WHERE NOT internal ORDER BY ALL"
            ).fetchall(),
            connection.execute(
                "SELECT table_name, constraint_type, constraint_column_names FROM duckdb_constraints() ORDER BY ALL"
            ).fetchall(),
            connection.execute(
                "SELECT table_name, index_name, expressions FROM duckdb_indexes() ORDER BY ALL"
            ).fetchall(),
        )


def frozen(migrations: Sequence[Any]) -> list[str]:
    return [statement for migration in migrations for statement in migration.STATEMENTS]


def test_the_migrations_make_the_tables_of_today() -> None:
    assert layout(frozen(MIGRATIONS)) == layout([*BOOKKEEPING, *create_all(TABLES), *m003_audit_log.STATEMENTS])


def test_the_migrations_of_the_auth_file_make_the_tables_of_today() -> None:
    tables: tuple[type[Row], ...] = (*AUTH_TABLES, *OWN_AUTH_TABLES)
    indexes = [statement for table in tables for statement in create_indexes(table)]
    assert layout(frozen(AUTH_MIGRATIONS)) == layout([BOOKKEEPING[0], *create_all(tables), *indexes])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.table)
def test_the_commit_number_is_the_only_key(table: type[Row]) -> None:
    _, keys, indexes = layout(create_all([table]))
    assert [key for key in keys if key[1] != "NOT NULL"] == [(table.table, "PRIMARY KEY", ["seq"])]
    assert indexes == []
