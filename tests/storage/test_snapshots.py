"""Published snapshots: whole, current, harmless to those who read an older one, and to the hub."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from storage import publication
from storage.auth_tables import AUTH_TABLES
from storage.errors import Unavailable
from storage.publication import Publication, Published
from storage.tables import TABLES
from tests.analysts import analyst, rows
from tests.writing import agent, opened, turns

NAMES = "SELECT name FROM agents ORDER BY seq"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether a file is open")


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot share blocks between files."""
    monkeypatch.setattr(publication, "clone", lambda *_: False)


class Copies:
    """Holds copies back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.count = 0
        publish = Publication.publish

        def held(files: Publication, *arguments: Any) -> Published:
            self.count += 1
            self.reached.set()
            assert self.open.wait(30)
            return publish(files, *arguments)

        monkeypatch.setattr(Publication, "publish", held)


async def test_a_fresh_snapshot_shows_all_that_was_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        for number in range(1, 5):
            await engine.writer.run(agent(f"{number}"))
            published = await engine.store.snapshots.latest(fresh=True)
            assert published.path == tmp_path / "analytics.duckdb"
            assert rows(published.path, NAMES) == [(f"{n}",) for n in range(1, number + 1)]
            assert published.generation == number
            assert published.path.stat().st_mode & 0o777 == 0o400
    assert len(list((tmp_path / "snapshots").iterdir())) <= 2


async def test_without_changes_there_is_no_other_copy(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.writer.run(agent("one"))
        first = await engine.store.snapshots.latest()
        again = await engine.store.snapshots.latest(fresh=True)
        assert again.generation == first.generation
        assert again.as_of >= first.as_of
        await engine.writer.run(agent("two"))
        old = await engine.store.snapshots.latest()
        assert (old.generation, rows(old.path, NAMES)) == (first.generation, [("one",)])
        assert old.as_of == (await engine.store.snapshots.latest()).as_of


async def test_callers_share_a_copy_and_who_comes_during_one_shares_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as (engine, _):
        snapshots = engine.store.snapshots
        await engine.writer.run(agent("before"))
        copies = Copies(monkeypatch)
        first = [asyncio.create_task(snapshots.latest(fresh=True)) for _ in range(5)]
        assert await asyncio.to_thread(copies.reached.wait, 30)
        await engine.writer.run(agent("during"))  # commits go on
        second = [asyncio.create_task(snapshots.latest(fresh=True)) for _ in range(5)]
        await turns()
        assert not any(task.done() for task in (*first, *second))
        copies.open.set()
        assert {published.generation for published in await asyncio.gather(*first)} == {1}
        assert {published.generation for published in await asyncio.gather(*second)} == {2}
        assert copies.count == 2
        assert rows(tmp_path / "analytics.duckdb", NAMES) == [("before",), ("during",)]


async def test_what_is_committed_during_the_copy_is_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, checkpoint_rows=1, checkpoint_idle_seconds=0.001) as (engine, _):
        await engine.writer.run(agent("before"))
        copies = Copies(monkeypatch)
        made = asyncio.create_task(engine.store.snapshots.latest())
        assert await asyncio.to_thread(copies.reached.wait, 30)
        for number in range(20):  # each would make a checkpoint, but they are held back
            await engine.writer.run(agent(f"{number}"))
        copies.open.set()
        assert rows((await made).path, NAMES) == [("before",)]


async def test_a_cancelled_caller_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (engine, _):
        copies = Copies(monkeypatch)
        gone = asyncio.create_task(engine.store.snapshots.latest())
        assert await asyncio.to_thread(copies.reached.wait, 30)
        gone.cancel()
        await turns()
        copies.open.set()
        await engine.writer.run(agent("after"))
        assert rows((await engine.store.snapshots.latest(fresh=True)).path, NAMES) == [("after",)]


async def test_it_is_published_by_itself_and_once_more_at_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path, snapshot_seconds=0.05) as (engine, _):
        following = asyncio.create_task(engine.store.snapshots.follow())
        await engine.writer.run(agent("one"))
        async with asyncio.timeout(30):
            while engine.store.snapshots.status().get("ageSeconds") is None:
                await asyncio.sleep(0.01)
        assert rows(tmp_path / "analytics.duckdb", NAMES) == [("one",)]
        following.cancel()
        await engine.writer.run(agent("two"))
    assert rows(tmp_path / "analytics.duckdb", NAMES) == [("one",), ("two",)]
    async with opened(tmp_path) as (engine, _):
        adopted = await engine.store.snapshots.latest()
        assert adopted.generation >= 2
        assert adopted.as_of // 1000 == int((tmp_path / "analytics.duckdb").stat().st_mtime)


async def test_only_on_demand_means_not_at_the_end_either(tmp_path: Path) -> None:
    async with opened(tmp_path, snapshot_seconds=0.0) as (engine, _):
        await engine.writer.run(agent("one"))
        await engine.store.snapshots.follow()
    assert not (tmp_path / "analytics.duckdb").exists()


@pytest.mark.usefixtures("copying")
async def test_a_close_gives_up_the_copy_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.writer.run(agent("one"))
        copies = Copies(monkeypatch)
        lost = asyncio.create_task(engine.store.snapshots.latest())
        assert await asyncio.to_thread(copies.reached.wait, 30)
        closing = asyncio.create_task(engine.store.snapshots.settle())
        await turns()
        copies.open.set()
        await closing
        with pytest.raises(Unavailable, match="The hub is stopping"):
            await lost
        with pytest.raises(Unavailable, match="The hub is stopping"):
            await engine.store.snapshots.latest()
    assert not (tmp_path / "analytics.duckdb").exists()


async def test_readers_keep_what_they_opened(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.writer.run(agent("0"))
        path = (await engine.store.snapshots.latest()).path
        with analyst(path) as old, analyst(path) as other:
            for number in range(1, 8):
                await engine.writer.run(agent(f"{number}"))
                await engine.store.snapshots.latest(fresh=True)
                with analyst(path) as new:
                    assert new("SELECT count(*) FROM agents") == f"[({number + 1},)]"
                for reader in (old, other):
                    assert reader("SELECT count(*), min(name) FROM agents") == "[(1, '0')]"


@LINUX
@pytest.mark.parametrize("how", ["read", "plain"])
@pytest.mark.usefixtures("copying")
async def test_a_spare_that_somebody_has_open_is_left_alone(tmp_path: Path, how: str) -> None:
    async with opened(tmp_path) as (engine, _):
        snapshots = engine.store.snapshots

        async def publish() -> int:
            await engine.writer.run(agent("x" * 100_000))
            return (await snapshots.latest(fresh=True)).path.stat().st_ino

        await publish()
        path = tmp_path / "analytics.duckdb"
        with analyst(path, how), path.open("rb") as held:
            before = held.read()
            await publish()
            for _ in range(4):
                assert await publish() != os.fstat(held.fileno()).st_ino
            held.seek(0)
            assert held.read() == before
            assert len(list((tmp_path / "snapshots").iterdir())) == 2


@LINUX
@pytest.mark.usefixtures("copying")
async def test_a_spare_that_nobody_has_open_is_used_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        inodes = []
        for number in range(5):
            await engine.writer.run(agent(f"{number}"))
            inodes.append((await engine.store.snapshots.latest(fresh=True)).path.stat().st_ino)
        assert inodes == [inodes[0], inodes[1], inodes[0], inodes[1], inodes[0]]


async def test_an_analyst_who_wrote_and_was_killed_breaks_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        snapshots, path = engine.store.snapshots, tmp_path / "analytics.duckdb"
        log = path.with_name("analytics.duckdb.wal")
        for number in range(3):
            await engine.writer.run(agent(f"{number}"))
            await snapshots.latest(fresh=True)
            path.chmod(0o644)
            with analyst(path, "write") as writing:
                writing("CREATE OR REPLACE TABLE mine AS SELECT 1")
                writing("DELETE FROM agents")
            assert log.exists()
            # Nothing was committed, but the file is not what was published.
            published = await snapshots.latest(fresh=True)
            assert not log.exists()
            with analyst(path) as reader:
                assert reader("SELECT count(*) FROM agents") == f"[({number + 1},)]"
            assert published.path.stat().st_mode & 0o777 == 0o400


async def test_the_lock_on_the_system_of_record_outlives_a_snapshot(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.store.snapshots.latest(fresh=True)
        with pytest.raises(AssertionError, match="the analyst's process ended"), analyst(tmp_path / "one.duckdb"):
            pass


async def test_there_is_nothing_secret_in_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        await engine.writer.run(agent("one"))
        path = (await engine.store.snapshots.latest()).path
    tables = {name for (name,) in rows(path, "SELECT table_name FROM duckdb_tables()")}
    assert tables == {table.table for table in TABLES} | {"meta", "aliases", "requests"}
    assert not tables & {table.table for table in AUTH_TABLES}


@pytest.mark.parametrize("make", ["file", "directory", "link"])
async def test_what_somebody_else_made_is_left_alone(tmp_path: Path, make: str) -> None:
    path = tmp_path / "analytics.duckdb"
    if make == "file":
        path.write_bytes(b"12345678DUCK of my own")
    elif make == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    async with opened(tmp_path, snapshot_seconds=60.0) as (engine, failures):
        await engine.writer.run(agent("one"))
        with pytest.raises(Unavailable, match="was not made by one-mcp and is left as it is: move it away"):
            await engine.store.snapshots.latest()
        assert "move it away" in engine.store.snapshots.status()["error"]
        await engine.writer.run(agent("two"))
        assert failures == []
    assert path.is_dir() if make == "directory" else path.is_symlink() if make == "link" else path.stat().st_size == 22


async def test_a_full_disk_is_told_and_the_hub_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (engine, failures):
        await engine.writer.run(agent("one"))
        first = await engine.store.snapshots.latest()
        with monkeypatch.context() as full:
            full.setattr(publication, "RESERVE_BYTES", 1 << 50)
            await engine.writer.run(agent("two"))
            with pytest.raises(Unavailable, match="has no room for a snapshot"):
                await engine.store.snapshots.latest(fresh=True)
            assert "has no room" in engine.store.snapshots.status()["error"]
            assert (await engine.store.snapshots.latest()).generation == first.generation
        assert (await engine.store.snapshots.latest(fresh=True)).generation == first.generation + 1
        assert "error" not in engine.store.snapshots.status()
        assert failures == []
