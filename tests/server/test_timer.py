"""Reminders fire when they are due: once, in time, late ones at the start."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from server.timer import LONGEST_MS, Timer
from storage.batch import Changes
from storage.engine import Engine
from storage.fields import LATEST_MS
from storage.tables import Reminder
from storage.transaction import Transaction
from tests import processes
from tests.clients import Swarm
from tests.imports import AGENT, T0, Row, load
from tests.processes import call, client, data_directory, kill
from tests.writing import opened

START = 1_000_000_000_000
MINUTE = 60_000


class Hands:
    """A clock that is set by hand. `asked` are the lengths of the waits (None: for ever)."""

    def __init__(self) -> None:
        self.time = START
        self.asked: list[int | None] = []
        self._moved = anyio.Event()

    def now(self) -> int:
        return self.time

    async def wait(self, changed: anyio.Event, ms: int | None) -> None:
        self.asked.append(ms)
        end = None if ms is None else self.time + ms
        while not changed.is_set() and (end is None or self.time < end):
            async with anyio.create_task_group() as tasks:
                for event in (changed, self._moved):
                    tasks.start_soon(_cancel_after, event, tasks.cancel_scope)

    def move(self, ms: int) -> None:
        self.time += ms
        moved, self._moved = self._moved, anyio.Event()
        moved.set()


async def _cancel_after(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class Bench:
    """An engine and a timer whose clock is set by hand. `heard` are the ids of reminders that fired, in order."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Hands()
        self.timer = Timer(engine, self.clock)
        self.heard: list[str] = []
        engine.store.listeners.append(self._hear)

    def _hear(self, changes: Changes) -> None:
        self.heard += [after.id for before, after in changes.updated(Reminder) if after.status != before.status]

    async def remind(self, after_ms: int, **more: Any) -> Reminder:
        async def request(tx: Transaction) -> Reminder:
            given: dict[str, Any] = {"agent_id": "agent_1", "message": "m", "status": "pending"}
            given["remind_at"] = self.clock.time + after_ms
            return tx.insert(Reminder, **given | more)

        return await self.engine.writer.run(request)

    async def change(self, reminder: Reminder, **fields: Any) -> Reminder:
        async def request(tx: Transaction) -> Reminder:
            row = await tx.find_row(reminder.id, Reminder)
            assert row is not None
            return tx.update(row, **fields)

        return await self.engine.writer.run(request)

    async def stored(self, reminder: Reminder) -> Reminder:
        row = await self.engine.view().find_row(reminder.id, Reminder)
        assert row is not None
        return row

    async def rests(self, ms: int | None) -> None:
        """Until the timer waits for so long."""
        await until(lambda: bool(self.clock.asked) and self.clock.asked[-1] == ms)

    async def fires(self, *reminders: Reminder) -> None:
        await until(lambda: self.heard == [reminder.id for reminder in reminders])


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.001)


@asynccontextmanager
async def benched(directory: Path) -> AsyncIterator[Bench]:
    async with opened(directory) as (engine, failures):
        bench = Bench(engine)
        bench.timer.start()
        yield bench
        await bench.timer.stop()
    assert failures == []


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched(tmp_path) as made:
        yield made


async def test_a_reminder_fires_when_it_is_due_and_not_before(bench: Bench) -> None:
    await bench.rests(None)
    reminder = await bench.remind(MINUTE)
    await bench.rests(MINUTE)
    bench.clock.move(MINUTE - 1)
    assert (await bench.stored(reminder)).status == "pending"
    bench.clock.move(1)
    await bench.fires(reminder)
    row = await bench.stored(reminder)
    assert (row.status, row.fired_at) == ("fired", START + MINUTE)
    assert await bench.engine.store.due.fired("agent_1") == [reminder.id]
    await bench.rests(None)


