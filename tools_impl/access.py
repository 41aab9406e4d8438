"""Who sees and who may change which row. Every tool, list, resource and suggestion asks here, nobody else decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from storage.errors import Conflict, Forbidden, Invalid, NotFound
from storage.predicate import Both, Contains, Either, Everything, Has, Is, Not, Predicate, Refers
from storage.row import Row
from storage.store import table_of
from storage.tables import (
    Agent,
    AgentTool,
    Attachment,
    Comment,
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
from storage.view import View
from tools_impl.caller import Caller

R = TypeVar("R", bound=Row)

EVERYTHING = Everything()


def visible(me: Caller, table: type[Row]) -> Predicate:
    """The condition for `me` to see a row of `table`. What it hides is as good as missing."""
    return EVERYTHING if me.admin else _RULES[table](me)


def _agents(me: Caller) -> Predicate:
    public = Either((Is(Agent, "visibility", None), Is(Agent, "visibility", "public")))
    return Either((public, Is(Agent, "created_by", me.user_id or me.id), Is(Agent, "id", me.id)))


def _participates(me: Caller) -> Predicate:
    member = Is(Participant, "user_id" if me.kind == "user" else "agent_id", me.id)
    return Both((member, Is(Participant, "is_removed", False)))


def _conversations(me: Caller) -> Predicate:
    takes_part = Has("id", Conversation, Participant, "conversation_id", _participates(me))
    return Either((Is(Conversation, "created_by", me.id), takes_part))


def _in_conversation(table: type[Row]) -> Callable[[Caller], Predicate]:
    return lambda me: Refers(table, "conversation_id", Conversation, _conversations(me))


def _on_message(table: type[Row]) -> Callable[[Caller], Predicate]:
    return lambda me: Refers(table, "message_id", Message, _in_conversation(Message)(me))


def _attachments(me: Caller) -> Predicate:
    to_agent = Both((Is(Attachment, "owner_type", "agent"), Refers(Attachment, "owner_id", Agent, _agents(me))))
    # A group may be named like a conversation, by whoever wants to see what is attached to that.
    a_name = Not(Refers(Attachment, "owner_id", Conversation, EVERYTHING))
    in_group = Both((a_name, Has("owner_id", Attachment, Conversation, "group_id", _conversations(me))))
    group = Either((Refers(Attachment, "owner_id", Conversation, _conversations(me)), in_group))
    to_group = Both((Is(Attachment, "owner_type", "group"), group))
    return Either((to_agent, to_group, Is(Attachment, "created_by", me.user_id or me.id)))


def _knowledge(me: Caller) -> Predicate:
    of_agent = Both((Is(Knowledge, "owner_type", "agent"), Refers(Knowledge, "owner_id", Agent, _agents(me))))
    return Either((Is(Knowledge, "owner_id", me.id), of_agent))


_RULES: dict[type[Row], Callable[[Caller], Predicate]] = {
    User: lambda me: EVERYTHING,
    Agent: _agents,
    Tool: lambda me: EVERYTHING,
    Prompt: lambda me: EVERYTHING,
    Conversation: _conversations,
    Participant: _in_conversation(Participant),
    Message: _in_conversation(Message),
    AgentTool: lambda me: Refers(AgentTool, "agent_id", Agent, _agents(me)),
    Attachment: _attachments,
    Knowledge: _knowledge,
    Tag: lambda me: EVERYTHING,
    Reaction: _on_message(Reaction),
    Comment: _on_message(Comment),
    Follow: lambda me: Either((Is(Follow, "follower_id", me.id), Is(Follow, "followee_id", me.id))),
    Event: lambda me: Either((Is(Event, "created_by", me.id), Contains(Event, "participants", me.id))),
    Reminder: lambda me: Is(Reminder, "user_id" if me.kind == "user" else "agent_id", me.id),
}

SEEN_BY: dict[type[Row], str] = {
    User: "everybody; email and phone only the user",
    Agent: "everybody if it is public; otherwise its creator, the creator's agents and the agent",
    Tool: "everybody",
    Prompt: "everybody",
    Conversation: "its creator and its participants, until they are removed",
    Participant: "who sees the conversation",
    Message: "who sees the conversation",
    AgentTool: "who sees the agent",
    Attachment: "who sees the agent, the conversation or one of the group; its creator and the creator's agents",
    Knowledge: "its owner; of an agent also who sees the agent",
    Tag: "everybody",
    Reaction: "who sees the message",
    Comment: "who sees the message",
    Follow: "both sides",
    Event: "its creator and its participants",
    Reminder: "who is reminded",
}
"""The rules above in words. Admins see everything."""

PRIVATE_FIELDS: dict[type[Row], frozenset[str]] = {
    User: frozenset({"email", "email_verification_time", "phone", "phone_verification_time"})
}
"""Fields that only the row's owner and admins see."""


LISTED_IDS: dict[type[Row], str] = {Agent: "delegates_to", Knowledge: "sources"}
"""Lists of ids in rows that may be public: those of hidden rows are told to who may change the row, to nobody else."""


async def shown(view: View, me: Caller, row: R) -> R:
    """The row as `me` may see it: others' private fields are absent, and ids of rows that are hidden."""
    if me.admin:
        return row
    private = PRIVATE_FIELDS.get(type(row))
    if private is not None and row.id != me.id:
        return row.model_copy(update=dict.fromkeys(private))
    field = LISTED_IDS.get(type(row))
    ids: list[str] | None = getattr(row, field) if field is not None else None
    if field is None or not ids or await _may_change(view, me, row):
        return row
    seen = [row_id for row_id in ids if await sees(view, me, row_id)]
    return row if len(seen) == len(ids) else row.model_copy(update={field: seen or None})


