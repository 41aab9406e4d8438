"""What several operations do alike."""

from __future__ import annotations

from collections.abc import Sequence

from storage.errors import Conflict, Forbidden, Invalid, NotFound
from storage.row import Row
from storage.store import table_of
from storage.tables import Agent, AgentTool, Attachment, Conversation, Participant, Prompt, Tag, Tool, User
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import required, visible
from tools_impl.arguments import LIST_ITEMS
from tools_impl.caller import Caller

MEMBERS = (User.table, Agent.table)


async def creator_of(view: View, me: Caller, named: str | None = None) -> str | None:
    """The user that a new row names as its creator: the caller, or the creator of the calling agent.

    Raises:
        Forbidden: `named` is somebody else and the caller is no admin.
        NotFound, Invalid: `named` is no user.
    """
    if named is None or named == me.user_id:
        return me.user_id
    if me.admin:
        return (await required(view, me, User, named)).id
    raise Forbidden("createdBy is set by the server; only an admin names somebody else.")


async def ensure_tags(tx: Transaction, me: Caller, tags: Sequence[str] | None) -> list[str] | None:
    """Create the rows of tags that are new. Returns the tags without repetitions."""
    if tags is None:
        return None
    unique = list(dict.fromkeys(tags))
    for name in unique:
        if not await tx.where(Tag, "name", name):
            tx.insert(Tag, name=name, created_by=me.user_id)
    return unique


async def member_of(view: View, me: Caller, member_id: str) -> User | Agent:
    """The user or agent of that id, who can take part in something.

    Raises:
        Invalid: the id is of another table.
        NotFound: there is none that the caller may see.
        Conflict: it is deactivated.
    """
    member = await seen_member(view, me, member_id)
    if member.deactivated_at is not None:
        raise Conflict(f"'{member_id}' ({member.name}) is deactivated.")
    return member


async def seen_member(view: View, me: Caller, member_id: str) -> User | Agent:
    """The user or agent of that id, deactivated or not.

    Raises:
        Invalid: the id is of another table.
        NotFound: there is none that the caller may see.
    """
    table = table_of(member_id)
    if table is Agent:
        return await required(view, me, Agent, member_id)
    if table not in (None, User):
        raise Invalid(f"'{member_id}' is an id of {table.table}; here a user or an agent is needed.")
    user = await view.find_row(member_id, User)
    if user is not None:
        return user
    if table is User:
        raise NotFound(f"No user '{member_id}'.", table=User.table, id=member_id)
    agent = await view.find_row(member_id, Agent)
    if agent is not None and await visible(me, Agent).holds(agent, view):
        return agent
    raise NotFound(f"No user or agent '{member_id}'.", among=MEMBERS, table=None, id=member_id)


async def check_member_id(view: View, me: Caller, member_id: str) -> None:
    """Check that it is not a name, or an id of another table.

    An id of the right form passes: who is hidden from the caller may have written what the caller sees.

    Raises:
        Invalid, NotFound: it is.
    """
    if table_of(member_id) not in (User, Agent):
        await seen_member(view, me, member_id)


async def participant_for(view: View, conversation_id: str, member_id: str) -> Participant | None:
    """How that user or agent takes part in the conversation, removed or not."""
    for participant in await view.where(Participant, "conversation_id", conversation_id):
        if participant.member_id == member_id:
            return participant
    return None


def join(tx: Transaction, conversation: Conversation, member: User | Agent) -> Participant:
    """Stage a new participant."""
    return tx.insert(
        Participant,
        kind="user" if isinstance(member, User) else "agent",
        conversation_id=conversation.id,
        user_id=member.id if isinstance(member, User) else None,
        agent_id=member.id if isinstance(member, Agent) else None,
        status="active",
        is_removed=False,
        added_at=tx.now,
    )


async def check_team(view: View, me: Caller, agent_id: str | None, team: Sequence[str] | None) -> list[str] | None:
    """Check that every agent of a team exists and that delegating never leads back to `agent_id`.

    Raises:
        NotFound, Invalid: an id is not an agent's.
        Conflict: the team would form a cycle.
    """
    if team is None:
        return None
    unique = list(dict.fromkeys(team))
    seen: set[str] = set()
    waiting = [await required(view, me, Agent, member) for member in unique]
    while waiting:
        agent = waiting.pop()
        if agent.id == agent_id:
            raise Conflict(f"delegatesTo would form a cycle through '{agent_id}'.")
        for next_id in agent.delegates_to or ():
            if next_id not in seen:
                seen.add(next_id)
                follower = await view.find_row(next_id, Agent)
                waiting += [follower] if follower is not None else []
    return unique


def longer(name: str, items: Sequence[str] | None, item: str) -> list[str]:
    """A list field with one more item.

    Raises:
        Conflict: it has as many as it may have.
    """
    if len(items or ()) >= LIST_ITEMS:
        raise Conflict(f"{name} has {LIST_ITEMS} items already; remove one first.")
    return [*(items or ()), item]


TWINS: dict[type[Row], str] = {
    Agent: "`tools` has the same as its rows in agentTools, `attachedPrompts` as those in attachments",
    AgentTool: "the agent's `tools` has the same",
    Attachment: "an agent's `attachedPrompts` has the same",
}
"""What is stored twice and kept equal in one transaction. Any tag, too, has its row in tags."""


async def sync_grants(tx: Transaction, agent: Agent, tools: Sequence[str]) -> None:
    """Make `agentTools` equal to the `tools` of an agent."""
    grants = await tx.where(AgentTool, "agent_id", agent.id)
    for grant in grants:
        if grant.tool_id not in tools:
            tx.delete(grant)
    granted = {grant.tool_id for grant in grants}
    for tool_id in tools:
        if tool_id not in granted:
            tx.insert(AgentTool, agent_id=agent.id, tool_id=tool_id)


async def sync_attachments(tx: Transaction, me: Caller, agent: Agent, prompts: Sequence[str]) -> None:
    """Make `attachments` equal to the `attachedPrompts` of an agent."""
    attached = [a for a in await tx.where(Attachment, "owner_id", agent.id) if a.owner_type == "agent"]
    for attachment in attached:
        if attachment.prompt_id not in prompts:
            tx.delete(attachment)
    present = {attachment.prompt_id for attachment in attached}
    for prompt_id in prompts:
        if prompt_id not in present:
            tx.insert(Attachment, owner_type="agent", owner_id=agent.id, prompt_id=prompt_id, created_by=me.user_id)


async def check_all(view: View, me: Caller, table: type[Tool | Prompt], ids: Sequence[str] | None) -> list[str] | None:
    """The ids without repetitions, each of an existing row of `table`."""
    if ids is None:
        return None
    unique = list(dict.fromkeys(ids))
    for row_id in unique:
        await required(view, me, table, row_id)
    return unique


def check_vector(view: View, vector: Sequence[float] | None) -> None:
    """Check that a vector that came along compares with ours.

    Raises:
        Invalid: it has another length than the model's.
    """
    wanted = view.store.index.dims
    if vector is not None and wanted is not None and len(vector) != wanted:
        raise Invalid(
            f"'vector' has {len(vector)} numbers, the vectors of this swarm have {wanted}. "
            "Leave it out: texts are embedded here."
        )
