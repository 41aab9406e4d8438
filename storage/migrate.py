"""Brings a database file to the version this program knows, keeping a copy of what was there."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import duckdb

from storage.errors import StorageFault


def stored_version(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The version of the file: 0 when it is empty.

    Raises:
        StorageFault: the tables in it are not ours.
    """
    # The catalogue is asked last: its first use takes as long as the rest of an opening.
    empty = connection.execute(
        "SELECT total_blocks = 0 AND wal_size = '0 bytes' FROM pragma_database_size() "
        "WHERE database_name = current_database()"
    ).fetchall()
    if empty == [(True,)]:
        return 0
    # A foreign file has no such table, or one with any columns.
    with contextlib.suppress(duckdb.CatalogException, duckdb.BinderException, ValueError):
        found = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchall()
        if found:
            return int(found[0][0])
    if not connection.execute(
        "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal"
    ).fetchall():
        return 0
    raise StorageFault(f"{path} is a DuckDB database, but not of one-mcp. Choose another directory with --data.")


def migrate(connection: duckdb.DuckDBPyConnection, path: Path, migrations: Sequence[ModuleType]) -> None:
    """Apply the migrations that the file has not seen, in one transaction.

    `migrations` is the append-only list; a module's place in it is the version it makes, its `STATEMENTS` are SQL.

    Raises:
        StorageFault: the file is of a newer version, or not ours.
    """
    version, newest = stored_version(connection, path), len(migrations)
    if version > newest:
        raise StorageFault(
            f"{path} is of version {version}, written by a newer one-mcp; this one knows versions up to {newest}. "
            "Upgrade one-mcp (the data was left as it is)."
        )
    if version == newest:
        return
    if version > 0:
        _keep_copy(connection, path, version)
    connection.begin()
    try:
        for migration in migrations[version:]:
            for statement in migration.STATEMENTS:
                connection.execute(statement)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", [str(newest)])
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _keep_copy(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> None:
    # Between a checkpoint and the next write the main file alone is the whole database.
    connection.execute("CHECKPOINT")
    copy = path.with_name(f"{path.name}.v{version}.bak")
    temporary = copy.with_suffix(".tmp")
    # A process of its own reads the file: to close it in this one would end the lock that DuckDB holds on it.
    code = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
    command = [sys.executable, "-I", "-c", code, str(path), str(temporary)]
    copied = subprocess.run(command, capture_output=True, text=True, check=False)
    if copied.returncode:
        reason = copied.stderr.strip().rpartition("\n")[2]
        raise StorageFault(f"{path} could not be copied before its upgrade, and was left as it is: {reason}")
    temporary.replace(copy)
