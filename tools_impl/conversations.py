"""Conversations and who takes part."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from storage.errors import Forbidden, Invalid
from storage.tables import Conversation, Participant, User
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import required
from tools_impl.arguments import ConversationId, Members, Name, RowId, Tags
from tools_impl.caller import Caller
from tools_impl.shared import ensure_tags, join, member_of, participant_for


async def create_conversation(
    tx: Transaction,
    me: Caller,
    title: Name,
    participants: Annotated[Members | None, Field(description="ids of users and agents; you join anyway")] = None,
    tags: Tags | None = None,
    group_id: Annotated[Name | None, Field(description="any name that groups conversations")] = None,
) -> Conversation:
    """Start a conversation. You and the given users and agents take part in it.

    Raises:
        NotFound, Invalid, Conflict: a participant is not a user or agent that can take part.
        Forbidden: an agent without a creator has nobody to create it for.
    """
    if me.user_id is None:
        raise Forbidden("This agent has no creator, so it cannot own a conversation. Let a user start it.")
    conversation = tx.insert(
        Conversation,
        title=title,
        created_by=me.user_id,
        tags=await ensure_tags(tx, me, tags),
        group_id=group_id,
    )
    for member_id in dict.fromkeys([me.id, *(participants or ())]):
        join(tx, conversation, await member_of(tx, me, member_id))
    return conversation


async def add_participant(
    tx: Transaction,
    me: Caller,
    conversation_id: ConversationId,
    kind: Literal["user", "agent"],
    user_id: Annotated[RowId | None, Field(description="with kind user")] = None,
    agent_id: Annotated[RowId | None, Field(description="with kind agent")] = None,
) -> Participant:
    """Add a user or an agent to a conversation. Adding one twice returns the first; a removed one comes back.

    Raises:
        Invalid: not exactly the id that `kind` asks for.
        Forbidden: the caller takes no part in the conversation.
    """
    conversation = await required(tx, me, Conversation, conversation_id)
    member = await member_of(tx, me, _member_id(kind, user_id, agent_id))
    if isinstance(member, User) != (kind == "user"):
        raise Invalid(f"'{member.id}' is {'a user' if isinstance(member, User) else 'an agent'}, kind says {kind}.")
    present = await participant_for(tx, conversation.id, member.id)
    if present is None:
        await _may_add(tx, me, conversation)
        return join(tx, conversation, member)
    if not present.is_removed:
        return present
    await _may_add(tx, me, conversation)
    # Who was blocked stays so: others must not undo it by having them leave and come back.
    return tx.update(present, is_removed=False)


def _member_id(kind: str, user_id: str | None, agent_id: str | None) -> str:
    wanted, other = (user_id, agent_id) if kind == "user" else (agent_id, user_id)
    if wanted is None or other is not None:
        raise Invalid(f"With kind '{kind}' give {kind}Id and no other id.")
    return wanted


async def _may_add(tx: Transaction, me: Caller, conversation: Conversation) -> None:
    if not await may_shape(tx, me, conversation):
        raise Forbidden(f"Only active participants of '{conversation.id}' add others.")


async def may_shape(view: View, me: Caller, conversation: Conversation) -> bool:
    """Whether the caller may change what a conversation is made of: an active participant, or its creator."""
    if me.admin or conversation.created_by == me.user_id:
        return True
    mine = await participant_for(view, conversation.id, me.id)
    return mine is not None and not mine.is_removed and mine.status == "active"