async def sees(view: View, me: Caller, row_id: str) -> bool:
    """Whether there is a row of that id, in any table, that `me` sees."""
    row = await view.row_anywhere(row_id)
    return row is not None and await visible(me, type(row)).holds(row, view)


async def required(view: View, me: Caller, table: type[R], row_id: str) -> R:
    """The row of that id, if `me` sees it.

    Raises:
        Invalid: the id is one of another table.
        NotFound: there is no such row, or it is hidden.
    """
    named = table_of(row_id)
    if named is not None and named is not table:
        raise Invalid(
            f"'{row_id}' is an id of {named.table}; here an id of {table.table} is needed, like '{table.prefix}_12'."
        )
    row = await view.find_row(row_id, table)
    if row is None or not await visible(me, table).holds(row, view):
        raise NotFound(f"No row '{row_id}' in {table.table}.", table=table.table, id=row_id)
    return row


async def required_anywhere(view: View, me: Caller, row_id: str) -> Row:
    """The row of that id in any table, if `me` sees it.

    Raises:
        NotFound: there is no such row, or it is hidden.
    """
    row = await view.row_anywhere(row_id)
    if row is None or not await visible(me, type(row)).holds(row, view):
        table = table_of(row_id)
        raise NotFound(f"No row '{row_id}'.", table=table.table if table else None, id=row_id)
    return row


def answers_for(me: Caller, member: User | Agent) -> bool:
    """Whether `member` is the caller or an agent of the caller's, for whom they may act."""
    creator = member.created_by if isinstance(member, Agent) else None
    return me.admin or member.id == me.id or (creator is not None and creator == me.user_id)


async def required_own_agent(view: View, me: Caller, agent_id: str) -> Agent:
    """The agent of that id, if the caller may act for it.

    Raises:
        NotFound, Invalid: there is none.
        Forbidden: it is somebody else's.
        Conflict: it is deactivated.
    """
    agent = await required(view, me, Agent, agent_id)
    if not answers_for(me, agent):
        raise Forbidden(f"'{agent.id}' is not an agent of yours.")
    if agent.deactivated_at is not None:
        raise Conflict(f"'{agent.id}' ({agent.name}) is deactivated.")
    return agent


async def required_to_change(view: View, me: Caller, row: Row) -> None:
    """Check that `me` may edit or delete `row`: its creator, or an admin.

    Raises:
        Forbidden: it is somebody else's.
    """
    if not await _may_change(view, me, row):
        raise Forbidden(f"'{row.id}' belongs to somebody else; only its creator or an admin changes it.", id=row.id)


async def _may_change(view: View, me: Caller, row: Row) -> bool:
    if me.admin or me.id in await _owners(view, row):
        return True
    return me.user_id is not None and me.user_id == await _creator(view, row)


async def _creator(view: View, row: Row) -> str | None:
    """The user that the server named as a row's creator; their agents act for them."""
    match row:
        case Agent() | Tool() | Prompt() | Conversation() | Attachment() | Tag():
            return row.created_by
        case Participant():
            conversation = await view.find_row(row.conversation_id, Conversation)
            return conversation.created_by if conversation is not None else None
    return None


async def _owners(view: View, row: Row) -> set[str]:
    """The users and agents whose row it is. An agent's rows are its creator's as well, but not the other way round."""
    match row:
        case User() | Agent():
            return {row.id}
        case Participant():
            return await _with_creator(view, row.member_id)
        case Message() | Comment():
            author = await view.find_row(row.author_participant_id, Participant)
            return await _with_creator(view, author.member_id if author else "")
        case Knowledge():
            return await _with_creator(view, row.owner_id)
        case AgentTool():
            return await _with_creator(view, row.agent_id)
        case Reaction() | Reminder():
            return await _with_creator(view, row.user_id or row.agent_id or "")
        case Follow():
            return await _with_creator(view, row.follower_id)
        case Event():
            return await _with_creator(view, row.created_by)
        case Tool() | Prompt() | Conversation() | Attachment() | Tag():
            return set()
    raise AssertionError(f"no owner is declared for {row.table}")


_BY_CREATOR = "its creator and the creator's agents"
CHANGED_BY: dict[type[Row], str] = {
    User: "the user",
    Agent: "the agent, its creator and the creator's agents",
    Tool: _BY_CREATOR,
    Prompt: _BY_CREATOR,
    Conversation: _BY_CREATOR,
    Participant: "who takes part, and the conversation's creator; its status and who was removed only the latter",
    Message: "its author, while active",
    AgentTool: "the agent",
    Attachment: _BY_CREATOR,
    Knowledge: "its owner",
    Tag: _BY_CREATOR,
    Reaction: "who reacted",
    Comment: "its author, while active",
    Follow: "the follower",
    Event: "its creator",
    Reminder: "who is reminded",
}
"""The rules above in words. What is an agent's, its creator may change as well; admins may change everything."""


async def _with_creator(view: View, member: str) -> set[str]:
    agent = await view.find_row(member, Agent)
    return {member, agent.created_by or ""} if agent is not None else {member}
