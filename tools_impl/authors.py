"""Who wrote: participants as people know them."""

from __future__ import annotations

from typing import Any

from storage.tables import Agent, Participant, User
from storage.view import View


async def member_name(view: View, participant: Participant) -> str:
    """The name of the user or agent that takes part; empty when there is none any more."""
    table: type[User | Agent] = User if participant.kind == "user" else Agent
    member = await view.find_row(participant.member_id, table)
    return member.name if member is not None else ""


async def author_of(view: View, participant_id: str) -> dict[str, Any] | None:
    """Who a participant is: id and name of the user or agent; None when there is none any more."""
    participant = await view.find_row(participant_id, Participant)
    if participant is None:
        return None
    return {"_id": participant.member_id, "name": await member_name(view, participant)}


async def authors_of(view: View, conversation_id: str, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Who the given participants of a conversation are: id and name of the user or agent."""
    participants = await view.where(Participant, "conversation_id", conversation_id)
    authors = [participant for participant in participants if participant.id in wanted]
    await view.store.rows([author.member_id for author in authors], keep=True)  # one query for all
    return {author.id: {"_id": author.member_id, "name": await member_name(view, author)} for author in authors}
