"""Hostile statements change nothing, reach nothing, end in time, and leave the next query working."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.sql import Answer, SqlError
from tests.clients import Swarm

SECONDS = 1.0
LIMITS = {"query_seconds": SECONDS, "query_memory": "256MB", "query_temp": "100MB"}
GRACE = 2.0
MARKER = "hostile-secret-4711"
NEXT = "SELECT name FROM users"
STATEMENTS = Path(__file__).parents[1] / "data" / "hostile.sql"


def statements() -> Iterator[tuple[str, str]]:
    """What must become of each statement, and the statement."""
    fate = ""
    for block in STATEMENTS.read_text(encoding="utf-8").split("\n\n"):
        if block.startswith("## "):
            fate = block.removeprefix("## ").partition(":")[0]
        elif fate:
            yield fate, block.strip("\n")


ALL = list(statements())


@dataclass(frozen=True)
class Place:
    """A swarm with a snapshot, beside what nobody may read."""

    swarm: Swarm
    secret: Path

    @property
    def published(self) -> Path:
        return self.swarm.directory / "analytics.duckdb"

    def files(self) -> dict[str, str]:
        """The hash of each database file, and which files there are."""
        found = {path.name: path for path in self.swarm.directory.iterdir() if path.is_file()}
        databases = {name: path for name, path in found.items() if path.suffix in (".duckdb", ".csv")}
        (copy,) = self.swarm.directory.glob("snapshots/hub-*/analytics.duckdb")
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in databases.items()}
        return {**dict.fromkeys(found, ""), **hashes, "copy": hashlib.sha256(copy.read_bytes()).hexdigest()}

    async def ask(self, sql: str) -> Answer:
        return await self.swarm.service.engine.store.sql.run(sql, max_rows=100)


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("hostile")
    secret = folder / "secret.csv"
    secret.write_text(f"a,b\n{MARKER},1\n")
    secret.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOSTILE_SECRET", MARKER)
        async with Swarm(folder / "data", analytics=LIMITS) as swarm:
            (swarm.directory / "link.csv").symlink_to(secret)
            made = Place(swarm, secret)
            await made.ask(NEXT)
            yield made


async def outcome(place: Place, sql: str) -> str:
    """What becomes of a statement: how it failed, or "answered". Whatever it is, nothing else has happened."""
    before, begun = place.files(), time.monotonic()
    expected = (await place.ask(NEXT)).rows
    text = sql.replace("{secret}", str(place.secret)).replace("{data}", str(place.swarm.directory))
    try:
        answer = await place.ask(text)
    except SqlError as error:
        said, kind = error.message, error.kind
    else:
        said, kind = json.dumps([answer.columns, answer.rows]), "answered"
    assert time.monotonic() - begun < SECONDS + GRACE
    assert MARKER not in said
    assert (await place.ask(NEXT)).rows == expected
    assert place.files() == before
    return kind


@pytest.mark.parametrize("sql", [sql for fate, sql in ALL if fate == "refused"])
async def test_what_does_more_than_read_is_refused(place: Place, sql: str) -> None:
    kind = await outcome(place, sql)
    assert kind in ("refused", "ParserException"), "the guard stops it before DuckDB does"


@pytest.mark.parametrize("sql", [sql for fate, sql in ALL if fate == "answered"])
async def test_what_only_looks_hostile_is_answered(place: Place, sql: str) -> None:
    assert await outcome(place, sql) == "answered"


@pytest.mark.slow
@pytest.mark.parametrize("sql", [sql for fate, sql in ALL if fate == "ended"])
async def test_what_takes_too_much_is_ended(place: Place, sql: str) -> None:
    kind = await outcome(place, sql)
    assert kind != "answered"
    assert kind in ("time", "memory", "temp") or kind.endswith("Exception")


def test_there_are_enough_of_them() -> None:
    assert len({sql for fate, sql in ALL if fate != "answered"}) >= 120
