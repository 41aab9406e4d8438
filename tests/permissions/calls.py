"""How each row of the matrix is asked: a request made of ids by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from server.resources import FIXED, TEMPLATES
from storage.tables import TABLES
from tests.permissions.asking import Ask, complete, follow, listed, listen, prompt, read, tool
from tests.permissions.world import World

Ids = dict[str, str]
Call = Callable[[Ids], Ask]
SPAN = {"startTime": "2026-12-01T10:00:00Z", "endTime": "2026-12-01T11:00:00Z"}
_CONTENT = {"content": "again"}
LATER = "2099-12-01T10:00:00Z"

CHANGES: dict[str, dict[str, Any]] = {
    "users": {"name": "Again"},
    "agents": {"goal": "again"},
    "tools": {"description": "again"},
    "prompts": {"description": "again"},
    "conversations": {"groupId": "again"},
    "conversationParticipants": {"status": "active"},
    "conversationMessages": {"type": "again"},
    "agentTools": {"config": {"k": "again"}},
    "attachments": {"promptId": "prompt_1"},
    "knowledge": {"tags": ["again"]},
    "tags": {"color": "again"},
    "reactions": {"type": "again"},
    "comments": {"content": "again"},
    "follows": {"kind": "user"},
    "events": {"description": "again"},
    "reminders": {"relatedEntity": None},
}
"""A change of a row of each table. Of attachments and follows nothing can change."""


def _agent(i: Ids, **more: Any) -> Ask:
    return tool("create_agent", name="N", description="d", kind="user_agent", **more)


def _know(owner: str, kind: str, **more: Callable[[Ids], Any]) -> Call:
    return lambda i: tool(
        "add_knowledge",
        ownerType=kind,
        ownerId=i[owner],
        content=f"Known {sorted(more)}",
        **{name: value(i) for name, value in more.items()},
    )


def _named(name: str, argument: str, row: str, **more: Any) -> Call:
    return lambda i: tool(name, **{argument: i[row]}, **more)


_TOOLS: dict[str, Call] = {
    "create_user": lambda i: tool("create_user", name="U", email=f"{i['me']}@example.org"),
    "create_agent": _agent,
    "create_agent: with the private agent in its team": lambda i: _agent(i, delegatesTo=[i["agents"]]),
    "create_agent: for somebody else (createdBy)": lambda i: _agent(i, createdBy=i["users"]),
    "create_conversation": lambda _: tool("create_conversation", title="C"),
    "create_conversation: with the private agent": lambda i: tool(
        "create_conversation", title="C", participants=[i["agents"]]
    ),
    "add_participant: to the conversation": lambda i: tool(
        "add_participant", conversationId=i["conversations"], kind="user", userId=i["users"]
    ),
    "add_participant: oneself to the conversation": lambda i: tool(
        "add_participant", conversationId=i["conversations"], **_member(i["me"])
    ),
    "add_participant: the private agent to one's own": lambda i: tool(
        "add_participant", conversationId=i["own place"], kind="agent", agentId=i["agents"]
    ),
    "send_message: to the conversation": _named("send_message", "conversationId", "conversations", content="x"),
    "send_message: in the private agent's name": lambda i: tool(
        "send_message",
        conversationId=i["conversations"],
        content="x",
        authorParticipantId=i["conversationParticipants"],
    ),
    "send_message: of kind system": _named("send_message", "conversationId", "own place", content="x", kind="system"),
    "send_message: mentions the private agent in one's own": lambda i: tool(
        "send_message", conversationId=i["own place"], content=f"@[A](agent:{i['agents']})"
    ),
    "list_messages: of the conversation": _named("list_messages", "conversationId", "conversations"),
    "inbox": lambda _: tool("inbox"),
    "wait_for_messages: in the conversation": _named(
        "wait_for_messages", "conversationId", "conversations", timeoutSeconds=0
    ),
    "wait_for_messages: after the message": _named(
        "wait_for_messages", "after", "conversationMessages", timeoutSeconds=0
    ),
    "wait_for_messages: anywhere": lambda _: tool("wait_for_messages", timeoutSeconds=0, after="0"),
    "hand_over: to the private agent": _named("hand_over", "to", "agents", task="t"),
    "hand_over: in the conversation": lambda i: tool(
        "hand_over", to=i["open agent"], task="t", conversationId=i["conversations"]
    ),
    "add_knowledge: for the private agent": _know("agents", "agent"),
    "add_knowledge: for the public agent": _know("open agent", "agent"),
    "add_knowledge: for the creator": _know("creator", "user"),
    "add_knowledge: drawn from the message": lambda i: tool(
        "add_knowledge", **_owner(i["me"]), content="s", sources=[i["conversationMessages"]]
    ),
    "add_knowledge: replaces the creator's": lambda i: tool(
        "add_knowledge", **_owner(i["me"]), content="r", supersedes=i["knowledge of a user"]
    ),
    "search_knowledge_by_tag": lambda i: tool("search_knowledge_by_tag", tag=i["tag"], limit=200),
    "search: for what is private": lambda i: tool("search", query=i["marker"], limit=200),
    "search: in the conversation": _named("search", "conversationId", "conversations", query="Said"),
    "search: in the private agent's knowledge": _named("search", "ownerId", "agents", query="Known"),
    "react: to the message": _named("react", "messageId", "conversationMessages"),
    "comment: on the message": _named("comment", "messageId", "conversationMessages", content="x"),
    "follow: the private agent": _named("follow", "followeeId", "agents"),
    "follow: the creator": _named("follow", "followeeId", "creator"),
    "feed: after that": lambda _: tool("feed", limit=200),
    "unfollow: the private agent": _named("unfollow", "followeeId", "agents"),
    "create_event": lambda _: tool("create_event", title="E", **SPAN),
    "create_event: with the private agent": lambda i: tool(
        "create_event", title="E", participants=[i["agents"]], **SPAN
    ),
    "create_event: with the creator, who is busy": lambda i: tool(
        "create_event", title="E", participants=[i["creator"]], **SPAN
    ),
    "create_reminder": lambda _: tool("create_reminder", message="m", remindAt=LATER),
    "create_reminder: for the private agent": _named("create_reminder", "forId", "agents", message="m", remindAt=LATER),
    "create_reminder: for the creator": _named("create_reminder", "forId", "creator", message="m", remindAt=LATER),
    "create_reminder: about the message": _named(
        "create_reminder", "relatedEntity", "conversationMessages", message="m", remindAt=LATER
    ),
    "create_prompt": lambda _: tool("create_prompt", title="P", template="t", step="Hook"),
    "render_prompt": lambda i: tool("render_prompt", promptId=i["prompts"], values={"topic": "t"}),
    "render_prompt: act_as_agent, the private agent": lambda i: tool(
        "render_prompt", promptId="act_as_agent", values={"agent": i["agents"]}
    ),
    "render_prompt: catch_up, the conversation": lambda i: tool(
        "render_prompt", promptId="catch_up", values={"conversation": i["conversations"]}
    ),
    "attach_prompt: to the private agent": lambda i: tool(
        "attach_prompt", promptId=i["own prompt"], ownerType="agent", ownerId=i["agents"]
    ),
    "attach_prompt: to the conversation": lambda i: tool(
        "attach_prompt", promptId=i["own prompt"], ownerType="group", ownerId=i["conversations"]
    ),
    "create_tool": lambda _: tool("create_tool", name="T", description="d"),
    "grant_tool: to the private agent": lambda i: tool("grant_tool", agentId=i["agents"], toolId=i["own tool"]),
    "grant_tool: to the public agent": lambda i: tool("grant_tool", agentId=i["open agent"], toolId=i["own tool"]),
    "create_tag": lambda i: tool("create_tag", name=f"new {i['me']}"),
    "query": lambda _: tool("query", sql="SELECT 1"),
    "chart": lambda _: tool("chart", sql="SELECT 'a' AS name, 1 AS n"),
    "as the private agent (find as=...)": _named("find", "as_", "agents", table="agents"),
    "as the public agent (find as=...)": _named("find", "as_", "open agent", table="agents"),
    "get knowledge: the creator's": _named("get", "id", "knowledge of a user"),
    "get agents: a public one, whose team is private": _named("get", "id", "open agent"),
    "get knowledge: a public agent's, drawn from the message": _named("get", "id", "knowledge of the open agent"),
    "find agents: whose team has the private one": lambda i: tool(
        "find", table="agents", where={"delegatesTo": {"has": i["agents"]}}
    ),
    "find agents: that have a team": lambda _: tool("find", table="agents", where={"delegatesTo": {"exists": True}}),
    "find knowledge: drawn from the message": lambda i: tool(
        "find", table="knowledge", where={"sources": {"has": i["conversationMessages"]}}
    ),
    "find conversations: by a text in the title": lambda i: tool(
        "find", table="conversations", where={"title": {"contains": i["marker"]}}
    ),
    "find knowledge: by a tag": lambda i: tool("find", table="knowledge", where={"tags": {"has": i["tag"]}}),
    "find users: by email": lambda _: tool("find", table="users", where={"email": {"contains": "@"}}),
    "update users: oneself": _named("update", "id", "me", fields={"name": "Me"}),
}


def _member(row_id: str) -> dict[str, Any]:
    kind = "user" if row_id.startswith("user_") else "agent"
    return {"kind": kind, f"{kind}Id": row_id}


def _owner(row_id: str) -> dict[str, Any]:
    return {"ownerType": _member(row_id)["kind"], "ownerId": row_id}


def _found(table: str) -> Call:
    return lambda i: tool("find", table=table, where={"_id": i[table]})


TOOLS: dict[str, Call] = {}
for _table in TABLES:
    TOOLS[f"get {_table.table}"] = _named("get", "id", _table.table)
    TOOLS[f"find {_table.table}"] = _found(_table.table)
    TOOLS[f"update {_table.table}"] = _named("update", "id", _table.table, fields=CHANGES[_table.table])
TOOLS |= _TOOLS
TOOLS["delete tools: one that the private agent has"] = _named("delete", "id", "tools")
TOOLS["delete prompts: one that is attached"] = _named("delete", "id", "prompts")
for _table in reversed(TABLES):  # what hangs on another row goes before it
    TOOLS[f"delete {_table.table}"] = _named("delete", "id", f"doomed {_table.table}")
TOOLS["delete users: oneself"] = _named("delete", "id", "me")


# Resources, prompts, completions, subscriptions, lists.

TARGETS = {
    "one://conversations/{id}": ("conversations",),
    "one://conversations/{id}/messages": ("conversations",),
    "one://agents/{id}": ("agents", "open agent"),
    "one://agents/{id}/brief": ("agents", "open agent"),
    "one://users/{id}": ("creator",),
    "one://knowledge/{id}": ("knowledge", "knowledge of a user", "knowledge of the open agent"),
}
"""Whose ids go into which template."""
WORDS = {
    "conversations": "the conversation",
    "agents": "the private agent",
    "open agent": "the public agent",
    "creator": "the creator",
    "knowledge": "the private agent's",
    "knowledge of a user": "the creator's",
    "knowledge of the open agent": "the public agent's",
}
"""Rows as people call them."""


def _with_uri(method: Callable[[str], Ask], template: str, target: str) -> Call:
    return lambda i: method(template.replace("{id}", i[target]))


RESOURCES: dict[str, Call] = {}
SUBSCRIPTIONS: dict[str, Call] = {}
for _fixed in FIXED:
    RESOURCES[f"read {_fixed.uri}"] = _with_uri(read, _fixed.uri, "me")
    SUBSCRIPTIONS[f"subscribe {_fixed.uri}"] = _with_uri(follow, _fixed.uri, "me")
    SUBSCRIPTIONS[f"listen {_fixed.uri}"] = _with_uri(listen, _fixed.uri, "me")
for _one in TEMPLATES:
    for _target in TARGETS.get(_one.uri, ()):
        RESOURCES[f"read {_one.uri}: {WORDS[_target]}"] = _with_uri(read, _one.uri, _target)
        SUBSCRIPTIONS[f"subscribe {_one.uri}: {WORDS[_target]}"] = _with_uri(follow, _one.uri, _target)
        SUBSCRIPTIONS[f"listen {_one.uri}: {WORDS[_target]}"] = _with_uri(listen, _one.uri, _target)

PROMPTS: dict[str, Call] = {
    "act_as_agent: the private agent": lambda i: prompt("act_as_agent", agent=i["agents"]),
    "act_as_agent: the public agent": lambda i: prompt("act_as_agent", agent=i["open agent"]),
    "catch_up: the conversation": lambda i: prompt("catch_up", conversation=i["conversations"]),
    "catch_up: for the private agent": lambda i: prompt("catch_up", conversation=i["own place"], agent=i["agents"]),
    "catch_up: for the public agent": lambda i: prompt("catch_up", conversation=i["own place"], agent=i["open agent"]),
    "infer_insights: the conversation": lambda i: prompt("infer_insights", conversation=i["conversations"]),
    "infer_insights: a topic": lambda i: prompt("infer_insights", topic=i["marker"]),
    "infer_insights: a tag": lambda i: prompt("infer_insights", tag=i["tag"]),
    "hand_over: from the private agent": lambda i: prompt("hand_over", agent=i["agents"], task="t"),
    "hand_over: from the public agent, whose team is private": lambda i: prompt(
        "hand_over", agent=i["open agent"], task="t"
    ),
    "a stored prompt": lambda i: prompt(f"prompt-{i['prompts']}", topic="t"),
    "a stored prompt that is a draft": lambda i: prompt(f"prompt-{i['draft prompt']}"),
}

COMPLETIONS: dict[str, Call] = {
    "conversations (resource)": lambda _: complete("resource", "one://conversations/{id}", "id", ""),
    "conversations, messages (resource)": lambda _: complete("resource", "one://conversations/{id}/messages", "id", ""),
    "agents (resource)": lambda _: complete("resource", "one://agents/{id}", "id", ""),
    "agents, brief (resource)": lambda _: complete("resource", "one://agents/{id}/brief", "id", ""),
    "users (resource)": lambda i: complete("resource", "one://users/{id}", "id", i["creator"]),
    "knowledge (resource)": lambda _: complete("resource", "one://knowledge/{id}", "id", ""),
    "act_as_agent: agent": lambda _: complete("prompt", "act_as_agent", "agent", ""),
    "catch_up: conversation": lambda _: complete("prompt", "catch_up", "conversation", ""),
    "catch_up: agent": lambda _: complete("prompt", "catch_up", "agent", ""),
    "infer_insights: conversation": lambda _: complete("prompt", "infer_insights", "conversation", ""),
    "infer_insights: topic": lambda _: complete("prompt", "infer_insights", "topic", "tag"),
    "infer_insights: tag": lambda _: complete("prompt", "infer_insights", "tag", "tag"),
    "hand_over: agent": lambda _: complete("prompt", "hand_over", "agent", ""),
    "hand_over: task": lambda _: complete("prompt", "hand_over", "task", ""),
    "a stored prompt": lambda i: complete("prompt", f"prompt-{i['prompts']}", "topic", ""),
    "a stored prompt that is a draft": lambda i: complete("prompt", f"prompt-{i['draft prompt']}", "topic", ""),
}


def _list(method: str) -> Call:
    return lambda _: listed(method)


LISTS: dict[str, Call] = {
    method: _list(method) for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
}

SECTIONS: dict[str, dict[str, Call]] = {
    "Resources": RESOURCES,
    "Prompts": PROMPTS,
    "Completions": COMPLETIONS,
    "Lists": LISTS,
    "Subscriptions": SUBSCRIPTIONS,
    "Tools": TOOLS,
}
"""In the order in which they are asked: what changes something comes last."""


# Notifications: what is followed, and what the creator does.

Deed = Callable[[World], Awaitable[object]]


def _creators(name: str, target: str | None = None, /, **arguments: Any) -> Deed:
    """A call of the creator's, with the id of a target if there is one."""
    return lambda w: w.creator(name, **({} if target is None else {"id": w.rows[target]}), **arguments)


