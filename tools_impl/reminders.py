"""Reminders."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from storage.errors import Forbidden
from storage.tables import Reminder, User
from storage.transaction import Transaction
from tools_impl.access import answers_for, required_anywhere
from tools_impl.arguments import MemberId, RowId, Text, Time
from tools_impl.caller import Caller
from tools_impl.shared import member_of


async def create_reminder(
    tx: Transaction,
    me: Caller,
    message: Text,
    remind_at: Time,
    related_entity: Annotated[RowId | None, Field(description="id of any row it is about")] = None,
    for_id: Annotated[MemberId | None, Field(description="an agent of yours; you by default")] = None,
) -> Reminder:
    """Have yourself or an agent of yours reminded at a time.

    Raises:
        NotFound: no such related row, or no such agent.
        Forbidden: it is for somebody else.
    """
    member = await member_of(tx, me, for_id or me.id)
    if not answers_for(me, member):
        raise Forbidden(f"Reminders are for yourself or an agent of yours; '{member.id}' is neither.")
    if related_entity is not None:
        await required_anywhere(tx, me, related_entity)
    return tx.insert(
        Reminder,
        user_id=member.id if isinstance(member, User) else None,
        agent_id=None if isinstance(member, User) else member.id,
        message=message,
        remind_at=remind_at,
        related_entity=related_entity,
        status="pending",
    )
