"""Times without an offset are of the configured zone, in every argument of every tool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.fields import EARLIEST_MS, LATEST_MS, time_of
from tests.clients import Swarm, Tools, said

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.fixture(scope="module")
async def berlin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    async with Swarm(tmp_path_factory.mktemp("berlin") / "data", time={"zone": "Europe/Berlin"}) as opened:
        yield opened


@pytest.fixture
def tools(berlin: Swarm) -> Tools:
    return berlin.owner


SKIPPED = "2026-03-29T02:30"
READINGS = [
    ("2026-01-15T12:00", "2026-01-15T11:00:00+00:00"),
    ("2026-07-15T12:00:00.250", "2026-07-15T10:00:00.250+00:00"),
    ("2026-07-15 12:00", "2026-07-15T10:00:00+00:00"),
    (" 2026-07-15 ", "2026-07-14T22:00:00+00:00"),
    ("2026-01-15", "2026-01-14T23:00:00+00:00"),
    ("2026-07-15T12:00Z", "2026-07-15T12:00:00+00:00"),
    ("2026-07-15T12:00-04:00", "2026-07-15T16:00:00+00:00"),
    # In spring the clock goes from 2 to 3, in autumn from 3 back to 2: then the first half past two is meant.
    ("2026-03-29T01:59:59", "2026-03-29T00:59:59+00:00"),
    ("2026-03-29T03:00", "2026-03-29T01:00:00+00:00"),
    ("2026-10-25T02:30", "2026-10-25T00:30:00+00:00"),
    ("2026-10-25T03:00", "2026-10-25T02:00:00+00:00"),
    ("2026-03-29T02:30+01:00", "2026-03-29T01:30:00+00:00"),
    ("2026-10-25T02:30+01:00", "2026-10-25T01:30:00+00:00"),
]


@pytest.mark.parametrize(("given", "meant"), READINGS)
async def test_every_argument_reads_times_alike(berlin: Swarm, tools: Tools, given: str, meant: str) -> None:
    wanted = ms(meant)
    row = await tools("create_reminder", message="m", remindAt=given)
    assert row["remindAt"] == wanted
    other = await tools("create_reminder", message="m", remindAt=wanted)
    changed = await tools("update", id=other["_id"], fields={"remindAt": given})
    assert changed["remindAt"] == wanted
    result = await tools.raw("create_event", title="E", startTime=given, endTime=given)
    assert (
        f'"startTime":"{datetime.fromtimestamp(wanted / 1000, UTC).isoformat(timespec="milliseconds")[:-6]}Z"'
        in said(result)
    )
    for where in ({"eq": given}, given, {"gte": given, "lte": given}, {"in": [given]}):
        found = await tools.find("reminders", where={"_id": {"in": [row["_id"], other["_id"]]}, "remindAt": where})
        assert len(found) == 2


async def test_search_reads_times_alike(berlin: Swarm, tools: Tools) -> None:
    place = (await tools("create_conversation", title="C"))["_id"]
    sent = await tools("send_message", conversationId=place, content="walrus")
    local = datetime.fromtimestamp(sent["createdAt"] / 1000, BERLIN).replace(tzinfo=None).isoformat()
    for arguments, count in (({"after": local}, 1), ({"before": local}, 0)):
        assert len((await tools("search", query="walrus", **arguments))["results"]) == count


def times(value: Any) -> list[tuple[str, dict[str, Any]]]:
    """A call for every argument that is a time."""
    return [
        ("create_reminder", {"message": "m", "remindAt": value}),
        ("create_event", {"title": "E", "startTime": value, "endTime": 0}),
        ("create_event", {"title": "E", "startTime": 0, "endTime": value}),
        ("search", {"query": "x", "after": value}),
        ("search", {"query": "x", "before": value}),
        ("find", {"table": "events", "where": {"startTime": {"lt": value}}}),
        ("find", {"table": "events", "where": {"createdAt": {"in": [value]}}}),
    ]


async def test_what_the_clock_skips_is_refused(berlin: Swarm, tools: Tools) -> None:
    row = (await tools("create_reminder", message="m", remindAt=0))["_id"]
    for tool, arguments in [*times(SKIPPED), ("update", {"id": row, "fields": {"remindAt": SKIPPED}})]:
        error = await tools.refused(tool, **arguments)
        assert error.code == "invalid"
        assert (
            f"{SKIPPED} does not exist in Europe/Berlin, the clock skips it; say another time or add an" in error.text
        )


@pytest.mark.parametrize("value", ["soon", "", "25:00", "2026-02-30", "1700000000", True, [], {"x": 1}])
async def test_what_is_no_time_is_refused(tools: Tools, value: Any) -> None:
    row = (await tools("create_reminder", message="m", remindAt=0))["_id"]
    for tool, arguments in [*times(value), ("update", {"id": row, "fields": {"remindAt": value}})]:
        error = await tools.refused(tool, **arguments)
        assert error.code == "invalid"
        assert "a time is ISO 8601 or epoch milliseconds" in error.text


async def test_a_number_may_come_as_a_text(tools: Tools) -> None:
    row = await tools("create_reminder", message="m", remindAt="1700000000000")
    assert row["remindAt"] == 1_700_000_000_000


def test_a_day_starts_later_where_midnight_is_skipped() -> None:
    """In Havana the clock goes from midnight to one."""
    assert time_of("2026-03-08", ZoneInfo("America/Havana")) == ms("2026-03-08T05:00:00+00:00")
    with pytest.raises(ValueError, match="does not exist in America/Havana"):
        time_of("2026-03-08T00:30", ZoneInfo("America/Havana"))


@pytest.fixture
def machine_in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("machine_in_berlin")
async def test_without_a_setting_it_is_the_zone_of_the_machine(tmp_path: Path) -> None:
    for local, meant in READINGS:
        assert time_of(local, None) == ms(meant)
    with pytest.raises(ValueError, match="does not exist here, the clock skips it"):
        time_of(SKIPPED, None)
    async with Swarm(tmp_path / "data") as swarm:
        row = await swarm.owner("create_reminder", message="m", remindAt="2026-07-15T12:00")
        assert row["remindAt"] == ms("2026-07-15T10:00:00+00:00")


@given(
    st.integers(EARLIEST_MS + 86_400_000, LATEST_MS - 86_400_000), st.sampled_from([BERLIN, ZoneInfo("America/Havana")])
)
def test_what_a_clock_shows_is_read_back(moment: int, zone: ZoneInfo) -> None:
    shown = datetime.fromtimestamp(moment // 1000, zone)
    read = time_of(shown.replace(tzinfo=None).isoformat(), zone)
    assert read == moment // 1000 * 1000 - (3_600_000 if shown.fold else 0)
    assert time_of(shown.isoformat(), None) == moment // 1000 * 1000


@given(st.text(max_size=30) | st.floats() | st.none() | st.integers())
def test_anything_is_a_time_or_a_value_error(value: Any) -> None:
    try:
        read = time_of(value, BERLIN)
    except ValueError:
        return
    assert EARLIEST_MS <= read <= LATEST_MS
