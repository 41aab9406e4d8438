"""What deleting means, table by table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from storage.errors import Conflict
from storage.row import Deletion, Row
from storage.tables import (
    Agent,
    AgentTool,
    Attachment,
    Conversation,
    Event,
    Follow,
    Knowledge,
    Message,
    Participant,
    Prompt,
    Reaction,
    Reminder,
    Tag,
    Tool,
    User,
)
from storage.transaction import Transaction
from tools_impl.access import visible
from tools_impl.caller import Caller

MENTIONED_USES = 5
LOCAL_OWNER_SEQ = 1
"""The first row ever written is the local owner, as whom clients without `--as` call."""


WORDS: dict[type[Row], str] = {
    User: "deactivated if anything is theirs, and the name kept; otherwise gone. Their reminders and follows go",
    Agent: "deactivated if it has a history, and the name kept; otherwise gone with its grants, attachments and places "
    "in teams. Its reminders and follows go",
    Tool: "refused while an agent has it",
    Prompt: "refused while it is attached",
    Conversation: "takes its messages, participants, comments, reactions and attachments along",
    Participant: "sets `isRemoved`; what they wrote stays",
    Message: "leaves a tombstone: content, vector, attachments and meta are cleared, comments and reactions kept",
    AgentTool: "leaves the agent's `tools` as well",
    Attachment: "leaves the agent's `attachedPrompts` as well",
    Tag: "leaves the `tags` of every row as well",
}
"""What deleting a row of a table means, for people; of the others it just goes."""


async def delete_row(tx: Transaction, me: Caller, row: Row) -> Deletion:
    """Stage the end of a row and of what hangs on it.

    Raises:
        Conflict: it is in use, or gone already.
    """
    return Deletion(_id=row.id, outcome=await _delete(tx, me, row))


async def _delete(tx: Transaction, me: Caller, row: Row) -> Literal["deleted", "tombstone", "deactivated", "removed"]:
    match row:
        case Message():
            _leave_tombstone(tx, row)
            return "tombstone"
        case Participant():
            tx.update(row, is_removed=True)
            return "removed"
        case User() | Agent():
            return await _retire(tx, row)
        case Conversation():
            await tx.drop_conversation(row)
        case Tag():
            await tx.drop_tag(row)
        case Tool() | Prompt():
            await _refuse_if_used(tx, me, row)
            tx.delete(row)
        case AgentTool():
            await _forget_grant(tx, row)
        case Attachment():
            await _forget_attachment(tx, row)
        case _:
            tx.delete(row)
    return "deleted"


def _leave_tombstone(tx: Transaction, message: Message) -> None:
    if message.status == "deleted":
        raise Conflict(f"'{message.id}' was deleted already.")
    tx.update(message, content="", vector=None, attachments=None, meta=None, status="deleted")


async def _retire(tx: Transaction, member: User | Agent) -> Literal["deleted", "deactivated"]:
    if member.deactivated_at is not None:
        raise Conflict(f"'{member.id}' was deactivated already.")
    if member.seq == LOCAL_OWNER_SEQ:
        raise Conflict(f"'{member.id}' is the owner of this swarm and stays.")
    field = "user_id" if isinstance(member, User) else "agent_id"
    for reminder in await tx.where(Reminder, field, member.id):
        tx.delete(reminder)
    for follow in [
        *await tx.where(Follow, "follower_id", member.id),
        *await tx.where(Follow, "followee_id", member.id),
    ]:
        tx.delete(follow)
    if await _has_history(tx, member, field):
        tx.update(member, deactivated_at=tx.now)
        return "deactivated"
    if isinstance(member, Agent):
        await _leave_teams(tx, member)
    tx.delete(member)
    return "deleted"


async def _has_history(tx: Transaction, member: User | Agent, field: str) -> bool:
    if await tx.where(Participant, field, member.id):
        return True
    if await tx.where(Knowledge, "owner_id", member.id):
        return True
    if await tx.where(Reaction, field, member.id):
        return True
    if await tx.where(Event, "created_by", member.id) or await tx.where(Event, "participants", member.id):
        return True
    if isinstance(member, User):
        if await tx.where(Agent, "updated_by", member.id):
            return True
        created: tuple[type[Row], ...] = (Agent, Tool, Prompt, Conversation, Attachment, Tag)
        for table in created:
            if await tx.where(table, "created_by", member.id):
                return True
    return False


async def _leave_teams(tx: Transaction, agent: Agent) -> None:
    for grant in await tx.where(AgentTool, "agent_id", agent.id):
        tx.delete(grant)
    for attachment in await tx.where(Attachment, "owner_id", agent.id):
        tx.delete(attachment)
    for leader in await tx.where(Agent, "delegates_to", agent.id):
        tx.update(leader, delegates_to=[member for member in leader.delegates_to or () if member != agent.id])


async def _refuse_if_used(tx: Transaction, me: Caller, row: Tool | Prompt) -> None:
    uses: Sequence[AgentTool | Attachment]
    if isinstance(row, Tool):
        uses, way = await tx.where(AgentTool, "tool_id", row.id), "Take it from their tools"
    else:
        uses, way = await tx.where(Attachment, "prompt_id", row.id), "Detach it"
    if not uses:
        return
    # Who must not see a private agent hears of a use, but not of whose.
    seen = [use for use in uses if await visible(me, type(use)).holds(use, tx)]
    users = [use.agent_id if isinstance(use, AgentTool) else use.owner_id for use in seen]
    named = users[:MENTIONED_USES]
    parts = [", ".join(named)] * bool(named) + ["others"] * (len(uses) > len(named))
    raise Conflict(f"'{row.id}' is in use by {' and '.join(parts)}. {way} first.", uses=users)


async def _forget_grant(tx: Transaction, grant: AgentTool) -> None:
    tx.delete(grant)
    agent = await tx.find_row(grant.agent_id, Agent)
    if agent is not None:
        tx.update(agent, tools=[tool for tool in agent.tools or () if tool != grant.tool_id])


async def _forget_attachment(tx: Transaction, attachment: Attachment) -> None:
    tx.delete(attachment)
    agent = await tx.find_row(attachment.owner_id, Agent) if attachment.owner_type == "agent" else None
    if agent is not None:
        kept = [prompt for prompt in agent.attached_prompts or () if prompt != attachment.prompt_id]
        tx.update(agent, attached_prompts=kept)
