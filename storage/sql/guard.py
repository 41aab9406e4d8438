"""What a statement may be: one that reads tables of the snapshot. Runs in the worker; standard library and DuckDB only.

The process has nothing to reach anyway. The guard turns what would fail there, or do harm to the worker, into a
sentence that says what is possible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

READS = (
    "Allowed is one statement that reads: SELECT, WITH ... SELECT, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN."
)

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_FOREIGN_TABLES = frozenset({"COLUMN_DATA", "DELIM_GET", "BOUND_TABLE_REF"})
_TABLE_FUNCTIONS = frozenset(
    [
        *("unnest", "range", "generate_series", "repeat", "repeat_row", "json_each", "json_tree", "summary"),
        *("histogram", "histogram_values", "duckdb_columns", "duckdb_constraints", "duckdb_functions"),
        *("duckdb_indexes", "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types", "duckdb_views"),
        *("pragma_table_info", "pragma_show", "pragma_version"),
    ]
)
"""What may stand in FROM with arguments: makes rows, or tells what the snapshot has."""
_FUNCTIONS = frozenset(
    [
        *("getenv", "current_setting", "getvariable", "query", "query_table", "write_log", "parse_duckdb_log_message"),
        *("json_execute_serialized_sql", "json_serialize_plan", "nextval", "currval", "setval", "setseed"),
        *("sleep_ms", "pg_sleep", "which_secret", "txid_current", "current_query", "stats", "set_config"),
        *("read_text", "read_blob", "glob"),
    ]
)
"""What no expression may call: settings, the environment, sequences, logs, statements in texts, waiting."""
_CATALOGUES = frozenset({"main", "information_schema", "pg_catalog", "recurring", "analytics"})
_METADATA = frozenset(
    [
        *("duckdb_columns", "duckdb_constraints", "duckdb_indexes", "duckdb_schemas", "duckdb_tables", "duckdb_types"),
        *("duckdb_views", "sqlite_master", "sqlite_schema"),
    ]
)
_SCHEMA_VIEWS = frozenset(
    [
        *("character_sets", "check_constraints", "columns", "constraint_column_usage", "constraint_table_usage"),
        *("key_column_usage", "referential_constraints", "schemata", "table_constraints", "tables", "views"),
        *("pg_attribute", "pg_class", "pg_constraint", "pg_database", "pg_description", "pg_enum", "pg_index"),
        *("pg_indexes", "pg_namespace", "pg_proc", "pg_tables", "pg_type", "pg_views"),
    ]
)
_NAMING_A_TABLE = frozenset({"histogram", "histogram_values"})
"""Table functions whose first argument names a table, as a text even."""
_SHOWN = frozenset({"tables", "databases", "schemas", "__show_tables_expanded"})
_EXPLAIN = re.compile(r"\s*EXPLAIN(\s+ANALYZE)?(\s*\(\s*FORMAT\s+\w+\s*\))?\s+(?=\S)", re.IGNORECASE)


class Refused(Exception):
    """A statement that is not carried out. `unknown` is a table that does not exist."""

    def __init__(self, message: str, unknown: str | None = None) -> None:
        super().__init__(message)
        self.unknown = unknown


def checked(
    connection: duckdb.DuckDBPyConnection, sql: str, tables: frozenset[str], hidden: frozenset[str] = frozenset()
) -> str:
    """The statement to carry out; `tables` are the names, in lower case, of tables and views that it may read.

    `hidden` are those of others that are there: nothing in the statement may have such a name.

    Raises:
        Refused: it is none that may be carried out; the text says what may.
        duckdb.Error: it cannot be parsed.
    """
    statements = connection.extract_statements(sql)
    if not statements:
        raise Refused(f"There is no statement. {READS}")
    if len(statements) > 1:
        raise Refused(f"These are {len(statements)} statements. {READS}")
    kind, text, prefix = _kind(statements[0]), statements[0].query.strip().rstrip(";"), ""
    if kind == "EXPLAIN":
        head = _EXPLAIN.match(text)
        if head is None:
            raise Refused("After EXPLAIN, EXPLAIN ANALYZE or EXPLAIN (FORMAT json) comes the query.")
        prefix, text = head[0], text[head.end() :]
        inner = connection.extract_statements(text)
        kind = _kind(inner[0]) if len(inner) == 1 else "more than one statement"
    if kind == "MULTI":
        raise Refused(
            "PIVOT needs the values that become columns: PIVOT ... ON step IN ('Hook', 'Gift') USING count(*)."
        )
    if kind != "SELECT":
        raise Refused(f"{kind.replace('_', ' ')} is not possible: the snapshot is only read. {READS}")
    _check(_tree(connection, text), tables, hidden)
    return prefix + text


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # one that Python's side does not know, such as UPDATE EXTENSIONS
        return "this kind of statement"


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    ((found,),) = connection.execute(
        "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)", [sql]
    ).fetchall()
    try:
        tree = json.loads(found)
    except RecursionError:
        raise Refused("The statement is nested too deeply.") from None
    if tree["error"] or len(tree["statements"]) != 1:
        raise Refused(f"This statement cannot be checked: {tree.get('error_message', 'it is more than one')} {READS}")
    return tree["statements"]


def _check(tree: Any, tables: frozenset[str], hidden: frozenset[str]) -> None:
    nodes = list(_nodes(tree))
    named = {
        entry["key"].lower() for node in nodes if isinstance(node.get("cte_map"), dict) for entry in _entries(node)
    }
    # Where a WITH is seen and where not takes all of a binder to tell.
    for name in sorted(named & hidden):
        raise Refused(f"WITH cannot name '{name}': a table has that name. Choose another one.")
    for node in nodes:
        kind = node.get("type", "")
        if kind.endswith("_NODE") and kind not in _NODES:
            verb = kind.split("_")[0]
            raise Refused(f"{verb} is not possible, also not within WITH: the snapshot is only read. {READS}")
        if kind in _FOREIGN_TABLES:
            raise Refused(f"Such a table cannot be read. {READS}")
        if kind == "BASE_TABLE":
            _check_table(_path(node), tables | named)
        elif kind == "SHOW_REF" and "table_name" in node:
            path = _path(node)
            if path[-1].strip('"').lower() not in _SHOWN:
                _check_table(path, tables)
        elif kind == "TABLE_FUNCTION":
            _check_function(node["function"], tables | named)
        elif node.get("class") == "FUNCTION" and node["function_name"].lower() in _FUNCTIONS:
            raise Refused(
                f"{node['function_name'].lower()}() is not possible here: functions of values, dates, texts, lists, "
                "JSON and aggregates are; those that reach settings, files, sequences or other statements are not."
            )
        elif node.get("class") == "PARAMETER":
            raise Refused("There are no parameters: write the values into the statement.")


def _check_table(path: list[str], known: frozenset[str] | set[str]) -> None:
    name, parents = path[-1].lower(), {part.lower() for part in path[:-1]}
    fitting = _SCHEMA_VIEWS if parents & {"information_schema", "pg_catalog"} else known | _METADATA
    if not parents <= _CATALOGUES or name not in fitting:
        raise Refused(f"There is no table '{'.'.join(path)}' in the snapshot.", unknown=path[-1])


def _check_function(function: dict[str, Any], tables: frozenset[str]) -> None:
    """Check what stands in FROM with arguments."""
    name = function["function_name"].lower()
    if name not in _TABLE_FUNCTIONS:
        raise Refused(
            f"{name}() cannot be read from: only tables and views of the snapshot, unnest, range, generate_series, "
            "json_each and the like. Files, settings and statements in texts are out of reach."
        )
    if name in _NAMING_A_TABLE:
        _check_table(_named_table(function), tables)


def _named_table(function: dict[str, Any]) -> list[str]:
    """The table that a function is to read."""
    first = function["arguments"][0] if function.get("arguments") else {}
    expression = first.get("expression", {})
    if "name" not in first and expression.get("class") == "COLUMN_REF":
        return list(expression["column_names"])
    if "name" not in first and expression.get("class") == "CONSTANT":
        return [str(expression["literal"].get("text"))]
    raise Refused(f"{function['function_name'].lower()}() takes the name of a table first.")


def _path(node: dict[str, Any]) -> list[str]:
    path: list[str] = node.get("qualified_name", {}).get("path") or [node["table_name"]]
    return path


def _entries(node: dict[str, Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = node["cte_map"].get("map", [])
    return entries


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a syntax tree. Not recursive: a tree may be deeper than Python's stack."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
