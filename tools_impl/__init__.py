"""What one-mcp does: one plain async function an operation, grouped by what it is about.

An operation's signature is its schema, its docstring what a model reads. The first parameter says whether it reads
(`View`) or writes (`Transaction`). `OPERATIONS` lists every one; nothing is registered by importing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from storage.row import Result
from storage.view import View
from tools_impl.agents import create_agent
from tools_impl.caller import Caller
from tools_impl.conversations import add_participant, create_conversation
from tools_impl.knowledge import add_knowledge, search_knowledge_by_tag
from tools_impl.messages import list_messages, send_message
from tools_impl.rows import delete, find, get, update
from tools_impl.search import search
from tools_impl.similar import with_similar
from tools_impl.users import create_user

Toolset = Literal["core", "rows"]
TOOLSETS: tuple[Toolset, ...] = ("core", "rows")


@dataclass(frozen=True, slots=True)
class Operation:
    """One tool. `toolset` groups it for `--toolsets`; `acts`: identity matters, so it takes `as`.

    `after` may add to the result of a writing operation once it is durable.
    """

    function: Callable[..., Awaitable[Result]]
    title: str
    toolset: Toolset = "core"
    acts: bool = True
    destructive: bool = False
    idempotent: bool = False
    after: Callable[[View, Caller, Result], Awaitable[Result]] | None = None

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
    Operation(add_knowledge, "Store knowledge", after=with_similar),
    Operation(search_knowledge_by_tag, "Knowledge by tag"),
    Operation(search, "Search messages and knowledge"),
    Operation(get, "Get a row"),
    Operation(find, "Find rows"),
    Operation(update, "Change a row", toolset="rows", idempotent=True),
    Operation(delete, "Delete a row", toolset="rows", destructive=True, idempotent=True),
)

__all__ = ["OPERATIONS", "TOOLSETS", "Operation", "Toolset"]
