"""What hangs on a row: shown with it by `get`, so that a model needs no second call. `_RELATED` says it per table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, ClassVar, TypeVar

from pydantic_core import to_json
from typing_extensions import override

from storage.fields import iso
from storage.find import count, find
from storage.predicate import Both, Contains, Is
from storage.row import Result, Row
from storage.tables import (
    Agent,
    Attachment,
    Comment,
    Conversation,
    Event,
    Message,
    Participant,
    Prompt,
    Reaction,
    Tool,
    User,
)
from storage.view import View
from tools_impl.access import visible
from tools_impl.authors import authors_of
from tools_impl.caller import Caller

R = TypeVar("R", bound=Row)

SHOWN = 20
"""So many of each kind, the newest ones."""
COMMENT_CHARS = 1_000

More = dict[str, Any]
_TIMES = frozenset({"createdAt", "startTime"})


class Detailed(Result):
    """A row and more about it, in one object."""

    table: ClassVar[str] = "detailed"

    row: Row
    more: More

    @override
    def wire(self) -> dict[str, Any]:
        return {**self.row.wire(), **self.more}

    @override
    def text(self) -> str:
        return f"{self.row.text()[:-1]},{to_json(_readable(self.more)).decode()[1:]}"


def _readable(value: Any) -> Any:
    """With ISO 8601 times, as everywhere in texts."""
    if isinstance(value, dict):
        return {key: iso(item) if key in _TIMES else _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


async def with_related(view: View, me: Caller, row: Row) -> Result:
    """The row with what hangs on it, as far as the caller may see it; the row itself when that is nothing."""
    gather = _RELATED.get(type(row))
    more = await gather(view, me, row) if gather is not None else None
    return Detailed(row=row, more=more) if more else row


# A message is read often and mostly has nothing that hangs on it: then all this is two look-ups in memory.


async def _message(view: View, _me: Caller, message: Message) -> More:
    more: More = {}
    reactions, count = await _on_message(view, Reaction, message.id)
    if count:
        more |= _some("reactions", _grouped(reactions), count)
    comments, count = await _on_message(view, Comment, message.id)
    if count:
        authors = await authors_of(view, message.conversation_id, {row.author_participant_id for row in comments})
        more |= _some("comments", [_comment(row, authors) for row in comments], count)
    return more


async def _on_message(view: View, table: type[R], message_id: str) -> tuple[Sequence[R], int]:
    """The newest rows on a message, in their order, and how many there are."""
    places = view.store.timelines[table, "message_id"]
    if not places.loaded:  # just started
        every = await view.where(table, "message_id", message_id)
        return every[-SHOWN:], len(every)
    seqs = places.of(message_id)
    if not seqs:
        return (), 0
    newest = seqs[-SHOWN:]
    rows = await view.store.rows_at(table, newest)
    return [rows[seq] for seq in newest if seq in rows], len(seqs)


def _grouped(reactions: Sequence[Reaction]) -> list[More]:
    by: dict[str, list[str]] = {}
    for reaction in reactions:
        by.setdefault(reaction.type, []).append(reaction.user_id or reaction.agent_id or "")
    return [{"type": type_, "by": members} for type_, members in by.items()]


def _comment(row: Comment, authors: dict[str, dict[str, Any]]) -> More:
    content = row.content if len(row.content) <= COMMENT_CHARS else f"{row.content[:COMMENT_CHARS]}…"
    author = authors.get(row.author_participant_id)
    return {"_id": row.id, "author": author, "content": content, "createdAt": row.created_at}


async def _agent(view: View, _me: Caller, agent: Agent) -> More:
    tools, prompts = agent.tools or [], agent.attached_prompts or []
    names = await _names(view, [*tools[-SHOWN:], *prompts[-SHOWN:]])
    return {
        **_some("granted", _named(tools[-SHOWN:], names), len(tools)),
        **_some("prompts", _named(prompts[-SHOWN:], names), len(prompts)),
    }


async def _conversation(view: View, me: Caller, conversation: Conversation) -> More:
    everyone = await view.where(Participant, "conversation_id", conversation.id)
    present = [one for one in everyone if not one.is_removed]
    owners = [conversation.id, *([conversation.group_id] if conversation.group_id else [])]
    where = {"ownerType": "group", "ownerId": {"in": owners}}
    attached, _ = await find(view.store, Attachment, visible(me, Attachment), where=where, limit=SHOWN)
    prompts = list(dict.fromkeys(one.prompt_id for one in attached))
    names = await _names(view, [*(one.member_id for one in present[-SHOWN:]), *prompts])
    return {
        **_some("participants", [_participant(one, names) for one in present[-SHOWN:]], len(present)),
        **_some("prompts", _named(prompts, names), len(prompts)),
    }


def _participant(row: Participant, names: dict[str, str]) -> More:
    member = {f"{row.kind}Id": row.member_id}
    return {"_id": row.id, "kind": row.kind, **member, "name": names.get(row.member_id, ""), "status": row.status}


async def _event(view: View, me: Caller, event: Event) -> More:
    invited = event.participants or []
    names = await _names(view, invited[-SHOWN:], visible_to=me)
    return _some("who", _named(invited[-SHOWN:], names), len(invited))


async def _tool(view: View, me: Caller, tool: Tool) -> More:
    agents = Both((visible(me, Agent), Contains(Agent, "tools", tool.id)))
    found, more = await find(view.store, Agent, agents, limit=SHOWN)
    used = [{"_id": agent.id, "name": agent.name} for agent in found]
    return _some("usedBy", used, await count(view.store, Agent, agents) if more else len(used))


async def _prompt(view: View, me: Caller, prompt: Prompt) -> More:
    uses = Both((visible(me, Attachment), Is(Attachment, "prompt_id", prompt.id)))
    found, more = await find(view.store, Attachment, uses, limit=SHOWN)
    owners = list(dict.fromkeys(one.owner_id for one in found))
    names = await _names(view, owners, visible_to=me)
    used = [{"_id": owner, **({"name": names[owner]} if owner in names else {})} for owner in owners]
    return _some("usedBy", used, await count(view.store, Attachment, uses) if more else len(used))


async def _names(view: View, ids: Collection[str], visible_to: Caller | None = None) -> dict[str, str]:
    """What the rows of those ids are called; of those only that `visible_to` sees, if anybody is named."""
    rows = await view.store.rows(dict.fromkeys(ids), keep=True)
    names: dict[str, str] = {}
    for row in rows.values():
        if visible_to is None or await visible(visible_to, type(row)).holds(row, view):
            match row:
                case User() | Agent() | Tool():
                    names[row.id] = row.name
                case Prompt() | Conversation():
                    names[row.id] = row.title
    return names


def _named(ids: Collection[str], names: dict[str, str]) -> list[More]:
    return [{"_id": row_id, "name": names[row_id]} for row_id in ids if row_id in names]


def _some(name: str, shown: list[More], total: int) -> More:
    """What is shown under a name, and how many there are if that is more; nothing if there are none."""
    if not shown:
        return {}
    return {name: shown, **({f"{name}Total": total} if total > SHOWN else {})}


_RELATED: dict[type[Row], Callable[[View, Caller, Any], Awaitable[More]]] = {
    Message: _message,
    Agent: _agent,
    Conversation: _conversation,
    Event: _event,
    Tool: _tool,
    Prompt: _prompt,
}
