"""What a batch of changes means to those who follow resources and lists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.batch import Changes
from storage.row import Row
from storage.tables import (
    Agent,
    AgentTool,
    Attachment,
    Comment,
    Conversation,
    Event,
    Knowledge,
    Message,
    Participant,
    Prompt,
    Reaction,
    User,
)
from tools_impl.access import PRIVATE_FIELDS

Topic = tuple[type[Row], str]
"""What can be followed: a row by its table and id."""

LISTED: frozenset[type[Row]] = frozenset({Conversation, Participant, Agent, Prompt})
"""Tables whose changes may change a list of resources or prompts."""


@dataclass(slots=True)
class News:
    """What happened since somebody last looked. `private` are users of whom only others' hidden fields changed.

    `listed` are rows that came to or left lists of resources, or look different there (every state of them);
    `moved` are the users and agents that a conversation won or lost.
    """

    topics: dict[Topic, None] = field(default_factory=dict)
    messages: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    listed: list[Row] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)
    prompts: bool = False
    everything: bool = False

    def __bool__(self) -> bool:
        return (
            bool(
                self.topics
                or self.messages
                or self.private
                or self.events
                or self.listed
                or self.moved
                or self.everything
            )
            or self.prompts
        )

    def follow_lists(self, changes: Changes) -> None:
        """Take in what changes in the lists of resources and prompts."""
        for conversation in changes.inserted(Conversation):
            self.listed.append(conversation)
        for old, new in changes.updated(Conversation):
            self.listed += [new] if old.title != new.title else []
        for gone in changes.deleted(Conversation):
            self.listed.append(gone)
            self.moved.update(changes.dropped.get(gone.id, ()))
        for agent in changes.inserted(Agent):
            self.listed.append(agent)
        for old_agent, agent in changes.updated(Agent):
            if _entry(old_agent) != _entry(agent):
                self.listed += [old_agent, agent]
        self.listed += changes.deleted(Agent)
        for participant in _moved(changes):
            self.moved.add(participant.member_id)
        states = [*changes.inserted(Prompt), *(one for pair in changes.updated(Prompt) for one in pair)]
        states += [row for row in changes.deleted(Prompt) if isinstance(row, Prompt)]
        self.prompts = self.prompts or any(row.status in (None, "active") for row in states)

    def follow_rows(self, changes: Changes) -> None:
        """Take in which rows' resources change."""
        self.everything = self.everything or bool(changes.stripped)  # a tag went from rows that nobody names
        for table, rows in changes.rows.items():
            for row_id, row in rows.items():
                old = changes.before.get(row_id)
                if row is not None or old is not None:
                    self._row(table, old, row if row is not None else old)

    def _row(self, table: type[Row], old: Row | None, row: Row | None) -> None:
        match row:
            case Message():
                self.topics[Conversation, row.conversation_id] = None
            case Participant() if _changed(old, row, {"last_read_seq", "last_mention_seq"}):
                self.topics[Conversation, row.conversation_id] = None
                if row.agent_id is not None:
                    self.topics[Agent, row.agent_id] = None
            case Reaction() | Comment():
                self.messages.add(row.message_id)
            case AgentTool():
                self.topics[Agent, row.agent_id] = None
            case Attachment() if row.owner_type == "agent":
                self.topics[Agent, row.owner_id] = None
            case Knowledge():
                self.topics[Knowledge, row.id] = None
                if row.owner_type == "agent":
                    self.topics[Agent, row.owner_id] = None
            case User() if old is not None and not _changed(old, row, PRIVATE_FIELDS[User]):
                self.private.add(row.id)
            case Event():
                self.events += [state for state in (old, row) if isinstance(state, Event)]
            case User() | Agent() | Conversation():
                self.topics[table, row.id] = None


def _changed(old: Row | None, new: Row, besides: Iterable[str]) -> bool:
    """Whether a row is new, gone or another in more than some fields."""
    if old is None or old is new:
        return True
    ignored = {"rev", *besides}
    return any(value != getattr(new, name) for name, value in old.__dict__.items() if name not in ignored)


def _moved(changes: Changes) -> list[Participant]:
    found = changes.inserted(Participant)
    found += [new for old, new in changes.updated(Participant) if old.is_removed != new.is_removed]
    return found


def _entry(agent: Agent) -> tuple[str, str, str | None]:
    """What a list of resources says of an agent, and what decides who sees it there."""
    return agent.name, agent.description[:200], agent.visibility
