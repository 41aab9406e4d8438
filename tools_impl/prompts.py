"""Prompts: reusable templates, and the agents and groups that they are attached to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from storage.errors import Forbidden, Invalid, NotFound
from storage.fields import Step
from storage.store import table_of
from storage.tables import Attachment, Conversation, Prompt
from storage.transaction import Transaction
from tools_impl.access import required, required_own_agent, visible
from tools_impl.arguments import LIST_ITEMS, Content, Name, RowId, Tags, Text
from tools_impl.caller import Caller
from tools_impl.conversations import may_shape
from tools_impl.shared import ensure_tags, longer


async def create_prompt(
    tx: Transaction,
    me: Caller,
    title: Name,
    template: Annotated[Content, Field(description="with {{name}} placeholders")],
    step: Step,
    description: Text | None = None,
    required_context: Annotated[list[Name] | None, Field(max_length=LIST_ITEMS, description="required names")] = None,
    output_type: Name | None = None,
    tags: Tags | None = None,
    status: Annotated[Name | None, Field(description="active by default")] = None,
) -> Prompt:
    """Store a prompt template, for everybody."""
    return tx.insert(
        Prompt,
        title=title,
        template=template,
        step=step,
        description=description,
        required_context=None if required_context is None else list(dict.fromkeys(required_context)),
        output_type=output_type,
        tags=await ensure_tags(tx, me, tags),
        status=status,
        created_by=me.user_id,
    )


async def attach_prompt(
    tx: Transaction,
    me: Caller,
    prompt_id: RowId,
    owner_type: Literal["agent", "group"],
    owner_id: Annotated[RowId, Field(description="agent, conversation or groupId")],
) -> Attachment:
    """Attach a prompt to an agent or a group. Twice returns the first.

    Raises:
        NotFound, Invalid: no such prompt, agent or group.
        Forbidden: the agent is not yours, or you may not write in the conversation.
    """
    prompt = await required(tx, me, Prompt, prompt_id)
    agent = None
    if owner_type == "agent":
        agent = await required_own_agent(tx, me, owner_id)
    else:
        await _required_group(tx, me, owner_id)
    for attachment in await tx.where(Attachment, "owner_id", owner_id):
        if attachment.prompt_id == prompt.id and attachment.owner_type == owner_type:
            return attachment
    if agent is not None:
        prompts = longer("attachedPrompts", agent.attached_prompts, prompt.id)
        tx.update(agent, attached_prompts=prompts, updated_at=tx.now, updated_by=me.user_id)
    return tx.insert(Attachment, owner_type=owner_type, owner_id=owner_id, prompt_id=prompt.id, created_by=me.user_id)


async def _required_group(tx: Transaction, me: Caller, owner_id: str) -> None:
    """Check that the caller takes part in the conversation, or in one of the group, of that id."""
    named = await tx.find_row(owner_id, Conversation)
    visible_one = None
    for conversation in [named] if named is not None else await tx.where(Conversation, "group_id", owner_id):
        if await visible(me, Conversation).holds(conversation, tx):
            if await may_shape(tx, me, conversation):
                return
            visible_one = conversation
    if visible_one is not None:
        raise Forbidden(f"Only active participants of '{visible_one.id}' attach prompts.")
    table = table_of(owner_id)
    if table not in (None, Conversation):
        raise Invalid(f"'{owner_id}' is an id of {table.table}; a group is a conversation or a groupId.")
    raise NotFound(f"No conversation or group '{owner_id}'.", table=Conversation.table, id=owner_id)
