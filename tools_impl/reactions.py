"""Reactions to messages, and comments on them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from storage.errors import Conflict
from storage.tables import Comment, Conversation, Message, Participant, Reaction
from storage.transaction import Transaction
from tools_impl.access import required
from tools_impl.arguments import Content, Name, RowId
from tools_impl.caller import Caller
from tools_impl.messages import author_for


async def react(
    tx: Transaction,
    me: Caller,
    message_id: RowId,
    type: Annotated[Name, Field(description="any word")] = "like",
) -> Reaction:
    """React to a message. The same twice returns the first.

    Raises:
        NotFound, Invalid: no such message.
        Forbidden: you take no part in its conversation, or are blocked.
        Conflict: the message was deleted.
    """
    message, _ = await _open_message(tx, me, message_id)
    for reaction in await tx.where(Reaction, "message_id", message.id):
        if reaction.type == type and me.id in (reaction.user_id, reaction.agent_id):
            return reaction
    user_id, agent_id = (me.id, None) if me.kind == "user" else (None, me.id)
    return tx.insert(Reaction, message_id=message.id, type=type, user_id=user_id, agent_id=agent_id)


async def comment(tx: Transaction, me: Caller, message_id: RowId, content: Content) -> Comment:
    """Comment on a message.

    Raises:
        NotFound, Invalid: no such message.
        Forbidden: you take no part in its conversation, or are blocked.
        Conflict: the message was deleted.
    """
    message, author = await _open_message(tx, me, message_id)
    return tx.insert(Comment, message_id=message.id, author_participant_id=author.id, content=content)


async def _open_message(tx: Transaction, me: Caller, message_id: str) -> tuple[Message, Participant]:
    """The message, and how the caller takes part in its conversation."""
    message = await required(tx, me, Message, message_id)
    author = await author_for(tx, me, await required(tx, me, Conversation, message.conversation_id))
    if message.status == "deleted":
        raise Conflict(f"'{message.id}' was deleted.")
    return message, author