NOTICES: dict[str, tuple[str, Deed]] = {
    "of a message in the conversation": (
        "one://conversations/{conversations}",
        lambda w: w.creator("send_message", conversationId=w.rows["conversations"], content="new"),
    ),
    "of a change of the private agent": ("one://agents/{agents}", _creators("update", "agents", fields={"goal": "g"})),
    "of a change of its knowledge": ("one://knowledge/{knowledge}", _creators("update", "knowledge", fields=_CONTENT)),
    "of a change of the creator's knowledge": (
        "one://knowledge/{knowledge of a user}",
        _creators("update", "knowledge of a user", fields=_CONTENT),
    ),
    "of the event, in one's calendar": ("one://calendar.ics", _creators("update", "events", fields={"title": "T"})),
    "of a message, in the list of conversations": (
        "one://conversations",
        lambda w: w.creator("send_message", conversationId=w.rows["conversations"], content="newer"),
    ),
    "that the list of resources has a private agent": (
        "resources",
        _creators("create_agent", name="New", description="d", kind="user_agent", visibility="private"),
    ),
    "that the list of prompts changed": (
        "prompts",
        _creators("create_prompt", title="New", template="t", step="Hook"),
    ),
}
"""By row: what a client that follows it hears, and the deed. The last is heard by all, and so ends what they hear."""
