"""Streamable HTTP: tokens, Host and Origin, both protocol eras, and the splice."""

from __future__ import annotations

from pathlib import Path

import httpx2

from tests.clients import Swarm
from tests.remote import bearer, client, served


async def test_a_tool_call_says_over_http_what_it_says_in_memory(swarm: Swarm, era: str) -> None:
    agent = await swarm.owner("create_agent", name="Zoë", description="two\nlines", kind="user_agent")
    plan = await swarm.owner("create_conversation", title='A "plan"', participants=[agent["_id"]])
    for number in range(70):
        await swarm.owner("send_message", conversationId=plan["_id"], content=f"naïve ☃ \u2028 {number}")
    async with served(swarm, no_auth=True) as (url, _), client(url, era) as remote:
        for call in (
            ("list_messages", {"conversationId": plan["_id"]}),
            ("list_messages", {"conversationId": plan["_id"], "limit": 3, "cursor": "40"}),
            ("get", {"id": agent["_id"]}),
            ("find", {"table": "conversations"}),
        ):
            assert await remote(call[0], **call[1]) == await swarm.owner(call[0], **call[1])
        refused = await remote.refused("list_messages", conversation_id=plan["_id"])
        assert refused == await swarm.owner.refused("list_messages", conversation_id=plan["_id"])


async def test_what_one_client_writes_another_reads(swarm: Swarm) -> None:
    async with (
        served(swarm, no_auth=True) as (url, _),
        client(url, "legacy") as early,
        client(url, "auto") as late,
    ):
        plan = await early("create_conversation", title="Plan")
        await late("send_message", conversationId=plan["_id"], content="Tuesday")
        page = await early("list_messages", conversationId=plan["_id"])
        assert [message["content"] for message in page["messages"]] == ["Tuesday"]


async def test_without_a_token_nothing_is_answered(swarm: Swarm) -> None:
    async with served(swarm) as (url, token), httpx2.AsyncClient() as http:
        assert token is not None
        for headers in ({}, bearer("one_wrong"), {"Authorization": token}):
            answer = await http.post(url, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            assert answer.status_code == 401
            assert "www-authenticate" in answer.headers
        health = await http.get(url.replace("/mcp", "/healthz"))
        assert health.json()["status"] == "ok"


async def test_a_token_is_shown_once_and_its_owner_calls(swarm: Swarm, era: str) -> None:
    async with served(swarm) as (url, token):
        assert token is not None
        async with client(url, era, bearer(token)) as owner:
            user = await owner("create_user", name="Ann", email="ann@example.org")
    tokens = await swarm.service.tokens()
    text, ann = await tokens.create(user["_id"], ["read"])
    async with served(swarm) as (url, again):
        assert again is None
        async with client(url, era, bearer(text)) as reader:
            assert (await reader("find", table="conversations"))["conversations"] == []
            refusal = await reader.refused("create_conversation", title="Mine")
            assert refusal.code == "forbidden"
            listed = await reader.client.list_tools()
            assert "create_conversation" not in {tool.name for tool in listed.tools}
        await tokens.revoke(ann.id)
        async with httpx2.AsyncClient(headers=bearer(text)) as http:
            assert (await http.post(url, json={})).status_code == 401


async def test_a_token_ends_when_it_expires(swarm: Swarm) -> None:
    tokens = await swarm.service.tokens()
    text, _ = await tokens.create(swarm.service.owner.id, ["read"], expiration_time=1)
    assert tokens.check(text) is None


async def test_only_known_hosts_and_origins_are_served(swarm: Swarm) -> None:
    accept = {"Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with (
        served(swarm, no_auth=True, allowed_hosts=["swarm.example.org"]) as (url, _),
        httpx2.AsyncClient(headers=accept) as http,
    ):
        for headers, status in (
            ({"Host": "evil.example.org"}, 421),
            ({"Origin": "http://evil.example.org"}, 403),
            ({"Host": "swarm.example.org"}, 400),  # let in; there is no session yet
        ):
            assert (await http.post(url, headers=headers, json=body)).status_code == status


async def test_auth_duckdb_is_readable_by_its_owner_only_and_keeps_no_token(swarm: Swarm, tmp_path: Path) -> None:
    tokens = await swarm.service.tokens()
    text, _ = await tokens.create(swarm.service.owner.id, ["read"])
    path = swarm.directory / "auth.duckdb"
    assert path.stat().st_mode & 0o077 == 0
    assert text.encode() not in b"".join(file.read_bytes() for file in swarm.directory.glob("auth.duckdb*"))
