"""Agents."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from storage.tables import Agent, Prompt, Tool
from storage.transaction import Transaction
from tools_impl.arguments import Ids, Meta, Name, RowId, Tags, Text, Url
from tools_impl.caller import Caller
from tools_impl.shared import check_all, check_team, creator_of, ensure_tags, sync_attachments, sync_grants


async def create_agent(
    tx: Transaction,
    me: Caller,
    name: Name,
    description: Annotated[Text, Field(description="what it is for, in a sentence")],
    kind: Literal["system_agent", "user_agent"],
    personality: Text | None = None,
    avatar_url: Url | None = None,
    goal: Text | None = None,
    system_prompt: Text | None = None,
    instructions: Text | None = None,
    delegates_to: Annotated[Ids | None, Field(description="ids of the agents in its team")] = None,
    tools: Annotated[Ids | None, Field(description="ids of tools it may use")] = None,
    tags: Tags | None = None,
    model: Name | None = None,
    knowledge: Annotated[Meta, Field(description="small facts, any JSON")] = None,
    memories: Annotated[Meta, Field(description="curated summaries, any JSON")] = None,
    attached_prompts: Annotated[Ids | None, Field(description="ids of prompts")] = None,
    visibility: Annotated[Literal["public", "private"], Field(description="private: only you see it")] = "public",
    created_by: Annotated[RowId | None, Field(description="set by the server")] = None,
) -> Agent:
    """Create an agent. It can then take part in conversations, own knowledge and be acted as.

    Raises:
        NotFound, Invalid: an id in `delegatesTo`, `tools` or `attachedPrompts` is not of such a row.
        Forbidden: `createdBy` names somebody else.
    """
    agent = tx.insert(
        Agent,
        name=name,
        description=description,
        kind=kind,
        personality=personality,
        avatar_url=avatar_url,
        goal=goal,
        system_prompt=system_prompt,
        instructions=instructions,
        delegates_to=await check_team(tx, me, None, delegates_to),
        tools=await check_all(tx, me, Tool, tools),
        tags=await ensure_tags(tx, me, tags),
        model=model,
        knowledge=knowledge,
        memories=memories,
        attached_prompts=await check_all(tx, me, Prompt, attached_prompts),
        created_by=await creator_of(tx, me, created_by),
        visibility=visibility if visibility == "private" else None,
    )
    await sync_grants(tx, agent, agent.tools or ())
    await sync_attachments(tx, me, agent, agent.attached_prompts or ())
    return agent
