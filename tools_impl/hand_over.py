"""A lead hands work to an agent of its team."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from storage.errors import Conflict, Forbidden
from storage.tables import Agent, Conversation, Message, Participant, User
from storage.transaction import Transaction
from tools_impl.access import required, visible
from tools_impl.arguments import NAME_CHARS, ConversationId, RowId, Text
from tools_impl.caller import Caller
from tools_impl.conversations import create_conversation
from tools_impl.messages import send_message
from tools_impl.shared import participant_for
from tools_impl.transcripts import quoted

LOOKED_AT = 20
"""So many of the conversations that both take part in are looked at for one that is theirs alone."""
_UNSAFE = str.maketrans(dict.fromkeys("[]\\`\r\n", " "))


async def hand_over(
    tx: Transaction,
    me: Caller,
    to: RowId,
    task: Text,
    conversation_id: Annotated[ConversationId | None, Field(description="by default one of you two")] = None,
    context: Text | None = None,
) -> Message:
    """Hand a task to an agent of your team (`delegatesTo`): posts it where you both take part, and notifies.

    Raises:
        NotFound: no such agent or conversation.
        Forbidden: the agent is not of the caller's team.
        Conflict: the agent is deactivated, or blocked in that conversation.
    """
    delegate = await required(tx, me, Agent, to)
    if delegate.deactivated_at is not None:
        raise Conflict(f"'{to}' ({delegate.name}) is deactivated.")
    await _check_team(tx, me, delegate)
    conversation = await _place(tx, me, delegate, conversation_id)
    present = await participant_for(tx, conversation.id, delegate.id)
    if present is not None and present.status != "active":
        raise Conflict(
            f"'{to}' would not hear of it: its status in '{conversation.id}' is '{present.status}'. "
            "Leave conversationId out for a place of you two."
        )
    name = " ".join(delegate.name.translate(_UNSAFE).split())[:NAME_CHARS] or delegate.id
    parts = [f"@[{name}](agent:{delegate.id}) please take over:", quoted(task)]
    if context is not None:
        parts += ["Context:", quoted(context)]
    return await send_message(tx, me, conversation.id, "\n\n".join(parts), type="hand_over")


async def _check_team(tx: Transaction, me: Caller, delegate: Agent) -> None:
    if me.kind == "user":
        if me.admin or delegate.created_by == me.id:
            return
        raise Forbidden(f"'{delegate.id}' is not an agent of yours. Act as one that leads it: as=...")
    lead = await tx.find_row(me.id, Agent)
    team = (lead.delegates_to if lead is not None else None) or []
    if delegate.id in team:
        return
    named = [await _shown(tx, me, one) for one in team]
    shown = ", ".join(one for one in named if one) or "nobody"
    raise Forbidden(f"'{delegate.id}' is not in the team of '{me.id}'. Its team (delegatesTo): {shown}.")


async def _shown(tx: Transaction, me: Caller, agent_id: str) -> str:
    agent = await tx.find_row(agent_id, Agent)
    if agent is None or not await visible(me, Agent).holds(agent, tx):
        return ""
    return f"{agent.id} ({agent.name})"


async def _place(tx: Transaction, me: Caller, delegate: Agent, conversation_id: str | None) -> Conversation:
    """The conversation that is named, or the newest one of just these two, or a new one."""
    if conversation_id is not None:
        return await required(tx, me, Conversation, conversation_id)
    theirs = {p.conversation_id for p in await tx.where(Participant, "agent_id", delegate.id) if not p.is_removed}
    mine = await tx.where(Participant, "user_id" if me.kind == "user" else "agent_id", me.id)
    both = [p.conversation_id for p in mine if not p.is_removed and p.conversation_id in theirs][-LOOKED_AT:]
    await tx.bring_participants(both)
    for one in reversed(both):
        if _just(await tx.where(Participant, "conversation_id", one), {me.id, delegate.id}):
            return await required(tx, me, Conversation, one)
    own = await tx.find_row(me.id, User if me.kind == "user" else Agent)
    title = f"{own.name if isinstance(own, User | Agent) else me.id} and {delegate.name}"[:NAME_CHARS]
    return await create_conversation(tx, me, title, participants=[delegate.id])


def _just(participants: Sequence[Participant], members: set[str]) -> bool:
    """Whether these take part and nobody else does."""
    present = [p for p in participants if not p.is_removed]
    return {p.member_id for p in present} == members and all(p.status == "active" for p in present)
