"""A caller's events as iCalendar (RFC 5545)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import icalendar

from storage.find import find
from storage.tables import Agent, Event, User
from storage.view import View
from tools_impl.access import visible
from tools_impl.caller import Caller

MOST = 1_000
"""So many events, those that start last: a client reads the whole calendar each time."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""RFC 5545 has no place for control characters but tab and line feed."""
_START = datetime(1970, 1, 1, tzinfo=UTC)


async def calendar(view: View, me: Caller, _: str = "") -> str:
    """The events that the caller sees, as the text of a calendar."""
    rows, _more = await find(view.store, Event, visible(me, Event), order="-startTime", limit=MOST)
    found = icalendar.Calendar()
    found.add("prodid", "-//one-mcp//one-mcp//EN")
    found.add("version", "2.0")
    found.add("x-wr-calname", "ONE")
    for row in rows:
        found.add_component(await _event(view, me, row))
    text: bytes = found.to_ical()
    return text.decode()


async def _event(view: View, me: Caller, row: Event) -> icalendar.Event:
    event = icalendar.Event()
    event.add("uid", f"{_text(row.id)}@one-mcp")
    event.add("dtstamp", _time(row.created_at))
    event.add("dtstart", _time(row.start_time))
    event.add("dtend", _time(row.end_time))
    event.add("summary", _text(row.title))
    if row.description:
        event.add("description", _text(row.description))
    organizer = await _address(view, me, row.created_by)
    if organizer is not None:
        event.add("organizer", organizer)
    for member in row.participants or ():
        attendee = await _address(view, me, member)
        if attendee is not None:
            event.add("attendee", attendee)
    if row.tags:
        event.add("categories", [_text(tag) for tag in row.tags])
    return event


async def _address(view: View, me: Caller, member_id: str) -> icalendar.vCalAddress | None:
    """Who that is, by name and by URI; nothing of whom the caller may not see. Emails are private."""
    user = await view.find_row(member_id, User)
    agent = await view.find_row(member_id, Agent) if user is None else None
    if agent is not None and not await visible(me, Agent).holds(agent, view):
        return None
    member = user or agent
    if member is None:
        return None
    address = icalendar.vCalAddress(f"one://{member.table}/{quote(member.id, safe='')}")
    address.params["CN"] = " ".join(_text(member.name).split())
    return address


def _text(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)


def _time(ms: int) -> datetime:
    """UTC to the second, which is all that iCalendar has."""
    return (_START + timedelta(milliseconds=ms)).replace(microsecond=0)
