"""`one-mcp reindex` on a real hub, and what a killed hub leaves of its index."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import duckdb
import lancedb
import pytest

from tests import processes
from tests.processes import call, client, kill, run

pytestmark = pytest.mark.slow

KILLS = 20


async def test_reindex(data: Path) -> None:
    async with client(data) as mcp:
        room = (await call(mcp, "create_conversation", title="Launch"))["_id"]
        for number in range(12):
            await call(mcp, "send_message", conversationId=room, content=f"the rocket number{number} flies")
        done = run(data, "reindex")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("12 rows indexed in ")
        assert (await call(mcp, "search", query="number7"))["results"][0]["content"].startswith("the rocket number7")
        assert "pending" not in await call(mcp, "search", query="number7")
        shutil.rmtree(data / "vectors")
        done = run(data, "reindex", "--embed")
        assert done.returncode == 0, done.stderr
        assert (await call(mcp, "search", query="number7"))["results"][0]["content"].startswith("the rocket number7")
    assert_equal(data)


@pytest.mark.timeout(600)
async def test_a_killed_hub_leaves_an_index_that_repairs_itself(data: Path) -> None:
    rng = random.Random(7)
    async with client(data) as mcp:
        room = (await call(mcp, "create_conversation", title="Launch"))["_id"]
        sent: list[str] = []

        async def post() -> None:
            for _ in range(400):
                row = await call(mcp, "send_message", conversationId=room, content=f"rocket number{len(sent)} flies")
                sent.append(row["_id"])
                choice = rng.random()
                if choice < 0.15:
                    await call(mcp, "update", id=rng.choice(sent), fields={"content": f"changed {choice}"})
                elif choice < 0.25:
                    await call(mcp, "delete", id=sent.pop(rng.randrange(len(sent))))
                elif choice < 0.4:
                    await call(mcp, "search", query="rocket")

        async def killing() -> None:
            for _ in range(KILLS):
                await asyncio.sleep(rng.uniform(0.3, 3.0))
                await asyncio.to_thread(kill, data)

        poster = asyncio.create_task(post())
        await killing()
        poster.cancel()
        await asyncio.gather(poster, return_exceptions=True)
        for _ in range(600):
            if "pending" not in await call(mcp, "search", query="rocket"):
                break
            await asyncio.sleep(0.2)
    assert_equal(data)


def assert_equal(data: Path) -> None:
    """After a stop, ids and revisions in the files of DuckDB and LanceDB are equal, and no chunk is there twice."""
    run(data, "stop")
    processes.wait_until(lambda: not processes.runs(data), "the end of the hub")
    with duckdb.connect(str(data / "one.duckdb"), read_only=True) as stored:
        rows = stored.execute("SELECT seq, rev FROM \"conversationMessages\" WHERE content <> ''").fetchall()
    assert rows
    database = lancedb.connect(str(data / "vectors"))
    (name,) = [name for name in database.list_tables().tables if name.startswith("conversationMessages_")]
    chunks = database.open_table(name).to_arrow()
    assert sorted(zip(chunks["seq"].to_pylist(), chunks["rev"].to_pylist(), strict=True)) == sorted(rows)
    assert len(set(chunks["key"].to_pylist())) == chunks.num_rows
    assert chunks["vector"].null_count == 0
