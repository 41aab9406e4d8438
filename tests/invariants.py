"""What must be true of a swarm whatever was done to it: memory, tools and file say the same, and nothing dangles."""

from __future__ import annotations

from collections import Counter
from typing import Any

from storage.row import Row, by_name, column_list
from storage.tables import TABLES, Agent, AgentTool, Attachment, Conversation, Message, Participant, Tag
from tests.clients import Swarm

Dump = dict[str, dict[str, dict[str, Any]]]
"""Table -> id -> row, as `get` returns it."""


async def check(swarm: Swarm, *, imported: bool = False) -> Dump:
    """Check everything, and return what is stored. Rows that were `imported` have times of their own."""
    await swarm.service.engine.store.fold()
    stored = {table: await rows_in_file(swarm, table) for table in TABLES}
    await _tools_say_what_the_file_says(swarm, stored)
    await _conversations_list_their_messages(swarm, stored)
    rows = sorted([row for found in stored.values() for row in found], key=lambda row: row.seq)
    _commit_numbers_are_unique(swarm, rows)
    assert imported or [row.created_at for row in rows] == sorted(row.created_at for row in rows)
    _twins_are_equal(stored)
    _names_are_unique(stored)
    _nothing_dangles(stored)
    return {table.table: {row.id: row.wire() for row in rows} for table, rows in stored.items()}


async def rows_in_file(swarm: Swarm, table: type[Row]) -> list[Row]:
    """The rows of a table as the file has them, in commit order."""
    return [table.loaded(r) for r in await swarm.sql(f'SELECT {column_list(table)} FROM "{table.table}" ORDER BY seq')]


async def _tools_say_what_the_file_says(swarm: Swarm, stored: dict[type[Row], list[Row]]) -> None:
    for table, rows in stored.items():
        found = await swarm.owner.find(table.table, order="seq", limit=200)
        assert found == [row.listed() for row in rows]
        for row in rows:
            shown, own = await swarm.owner("get", id=row.id), row.wire()
            assert {name: shown[name] for name in own} == own


async def _conversations_list_their_messages(swarm: Swarm, stored: dict[type[Row], list[Row]]) -> None:
    for conversation in stored[Conversation]:
        messages = [m for m in stored[Message] if isinstance(m, Message) and m.conversation_id == conversation.id]
        listed: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while not page or "nextCursor" in page:
            cursor = {"cursor": page["nextCursor"]} if page else {}
            page = await swarm.owner("list_messages", conversationId=conversation.id, limit=7, **cursor)
            assert {m["authorParticipantId"] for m in page["messages"]} == set(page["authors"])
            listed = page["messages"] + listed
        assert listed == [as_listed(message) for message in messages]
        assert isinstance(conversation, Conversation)
        assert conversation.last_message_time == max((m.created_at for m in messages), default=None)


def as_listed(message: Message) -> dict[str, Any]:
    """A message as its conversation lists it: without what the page says once, and without the usual status."""
    left_out = {"conversationId", "vector", *(["status"] if message.status == "sent" else [])}
    return {name: value for name, value in message.listed().items() if name not in left_out}


def _commit_numbers_are_unique(swarm: Swarm, rows: list[Row]) -> None:
    assert len({row.seq for row in rows}) == len(rows)
    assert len({row.id for row in rows}) == len(rows)
    assert max(max(row.seq, row.rev) for row in rows) < swarm.service.engine.writer.next_seq


def _twins_are_equal(stored: dict[type[Row], list[Row]]) -> None:
    grants = Counter((g.agent_id, g.tool_id) for g in stored[AgentTool] if isinstance(g, AgentTool))
    attached = Counter(
        (a.owner_id, a.prompt_id) for a in stored[Attachment] if isinstance(a, Attachment) and a.owner_type == "agent"
    )
    agents = [agent for agent in stored[Agent] if isinstance(agent, Agent)]
    assert grants == Counter((agent.id, tool) for agent in agents for tool in agent.tools or ())
    assert attached == Counter((agent.id, prompt) for agent in agents for prompt in agent.attached_prompts or ())


def _names_are_unique(stored: dict[type[Row], list[Row]]) -> None:
    names = Counter(tag.name for tag in stored[Tag] if isinstance(tag, Tag))
    used = {tag for rows in stored.values() for row in rows for tag in getattr(row, "tags", None) or ()}
    assert set(names.values()) <= {1}
    assert used <= set(names)
    members = Counter((p.conversation_id, p.member_id) for p in stored[Participant] if isinstance(p, Participant))
    assert set(members.values()) <= {1}


def _nothing_dangles(stored: dict[type[Row], list[Row]]) -> None:
    ids = {row.id for rows in stored.values() for row in rows}
    for table, rows in stored.items():
        for column in by_name(table).values():
            if column.refers_to is None or table is Attachment:
                continue
            for row in rows:
                value = getattr(row, column.attribute)
                for named in value if isinstance(value, list) else [value]:
                    assert named is None or named in ids, f"{row.id}.{column.name} names {named}"
