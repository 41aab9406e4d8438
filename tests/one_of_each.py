"""One row of each of the 16 tables, made by the tools. A new table needs a case here, and tests ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage.row import Row
from storage.tables import BY_NAME, TABLES
from tests.clients import Swarm, Tools

OPEN_TABLES = ("users", "tools", "prompts", "tags")
"""Everybody sees their rows."""


@dataclass(frozen=True)
class Creation:
    """The call that makes a row, with every argument of the tool that a row's own fields come from."""

    tool: str
    arguments: dict[str, Any]


def creation(table: type[Row], ids: dict[str, str], word: str, *, tag: str | None = None, dims: int = 2) -> Creation:
    """How a row of `table` is made, on the rows in `ids` (by table); `word` is in each of its texts.

    `ids["me"]` is the user who calls; vectors have `dims` numbers. Two calls with different words make two rows.
    `tag` is what all rows with tags carry.
    """
    tool, arguments = _calls(ids, word, [tag or f"tag {word}"], dims)[table.table]
    return Creation(tool, arguments)


def _calls(ids: dict[str, str], word: str, tags: list[str], dims: int) -> dict[str, tuple[str, dict[str, Any]]]:
    place, message, agent = (ids.get(name) for name in ("conversations", "conversationMessages", "agents"))
    tool, prompt, known = ids.get("tools"), ids.get("prompts"), ids.get("knowledge")
    return {
        "users": ("create_user", {"name": f"User {word}", "email": f"{word}@example.org", "image": f"https://x/{word}"}),
        "agents": ("create_agent", {
            "name": f"Agent {word}", "description": word, "kind": "user_agent", "personality": word,
            "avatarUrl": f"https://x/{word}", "goal": word, "systemPrompt": word, "instructions": word,
            "delegatesTo": _some(agent), "tools": _some(tool), "tags": tags, "model": word, "knowledge": {"k": word},
            "memories": [word], "attachedPrompts": _some(prompt), "visibility": "private",
        }),
        "tools": ("create_tool", {"name": f"Tool {word}", "description": word, "config": {"k": word}}),
        "prompts": ("create_prompt", {
            "title": f"Prompt {word}", "template": f"{word} {{{{topic}}}}", "step": "Hook", "description": word,
            "requiredContext": ["topic"], "outputType": word, "tags": tags, "status": "active",
        }),
        "conversations": ("create_conversation", {
            "title": f"Plan {word}", "participants": _some(agent), "tags": tags, "groupId": f"group {word}",
        }),
        "conversationParticipants": ("add_participant", {
            "conversationId": place, "kind": "agent", "agentId": ids.get("spare agent", agent),
        }),
        "conversationMessages": ("send_message", {
            "conversationId": place, "content": f"Said {word}", "step": "Gift", "kind": "participant", "type": word,
            "tags": tags, "attachments": [word], "vector": [0.5] * dims, "meta": {"k": word},
        }),
        "agentTools": ("grant_tool", {
            "agentId": agent, "toolId": ids.get("spare tool", tool), "config": {"k": word},
        }),
        "attachments": ("attach_prompt", {
            "promptId": ids.get("spare prompt", prompt), "ownerType": "group", "ownerId": place,
        }),
        "knowledge": ("add_knowledge", {
            "ownerType": "agent", "ownerId": agent, "content": f"Known {word}", "vector": [0.5] * dims, "tags": tags,
            "sources": _some(message), "supersedes": known,
        }),
        "tags": ("create_tag", {"name": f"Tag {word}", "color": word}),
        "reactions": ("react", {"messageId": message, "type": word}),
        "comments": ("comment", {"messageId": message, "content": f"Commented {word}"}),
        "follows": ("follow", {"followeeId": ids.get("spare agent", agent)}),
        "events": ("create_event", {
            "title": f"Event {word}", "startTime": "2026-12-01T10:00:00Z", "endTime": "2026-12-01T11:00:00Z",
            "description": word, "participants": _some(agent), "tags": tags,
        }),
        "reminders": ("create_reminder", {
            "message": f"Remember {word}", "remindAt": "2099-12-01T10:00:00Z", "relatedEntity": message,
            "forId": ids.get("me"),
        }),
    }  # fmt: skip


def _some(row_id: str | None) -> list[str]:
    return [] if row_id is None else [row_id]


async def one_of_each(
    swarm: Swarm, tools: Tools, me: str, word: str, *, open_word: str | None = None, dims: int = 2
) -> dict[str, str]:
    """The ids of new rows of every table by its name, and "me", who made them with `tools`.

    `open_word` takes the place of `word` in what everybody sees: people, tools, prompts and tags.
    """
    ids = {"me": me}
    for table in TABLES:
        text = open_word if open_word is not None and table.table in OPEN_TABLES else word
        made = creation(table, ids, text, tag=open_word, dims=dims)
        maker = swarm.owner if table.table == "users" else tools
        arguments = {name: value for name, value in made.arguments.items() if value is not None}
        ids[table.table] = (await maker(made.tool, **arguments))["_id"]
    assert set(ids) == {"me", *BY_NAME}
    return ids


async def spares(tools: Tools, ids: dict[str, str], word: str) -> dict[str, str]:
    """`ids` with a fresh agent, tool and prompt: of some tables there is one row for each pair."""
    agent = await tools("create_agent", name=f"Spare {word}", description="d", kind="user_agent")
    tool = await tools("create_tool", name=f"Spare {word}", description="d")
    prompt = await tools("create_prompt", title=f"Spare {word}", template="t", step="Hook")
    return {**ids, "spare agent": agent["_id"], "spare tool": tool["_id"], "spare prompt": prompt["_id"]}


def working_calls(ids: dict[str, str], *, dims: int = 2) -> dict[str, dict[str, Any]]:
    """Arguments with which each tool works for who made the rows `ids`."""
    made = (creation(table, ids, "again", dims=dims) for table in TABLES)
    found = {call.tool: call.arguments for call in made}
    place, agent = ids["conversations"], ids["agents"]
    return found | {
        "list_messages": {"conversationId": place},
        "inbox": {},
        "wait_for_messages": {"timeoutSeconds": 0},
        "hand_over": {"to": agent, "task": "t", "conversationId": place},
        "search_knowledge_by_tag": {"tag": "again"},
        "search": {"query": "again"},
        "get": {"id": agent},
        "find": {"table": "agents"},
        "update": {"id": agent, "fields": {"goal": "again"}},
        "delete": {"id": ids["reactions"]},
        "unfollow": {"followeeId": agent},
        "feed": {},
        "render_prompt": {"promptId": ids["prompts"], "values": {"topic": "t"}},
        "query": {"sql": "SELECT 1"},
        "chart": {"sql": "SELECT 'a' AS name, 1 AS n"},
    }
