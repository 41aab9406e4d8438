"""`one-mcp sql` over real processes: what it prints and writes, with and without a hub."""

from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.processes import SECONDS, call, client, command, data_directory, environment, run, runs

pytestmark = pytest.mark.slow

VALUES = (
    "SELECT range AS n, 'a | b' AS t, [1, 2] AS l, NULL AS z, TIMESTAMP '2026-03-01 10:00:00' AS m "
    "FROM range({count}) ORDER BY n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with a published snapshot, and no hub."""
    with data_directory(tmp_path_factory.mktemp("sql")) as data:
        assert run(data, "sql", "SELECT 1").returncode == 0
        assert run(data, "stop").returncode == 0
        yield data


def printed(data: Path, *arguments: str) -> str:
    """What the command prints; it must succeed."""
    done = run(data, "sql", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_it_shows_what_is_new_when_asked_to(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        async with client(data) as mcp:
            sql = "SELECT count(*) AS n FROM tags"
            assert await asyncio.to_thread(printed, data, sql) == "n\n0\n"
            await call(mcp, "create_tag", name="x")
            assert await asyncio.to_thread(printed, data, sql, "--fresh") == "n\n1\n"


def test_it_starts_a_hub_when_there_is_no_snapshot(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        assert printed(data, "SELECT count(*) AS n FROM users") == "n\n1\n"
        assert runs(data)


def test_it_needs_no_hub_and_leaves_nothing_behind(place: Path) -> None:
    assert printed(place, "SELECT count(*) AS n FROM users") == "n\n1\n"
    assert not runs(place)
    assert list((place / "snapshots").glob("sql-*")) == []


def test_csv_json_markdown_and_tables_are_printed(place: Path) -> None:
    sql = VALUES.format(count=2)
    assert printed(place, sql, "--format", "csv").splitlines() == [
        "n,t,l,z,m",
        '0,a | b,"[1,2]",,2026-03-01T10:00:00.000Z',
        '1,a | b,"[1,2]",,2026-03-01T10:00:00.000Z',
    ]
    rows = json.loads(printed(place, sql, "--format", "json"))
    assert rows[1] == {"n": 1, "t": "a | b", "l": [1, 2], "z": None, "m": "2026-03-01T10:00:00.000Z"}
    assert printed(place, "SELECT 1 AS a, 2 AS a, 3 AS a", "--format", "json") == '[{"a":1,"a_2":2,"a_3":3}]\n'
    assert printed(place, "SELECT 1 WHERE false", "--format", "json") == "[]\n"
    markdown = printed(place, sql, "--format", "markdown").splitlines()
    assert markdown[:3] == [
        "| n | t | l | z | m |",
        "| --- | --- | --- | --- | --- |",
        "| 0 | a \\| b | [1,2] |  | 2026-03-01T10:00:00.000Z |",
    ]
    table = printed(place, sql, "--format", "table").splitlines()
    assert table[0].split() == ["n", "t", "l", "z", "m"]
    assert table[2].split() == ["0", "a", "|", "b", "[1,2]", "NULL", "2026-03-01T10:00:00.000Z"]
    assert len(table) == 4


def test_nothing_that_is_printed_rules_a_terminal(place: Path) -> None:
    table = printed(place, "SELECT chr(27) || '[2J' || chr(10) || chr(8238) AS x", "--format", "table")
    assert "\\x1b[2J\\n\\u202e" in table
    assert "\x1b" not in table


def test_rows_are_capped_where_people_read_and_not_in_files(place: Path, tmp_path: Path) -> None:
    sql = "SELECT * FROM range(1500)"
    done = run(place, "sql", sql, "--format", "table")
    assert len(done.stdout.splitlines()) == 1_002
    assert "The first 1,000 rows; there are more" in done.stderr
    assert len(printed(place, sql, "--format", "csv").splitlines()) == 1_501
    assert len(printed(place, sql, "--max-rows", "7").splitlines()) == 8
    file = tmp_path / "out.parquet"
    assert run(place, "sql", sql, "--output", str(file), "--max-rows", "3").returncode == 0
    assert parquet.read_table(file).num_rows == 3


@pytest.mark.parametrize("ending", ["csv", "json", "parquet", "arrow"])
def test_files_have_all_rows(place: Path, tmp_path: Path, ending: str) -> None:
    file, count = tmp_path / f"out.{ending}", 120_000
    done = run(place, "sql", VALUES.format(count=count), "--output", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{count:,} rows in {file}\n")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    match ending:
        case "csv":
            with file.open(newline="") as stream:
                numbers = [int(row["n"]) for row in csv.DictReader(stream)]
        case "json":
            numbers = [row["n"] for row in json.loads(file.read_text())]
        case "parquet":
            table = parquet.read_table(file)
            assert table.schema.field("m").type == pa.timestamp("us")
            numbers = table["n"].to_pylist()
        case _:
            with pa.ipc.open_file(file) as stream:
                numbers = stream.read_all()["n"].to_pylist()
    assert numbers == list(range(count))


def test_what_cannot_be_written_leaves_the_file_as_it_was(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    file.write_text("before")
    for sql in ("SELECT INTERVAL 1 MONTH", "SELECT * FROM nowhere", "DELETE FROM users"):
        done = run(place, "sql", sql, "--output", str(file))
        assert done.returncode == 1
        assert done.stderr.startswith("one-mcp: ")
        assert len(done.stderr.splitlines()) == 1
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    done = run(place, "sql", "SELECT 1", "--output", "out.xlsx")
    assert done.stderr == (
        "one-mcp: --output takes a file that ends in .csv, .json, .parquet or .arrow, not 'out.xlsx'.\n"
    )


def test_the_statement_may_come_from_stdin(place: Path) -> None:
    done = subprocess.run(
        command(place, "sql", "-"),
        input="SELECT 42 AS n",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    assert done.stdout == "n\n42\n"


def test_errors_name_what_was_probably_meant(place: Path) -> None:
    done = run(place, "sql", "SELECT * FROM user")
    assert (done.returncode, done.stdout) == (1, "")
    assert "There is no table 'user' in the snapshot. Did you mean 'users'?" in done.stderr


def test_a_query_is_ended_when_its_time_is_up(place: Path) -> None:
    began = time.monotonic()
    done = run(place, "sql", "SELECT count(*) FROM range(10000000) a, range(10000000) b", "--seconds", "1")
    assert done.returncode == 1
    assert done.stderr.startswith("one-mcp: The query was ended after 1 s")
    assert done.stderr.endswith("--seconds 60 allows more.\n")
    assert time.monotonic() - began < 1 + 2 + 5, "with the start of two processes"
    assert list((place / "snapshots").glob("sql-*")) == []


def test_an_analyst_who_has_the_snapshot_open_for_writing_disturbs_nobody(place: Path) -> None:
    path = place / "analytics.duckdb"
    path.chmod(0o600)
    held = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", held, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as analyst:
        assert analyst.stdout is not None
        assert analyst.stdout.readline() == "open\n"
        with pytest.raises(duckdb.IOException, match="Could not set lock"):
            duckdb.connect(str(path), read_only=True)
        assert printed(place, "SELECT count(*) AS n FROM users") == "n\n1\n"
        analyst.communicate()
    path.chmod(0o444)
