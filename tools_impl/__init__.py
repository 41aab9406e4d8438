"""What one-mcp does: one plain async function an operation, grouped by what it is about.

An operation's signature is its schema, its docstring what a model reads. The first parameter says whether it reads
(`View`) or writes (`Transaction`). `OPERATIONS` lists every one; nothing is registered by importing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

from storage.row import Result
from storage.transaction import Transaction
from storage.view import View
from tools_impl.acks import acknowledge
from tools_impl.agents import create_agent
from tools_impl.caller import Caller
from tools_impl.capabilities import create_tool, grant_tool
from tools_impl.chart import chart
from tools_impl.conversations import add_participant, create_conversation
from tools_impl.events import create_event, with_conflicts
from tools_impl.feed import feed
from tools_impl.follows import follow, unfollow
from tools_impl.hand_over import hand_over
from tools_impl.inbox import inbox
from tools_impl.knowledge import add_knowledge, search_knowledge_by_tag
from tools_impl.messages import list_messages, send_message
from tools_impl.prompts import attach_prompt, create_prompt
from tools_impl.query import query
from tools_impl.reactions import comment, react
from tools_impl.reminders import create_reminder
from tools_impl.rendering import render_prompt
from tools_impl.rows import delete, find, get, update
from tools_impl.search import search
from tools_impl.similar import with_similar
from tools_impl.tags import create_tag
from tools_impl.users import create_user
from tools_impl.waiting import wait_for_messages

Toolset = Literal["core", "rows", "social", "plan", "library", "analysts"]
TOOLSETS: tuple[Toolset, ...] = get_args(Toolset)
ANALYSTS: Toolset = "analysts"
"""What is offered only to those who may see everything."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool. `toolset` groups it for `--toolsets`; `acts`: identity matters, so it takes `as`.

    `after` may add to the result of a writing operation once it is durable. `acknowledges` lets a reading one take
    `ack`, which the writer carries out before it reads. `waits`: most of its time it has nothing to do.
    """

    function: Callable[..., Awaitable[Result]]
    title: str
    toolset: Toolset = "core"
    acts: bool = True
    destructive: bool = False
    idempotent: bool = False
    waits: bool = False
    after: Callable[[View, Caller, Result], Awaitable[Result]] | None = None
    acknowledges: Callable[[Transaction, Caller, str], Awaitable[Result]] | None = None

    @property
    def name(self) -> str:
        """The name of the tool."""
        return self.function.__name__


OPERATIONS: tuple[Operation, ...] = (
    Operation(create_user, "Add a person", acts=False),
    Operation(create_agent, "Create an agent"),
    Operation(create_conversation, "Start a conversation"),
    Operation(add_participant, "Add a participant", idempotent=True),
    Operation(send_message, "Send a message"),
    Operation(list_messages, "Read a conversation"),
    Operation(inbox, "What is new", idempotent=True, acknowledges=acknowledge),
    Operation(wait_for_messages, "Wait for messages", waits=True),
    Operation(hand_over, "Hand work over"),
    Operation(add_knowledge, "Store knowledge", after=with_similar),
    Operation(search_knowledge_by_tag, "Knowledge by tag"),
    Operation(search, "Search messages and knowledge"),
    Operation(get, "Get a row"),
    Operation(find, "Find rows"),
    Operation(update, "Change a row", toolset="rows", idempotent=True),
    Operation(delete, "Delete a row", toolset="rows", destructive=True, idempotent=True),
    Operation(react, "React to a message", toolset="social", idempotent=True),
    Operation(comment, "Comment on a message", toolset="social"),
    Operation(follow, "Follow somebody", toolset="social", idempotent=True),
    Operation(unfollow, "Stop following", toolset="social", destructive=True, idempotent=True),
    Operation(feed, "News of those followed", toolset="social"),
    Operation(create_event, "Plan an event", toolset="plan", after=with_conflicts),
    Operation(create_reminder, "Set a reminder", toolset="plan"),
    Operation(create_prompt, "Store a prompt", toolset="library"),
    Operation(render_prompt, "Fill in a prompt", toolset="library"),
    Operation(attach_prompt, "Attach a prompt", toolset="library", idempotent=True),
    Operation(create_tool, "Describe a tool", toolset="library"),
    Operation(grant_tool, "Grant a tool", toolset="library", idempotent=True),
    Operation(create_tag, "Create a tag", toolset="library", idempotent=True),
    Operation(query, "Ask in SQL", toolset=ANALYSTS, acts=False),
    Operation(chart, "Draw a chart", toolset=ANALYSTS, acts=False),
)

__all__ = ["ANALYSTS", "OPERATIONS", "TOOLSETS", "Operation", "Toolset"]
