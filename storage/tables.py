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

    name: str
    email: str
    image: str | None = Field(None, description="URL of a picture")
    email_verification_time: Annotated[Time | None, Ext] = None
    phone: Annotated[str | None, Ext] = None
    phone_verification_time: Annotated[Time | None, Ext] = None
    is_anonymous: Annotated[bool | None, Ext] = None
    deactivated_at: Annotated[Time | None, Ext] = Field(None, description="set when a user with history is deleted")


class Agent(Row):
    """AI agents: how each is configured, what it may use and whom it delegates to."""

    table: ClassVar[str] = "agents"
    prefix: ClassVar[str] = "agent"

    name: str
    description: str
    kind: Literal["system_agent", "user_agent"]
    personality: str | None = None
    avatar_url: str | None = None
    goal: str | None = None
    system_prompt: str | None = None
    instructions: str | None = None
    delegates_to: list[AgentId] | None = Field(None, description="its team")
    tools: list[ToolId] | None = Field(None, description="equal to its agentTools")
    tags: list[str] | None = None
    model: str | None = Field(None, description="model it is meant for")
    knowledge: Json = Field(None, description="small facts; the searchable store is the table knowledge")
    memories: Json = Field(None, description="curated summaries, shown in its brief")
    attached_prompts: list[PromptId] | None = Field(None, description="equal to its attachments")
    created_by: UserId | None = None
    updated_at: Time | None = None
    updated_by: UserId | None = None
    visibility: Annotated[Literal["public", "private"] | None, Ext] = Field(
        None, description="public (the default) or private to its creator"
    )
    deactivated_at: Annotated[Time | None, Ext] = Field(None, description="set when an agent with history is deleted")


class Tool(Row):
    """Capabilities that agents can be granted."""

    table: ClassVar[str] = "tools"
    prefix: ClassVar[str] = "tool"

    name: str
    description: str
    config: Json = None
    created_by: UserId | None = None


class Prompt(Row):
    """Reusable templates."""

    table: ClassVar[str] = "prompts"
    prefix: ClassVar[str] = "prompt"

    title: str
    template: str = Field(description="text with {{name}} placeholders")
    step: Step
    description: str | None = None
    required_context: list[str] | None = Field(None, description="names the template needs")
    output_type: str | None = None
    tags: list[str] | None = None
    status: str | None = Field(None, description="served as an MCP prompt when absent or 'active'")
    created_by: UserId | None = None


class Conversation(Row):
    """Group chats of users and agents."""

    table: ClassVar[str] = "conversations"
    prefix: ClassVar[str] = "conv"

    title: str
    created_by: UserId
    last_message_time: Time | None = Field(None, description="derived from its messages")
    tags: list[str] | None = None
    group_id: Annotated[str | None, Ext] = Field(None, description="any name that groups conversations")


class Participant(Row):
    """Users and agents in conversations."""

    table: ClassVar[str] = "conversationParticipants"
    prefix: ClassVar[str] = "part"
    union: ClassVar = Union("kind", {"user": "user_id", "agent": "agent_id"})
    indexes: ClassVar = {"by_conversationId": ("conversation_id",)}

    kind: Literal["user", "agent"]
    conversation_id: ConversationId
    user_id: UserId | None = None
    agent_id: AgentId | None = None
    status: str = Field(description="'active' unless set otherwise")
    is_removed: bool
    added_at: Time
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

    conversation_id: ConversationId
    author_participant_id: ParticipantId
    kind: Literal["participant", "system"]
    type: str | None = None
    step: Step | None = None
    status: str | None = Field(None, description="'sent', or 'deleted' for a tombstone")
    tags: list[str] | None = None
    content: str
    attachments: JsonList | None = None
    vector: Vector | None = Field(None, description="given by the caller; our embeddings live elsewhere")
    meta: Json = None


class AgentTool(Row):
    """Which agent may use which tool."""

    table: ClassVar[str] = "agentTools"
    prefix: ClassVar[str] = "grant"

    agent_id: AgentId
    tool_id: ToolId
    config: Json = None


class Attachment(Row):
    """Prompts attached to agents and groups."""

    table: ClassVar[str] = "attachments"
    prefix: ClassVar[str] = "att"

    owner_type: Literal["agent", "group"]
    owner_id: Annotated[str, ref("agents", "conversations", typed=False)] = Field(
        description="an agent, or a conversation or groupId"
    )
    prompt_id: PromptId
    created_by: UserId | None = None


class Knowledge(Row):
    """What agents and users know: the searchable store."""

    table: ClassVar[str] = "knowledge"
    prefix: ClassVar[str] = "know"

    owner_type: Literal["agent", "user"]
    owner_id: MemberId
    content: str
    vector: Vector | None = Field(None, description="given by the caller; our embeddings live elsewhere")
    tags: list[str] | None = None
    sources: Annotated[list[str] | None, Ext] = Field(None, description="ids it was drawn from")
    supersedes: Annotated[KnowledgeId | None, Ext] = Field(None, description="the row that this one replaces")


class Tag(Row):
    """Names for search, filters and teams. `name` is unique."""

    table: ClassVar[str] = "tags"
    prefix: ClassVar[str] = "tag"

    name: str
    color: str | None = None
    created_by: UserId | None = None


class Reaction(Row):
    """Likes and other reactions to messages, by exactly one of a user or an agent."""

    table: ClassVar[str] = "reactions"
    prefix: ClassVar[str] = "react"

    message_id: MessageId
    user_id: UserId | None = None
    agent_id: AgentId | None = None
    type: str = Field(description="like, love, laugh or any other word")


class Comment(Row):
    """Threaded replies to messages."""

    table: ClassVar[str] = "comments"
    prefix: ClassVar[str] = "comment"

    message_id: MessageId
    author_participant_id: ParticipantId
    content: str


class Follow(Row):
    """Who follows whom. `kind` is the kind of the followee."""

    table: ClassVar[str] = "follows"
    prefix: ClassVar[str] = "follow"

    follower_id: MemberId
    followee_id: MemberId
    kind: Literal["user", "agent"]


class Event(Row):
    """Meetings and calls."""

    table: ClassVar[str] = "events"
    prefix: ClassVar[str] = "event"

    title: str
    description: str | None = None
    start_time: Time
    end_time: Time
    created_by: MemberId
    participants: list[MemberId] | None = None
    tags: list[str] | None = None


class Reminder(Row):
    """Reminders for exactly one of a user or an agent."""

    table: ClassVar[str] = "reminders"
    prefix: ClassVar[str] = "rem"

    user_id: UserId | None = None
    agent_id: AgentId | None = None
    message: str
    remind_at: Time
    related_entity: str | None = Field(None, description="id of any row it is about")
    status: Annotated[Literal["pending", "fired", "read"] | None, Ext] = Field(
        None, description="pending, fired when due, read when acknowledged; absent when it was due before its import"
    )
    fired_at: Annotated[Time | None, Ext] = None


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
