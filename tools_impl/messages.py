"""Messages: posting and reading."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from pydantic import Field

from storage.errors import Forbidden, Invalid
from storage.fields import Step
from storage.tables import Agent, Conversation, Message, Participant
from storage.tails import Lines
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import required
from tools_impl.arguments import (
    PAGE_DEFAULT,
    Content,
    ConversationId,
    Cursor,
    Limit,
    Meta,
    Name,
    ParticipantId,
    Tags,
    Vector,
)
from tools_impl.authors import authors_of
from tools_impl.caller import Caller
from tools_impl.mentions import add_mentioned
from tools_impl.message_page import MessagePage, Page
from tools_impl.shared import check_vector, ensure_tags


async def send_message(
    tx: Transaction,
    me: Caller,
    conversation_id: ConversationId,
    content: Content,
    author_participant_id: Annotated[ParticipantId | None, Field(description="yours by default")] = None,
    step: Step | None = None,
    kind: Annotated[Literal["participant", "system"], Field(description="system: admins only")] = "participant",
    type: Annotated[Name | None, Field(description="your own classification")] = None,
    tags: Tags | None = None,
    attachments: Annotated[list[Any] | None, Field(max_length=100)] = None,
    vector: Vector | None = None,
    meta: Meta = None,
) -> Message:
    """Post a message to a conversation, as yourself or as an agent you own. `@[Name](agent:ID)` mentions: it notifies.

    Raises:
        NotFound: no such conversation.
        Forbidden: the author is somebody else, was removed, or is blocked; or `kind` is system.
    """
    conversation = await required(tx, me, Conversation, conversation_id)
    author = await author_for(tx, me, conversation, author_participant_id)
    if kind == "system" and not me.admin:
        raise Forbidden("Messages of kind 'system' come from the hub and from admins.")
    check_vector(tx, vector)
    await add_mentioned(tx, me, conversation, author, content)
    return tx.insert(
        Message,
        conversation_id=conversation.id,
        author_participant_id=author.id,
        kind=kind,
        type=type,
        step=step,
        status="sent",
        tags=await ensure_tags(tx, me, tags),
        content=content,
        attachments=attachments,
        vector=vector,
        meta=meta,
    )


async def author_for(tx: Transaction, me: Caller, conversation: Conversation, named: str | None = None) -> Participant:
    """The participant who writes: the caller's, or that of an agent the caller may speak for."""
    participants = await tx.where(Participant, "conversation_id", conversation.id)
    if named is None:
        author = next((p for p in participants if p.member_id == me.id), None)
        if author is None:
            raise Forbidden(
                f"You take no part in '{conversation.id}'. Join with add_participant, or say with `as` which agent of "
                "yours does.",
            )
    else:
        author = next((p for p in participants if p.id == named), None)
        if author is None:
            await required(tx, me, Participant, named)
            raise Invalid(f"'{named}' is a participant of another conversation.")
        if author.member_id != me.id and not await _speaks_for(tx, me, author):
            raise Forbidden(f"'{named}' is somebody else. Leave authorParticipantId out to write as yourself.")
    if author.is_removed:
        raise Forbidden(f"'{author.id}' was removed from '{conversation.id}'. add_participant brings it back.")
    if author.status != "active":
        raise Forbidden(f"'{author.id}' cannot write in '{conversation.id}': its status is '{author.status}'.")
    return author


async def _speaks_for(tx: Transaction, me: Caller, author: Participant) -> bool:
    if author.agent_id is None:
        return False
    agent = await tx.find_row(author.agent_id, Agent)
    if agent is None or not (me.admin or (me.kind == "user" and agent.created_by == me.id)):
        return False
    if agent.deactivated_at is not None:
        raise Forbidden(f"'{agent.id}' is deactivated.")
    return True


async def list_messages(
    view: View,
    me: Caller,
    conversation_id: ConversationId,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor | None = None,
    format: Annotated[Literal["concise", "detailed"], Field(description="of the text: lines, or JSON")] = "concise",
) -> MessagePage:
    """Read a conversation: the newest page first, each page oldest to newest; nextCursor goes back in time.

    Raises:
        NotFound: no such conversation.
        Invalid: the cursor is not one of ours.
    """
    before = None if cursor is None else _position(cursor)
    allowed = required(view, me, Conversation, conversation_id)
    if view.store.remembered(conversation_id) is not None:
        conversation = await allowed
        messages, more = await _page(view, conversation_id, before, limit)
    else:  # the file is read while it is looked up whether the caller may see what it says
        conversation, (messages, more) = await asyncio.gather(allowed, _page(view, conversation_id, before, limit))
    page = Page(
        conversation={"_id": conversation.id, "title": conversation.title},
        authors=await authors_of(view, conversation.id, set(messages.authors)),
        messages=messages,
        next_cursor=str(messages.seqs[0]) if more and messages else None,
        concise=format == "concise",
    )
    pages = view.store.pages
    place = (conversation.id, before, limit, page.concise)
    last = pages.rendered.get(place)
    rendered = page.rendered(last)
    if rendered is not last:
        pages.rendered.put(place, rendered)
    return MessagePage.model_construct(json_text=rendered.structured, words=rendered.text)


async def _page(view: View, conversation_id: str, before: int | None, limit: int) -> tuple[Lines, bool]:
    page = view.store.pages.before(conversation_id, before, limit)
    if conversation_id in view.store.pages:
        return await page
    # The file is read for its authors meanwhile.
    return (await asyncio.gather(page, view.where(Participant, "conversation_id", conversation_id)))[0]


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid("That cursor is not one of ours; pass nextCursor as it came.")
    return int(cursor)
