"""Tools, and which agent may use them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from storage.tables import AgentTool, Tool
from storage.transaction import Transaction
from tools_impl.access import required, required_own_agent
from tools_impl.arguments import Meta, Name, RowId, Text
from tools_impl.caller import Caller
from tools_impl.shared import longer


async def create_tool(
    tx: Transaction,
    me: Caller,
    name: Name,
    description: Text,
    config: Meta = None,
) -> Tool:
    """Describe a capability that agents can be granted. Everybody sees it: no secrets."""
    return tx.insert(Tool, name=name, description=description, config=config, created_by=me.user_id)


async def grant_tool(
    tx: Transaction,
    me: Caller,
    agent_id: Annotated[RowId, Field(description="an agent of yours")],
    tool_id: RowId,
    config: Meta = None,
) -> AgentTool:
    """Let an agent use a tool. Twice returns the first; another config replaces its.

    Raises:
        NotFound, Invalid: no such agent or tool.
        Forbidden: the agent is not yours.
        Conflict: the agent is deactivated, or has as many tools as it may have.
    """
    agent = await required_own_agent(tx, me, agent_id)
    tool = await required(tx, me, Tool, tool_id)
    for grant in await tx.where(AgentTool, "agent_id", agent.id):
        if grant.tool_id == tool.id:
            return grant if config is None or config == grant.config else tx.update(grant, config=config)
    tools = longer("tools", agent.tools, tool.id)
    tx.update(agent, tools=tools, updated_at=tx.now, updated_by=me.user_id)
    return tx.insert(AgentTool, agent_id=agent.id, tool_id=tool.id, config=config)
