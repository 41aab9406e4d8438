"""What happens to database files of other versions, of other programs, and to damaged ones."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest

from storage import engine
from storage.engine import Engine, Options
from storage.errors import StorageFault
from storage.migrate import migrate
from storage.migrations import MIGRATIONS
from tests.clients import Swarm


def migration(*statements: str) -> ModuleType:
    module = ModuleType("m999_of_a_test")
    module.STATEMENTS = statements  # type: ignore[attr-defined]
    return module


ADD_COLUMN = migration('ALTER TABLE "agents" ADD COLUMN "voice" VARCHAR')
FAILS_HALFWAY = migration("CREATE TABLE extra (i INTEGER)", "DROP TABLE no_such")


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hashes(directory: Path) -> dict[Path, str]:
    return {path: hash_of(path) for path in directory.rglob("*") if path.is_file()}


def opening(directory: Path) -> Callable[[], Engine]:
    return lambda: Engine.open(directory, Options(), on_failure=pytest.fail)


def refused(directory: Path) -> str:
    """The sentence with which the directory is refused; its files stay as they are."""
    before = hashes(directory)
    with pytest.raises(StorageFault) as caught:
        opening(directory)()
    assert hashes(directory) == before
    return str(caught.value)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that was used and closed."""

    async def use(directory: Path) -> None:
        async with Swarm(directory) as swarm:
            await swarm.owner("create_agent", name="Director", description="Leads", kind="system_agent")

    directory = tmp_path_factory.mktemp("template") / "data"
    asyncio.run(use(directory))
    return directory


@pytest.fixture
def used(template: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(template, tmp_path / "data"))


def copies(directory: Path) -> list[Path]:
    return list(directory.glob("*.bak"))


def with_migrations(monkeypatch: pytest.MonkeyPatch, *more: ModuleType) -> None:
    monkeypatch.setattr(engine, "MIGRATIONS", (*MIGRATIONS, *more))


