"""Events as a calendar that other programs read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import icalendar
from hypothesis import given
from hypothesis import strategies as st

from storage.tables import Event, User
from storage.transaction import Transaction
from tests.clients import Swarm, Tools
from tools_impl.calendar import MOST

START, END = "2026-03-29T02:30:00+01:00", "2026-03-29T04:00:00+02:00"


async def events(tools: Tools) -> list[Any]:
    """What a calendar program makes of it."""
    calendar = icalendar.Calendar.from_ical(await tools.read("one://calendar.ics"))
    assert calendar.errors == []
    return calendar.walk("VEVENT")


async def test_an_event_says_all_that_is_known(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    ada, _ = await swarm.user("Ada")
    agent = (await tools("create_agent", name='Lead "x";', description="d", kind="user_agent"))["_id"]
    made = await tools(
        "create_event",
        title="Launch, at last; now\nor never",
        startTime=START,
        endTime=END,
        description="Bring\ncake",
        participants=[ada, agent],
        tags=["launch", "a,b"],
    )
    (content,) = (await tools.client.read_resource("one://calendar.ics")).contents
    assert content.mime_type == "text/calendar"
    (event,) = await events(tools)
    assert event["uid"] == f"{made['_id']}@one-mcp"
    assert event["summary"] == "Launch, at last; now\nor never"
    assert event["description"] == "Bring\ncake"
    assert event.decoded("dtstart") == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert event.decoded("dtend") == datetime(2026, 3, 29, 2, 0, tzinfo=UTC)
    assert [(str(one), one.params["CN"]) for one in event["attendee"]] == [
        (f"one://users/{ada}", "Ada"),
        (f"one://agents/{agent}", 'Lead "x";'),
    ]
    assert event["organizer"] == f"one://users/{swarm.service.owner.id}"
    assert "example.org" not in await tools.read("one://calendar.ics")


async def test_without_events_it_is_an_empty_calendar(swarm: Swarm, era: str) -> None:
    assert await events(await swarm.connect(era=era)) == []


async def test_a_calendar_is_the_callers_own(swarm: Swarm, era: str) -> None:
    _, ada = await swarm.user("Ada")
    eve_id, _ = await swarm.user("Eve")
    eve = await swarm.connect(eve_id, era=era)
    hidden = (await ada("create_agent", name="Mole", description="d", kind="user_agent", visibility="private"))["_id"]
    await ada("create_event", title="Secret", startTime=START, endTime=END, participants=[hidden])
    shared = await ada("create_event", title="Open", startTime=START, endTime=END, participants=[hidden, eve_id])
    assert {str(event["summary"]) for event in await events(ada)} == {"Secret", "Open"}
    (event,) = await events(eve)
    assert event["uid"] == f"{shared['_id']}@one-mcp"
    assert "Mole" not in await eve.read("one://calendar.ics")


async def test_of_many_events_those_that_start_last(swarm: Swarm, owner: Tools) -> None:
    async def fill(tx: Transaction) -> User:
        for number in range(MOST + 5):
            tx.insert(Event, title=str(number), start_time=number * 1000, end_time=number * 1000, created_by="user_1")
        return tx.insert(User, name="u", email="u@example.org")

    await swarm.service.engine.writer.run(fill)
    found = await events(owner)
    assert len(found) == MOST
    assert "4" not in {str(event["summary"]) for event in found}


async def test_no_text_breaks_out_of_its_place(shared: Swarm) -> None:
    texts: list[tuple[str, list[str]]] = [
        ("\r\nBEGIN:VEVENT\r\nUID:x\r\nEND:VEVENT", ["\nEND:VCALENDAR"]),
        ("\x00\x1b", ["\x85"]),
    ]

    @given(st.text(min_size=1, max_size=80), st.lists(st.text(min_size=1, max_size=20), max_size=3))
    def check(text: str, tags: list[str]) -> None:
        texts.append((text, tags))

    check()
    valid = [(text, tags) for text, tags in texts if _storable(text, *tags)]

    async def fill(tx: Transaction) -> User:
        for text, tags in valid:
            tx.insert(Event, title=text, description=text, start_time=0, end_time=0, created_by="user_1", tags=tags)
        return tx.insert(User, name="u", email="u@example.org")

    await shared.service.engine.writer.run(fill)
    assert len(await events(shared.owner)) == len(valid)


def _storable(*texts: str) -> bool:
    return all(character < "\ud800" or character > "\udfff" for text in texts for character in text)
