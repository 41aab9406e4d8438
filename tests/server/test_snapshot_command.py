"""`one-mcp snapshot`, and what status and doctor say of the published snapshot."""

import json
import signal
from pathlib import Path

import pytest

from tests.analysts import analyst, rows
from tests.processes import call, client, hub, kill, run, runs, status, wait_until

pytestmark = pytest.mark.slow

TITLES = "SELECT title FROM conversations ORDER BY seq"


async def test_it_publishes_at_once_what_was_acknowledged(data: Path) -> None:
    async with client(data) as mcp:
        for number in range(3):
            await call(mcp, "create_conversation", title=f"{number}")
            ended = run(data, "snapshot", "--json")
            assert ended.returncode == 0, ended.stderr
            answer = json.loads(ended.stdout)
            assert answer["path"] == str(data / "analytics.duckdb")
            assert answer["bytes"] == (data / "analytics.duckdb").stat().st_size
            assert answer["asOf"] >= 1_700_000_000_000
            assert answer["seconds"] >= 0
            assert rows(data / "analytics.duckdb", TITLES) == [(f"{n}",) for n in range(number + 1)]


def test_it_starts_a_hub_when_none_runs_and_is_told_to_people_in_two_lines(data: Path) -> None:
    ended = run(data, "snapshot")
    assert ended.returncode == 0, ended.stderr
    path, facts = ended.stdout.splitlines()
    assert path == str(data / "analytics.duckdb")
    assert facts.startswith("as of 20")
    assert " MB, in " in facts
    assert runs(data)


async def test_readers_open_it_while_the_hub_writes(data: Path) -> None:
    (data / "config.toml").write_text("[analytics]\nmax_age_seconds = 0.2\n")
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="first")
        wait_until(lambda: "asOf" in status(data)["analytics"], "a snapshot that is published by itself")
        with analyst(data / "analytics.duckdb") as old:
            for number in range(20):
                await call(mcp, "create_conversation", title=f"{number}")
                assert len(rows(data / "analytics.duckdb", TITLES)) >= 1
            wait_until(lambda: len(rows(data / "analytics.duckdb", TITLES)) == 21, "the last conversation")
            assert old(TITLES) == "[('first',)]"


async def test_it_is_published_once_more_when_the_hub_ends(data: Path) -> None:
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="last")
    assert run(data, "stop").returncode == 0
    assert rows(data / "analytics.duckdb", TITLES) == [("last",)]


async def test_status_says_how_old_it_is(data: Path) -> None:
    (data / "config.toml").write_text("[analytics]\nmax_age_seconds = 0.0\n")
    async with client(data) as mcp:
        assert status(data)["analytics"] == {}
        run(data, "snapshot")
        facts = status(data)["analytics"]
        assert set(facts) == {"asOf", "ageSeconds", "path", "bytes", "copySeconds"}
        assert facts["ageSeconds"] < 30
        await call(mcp, "create_conversation", title="not in it")
        assert status(data)["analytics"]["asOf"] < facts["asOf"] + 30_000
        assert "analytics      " in run(data, "status").stdout
    assert rows(data / "analytics.duckdb", TITLES) == []


def test_something_else_in_its_place_is_told(data: Path) -> None:
    (data / "analytics.duckdb").mkdir()
    refused = run(data, "snapshot")
    assert refused.returncode == 1
    assert "was not made by one-mcp and is left as it is: move it away." in refused.stderr
    assert "error" in status(data)["analytics"]
    doctor = json.loads(run(data, "doctor", "--json").stdout)
    found = [(check["status"], check["message"]) for check in doctor["checks"] if check["name"] == "analytics.duckdb"]
    assert [kind for kind, _ in found] == ["error", "warning"]
    assert "is no snapshot of one-mcp" in found[0][1]


async def test_after_a_kill_the_next_hub_goes_on_with_it(data: Path) -> None:
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="one")
        run(data, "snapshot")
        kill(data, signal.SIGKILL)
        assert rows(data / "analytics.duckdb", TITLES) == [("one",)]
        await call(mcp, "create_conversation", title="two")
        assert hub(data).pid
        run(data, "snapshot")
        assert rows(data / "analytics.duckdb", TITLES) == [("one",), ("two",)]