def stored(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_newer_version_is_refused_and_left_alone(used: Path) -> None:
    with duckdb.connect(str(used / "one.duckdb")) as connection:
        migrate(connection, used / "one.duckdb", (*MIGRATIONS, ADD_COLUMN))
    newest = len(MIGRATIONS)
    assert refused(used) == (
        f"{used / 'one.duckdb'} is of version {newest + 1}, written by a newer one-mcp; this one knows versions up to "
        f"{newest}. Upgrade one-mcp (the data was left as it is)."
    )


async def test_an_older_version_is_migrated_and_a_copy_is_kept(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hash_of(used / "one.duckdb")
    with_migrations(monkeypatch, ADD_COLUMN)
    await opening(used)().store.database.close()
    version = len(MIGRATIONS)
    copy = used / f"one.duckdb.v{version}.bak"
    assert hash_of(copy) == before
    assert stored(used / "one.duckdb", "SELECT value FROM meta WHERE name = 'version'") == [(str(version + 1),)]
    assert stored(used / "one.duckdb", 'SELECT name, "voice" FROM agents') == [("Director", None)]
    assert stored(copy, "SELECT name FROM agents") == [("Director",)]


async def test_participants_of_version_1_are_kept_and_new_ones_stored_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "one.duckdb"
    now = "TIMESTAMP '2026-01-01 00:00:00'"
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.2.0"}) as connection:
        migrate(connection, path, MIGRATIONS[:1])
        connection.execute(
            f"INSERT INTO users BY NAME SELECT 'user_1' AS _id, 1 AS seq, 1 AS rev, 'A' AS name, 'a@b' AS email, "
            f'{now} AS "createdAt"'
        )
        connection.execute(
            'INSERT INTO "conversationParticipants" VALUES '
            f"('part_3', 3, 4, 'user', 'conv_2', 'user_1', NULL, 'active', false, {now}, 7, {now})"
        )
    async with Swarm(tmp_path) as swarm:
        owner = swarm.service.owner.id
        room = (await swarm.owner("create_conversation", title="Plan"))["_id"]
        old, new = await swarm.owner.find("conversationParticipants", order="seq")
    assert (old["_id"], old["userId"], old["lastReadSeq"], "lastMentionSeq" in old) == ("part_3", "user_1", 7, False)
    assert (new["conversationId"], new["userId"], new["createdAt"]) == (room, owner, new["addedAt"])


def test_what_is_only_in_the_log_is_in_the_copy(used: Path) -> None:
    path = used / "one.duckdb"
    connection = duckdb.connect(str(path), config={"wal_autocheckpoint": "1TB"})
    connection.execute("UPDATE agents SET name = 'Sage'")
    migrate(connection, path, (*MIGRATIONS, ADD_COLUMN))
    connection.close()
    assert stored(used / f"one.duckdb.v{len(MIGRATIONS)}.bak", "SELECT name FROM agents") == [("Sage",)]


def test_a_migration_that_fails_changes_nothing(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_migrations(monkeypatch, ADD_COLUMN, FAILS_HALFWAY)
    with pytest.raises(StorageFault, match="cannot be read: Catalog Error"):
        opening(used)()
    path = used / "one.duckdb"
    assert stored(path, "SELECT value FROM meta WHERE name = 'version'") == [(str(len(MIGRATIONS)),)]
    assert "voice" not in [name for (name,) in stored(path, "SELECT column_name FROM duckdb_columns()")]
    assert stored(path, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'extra'") == [(0,)]


async def test_a_file_of_this_version_is_opened_without_a_copy(used: Path) -> None:
    await opening(used)().store.database.close()
    assert copies(used) == []


FOREIGN = {
    "a table": ["CREATE TABLE sales (id INTEGER)"],
    "a table in another schema": ["CREATE SCHEMA crm", "CREATE TABLE crm.sales (id INTEGER)"],
    "a view": ["CREATE VIEW sales AS SELECT 1 AS id"],
    "a table named meta": ["CREATE TABLE meta (id INTEGER)"],
    "a table like meta": [
        "CREATE TABLE meta (name VARCHAR, value VARCHAR)",
        "INSERT INTO meta VALUES ('version', 'x')",
    ],
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_database_of_another_program_is_refused(tmp_path: Path, statements: list[str]) -> None:
    path = tmp_path / "one.duckdb"
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.2.0"}) as connection:
        for statement in statements:
            connection.execute(statement)
    assert refused(tmp_path) == (
        f"{path} is a DuckDB database, but not of one-mcp. Choose another directory with --data."
    )


@pytest.mark.parametrize(
    "content", [b"SQLite format 3\0" + bytes(4096), b"hello\n", b"\0" * 10_000], ids=["sqlite", "short", "zeros"]
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "one.duckdb"
    path.write_bytes(content)
    assert refused(tmp_path) == (
        f"{path} is not a DuckDB database. Move it away, or choose another directory with --data."
    )


@pytest.mark.parametrize("place", [0, 4096, 8192, 12_288 + 100], ids=lambda place: f"at {place}")
def test_a_damaged_file_is_refused(used: Path, place: int) -> None:
    path = used / "one.duckdb"
    content = bytearray(path.read_bytes())
    start = place % len(content)
    content[start : start + 2_000] = bytes(byte ^ 0x5A for byte in content[start : start + 2_000])
    path.write_bytes(content)
    text = refused(used)
    assert text.startswith(f"{path} ")
    assert "\n" not in text
    assert text.endswith((".", "left as it is."))


def test_a_truncated_file_is_refused(used: Path) -> None:
    path = used / "one.duckdb"
    path.write_bytes(path.read_bytes()[:20_000])
    assert str(path) in refused(used)


def test_a_file_that_another_program_has_open_is_refused(used: Path) -> None:
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(used / "one.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        assert refused(used) == (
            f"{used / 'one.duckdb'} is open in another program; close it there (it is not safe to share: use "
            "analytics.duckdb)."
        )
        other.communicate()
