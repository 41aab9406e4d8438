"""How much one caller may ask for, and what others notice of it: nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from server.http.limits import TOO_MANY, Pace, Place, Use
from tests.clients import Swarm, Tools
from tests.remote import ACCEPT, MODERN, bearer, client, raw_post, request, served, with_meta

LISTEN = request("subscriptions/listen", with_meta({"notifications": {"resourcesListChanged": True}}))
BEGIN = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
LISTEN_HEADERS = {"Accept": ACCEPT, "MCP-Protocol-Version": MODERN, "Mcp-Method": "subscriptions/listen"}


def test_a_pace_lets_a_burst_through_and_then_as_much_as_it_says() -> None:
    seconds = 0.0
    pace = Pace(60, 3, clock=lambda: seconds)
    assert [pace.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]
    assert pace.take("b") == 0.0
    seconds = 1.0
    assert [pace.take("a"), pace.take("a")] == [0.0, 1.0]
    seconds = 100.0
    assert [pace.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]


def test_a_pace_keeps_few_numbers_whoever_comes() -> None:
    seconds = 0.0
    pace = Pace(1, 1, clock=lambda: seconds)
    for number in range(25_000):
        seconds += 0.001
        assert pace.take(f"203.0.113.{number}") == 0.0
    assert len(pace._due) <= 10_000


async def test_a_call_that_waits_leaves_its_place_to_one_that_works() -> None:
    use = Use(most=2)
    assert await use.enter()
    assert await use.enter()
    third, fourth = asyncio.create_task(use.enter()), asyncio.create_task(use.enter())
    first, second = Place(use, 1), Place(use, 1)
    await asyncio.sleep(0)
    assert not third.done()
    first.wait()
    assert await third
    second.wait()  # one may wait: this one goes on counting
    assert (use.running, use.waiting) == (2, 1)
    first.leave()
    fourth.cancel()
    await asyncio.gather(fourth, return_exceptions=True)
    second.leave()
    Place(use, 1).leave()
    assert use.idle


async def test_the_line_for_a_place_has_an_end() -> None:
    use = Use(most=1)
    assert await use.enter()
    line = [asyncio.create_task(use.enter()) for _ in range(4)]
    await asyncio.sleep(0)
    assert not await use.enter()
    for turn in line:
        use.leave()
        assert await turn
    use.leave()
    assert use.idle


_NUMBERS = itertools.count(1)


async def tokens_of(shared: Swarm, *names: str) -> list[str]:
    tokens = await shared.service.tokens()
    users = [(await shared.user(f"{name}{next(_NUMBERS)}"))[0] for name in names]
    return [(await tokens.create(user, ["read", "write"]))[0] for user in users]


async def ask(caller: Tools, times: int) -> None:
    for _ in range(times):
        await caller("find", table="conversations")


async def test_who_asks_too_fast_is_told_when_to_come_again(shared: Swarm, era: str) -> None:
    fast, other = await tokens_of(shared, "Ann", "Bob")
    async with served(shared, requests_per_minute=60, burst_requests=12) as (url, _):
        async with client(url, era, bearer(fast)) as ann:
            with pytest.raises(MCPError, match="has made more than 60 requests a minute") as failure:
                await ask(ann, times=13)
            assert failure.value.error.code == TOO_MANY
            assert failure.value.error.data == {"retryAfterSeconds": 1}
        async with httpx2.AsyncClient(headers=bearer(fast)) as http:
            answer = await raw_post(http, url, "tools/list")
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "1"
            assert "Try again in 1 s" in answer.json()["error"]["message"]
        async with client(url, era, bearer(other)) as bob:
            assert (await bob("find", table="conversations"))["conversations"] == []


async def test_many_who_wait_behind_one_token_keep_nobody_from_working(shared: Swarm, era: str) -> None:
    """A swarm that shares a token: more wait at once than may work at once."""
    (token,) = await tokens_of(shared, "Ann")
    listed = (await shared.service.tokens()).all()
    plan = await shared.owner("create_conversation", title="Plan", participants=[listed[-1].owner_id])
    async with (
        served(shared, concurrent_requests=2) as (url, _),
        client(url, era, bearer(token)) as ann,
        asyncio.TaskGroup() as tasks,
    ):
        wait = {"conversationId": plan["_id"], "timeoutSeconds": 25}
        waiting = [tasks.create_task(ann("wait_for_messages", **wait)) for _ in range(6)]
        while len(shared.service.engine.store.arrivals) < len(waiting):
            await asyncio.sleep(0)
        await shared.owner("send_message", conversationId=plan["_id"], content="Tuesday")
        heard = await asyncio.gather(*waiting)
        assert [told["messages"][0]["content"] for told in heard] == ["Tuesday"] * 6


async def test_streams_and_requests_at_once_are_counted(shared: Swarm) -> None:
    (token,) = await tokens_of(shared, "Ann")
    async with (
        served(shared, concurrent_waits=1) as (url, _),
        httpx2.AsyncClient(headers=bearer(token), timeout=10) as http,
        http.stream("POST", url, json=LISTEN, headers=LISTEN_HEADERS) as stream,
    ):
        assert stream.status_code == 200
        await anext(stream.aiter_lines())
        second = await http.post(url, json=LISTEN, headers=LISTEN_HEADERS)
        assert second.status_code == 429
        assert "1 streams and waiting calls open" in second.json()["error"]["message"]
        assert (await raw_post(http, url, "tools/list")).status_code == 200


async def test_a_stream_ends_with_its_token(shared: Swarm, era: str) -> None:
    tokens = await shared.service.tokens()
    text, token = await tokens.create(shared.service.owner.id, ["read"])
    async with served(shared) as (url, _), httpx2.AsyncClient(headers=bearer(text), timeout=20) as http:
        if era == "legacy":
            opened = await http.post(url, json=request("initialize", BEGIN), headers={"Accept": ACCEPT})
            headers = {"Accept": ACCEPT, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
            stream = http.stream("GET", url, headers=headers)
        else:
            stream = http.stream("POST", url, json=LISTEN, headers=LISTEN_HEADERS)
        async with stream as answer:
            assert answer.status_code == 200
            await tokens.revoke(token.id)
            await answer.aread()


async def test_wrong_tokens_of_one_address_are_made_to_wait_and_good_ones_are_not(shared: Swarm) -> None:
    (token,) = await tokens_of(shared, "Ann")
    async with served(shared, wrong_tokens_per_minute=3) as (url, _), httpx2.AsyncClient() as http:
        answers = [await raw_post(http, url, "tools/list", headers=bearer(f"one_{number}")) for number in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert int(answers[-1].headers["retry-after"]) >= 20
        assert (await raw_post(http, url, "tools/list", headers=bearer(token))).status_code == 200


async def test_one_caller_cannot_take_all_sessions(shared: Swarm) -> None:
    ann, bob = await tokens_of(shared, "Ann", "Bob")
    async with served(shared, sessions_per_caller=1, max_sessions=10) as (url, _):
        async with client(url, "legacy", bearer(ann)), httpx2.AsyncClient() as http:
            begin = request("initialize", BEGIN)
            accept = {"Accept": "application/json, text/event-stream"}
            assert (await http.post(url, json=begin, headers={**accept, **bearer(ann)})).status_code == 503
            assert (await http.post(url, json=begin, headers={**accept, **bearer(bob)})).status_code == 200
        async with client(url, "legacy", bearer(ann)) as again:  # the first session was ended by its client
            await again("find", table="conversations")


async def test_a_page_in_a_browser_may_call_when_its_origin_is_allowed(shared: Swarm) -> None:
    (token,) = await tokens_of(shared, "Ann")
    page = "https://app.example.org"
    asks = {
        "Origin": page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,mcp-protocol-version,mcp-param-table",
    }
    async with (
        served(shared, allowed_origins=[page]) as (url, _),
        httpx2.AsyncClient() as http,
    ):
        may = await http.options(url, headers=asks)
        assert may.status_code == 200
        assert may.headers["access-control-allow-origin"] == page
        assert "mcp-param-table" in may.headers["access-control-allow-headers"]
        refused = await raw_post(http, url, "tools/list", headers={"Origin": page})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == page
        assert "WWW-Authenticate" in refused.headers["access-control-expose-headers"]
        answer = await raw_post(http, url, "tools/list", headers={"Origin": page, **bearer(token)})
        assert answer.status_code == 200
        for path in ("/mcp", "/healthz"):
            other = await http.options(
                url.replace("/mcp", path), headers={**asks, "Origin": "https://evil.example.org"}
            )
            assert other.status_code == 403
            assert "access-control-allow-origin" not in other.headers


async def test_no_token_is_ever_written_to_the_log(swarm: Swarm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore2", "httpx2", "httpcore2.http11"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the client's own
    secret = "one_verysecret"
    async with served(swarm) as (url, token), httpx2.AsyncClient() as http:
        assert token is not None
        await raw_post(http, url, "tools/list", headers=bearer(token))
        await raw_post(http, url, "tools/list", headers=bearer(secret))
        await raw_post(http, url, "tools/list", headers={"Authorization": f"Basic {secret}"})
        await raw_post(http, f"{url}?access_token={secret}", "tools/list", headers=bearer(secret))
        await http.get(f"{url}/{secret}?token={secret}", headers=bearer(secret))
        await http.post(url, content=secret.encode() * 100, headers=bearer(token))
    assert secret not in caplog.text
    assert token not in caplog.text
