"""After a hub was killed: everything acknowledged is there, and what is derived is right again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.clients import Swarm, Tools
from tests.invariants import check

QUIET: dict[str, Any] = {"storage": {"checkpoint_idle_seconds": 1000.0, "checkpoint_rows": 1_000_000}}
"""Nothing is folded or checkpointed before the end."""
ROOT = Path(__file__).parents[2]


async def last_times(tools: Tools) -> dict[str, int | None]:
    return {row["_id"]: row.get("lastMessageTime") for row in await tools.find("conversations")}


async def copied(swarm: Swarm, to: Path) -> Path:
    """The files as a kill at this moment would leave them."""
    await swarm.service.engine.store.database.write(lambda _: shutil.copytree(swarm.directory, to))
    return to


async def test_derived_times_are_recovered_after_a_kill(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data", **QUIET) as swarm:
        silent, early, late, both = [
            (await swarm.owner("create_conversation", title=title))["_id"]
            for title in ("silent", "early", "late", "both")
        ]
        for there in (early, both):
            await swarm.owner("send_message", conversationId=there, content="before the fold")
        await swarm.service.engine.store.fold()
        folded = dict(await swarm.sql('SELECT _id, epoch_ms("lastMessageTime") FROM conversations'))
        assert folded == await last_times(swarm.owner)
        await swarm.owner("send_message", conversationId=late, content="after the fold")
        sent = await swarm.owner("send_message", conversationId=both, content="after the fold")
        expected = await last_times(swarm.owner)
        assert expected[silent] is None
        assert expected[both] == sent["createdAt"]
        assert expected[early] == folded[early]
        killed = await copied(swarm, tmp_path / "killed")
    async with Swarm(killed, **QUIET) as swarm:
        assert await last_times(swarm.owner) == expected
        assert (await swarm.owner("get", id=both))["lastMessageTime"] == expected[both]
        order = [row["_id"] for row in await swarm.owner.find("conversations", order="-lastMessageTime")]
        assert order[-1] == silent
        assert order[-2] == early
        await check(swarm)


async def test_derived_times_are_in_the_file_after_a_checkpoint(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        there = (await swarm.owner("create_conversation", title="C"))["_id"]
        sent = await swarm.owner("send_message", conversationId=there, content="x")
    async with Swarm(tmp_path / "data") as swarm:
        # Read before anything is folded in this run.
        assert await swarm.sql('SELECT epoch_ms("lastMessageTime") FROM conversations') == [(sent["createdAt"],)]
        deleted = await swarm.owner("delete", id=sent["_id"])
        assert deleted["outcome"] == "tombstone"
        assert await last_times(swarm.owner) == {there: sent["createdAt"]}


async def test_all_that_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data", **QUIET) as swarm:
        agent = (await swarm.owner("create_agent", name="A", description="d", kind="user_agent", tags=["t"]))["_id"]
        there = (await swarm.owner("create_conversation", title="C", participants=[agent]))["_id"]
        gone = (await swarm.owner("create_conversation", title="gone"))["_id"]
        for place in (there, gone):
            for number in range(3):
                await swarm.owner(
                    "send_message", conversationId=place, content=f"{number}", idempotencyKey=f"{place}{number}"
                )
        await swarm.owner("delete", id=gone)
        await swarm.owner("update", id=agent, fields={"tags": ["u"], "goal": "survive"})
        next_seq = swarm.service.engine.writer.next_seq
        killed = await copied(swarm, tmp_path / "killed")
        dump = await check(swarm)
    async with Swarm(killed, **QUIET) as swarm:
        assert swarm.service.engine.writer.next_seq == next_seq
        assert await check(swarm) == dump
        again = await swarm.owner("send_message", conversationId=there, content="0", idempotencyKey=f"{there}0")
        assert again["content"] == "0"
        assert len((await swarm.owner("list_messages", conversationId=there))["messages"]) == 3


DIES = """
import asyncio, os, sys
from pathlib import Path
from tests.clients import Swarm

async def main():
    swarm = Swarm(Path(sys.argv[1]))
    await swarm.__aenter__()
    there = (await swarm.owner("create_conversation", title="C"))["_id"]
    sent = []
    async def send(number):
        while True:
            row = await swarm.owner("send_message", conversationId=there, content=f"{number} {len(sent)}")
            sys.stdout.write(row["_id"] + "\\n")
            sys.stdout.flush()
            sent.append(row)
            if len(sent) >= 150:
                os._exit(9)
    await asyncio.gather(*(send(number) for number in range(8)))

asyncio.run(main())
"""


def test_a_process_that_dies_under_load_loses_nothing(tmp_path: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path / "data")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    acknowledged = died.stdout.split()
    assert died.returncode == 9, died.stderr
    assert len(acknowledged) >= 150

    async def reopen() -> None:
        async with Swarm(tmp_path / "data") as swarm:
            stored = [row["_id"] for row in await swarm.owner.find("conversationMessages", limit=200)]
            assert set(acknowledged) <= set(stored)
            await check(swarm)

    asyncio.run(reopen())
