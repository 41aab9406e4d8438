"""The 16 application tables, each declared once.

A declaration drives validation, tool schemas, DDL, resources and the reference. Python names are snake_case, the
names of data (tools, SQL, exports) are the seed's camelCase. `storage/auth_tables.py` has the six auth tables.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from storage.fields import (
    AgentId,
    ConversationId,
    Extension,
    Json,
    JsonList,
    KnowledgeId,
    MemberId,
    MessageId,
    ParticipantId,
    PromptId,
    Seq,
    Step,
    Time,
    ToolId,
    UserId,
    Vector,
    ref,
)
from storage.row import Deletion, Result, Row, Union

Ext = Extension()


class User(Row):
    """People. `email` is unique."""

    table: ClassVar[str] = "users"
    prefix: ClassVar[str] = "user"
    indexes: ClassVar = {"email": ("email",), "phone": ("phone",)}

    name: str = Field(description="what others see")
    email: str = Field(description="address; unique")
    image: str | None = Field(None, description="URL of a picture")
    email_verification_time: Annotated[Time | None, Ext] = Field(None, description="when the address was confirmed")
    phone: Annotated[str | None, Ext] = Field(None, description="number")
    phone_verification_time: Annotated[Time | None, Ext] = Field(None, description="when the number was confirmed")
    is_anonymous: Annotated[bool | None, Ext] = Field(None, description="whether they have not signed in")
    deactivated_at: Annotated[Time | None, Ext] = Field(None, description="set when a user with history is deleted")


class Agent(Row):
    """AI agents: how each is configured, what it may use and whom it delegates to."""

    table: ClassVar[str] = "agents"
    prefix: ClassVar[str] = "agent"

    name: str = Field(description="what others see")
    description: str = Field(description="what it is for")
    kind: Literal["system_agent", "user_agent"] = Field(description="system_agent or user_agent")
    personality: str | None = Field(None, description="its manner")
    avatar_url: str | None = Field(None, description="URL of a picture")
    goal: str | None = Field(None, description="what it works for")
    system_prompt: str | None = Field(None, description="how its model is told to behave")
    instructions: str | None = Field(None, description="how it does its work")
    delegates_to: list[AgentId] | None = Field(None, description="its team")
    tools: list[ToolId] | None = Field(None, description="equal to its agentTools")
    tags: list[str] | None = Field(None, description="names in tags")
    model: str | None = Field(None, description="model it is meant for")
    knowledge: Json = Field(None, description="small facts; the searchable store is the table knowledge")
    memories: Json = Field(None, description="curated summaries, shown in its brief")
    attached_prompts: list[PromptId] | None = Field(None, description="equal to its attachments")
    created_by: UserId | None = Field(None, description="the user it belongs to")
    updated_at: Time | None = Field(None, description="when it was last changed")
    updated_by: UserId | None = Field(None, description="who changed it last")
    visibility: Annotated[Literal["public", "private"] | None, Ext] = Field(
        None, description="public (the default) or private to its creator"
    )
    deactivated_at: Annotated[Time | None, Ext] = Field(None, description="set when an agent with history is deleted")


class Tool(Row):
    """Capabilities that agents can be granted."""

    table: ClassVar[str] = "tools"
    prefix: ClassVar[str] = "tool"

    name: str = Field(description="what agents call it")
    description: str = Field(description="what it does")
    config: Json = Field(None, description="defaults for whoever is granted it")
    created_by: UserId | None = Field(None, description="who described it")


class Prompt(Row):
    """Reusable templates."""

    table: ClassVar[str] = "prompts"
    prefix: ClassVar[str] = "prompt"

    title: str = Field(description="what it is listed as")
    template: str = Field(description="text with {{name}} placeholders")
    step: Step = Field(description="which of the ten steps it serves")
    description: str | None = Field(None, description="what it is for")
    required_context: list[str] | None = Field(None, description="names the template needs")
    output_type: str | None = Field(None, description="what it makes, for example text")
    tags: list[str] | None = Field(None, description="names in tags")
    status: str | None = Field(None, description="served as an MCP prompt when absent or 'active'")
    created_by: UserId | None = Field(None, description="who stored it")


class Conversation(Row):
    """Group chats of users and agents."""

    table: ClassVar[str] = "conversations"
    prefix: ClassVar[str] = "conv"

    title: str = Field(description="what it is listed as")
    created_by: UserId = Field(description="who started it")
    last_message_time: Time | None = Field(None, description="derived from its messages")
    tags: list[str] | None = Field(None, description="names in tags")
    group_id: Annotated[str | None, Ext] = Field(None, description="any name that groups conversations")


class Participant(Row):
    """Users and agents in conversations."""

    table: ClassVar[str] = "conversationParticipants"
    prefix: ClassVar[str] = "part"
    union: ClassVar = Union("kind", {"user": "user_id", "agent": "agent_id"})
    indexes: ClassVar = {"by_conversationId": ("conversation_id",)}

    kind: Literal["user", "agent"] = Field(description="user or agent")
    conversation_id: ConversationId = Field(description="where")
    user_id: UserId | None = Field(None, description="the user, if kind is user")
    agent_id: AgentId | None = Field(None, description="the agent, if kind is agent")
    status: str = Field(description="'active' unless set otherwise")
    is_removed: bool = Field(description="whether they left; what they wrote stays")
    added_at: Time = Field(description="when they came in")
    last_read_seq: Annotated[Seq | None, Ext] = Field(None, description="everything up to this message is read")
    last_mention_seq: Annotated[Seq | None, Ext] = Field(None, description="mentions up to this message are read")

    @property
    def member_id(self) -> str:
        """The user or agent that takes part."""
        return self.user_id or self.agent_id or ""

    @model_validator(mode="after")
    def _one_member(self) -> Participant:
        wanted, other = (self.user_id, self.agent_id) if self.kind == "user" else (self.agent_id, self.user_id)
        if wanted is None or other is not None:
            raise ValueError(f"a participant of kind '{self.kind}' has {self.kind}Id and no other id")
        return self


class Message(Row):
    """Messages in conversations."""

    table: ClassVar[str] = "conversationMessages"
    prefix: ClassVar[str] = "msg"
    indexes: ClassVar = {"by_conversationId": ("conversation_id",)}

    conversation_id: ConversationId = Field(description="where it was said")
    author_participant_id: ParticipantId = Field(description="who said it, as a participant")
    kind: Literal["participant", "system"] = Field(description="participant, or system for what the hub says")
    type: str | None = Field(None, description="any word for what kind of message it is")
    step: Step | None = Field(None, description="which of the ten steps it belongs to")
    status: str | None = Field(None, description="'sent', or 'deleted' for a tombstone")
    tags: list[str] | None = Field(None, description="names in tags")
    content: str = Field(description="the text, empty in a tombstone")
    attachments: JsonList | None = Field(None, description="any list that goes with it")
    vector: Vector | None = Field(None, description="given by the caller; our embeddings live elsewhere")
    meta: Json = Field(None, description="any JSON that goes with it")


class AgentTool(Row):
    """Which agent may use which tool."""

    table: ClassVar[str] = "agentTools"
    prefix: ClassVar[str] = "grant"

    agent_id: AgentId = Field(description="who may use it")
    tool_id: ToolId = Field(description="what may be used")
    config: Json = Field(None, description="settings for this agent alone")


class Attachment(Row):
    """Prompts attached to agents and groups."""

    table: ClassVar[str] = "attachments"
    prefix: ClassVar[str] = "att"

    owner_type: Literal["agent", "group"] = Field(description="agent or group")
    owner_id: Annotated[str, ref("agents", "conversations", typed=False)] = Field(
        description="an agent, or a conversation or groupId"
    )
    prompt_id: PromptId = Field(description="what is attached")
    created_by: UserId | None = Field(None, description="who attached it")


class Knowledge(Row):
    """What agents and users know: the searchable store."""

    table: ClassVar[str] = "knowledge"
    prefix: ClassVar[str] = "know"

    owner_type: Literal["agent", "user"] = Field(description="agent or user")
    owner_id: MemberId = Field(description="whose knowledge it is")
    content: str = Field(description="the text")
    vector: Vector | None = Field(None, description="given by the caller; our embeddings live elsewhere")
    tags: list[str] | None = Field(None, description="names in tags")
    sources: Annotated[list[str] | None, Ext] = Field(None, description="ids it was drawn from")
    supersedes: Annotated[KnowledgeId | None, Ext] = Field(None, description="the row that this one replaces")


class Tag(Row):
    """Names for search, filters and teams. `name` is unique."""

    table: ClassVar[str] = "tags"
    prefix: ClassVar[str] = "tag"

    name: str = Field(description="the tag itself; unique")
    color: str | None = Field(None, description="for example #2e7d32")
    created_by: UserId | None = Field(None, description="who used it first")


class Reaction(Row):
    """Likes and other reactions to messages, by exactly one of a user or an agent."""

    table: ClassVar[str] = "reactions"
    prefix: ClassVar[str] = "react"

    message_id: MessageId = Field(description="to which message")
    user_id: UserId | None = Field(None, description="the user who reacts, if one does")
    agent_id: AgentId | None = Field(None, description="the agent that reacts, if one does")
    type: str = Field(description="like, love, laugh or any other word")


class Comment(Row):
    """Threaded replies to messages."""

    table: ClassVar[str] = "comments"
    prefix: ClassVar[str] = "comment"

    message_id: MessageId = Field(description="on which message")
    author_participant_id: ParticipantId = Field(description="who wrote it, as a participant")
    content: str = Field(description="the text")


class Follow(Row):
    """Who follows whom. `kind` is the kind of the followee."""

    table: ClassVar[str] = "follows"
    prefix: ClassVar[str] = "follow"

    follower_id: MemberId = Field(description="who follows")
    followee_id: MemberId = Field(description="who is followed")
    kind: Literal["user", "agent"] = Field(description="kind of the followee")


class Event(Row):
    """Meetings and calls."""

    table: ClassVar[str] = "events"
    prefix: ClassVar[str] = "event"

    title: str = Field(description="what it is listed as")
    description: str | None = Field(None, description="what it is about")
    start_time: Time = Field(description="when it begins")
    end_time: Time = Field(description="when it ends")
    created_by: MemberId = Field(description="who planned it")
    participants: list[MemberId] | None = Field(None, description="who else takes part")
    tags: list[str] | None = Field(None, description="names in tags")


class Reminder(Row):
    """Reminders for exactly one of a user or an agent."""

    table: ClassVar[str] = "reminders"
    prefix: ClassVar[str] = "rem"

    user_id: UserId | None = Field(None, description="the user to be reminded, if one is")
    agent_id: AgentId | None = Field(None, description="the agent to be reminded, if one is")
    message: str = Field(description="what to be reminded of")
    remind_at: Time = Field(description="when it is due")
    related_entity: str | None = Field(None, description="id of any row it is about")
    status: Annotated[Literal["pending", "fired", "read"] | None, Ext] = Field(
        None, description="pending, fired when due, read when acknowledged; absent when it was due before its import"
    )
    fired_at: Annotated[Time | None, Ext] = Field(None, description="when it came to the inbox")


TABLES: tuple[type[Row], ...] = (
    User,
    Agent,
    Tool,
    Prompt,
    Conversation,
    Participant,
    Message,
    AgentTool,
    Attachment,
    Knowledge,
    Tag,
    Reaction,
    Comment,
    Follow,
    Event,
    Reminder,
)
"""In the order of the seed, which is also an order in which references point back."""

BY_NAME: dict[str, type[Row]] = {table.table: table for table in TABLES}
BY_PREFIX: dict[str, type[Row]] = {table.prefix: table for table in TABLES}

RESULTS: dict[str, type[Result]] = {**BY_NAME, Deletion.table: Deletion}
"""What a writing operation can return, by kind: a receipt is read back by it."""
