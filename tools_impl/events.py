"""Meetings and calls, and whom they conflict with."""

from __future__ import annotations

from typing import Any

from storage.errors import Invalid
from storage.find import find
from storage.predicate import Both, Contains, Either, Is
from storage.row import Result
from storage.tables import Event
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import visible
from tools_impl.arguments import Members, Name, Tags, Text, Time
from tools_impl.caller import Caller
from tools_impl.related import Detailed
from tools_impl.shared import ensure_tags, member_of

CONFLICTS = 5


async def create_event(
    tx: Transaction,
    me: Caller,
    title: Name,
    start_time: Time,
    end_time: Time,
    description: Text | None = None,
    participants: Members | None = None,
    tags: Tags | None = None,
) -> Event:
    """Plan a meeting. `conflicts` in the result: what its people have at that time.

    Raises:
        Invalid: it ends before it starts.
        NotFound, Invalid, Conflict: a participant is not a user or agent that can take part.
    """
    check_span(start_time, end_time)
    return tx.insert(
        Event,
        title=title,
        description=description,
        start_time=start_time,
        end_time=end_time,
        created_by=me.id,
        participants=await invited(tx, me, participants),
        tags=await ensure_tags(tx, me, tags),
    )


def check_span(start_time: int, end_time: int) -> None:
    """Check that an event does not end before it starts (epoch ms).

    Raises:
        Invalid: it does.
    """
    if end_time < start_time:
        raise Invalid("endTime is before startTime.")


async def invited(view: View, me: Caller, members: list[str] | None) -> list[str] | None:
    """The users and agents of an event without repetitions.

    Raises:
        NotFound, Invalid, Conflict: one of them cannot take part.
    """
    if members is None:
        return None
    return [(await member_of(view, me, member)).id for member in dict.fromkeys(members)]


async def with_conflicts(view: View, me: Caller, event: Result) -> Result:
    """The event, with others of its creator and participants at the same time that the caller may see."""
    assert isinstance(event, Event)
    people = {event.created_by, *(event.participants or ())}
    theirs = tuple(
        condition
        for member in people
        for condition in (Is(Event, "created_by", member), Contains(Event, "participants", member))
    )
    others, _ = await find(
        view.store,
        Event,
        Both((visible(me, Event), Either(theirs))),
        where={"_id": {"ne": event.id}, "startTime": {"lt": event.end_time}, "endTime": {"gt": event.start_time}},
        order="startTime",
        limit=CONFLICTS,
    )
    return Detailed(row=event, more={"conflicts": [_conflict(one, people) for one in others]}) if others else event


def _conflict(other: Event, people: set[str]) -> dict[str, Any]:
    who = [member for member in dict.fromkeys((other.created_by, *(other.participants or ()))) if member in people]
    return {"_id": other.id, "title": other.title, "startTime": other.start_time, "who": who}