async def test_the_next_one_is_the_earliest_whatever_the_order(bench: Bench) -> None:
    late, early, middle = [await bench.remind(minutes * MINUTE) for minutes in (3, 1, 2)]
    await bench.rests(MINUTE)
    for _ in range(3):
        bench.clock.move(MINUTE)
        await until(lambda: bench.clock.asked[-1] in (MINUTE, None))
        await until(lambda: len(bench.heard) == (bench.clock.time - START) // MINUTE)
    await bench.fires(early, middle, late)


async def test_changed_and_deleted_ones_are_followed(bench: Bench) -> None:
    moved, gone, sooner = [await bench.remind(minutes * MINUTE) for minutes in (1, 2, 50)]
    await bench.change(moved, remind_at=START + 30 * MINUTE)
    await bench.rests(2 * MINUTE)

    async def delete(tx: Transaction) -> Reminder:
        tx.delete(gone)
        return gone

    await bench.engine.writer.run(delete)
    await bench.rests(30 * MINUTE)
    await bench.change(sooner, remind_at=START + 5 * MINUTE)
    await bench.rests(5 * MINUTE)
    bench.clock.move(40 * MINUTE)
    await bench.fires(sooner, moved)
    await bench.rests(None)


async def test_one_that_fired_can_be_set_again(bench: Bench) -> None:
    reminder = await bench.remind(MINUTE)
    bench.clock.move(MINUTE)
    await bench.fires(reminder)
    await bench.change(reminder, remind_at=START + 3 * MINUTE, status="pending", fired_at=None)
    await bench.rests(2 * MINUTE)
    assert await bench.engine.store.due.fired("agent_1") == []
    bench.clock.move(2 * MINUTE)
    await until(lambda: bench.heard[1:] == [reminder.id, reminder.id])
    assert (await bench.stored(reminder)).fired_at == START + 3 * MINUTE


async def test_many_at_once_and_the_far_future(bench: Bench) -> None:
    many = [await bench.remind(MINUTE) for _ in range(450)]
    await bench.remind(0, remind_at=LATEST_MS)
    bench.clock.move(MINUTE)
    await until(lambda: len(bench.heard) == len(many))
    assert set(bench.heard) == {reminder.id for reminder in many}
    await bench.rests(LONGEST_MS)
    bench.clock.move(LONGEST_MS)
    await until(lambda: bench.clock.asked[-2:] == [LONGEST_MS, LONGEST_MS])
    assert len(bench.heard) == len(many)


async def test_late_ones_fire_at_the_start_and_never_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as (engine, _):
        bench = Bench(engine)  # its timer never runs: the hub was killed before they were due
        late = [await bench.remind(minutes * -MINUTE) for minutes in (2, 1)]
        read = await bench.remind(-MINUTE, status="read", fired_at=START)
        fired = await bench.remind(-MINUTE, status="fired", fired_at=START)
    async with benched(tmp_path) as again:
        await again.fires(*late)
        assert set(await again.engine.store.due.fired("agent_1")) == {fired.id, *(one.id for one in late)}
        assert (await again.stored(read)).status == "read"
    async with benched(tmp_path) as again:
        newest = await again.remind(0)
        await again.fires(newest)
        assert [(await again.stored(one)).fired_at for one in late] == [START, START]


async def test_while_nothing_can_be_written_they_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reminder = await bench.remind(MINUTE)
    monkeypatch.setattr("storage.writer.RESERVE_BYTES", 2**62)  # the disk is full
    monkeypatch.setattr("storage.writer.DISK_CHECK_SECONDS", 0)
    bench.clock.move(MINUTE)
    await bench.rests(10_000)
    assert bench.heard == []
    monkeypatch.undo()
    bench.clock.move(10_000)
    await until(lambda: bench.heard == [reminder.id])


async def test_the_service_fires_by_the_clock_of_the_machine(swarm: Swarm) -> None:
    moment = time.time_ns() // 1_000_000 + 150
    row = await swarm.owner("create_agent", name="Bot", description="d", kind="user_agent")
    reminder = await swarm.insert(Reminder, agent_id=row["_id"], message="tea", remind_at=moment, status="pending")
    fired: list[Reminder] = []
    swarm.service.engine.store.listeners.append(lambda changes: fired.extend(b for _, b in changes.updated(Reminder)))
    await until(lambda: bool(fired))
    assert fired[0].id == reminder.id
    assert moment <= (fired[0].fired_at or 0) < moment + 1_000
    (shown,) = (await swarm.owner("inbox", as_=row["_id"]))["reminders"]
    assert shown == {"_id": reminder.id, "content": "tea", "remindAt": moment}


async def test_of_imported_ones_those_fire_that_are_still_to_come(swarm: Swarm) -> None:
    coming = 4_000_000_000_000
    reminder: Row = {"table": "reminders", "agentId": AGENT["_id"], "message": "tea"}
    past, future = ({**reminder, "_id": name, "remindAt": at} for name, at in (("past", T0), ("future", coming)))
    assert (await load(swarm, AGENT, past, future)).added == 3
    await until(lambda: swarm.service.engine.store.due.next_time() == coming)
    assert "status" not in await swarm.owner("get", id="past")
    assert (await swarm.owner("get", id="future"))["status"] == "pending"
    assert (await load(swarm, AGENT, past, future)).present == 3


async def test_one_that_was_due_while_the_hub_was_down_is_delivered_once(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        moment = time.time_ns() // 1_000_000 + 400
        async with client(data) as mcp:
            reminder = await call(mcp, "create_reminder", message="tea", remindAt=moment)
            kill(data)
            processes.wait_until(lambda: time.time_ns() // 1_000_000 > moment, "the time of the reminder")
            shown = await call(mcp, "inbox")
            while not shown["reminders"]:
                shown = await call(mcp, "inbox")
            assert [one["_id"] for one in shown["reminders"]] == [reminder["_id"]]
            fired = await call(mcp, "get", id=reminder["_id"])
            kill(data)
            assert (await call(mcp, "inbox"))["reminders"] == shown["reminders"]
            assert (await call(mcp, "get", id=reminder["_id"]))["firedAt"] == fired["firedAt"]
            assert (await call(mcp, "inbox", ack=shown["ack"]))["reminders"] == []


async def test_a_timer_that_failed_stops_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as (engine, failures):
        bench = Bench(engine)

        def broken() -> int:
            raise OSError("no clock")

        monkeypatch.setattr(bench.clock, "now", broken)
        bench.timer.start()
        await until(lambda: bool(failures))
        await bench.timer.stop()
    assert failures == ["no clock"]
