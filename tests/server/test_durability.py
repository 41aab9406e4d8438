"""Nothing acknowledged is lost and nothing happens twice, whatever becomes of the hub."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import anyio
import pytest
from mcp import Client

from tests.processes import call, client, hub, kill, messages, wait_until

pytestmark = pytest.mark.anyio
PROCESSES = 8
SENDS = 50
CLIENTS = 4
ROUNDS = 30


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def _conversation(data: Path) -> str:
    async with client(data) as mcp:
        identifier: str = (await call(mcp, "create_conversation", title="Launch plan"))["_id"]
        return identifier


async def _stored(data: Path, conversation: str) -> dict[str, str]:
    """What a client that comes later reads: the content of each message by its id."""
    async with client(data, mode="legacy") as mcp:
        rows = await messages(mcp, conversation)
    assert len({row["_id"] for row in rows}) == len(rows)
    return {row["_id"]: row["content"] for row in rows}


async def _load(acknowledged: dict[str, str], more: int) -> None:
    """Return when so many more are acknowledged: the hub is under load."""
    target = len(acknowledged) + more
    await anyio.to_thread.run_sync(wait_until, lambda: len(acknowledged) >= target, "load")


async def test_eight_processes_send_fifty_messages_each_at_once(data: Path) -> None:
    conversation = await _conversation(data)
    acknowledged: dict[str, str] = {}

    async def send(mcp: Client, text: str) -> None:
        row = await call(mcp, "send_message", conversationId=conversation, content=text)
        acknowledged[row["_id"]] = text

    async def one(number: int) -> None:
        async with client(data, mode="legacy" if number % 2 else "auto") as mcp, anyio.create_task_group() as calls:
            for count in range(SENDS):
                calls.start_soon(send, mcp, f"process {number}, message {count}")

    async with anyio.create_task_group() as processes:
        for number in range(PROCESSES):
            processes.start_soon(one, number)
    assert len(acknowledged) == PROCESSES * SENDS
    assert len(set(acknowledged.values())) == PROCESSES * SENDS
    assert await _stored(data, conversation) == acknowledged


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_thirty_times_killed_under_load(data: Path) -> None:
    """Four clients without idempotency keys send all the time; none is restarted and none sees an error."""
    conversation = await _conversation(data)
    acknowledged: dict[str, str] = {}
    killed: list[int] = []
    done = anyio.Event()

    async def send_all(mcp: Client, number: int, lane: int) -> None:
        count = 0
        while not done.is_set():
            text = f"client {number}, lane {lane}, message {count}"
            row = await call(mcp, "send_message", conversationId=conversation, content=text)
            acknowledged[row["_id"]] = text
            count += 1

    async def one(number: int) -> None:
        async with client(data, mode="legacy" if number % 2 else "auto") as mcp, anyio.create_task_group() as lanes:
            for lane in range(4):
                lanes.start_soon(send_all, mcp, number, lane)

    async def kill_often() -> None:
        chance = random.Random(30)
        for _ in range(ROUNDS):
            await _load(acknowledged, 20)
            await anyio.sleep(chance.uniform(0, 0.2))
            killed.append(await anyio.to_thread.run_sync(kill, data))
        done.set()

    began = time.monotonic()
    async with anyio.create_task_group() as group:
        group.start_soon(kill_often)
        for number in range(CLIENTS):
            group.start_soon(one, number)
    stored = await _stored(data, conversation)
    print(f"{len(acknowledged)} messages, {ROUNDS} kills, {time.monotonic() - began:.0f} s")
    assert len(set(killed)) == ROUNDS
    assert hub(data).pid not in killed
    assert [text for text, times in Counter(stored.values()).items() if times > 1] == []
    assert stored == acknowledged


@pytest.mark.slow
async def test_stopped_under_load_it_loses_nothing(data: Path) -> None:
    """The same for ends in good order, where calls in progress are finished first."""
    conversation = await _conversation(data)
    acknowledged: dict[str, str] = {}
    done = anyio.Event()

    async def send_all(mcp: Client, number: int) -> None:
        count = 0
        while not done.is_set():
            text = f"client {number}, message {count}"
            row = await call(mcp, "send_message", conversationId=conversation, content=text)
            acknowledged[row["_id"]] = text
            count += 1

    async def one(number: int) -> None:
        async with client(data) as mcp:
            await send_all(mcp, number)

    async with anyio.create_task_group() as group:
        for number in range(CLIENTS):
            group.start_soon(one, number)
        for _ in range(5):
            await _load(acknowledged, 50)
            stopped = await anyio.to_thread.run_sync(kill, data, signal.SIGTERM)
            assert hub(data).pid != stopped
        done.set()
    assert await _stored(data, conversation) == acknowledged
